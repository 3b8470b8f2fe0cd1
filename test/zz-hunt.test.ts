import { appendFileSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import fc from "fast-check";
import { inject, test } from "vitest";
import { plants } from "../faults/plants.ts";
import { testBuild } from "../faults/test-build.ts";
import { loadProtocol } from "./laws/protocol/modules.ts";
import { plan } from "./laws/protocol/plan.ts";
import { Shore, World } from "./laws/protocol/world.ts";
const only = process.env.HUNT?.split(",");
test("hunt", async () => {
  const home = await mkdtemp("/tmp/hunt-");
  const queue = (only ?? []).map((n) => plants.find((p) => p.name === n)!);
  await Promise.all([8, 9, 10].map(async (db) => { for (let plant = queue.shift(); plant; plant = queue.shift()) {
    const t = performance.now();
    try {
      const folder = await testBuild([plant], `${home}/${plant.name}`);
      const shore = await Shore.open(await loadProtocol(folder), `${inject("redisUrl")}/${db}`);
      const begun = performance.now(); const cpu = process.cpuUsage();
      const r = await fc.check(fc.asyncProperty(plan, fc.scheduler(), async (one, s) => { await World.run(shore, one, s); }), { numRuns: Number(process.env.HUNTRUNS ?? 100), seed: Number(process.env.HUNTSEED ?? 1), endOnFailure: true, interruptAfterTimeLimit: Number(process.env.HUNTMS ?? 120000), markInterruptAsFailure: false });
      appendFileSync("/tmp/hunt.jsonl", JSON.stringify({ name: plant.name, load: Math.round(begun - t), cpu: Math.round((process.cpuUsage(cpu).user + process.cpuUsage(cpu).system) / 1000), ms: Math.round(performance.now() - begun), failed: r.failed, runs: r.numRuns, seed: r.seed, path: r.counterexamplePath, how: r.failed ? (r.errorInstance as Error).message.slice(0, 300) : "" }) + "\n");
      await shore.close();
    } catch (e) { appendFileSync("/tmp/hunt.jsonl", JSON.stringify({ name: plant.name, error: String((e as Error).stack).slice(0, 500) }) + "\n"); }
  } }));
}, 6_000_000);
