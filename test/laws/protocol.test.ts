import fc from "fast-check";
import { afterAll, beforeAll, inject, test } from "vitest";
import { loadProtocol, repository } from "./protocol/modules.ts";
import { plan } from "./protocol/plan.ts";
import { Shore, World } from "./protocol/world.ts";

let shore: Shore;
beforeAll(async () => {
  shore = await Shore.open(await loadProtocol(repository), `${inject("redisUrl")}/9`);
});
afterAll(() => shore.close());

test("every answer is the fold of the log at its position, whatever is killed, asleep, lost or repeated", async () => {
  let [worlds, answers, complete, gates] = [0, 0, 0, 0];
  const begun = performance.now();
  const cpu = process.cpuUsage();
  await fc
    .assert(
      fc.asyncProperty(plan, fc.scheduler(), async (one, scheduler) => {
        const world = await World.run(shore, one, scheduler);
        worlds += 1;
        answers += world.answers.length;
        complete += world.answers.filter(({ missing }) => missing === null).length;
        gates += world.gates;
      }),
      {
        numRuns: Number(process.env.TIDELINE_RUNS ?? 30),
        endOnFailure: true,
        ...(process.env.TIDELINE_SEED ? { seed: Number(process.env.TIDELINE_SEED) } : {}),
      },
    )
    .finally(() =>
      console.log({
        worlds,
        answers,
        complete,
        gates,
        ms: (performance.now() - begun) / worlds,
        cpuMs: (process.cpuUsage(cpu).user + process.cpuUsage(cpu).system) / 1000 / worlds,
      }),
    );
}, 600_000);
