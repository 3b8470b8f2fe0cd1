import { readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import type { Scenario } from "../deployment/scenario.ts";
import { ticks } from "../schemas/ticks.ts";
import { Source } from "../traffic/source.ts";
import { mustStop } from "./log-gone.ts";

/**
 * Takes the second half off every partition of a topic, as a broker has it that lost its power before it wrote them to
 * disk.
 */
async function cutInHalf(kafkaFolder: string, topic: string): Promise<void> {
  const found = (await readdir(kafkaFolder, { recursive: true, withFileTypes: true })).filter((file) =>
    file.parentPath.split("/").at(-1)?.startsWith(`${topic}-`),
  );
  const logs = found.filter(({ name }) => name.endsWith(".log"));
  if (logs.length === 0) throw new Error(`no log of ${topic} in ${kafkaFolder}`);
  for (const { parentPath, name } of logs) {
    const file = join(parentPath, name);
    await truncate(file, Math.floor((await stat(file)).size / 2));
  }
  // What Kafka makes again of the log.
  for (const { parentPath, name } of found)
    if (/\.(index|timeindex|txnindex|snapshot)$/.test(name)) await rm(join(parentPath, name));
}

export const logRewritten: Scenario = {
  name: "log-rewritten",
  what:
    "Kafka loses the end of its log and writes other records there while the batch layer is at " +
    "work: every view stops with LOG_TRUNCATED, and no answer counts both.",
  breaks: ["kafka"],
  recoveryLimitMs: 60_000,
  async run(world) {
    const deployment = await world.aside("rewritten");
    if (!(await world.recovered(deployment))) world.wrong("it did not begin");
    await deployment.source.close();
    await world.recovered(deployment);
    const { ends, read } = deployment.oracle;
    await deployment.oracle.close();
    const topic = deployment.topic(ticks.name);
    world.fault("broker killed, and half of a log gone");
    await world.servers.kafka.kill("SIGKILL");
    await cutInHalf(join(world.serversHome, "kafka"), topic);
    await world.servers.kafka.start();
    const seed = world.random(1_000_000);
    const source = world.keep(new Source({ brokers: deployment.brokers, topic, seed, rate: 0 }));
    source.pause();
    await source.burst(read + 2_000);
    await mustStop(world, deployment, "LOG_TRUNCATED", ends);
  },
};
