/**
 * The settlements that run at once in a process. Further streams that are due wait, so that settlements of many streams
 * do not take the processor from the speed layer all at the same moment.
 */
const AT_ONCE = 2;
/** The longest wait: after it a stream is settled although others still run. */
const LONGEST_TURN_MS = 10_000;

/** Whether a stream that has been due for `waitedMs` is settled now, while `underWay` others are. */
export function isItsTurn({ underWay, waitedMs }: { readonly underWay: number; readonly waitedMs: number }): boolean {
  return underWay < AT_ONCE || waitedMs >= LONGEST_TURN_MS;
}
