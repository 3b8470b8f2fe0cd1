import { type Failure, sentenceOf } from "../../core/failures.ts";
import { type Finding, ok, problem } from "./finding.ts";

/**
 * Returns a problem for each thing that has stopped, or fails again and again: `failing.lane`, `.view`, `.schedule`,
 * `.workflow`.
 */
export function checkFailures(failures: readonly Failure[]): Finding[] {
  if (failures.length === 0) return [ok("failing", "nothing fails again and again")];
  return failures.map((failure) => problem(`failing.${failure.kind}`, sentenceOf(failure), failure.hint));
}
