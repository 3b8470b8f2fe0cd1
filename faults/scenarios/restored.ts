import { join } from "node:path";
import type { Scenario } from "../deployment/scenario.ts";
import { withRedis } from "./redis.ts";

export const restored: Scenario = {
  name: "restored",
  what:
    "The data directory is brought back from a backup that was made under load, and Redis is ahead of it, or empty: " +
    "everything goes on from there, and no token of what came after the backup names other numbers.",
  breaks: ["redis"],
  recoveryLimitMs: 90_000,
  async run(world) {
    const { deployment, fault, random, say, until } = world;
    const { fleet, oracle, refresher } = deployment;
    const backups = join(deployment.home, "backups");
    const versions = () => new Map(oracle.views.map((view) => [view, deployment.latest(view)?.position.version ?? 0]));
    await fleet.command("backup", backups);
    const since = versions();
    await until(
      "every view gets newer versions than those of the backup",
      () => [...versions()].every(([view, version]) => version >= (since.get(view) ?? 0) + 2),
      75_000,
    );
    await refresher.pause();
    await fleet.stop();
    const isEmptied = random(2) === 0;
    if (isEmptied) await withRedis(world, (redis) => redis.flushall());
    say(`restored, with a Redis that is ${isEmptied ? "empty" : "ahead"}`);
    fault("data directory restored");
    // A role that was killed counts as running for some seconds.
    await until("the restore", () =>
      fleet.command("restore", backups, "--replace").then(
        () => true,
        () => false,
      ),
    );
    refresher.resume();
  },
};
