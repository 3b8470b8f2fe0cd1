import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { taskQueueOf } from "../../workflows/shared/names.ts";
import type { Scenario, World } from "../deployment/scenario.ts";

export const temporalKilled: Scenario = {
  name: "temporal-killed",
  what: "Temporal is killed and comes back with its database: queries are answered, and work continues where it was.",
  breaks: ["temporal"],
  recoveryLimitMs: 75_000,
  async run({ servers, fault, random, sleep }) {
    fault("temporal killed", { by: "cut" });
    await servers.temporal.kill();
    await sleep(1_000 + random(4_000));
    await servers.temporal.start();
  },
};

export const temporalDatabaseLost: Scenario = {
  name: "temporal-database-lost",
  what: "Temporal loses its database: the files say where work continues, and workers make the schedules again.",
  breaks: ["temporal"],
  recoveryLimitMs: 75_000,
  async run(world) {
    const { servers, serversHome, fault, until } = world;
    fault("temporal's database lost", { by: "cut" });
    await servers.temporal.kill();
    const folder = join(serversHome, "temporal");
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true });
    await servers.temporal.start();
    await until("the schedules are there again", async () => (await schedulesOf(world)) > 0);
  },
};

/** How many schedules there are of the installation. */
async function schedulesOf({ deployment, servers }: World): Promise<number> {
  const connection = await Connection.connect({ address: servers.temporal.address });
  try {
    let found = 0;
    for await (const { memo } of new Client({ connection }).schedule.list())
      if (memo?.tideline === taskQueueOf(deployment.namespace)) found += 1;
    return found;
  } finally {
    await connection.close();
  }
}
