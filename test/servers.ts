import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { freePorts } from "../stack/ports.ts";
import { startServers } from "../stack/servers.ts";

declare module "vitest" {
  interface ProvidedContext {
    kafkaBrokers: string;
    /** Where Kafka keeps the files of its topics. */
    kafkaFolder: string;
    redisUrl: string;
    temporalAddress: string;
  }
}

/** What all tiers of one run share. Each tier loads this module for itself, so it is kept on the process. */
interface Shared {
  readonly home: string;
  readonly servers: Awaited<ReturnType<typeof startServers>>;
}

const held = globalThis as { tidelineTestServers?: { tiers: number; readonly shared: Promise<Shared> } };

/** One Kafka, one Redis and one Temporal for all test files, on free ports, gone afterwards. Files keep apart by their namespace. */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  held.tidelineTestServers ??= { tiers: 0, shared: start() };
  const running = held.tidelineTestServers;
  running.tiers += 1;
  const { home, servers } = await running.shared;
  project.provide("kafkaBrokers", servers.kafka.brokers);
  project.provide("kafkaFolder", join(home, "kafka", "data"));
  project.provide("redisUrl", servers.redis.url);
  project.provide("temporalAddress", servers.temporal.address);
  return async () => {
    running.tiers -= 1;
    if (running.tiers > 0) return;
    await servers.stop();
    await rm(home, { recursive: true, force: true });
  };
}

async function start(): Promise<Shared> {
  const home = await mkdtemp(join(tmpdir(), "tideline-test-"));
  const servers = await startServers({
    home,
    ports: await freePorts(),
    report: (server, line) => console.log(`${server}: ${line}`),
  });
  return { home, servers };
}
