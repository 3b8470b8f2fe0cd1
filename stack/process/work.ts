/** Given to each longer piece of work: a function to report progress, and a signal to stop. */
export interface Work {
  /** Shows one line of progress to a person. */
  report(line: string): void;
  /** Aborted when the work is no longer wanted. */
  readonly signal: AbortSignal;
}

/** For work without a progress display that is never stopped. */
export const unwatched: Work = { report: () => {}, signal: new AbortController().signal };
