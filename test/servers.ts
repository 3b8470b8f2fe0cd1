import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import type { TestProject } from "vitest/node";
import { workflowCode } from "../activities/worker/workflow-bundle.ts";
import { compiledProgram } from "../cli/compiled.js";
import { freePorts } from "../stack/servers/ports.ts";
import { startServers } from "../stack/servers/servers.ts";
import { setProgram } from "../store/files/program.ts";

declare module "vitest" {
  interface ProvidedContext {
    kafkaBrokers: string;
    /** Where Kafka keeps the files of its topics. */
    kafkaFolder: string;
    redisUrl: string;
    temporalAddress: string;
    /** Where the program was compiled to; null when that was not possible. */
    programFolder: string | null;
  }
}

/** What all tiers of one run share. Each tier loads this module for itself, so it is kept on the process. */
interface Shared {
  readonly home: string;
  readonly servers: Awaited<ReturnType<typeof startServers>>;
  readonly programFolder: string | null;
}

const held = globalThis as { tidelineTestServers?: { tiers: number; readonly shared: Promise<Shared> } };

/**
 * One Kafka, one Redis and one Temporal for all test files, on free ports, gone afterwards. Files keep apart by their
 * namespace.
 */
export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  held.tidelineTestServers ??= { tiers: 0, shared: start() };
  const running = held.tidelineTestServers;
  running.tiers += 1;
  const { home, servers, programFolder } = await running.shared;
  project.provide("kafkaBrokers", servers.kafka.brokers);
  project.provide("kafkaFolder", join(home, "kafka", "data"));
  project.provide("redisUrl", servers.redis.url);
  project.provide("temporalAddress", servers.temporal.address);
  project.provide("programFolder", programFolder);
  return async () => {
    running.tiers -= 1;
    if (running.tiers > 0) return;
    await servers.stop();
    await rm(home, { recursive: true, force: true });
  };
}

async function start(): Promise<Shared> {
  const home = await mkdtemp(join(tmpdir(), "tideline-test-"));
  const ports = await freePorts();
  const report = (server: string, line: string) => console.log(`${server}: ${line}`);
  const [servers, programFolder] = await Promise.all([startServers({ home, ports, report }), compileProgram()]);
  return { home, servers, programFolder };
}

/** Makes one file of the program and one of its workflows, so that no test waits for that, or several for the same. */
async function compileProgram(): Promise<string | null> {
  const root = fileURLToPath(new URL("..", import.meta.url));
  await execa(process.execPath, [join(root, "cli", "bundle.js")]);
  const folder = await compiledProgram(root);
  setProgram({ folder, load: () => Promise.reject(new Error("nothing is loaded here")) });
  await workflowCode();
  return folder;
}
