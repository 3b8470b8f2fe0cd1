/** What a longer piece of work is given: where to say how far it is, and when to give up. */
export interface Work {
  /** Shows one line of progress to a person. */
  report(line: string): void;
  /** Aborted when the work is no longer wanted. */
  readonly signal: AbortSignal;
}

/** For work without a progress display that is never interrupted. */
export const unwatched: Work = { report: () => {}, signal: new AbortController().signal };
