import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Table from "cli-table3";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { plants } from "../../faults/plants.ts";
import { replaced, testBuild } from "../../faults/test-build.ts";
import { loadProtocol, repository } from "./protocol/modules.ts";
import { plan } from "./protocol/plan.ts";
import { Shore, World } from "./protocol/world.ts";

/** The worlds of protocol.test.ts with a bug in the program: each that the protocol needs not to have is found. */

const MOST_WORLDS = Number(process.env.TIDELINE_RUNS ?? 200);
const inReach = plants.filter(({ seed }) => seed !== undefined);

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

  test.each(inReach)("$name: $what", async (plant) => {
    const folder = await testBuild([plant], join(home, plant.name));
    const shore = await Shore.open(await loadProtocol(folder), `${inject("redisUrl")}/9`);
    try {
      const begunMs = performance.now();
      const property = fc.asyncProperty(plan, fc.scheduler(), async (one, scheduler) => {
        await World.run(shore, one, scheduler);
      });
      const options = {
        numRuns: MOST_WORLDS,
        endOnFailure: true,
        ...(plant.seed === undefined ? {} : { seed: plant.seed }),
      };
      const { failed, numRuns, seed, errorInstance } = await fc.check(property, options);
      const [how = ""] = failed ? (errorInstance as Error).message.split("\n") : [];
      table.push([plant.name, seed, numRuns, Math.round(performance.now() - begunMs), how.slice(0, 80)]);
      expect(failed).toBe(true);
    } finally {
      await shore.close();
    }
  });
});
