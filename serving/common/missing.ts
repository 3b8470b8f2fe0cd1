/** Why an answer may be the batch version's alone. */
export const MISSING_CODES = [
  "GAP", // neither the batch version nor Redis has some positions
  "OVERLAP", // both have them
  "NO_CHAIN", // Redis has no live state of the view, or that of another topic
  "REDIS_SILENT", // Redis does not answer, or refuses
  "LIVE_STATE_UNREADABLE", // what Redis holds of the view is not what was written: an operator's matter
  "VANISHED", // live state went away again and again while it was read
  "FROZEN", // another release computed the view
] as const;

/** Why an answer is the batch version's alone. `from` and `to`: the positions of `partition` that do not fit. */
export interface Missing {
  readonly code: (typeof MISSING_CODES)[number];
  readonly message: string;
  readonly partition?: number;
  readonly from?: string;
  readonly to?: string;
}
