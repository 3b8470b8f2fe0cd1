import { z } from "zod";
import { count } from "../../core/json-parts.ts";

/** The reasons for an answer from the batch version alone. */
export const MISSING_CODES = [
  "GAP", // neither the batch version nor Redis has some positions
  "OVERLAP", // both have them
  "NO_CHAIN", // Redis has no live state of the view, or that of another topic
  "REDIS_SILENT", // Redis does not answer, or refuses
  "LIVE_STATE_UNREADABLE", // what Redis holds of the view is not what was written: an operator's matter
  "VANISHED", // live state went away again and again while it was read
  "FROZEN", // another release computed the view
] as const;

/**
 * The reason for an answer from the batch version alone. `from` and `to` are the positions of `partition` that do not
 * tile.
 */
export const Missing = z
  .object({
    code: z.enum(MISSING_CODES),
    message: z.string(),
    partition: count.exactOptional(),
    from: z.string().exactOptional(),
    to: z.string().exactOptional(),
  })
  .meta({ id: "Missing", description: "Why the answer is the batch version's alone" });
export type Missing = z.infer<typeof Missing>;
