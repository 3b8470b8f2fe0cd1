import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { nightlyOr } from "../../tiers.ts";
import { ownDatabase } from "./database.ts";
import { Environment } from "./environment.ts";
import { loadProtocol, repository } from "./modules.ts";
import { plan, restores, rewritePlan, troubles } from "./plan.ts";
import { Simulation } from "./simulation.ts";

/**
 * The protocol's own code, with the real scripts in the real Redis and with DuckDB, over a log in memory: two
 * consumers, two refreshers, readers and somebody who compacts, under a scheduler that lets one of them continue at a
 * time. They are killed, sleep and wake as zombies; replies are lost; Redis comes back as it was some time ago, or
 * empty, or evicts a key; the data directory is restored from a backup; transactions are aborted or stay open. The
 * oracle is a plain fold of the log.
 *
 * A failure prints its seed; TIDELINE_SEED repeats it, TIDELINE_RUNS makes more simulations of it.
 */

const RUNS = Number(process.env.TIDELINE_RUNS ?? nightlyOr(400, 30));
const SEED = process.env.TIDELINE_SEED;

let environment: Environment;
beforeAll(async () => {
  environment = await Environment.open(await loadProtocol(repository), ownDatabase("protocol"));
});
afterAll(() => environment.close());

test("every answer is the fold of the log at its position, and everything comes back, whatever happens in between", async () => {
  const seen = { simulations: 0, answers: 0, complete: 0, versions: 0, gates: 0, restored: 0 };
  const begunMs = performance.now();
  await fc.assert(
    fc.asyncProperty(plan, fc.scheduler(), troubles, restores, async (one, scheduler, beside, again) => {
      const { answers, gates, published, restored } = await Simulation.run(environment, one, scheduler, {
        troubles: beside,
        restores: again,
      });
      seen.simulations += 1;
      seen.answers += answers.length;
      seen.complete += answers.filter(({ missing }) => missing === null).length;
      seen.versions += published;
      seen.gates += gates;
      seen.restored += restored;
    }),
    { numRuns: RUNS, endOnFailure: true, ...(SEED === undefined ? {} : { seed: Number(SEED) }) },
  );
  console.log(
    `${JSON.stringify(seen)}: ${Math.round((performance.now() - begunMs) / seen.simulations)} ms a simulation`,
  );
  // Simulations in which nothing happens would prove nothing.
  expect(seen.complete).toBeGreaterThan(seen.simulations * 5);
  expect(seen.versions).toBeGreaterThan(seen.simulations);
  expect(seen.restored).toBeGreaterThan(0);
}, 1_800_000);

test("a log that lost its end and was written again is never counted together with what it lost, until somebody accepts it", async () => {
  const seen = { simulations: 0, answers: 0, archived: 0 };
  await fc.assert(
    fc.asyncProperty(rewritePlan, fc.scheduler(), async (one, scheduler) => {
      const { archived, stops, answers } = await Simulation.rewritten(environment, one, scheduler);
      seen.simulations += 1;
      seen.answers += answers;
      if (!archived) return;
      seen.archived += 1;
      // Whatever happened in between, both layers refuse.
      expect([...stops].map((name) => name.split("-")[0])).toEqual(expect.arrayContaining(["speed", "batch"]));
    }),
    {
      numRuns: Math.max(20, Math.ceil(RUNS / 2)),
      endOnFailure: true,
      ...(SEED === undefined ? {} : { seed: Number(SEED) }),
    },
  );
  console.log(JSON.stringify(seen));
  // Both kinds of simulation occurred. Of 20 simulations about half are of each kind: a run with only one kind is as
  // good as impossible.
  expect(seen.archived).toBeGreaterThan(0);
  expect(seen.archived).toBeLessThan(seen.simulations);
}, 1_800_000);
