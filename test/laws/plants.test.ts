import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { plants } from "../../faults/mutants/plants.ts";
import { replaced, testBuild } from "../../faults/mutants/test-build.ts";
import { nightly } from "../tiers.ts";
import { ownDatabase } from "./protocol/database.ts";
import { loadProtocol, repository } from "./protocol/modules.ts";
import { plan, restores, rewritePlan } from "./protocol/plan.ts";
import { Shore } from "./protocol/shore.ts";
import { World } from "./protocol/world.ts";

/**
 * The worlds of protocol.test.ts with a bug in the program: they find it. Here those that fall soon;
 * TIDELINE_PLANTS=name,name tries others, or `necessary` all that the protocol needs, from TIDELINE_SEED on through at
 * most TIDELINE_RUNS worlds.
 */

const { TIDELINE_PLANTS: asked, TIDELINE_SEED: firstSeed, TIDELINE_RUNS: worlds = "200" } = process.env;
const inReach = plants.filter(({ name, necessary, seed, slow }) =>
  asked === undefined
    ? seed !== undefined && (nightly || slow !== true)
    : asked === "necessary"
      ? necessary
      : asked.split(",").includes(name),
);

test("every plant has its one place in the program, and a name of its own", async () => {
  for (const plant of plants)
    expect(replaced(await readFile(join(repository, plant.file), "utf8"), plant)).toContain(plant.replace);
  expect(new Set(plants.map(({ name }) => name)).size).toBe(plants.length);
});

describe("planted bugs fall", () => {
  const table = new Table({ head: ["bug", "seed", "worlds", "ms", "how"] });
  let home: string;
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "tideline-plants-"));
  });
  afterAll(async () => {
    console.log(table.toString());
    await rm(home, { recursive: true, force: true });
  });

  test.each(inReach)("$name: $what", { timeout: 600_000 }, async (plant) => {
    const folder = await testBuild([plant], join(home, plant.name));
    const shore = await Shore.open(await loadProtocol(folder), ownDatabase("plants"));
    try {
      const begunMs = performance.now();
      const from = Number(firstSeed ?? plant.seed ?? 1);
      const options = { numRuns: Number(worlds), endOnFailure: true, seed: from };
      const again = plant.restored ? restores : fc.constant([]);
      const rewritten = fc.asyncProperty(rewritePlan, fc.scheduler(), async (one, scheduler) => {
        await World.rewritten(shore, one, scheduler);
      });
      const others = fc.asyncProperty(plan, fc.scheduler(), again, async (one, scheduler, restored) => {
        await World.run(shore, one, scheduler, { restores: restored });
      });
      const checked = plant.rewritten ? fc.check(rewritten, options) : fc.check(others, options);
      const { failed, numRuns, seed, errorInstance } = await checked;
      const [how = ""] = failed ? (errorInstance as Error).message.split("\n") : [];
      table.push([plant.name, seed, numRuns, Math.round(performance.now() - begunMs), how.slice(0, 80)]);
      expect(failed).toBe(true);
    } finally {
      await shore.close();
    }
  });
});
