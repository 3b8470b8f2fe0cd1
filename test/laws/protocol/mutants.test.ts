import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { mutants } from "../../../faults/mutants/mutants.ts";
import { replaced, testBuild } from "../../../faults/mutants/test-build.ts";
import { nightly } from "../../tiers.ts";
import { ownDatabase } from "./database.ts";
import { Environment } from "./environment.ts";
import { loadProtocol, repository } from "./modules.ts";
import { plan, restores, rewritePlan } from "./plan.ts";
import { Simulation } from "./simulation.ts";

/**
 * The simulations of protocol.test.ts with a bug in the program: they find it. Here those that fall soon;
 * TIDELINE_MUTANTS=name,name tries others, or `necessary` all that the protocol needs, from TIDELINE_SEED on through at
 * most TIDELINE_RUNS simulations.
 */

const { TIDELINE_MUTANTS: asked, TIDELINE_SEED: firstSeed, TIDELINE_RUNS: simulations = "400" } = process.env;
const inReach = mutants.filter(({ name, necessary, seed, slow }) =>
  asked === undefined
    ? seed !== undefined && (nightly || slow !== true)
    : asked === "necessary"
      ? necessary
      : asked.split(",").includes(name),
);

test("every mutant names one place in the program, and has a name of its own", async () => {
  for (const mutant of mutants)
    expect(replaced(await readFile(join(repository, mutant.file), "utf8"), mutant)).toContain(mutant.replace);
  expect(new Set(mutants.map(({ name }) => name)).size).toBe(mutants.length);
});

describe("mutants are found", () => {
  const table = new Table({ head: ["bug", "seed", "simulations", "ms", "how"] });
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "tideline-mutants-"));
  });
  afterAll(async () => {
    console.log(table.toString());
    await rm(home, { recursive: true, force: true });
  });

  test.each(inReach)("$name: $what", { timeout: 1_200_000 }, async (mutant) => {
    const folder = await testBuild([mutant], join(home, mutant.name));
    const environment = await Environment.open(await loadProtocol(folder), ownDatabase("mutants"));
    try {
      const begunMs = performance.now();
      const from = Number(firstSeed ?? mutant.seed ?? 1);
      const options = { numRuns: Number(simulations), endOnFailure: true, seed: from };
      const again = mutant.restored ? restores : fc.constant([]);
      const rewritten = fc.asyncProperty(rewritePlan, fc.scheduler(), async (one, scheduler) => {
        await Simulation.rewritten(environment, one, scheduler);
      });
      const others = fc.asyncProperty(plan, fc.scheduler(), again, async (one, scheduler, restored) => {
        await Simulation.run(environment, one, scheduler, { restores: restored });
      });
      const checked = mutant.rewritten ? fc.check(rewritten, options) : fc.check(others, options);
      const { failed, numRuns, seed, errorInstance } = await checked;
      const [how = ""] = failed ? (errorInstance as Error).message.split("\n") : [];
      table.push([mutant.name, seed, numRuns, Math.round(performance.now() - begunMs), how.slice(0, 80)]);
      expect(failed).toBe(true);
    } finally {
      await environment.close();
    }
  });
});
