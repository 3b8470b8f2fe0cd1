/**
 * While this process has so many settlements under way, a stream that is due waits for one of them, but not longer than
 * this. So the settlements of many streams follow each other instead of taking the processor from the speed layer all
 * at once, and a long one holds up nobody.
 */
const AT_ONCE = 2;
const LONGEST_TURN_MS = 10_000;

/** Whether a stream that has been due for `waitedMs` is settled now, while `underWay` others are. */
export function isItsTurn({ underWay, waitedMs }: { readonly underWay: number; readonly waitedMs: number }): boolean {
  return underWay < AT_ONCE || waitedMs >= LONGEST_TURN_MS;
}
