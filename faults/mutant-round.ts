import { rm } from "node:fs/promises";
import { join } from "node:path";
import Table from "cli-table3";
import type { Scenario } from "./deployment/scenario.ts";
import { type HarnessOptions, runHarness } from "./harness.ts";
import type { Mutant } from "./mutants/protocol/mutant.ts";
import { testBuild } from "./mutants/test-build.ts";
import type { Report } from "./report.ts";

/** What came of one mutant. */
export interface MutantOutcome {
  readonly mutant: string;
  readonly necessary: boolean;
  readonly seed: number;
  /**
   * `incomplete`: never wrong and never late, but more than a fifth of all answers said that they were not complete.
   */
  readonly caught: "mismatch" | "wrong" | "lost time" | "incomplete" | "not caught";
  /** Until the first trouble was found, from the beginning of the load; null when there was none. */
  readonly seconds: number | null;
  /** The first trouble, for people. */
  readonly how: string;
}

/**
 * Runs every mutant in the harness, one after the other on the same servers: a test build with the bug, an installation
 * of its own, and the scenarios that the mutant names (all of them when it names none), again and again until something
 * is found or the time is up.
 */
export async function runMutants(
  mutants: readonly Mutant[],
  options: Omit<HarnessOptions, "program" | "stopAtFirst">,
): Promise<MutantOutcome[]> {
  const outcomes: MutantOutcome[] = [];
  for (const mutant of mutants) {
    if (options.signal.aborted) break;
    options.say(`${mutant.name}: ${mutant.what}`);
    const folder = join(options.folder, mutant.name);
    const program = await testBuild([mutant], join(folder, "program"));
    const named = options.scenarios.filter(({ name }) => mutant.scenarios.includes(name));
    const scenarios: readonly Scenario[] = named.length === 0 ? options.scenarios : named;
    const outcome = outcomeOf(mutant, await runHarness({ ...options, folder, program, scenarios, stopAtFirst: true }));
    outcomes.push(outcome);
    options.say(`${mutant.name}: ${outcome.caught}${outcome.seconds === null ? "" : ` after ${outcome.seconds} s`}`);
    await rm(folder, { recursive: true, force: true });
  }
  return outcomes;
}

function outcomeOf({ name, necessary }: Mutant, report: Report): MutantOutcome {
  const { seed, firstAfterSeconds: seconds, firstMismatches, wrong, lostTime, answers } = report;
  const incomplete = Object.values(answers.incomplete).reduce((sum, count) => sum + count, 0);
  const found = { mutant: name, necessary, seed, seconds };
  const [mismatch] = firstMismatches;
  if (mismatch !== undefined) return { ...found, caught: "mismatch", how: JSON.stringify(mismatch) };
  if (wrong[0] !== undefined) return { ...found, caught: "wrong", how: wrong[0] };
  if (lostTime[0] !== undefined) return { ...found, caught: "lost time", how: lostTime[0] };
  const how = `${incomplete} of ${answers.checked} answers were not complete`;
  return { ...found, caught: incomplete * 5 > answers.checked ? "incomplete" : "not caught", how };
}

/** Whether everything that the protocol needs was missed when it was taken away. */
export function allCaught(outcomes: readonly MutantOutcome[]): boolean {
  return outcomes.every(({ necessary, caught }) => !necessary || caught !== "not caught");
}

/** For the terminal. */
export function mutantsText(outcomes: readonly MutantOutcome[]): string {
  const table = new Table({
    head: ["bug", "necessary", "seed", "caught after s", "how"],
    style: { head: [], border: [] },
    colAligns: ["left", "left", "right", "right", "left"],
  });
  for (const { mutant, necessary, seed, seconds, caught, how } of outcomes)
    table.push([mutant, necessary ? "yes" : "", seed, seconds ?? "", `${caught}: ${how}`.slice(0, 90)]);
  return `${table.toString()}\n`;
}
