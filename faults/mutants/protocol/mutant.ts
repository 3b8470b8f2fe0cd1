/**
 * A mutant: one text of the program replaced by another. A test build (test-build.ts) is made with some of them. The
 * program itself does not know them. They show that a test or the fault harness notices the bug.
 */
export interface Mutant {
  readonly name: string;
  /** What is broken, for people. */
  readonly what: string;
  /** Below the repository. */
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /**
   * Whether the protocol needs what was taken away: without it a number is wrong, or the view never gets anywhere
   * again. What is not necessary only saves time, keeps answers complete, or is a second line of defence.
   */
  readonly necessary: boolean;
  /** Fault scenarios that should bring it to light. */
  readonly scenarios: readonly string[];
  /**
   * From this seed on the property test's simulations (test/laws/protocol/protocol) find it soon; absent when it is out
     of their
   * reach.
   */
  readonly seed?: number;
  /** Takes the simulations long: only found by the nightly tests. */
  readonly slow?: true;
  /** Only simulations whose log is truncated and written again find it. */
  readonly rewritten?: true;
  /** Only simulations whose data directory is restored from a backup find it. */
  readonly restored?: true;
}
