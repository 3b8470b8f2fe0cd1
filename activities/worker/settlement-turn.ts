/**
 * The most settlements that run at once in a process. Further streams wait, so that settlements of many streams do not
 * take the processor from the speed layer at the same moment.
 */
const AT_ONCE = 2;
/** The longest wait. After it a stream is settled even if others still run. */
const LONGEST_TURN_MS = 10_000;

/** Whether a stream that has waited for `waitedMs` may be settled now, while `underWay` others are running. */
export function isItsTurn({ underWay, waitedMs }: { readonly underWay: number; readonly waitedMs: number }): boolean {
  return underWay < AT_ONCE || waitedMs >= LONGEST_TURN_MS;
}
