import { randomBytes } from "node:crypto";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Admin } from "@platformatic/kafka";
import { LocalProcess, SERVER_READY_LIMIT_MS } from "../process/local-process.ts";
import { run } from "../process/run.ts";
import type { Work } from "../process/work.ts";
import { exists } from "../programs/cache.ts";
import { findKafka, type KafkaProgram } from "../programs/kafka-program.ts";
import { type Ports, requireFreePorts } from "./ports.ts";

/**
 * One node that is both broker and controller. The quorum is static, so its ports may change from one start to the
 * next.
 */
const properties = (dataFolder: string, ports: Ports) => ({
  "process.roles": "broker,controller",
  "node.id": 1,
  "controller.quorum.voters": `1@127.0.0.1:${ports.kafkaController}`,
  "controller.listener.names": "CONTROLLER",
  listeners: `PLAINTEXT://127.0.0.1:${ports.kafka},CONTROLLER://127.0.0.1:${ports.kafkaController}`,
  "advertised.listeners": `PLAINTEXT://127.0.0.1:${ports.kafka}`,
  "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
  "log.dirs": dataFolder,
  // A misspelt name must fail, and not create a topic.
  "auto.create.topics.enable": false,
  // Results are computed from the log, so nothing is deleted unless a topic's own settings say so.
  "log.retention.hours": -1,
  "message.max.bytes": 10 * 1024 * 1024,
  "replica.fetch.max.bytes": 10 * 1024 * 1024,
  "default.replication.factor": 1,
  "min.insync.replicas": 1,
  "offsets.topic.replication.factor": 1,
  "offsets.topic.num.partitions": 8,
  "transaction.state.log.replication.factor": 1,
  "transaction.state.log.min.isr": 1,
  "transaction.state.log.num.partitions": 8,
  "share.coordinator.state.topic.replication.factor": 1,
  "share.coordinator.state.topic.min.isr": 1,
  // After a crash the controller refuses the broker until the session of the earlier broker process has expired.
  "broker.session.timeout.ms": 3000,
  "broker.heartbeat.interval.ms": 1000,
  // No other members join Tideline's groups, so a group need not wait three seconds for them.
  "group.initial.rebalance.delay.ms": 0,
});

/** Formats the data folder, once. Cannot be interrupted: a half-formatted folder would refuse every later start. */
async function format({ storage }: KafkaProgram, propertiesFile: string, env: Record<string, string>, work: Work) {
  const [command, ...args] = storage;
  work.report("formatting its storage");
  // One id in 64 begins with a hyphen, so the id must not be an argument of its own.
  const clusterId = randomBytes(16).toString("base64url");
  await run(
    command,
    [...args, "format", `--cluster-id=${clusterId}`, "-c", propertiesFile, "--ignore-formatted"],
    work,
    {
      env,
      finish: true,
    },
  );
}

async function answersMetadata(broker: string, signal: AbortSignal): Promise<void> {
  const admin = new Admin({
    clientId: "tideline-stack",
    bootstrapBrokers: [broker],
    retries: false,
    connectTimeout: 1000,
    timeout: 3000,
  });
  try {
    const { brokers } = await admin.metadata({ topics: [], forceUpdate: true });
    signal.throwIfAborted();
    if (brokers.size === 0) throw new Error("the broker has not joined its cluster yet");
  } finally {
    await admin.close();
  }
}

export function kafkaProcess(home: string, cacheDir: string, ports: Ports): LocalProcess {
  const folder = join(home, "kafka");
  const dataFolder = join(folder, "data");
  const propertiesFile = join(folder, "server.properties");
  return new LocalProcess({
    name: "kafka",
    title: "Kafka",
    home,
    mark: propertiesFile,
    async prepare(work) {
      const program = await findKafka(cacheDir, work);
      await requireFreePorts(ports, ["kafka", "kafkaController"]);
      await mkdir(dataFolder, { recursive: true });
      const lines = Object.entries(properties(dataFolder, ports)).map(([key, value]) => `${key}=${value}\n`);
      await writeFile(propertiesFile, lines.join(""));
      // Only Kafka's own scripts read these.
      const env = { KAFKA_HEAP_OPTS: "-Xmx512m", LOG_DIR: join(folder, "script-logs") };
      if (!(await exists(join(dataFolder, "meta.properties")))) await format(program, propertiesFile, env, work);
      const [command, ...args] = program.server;
      return { command, args: [...args, propertiesFile], env };
    },
    probe: (signal) => answersMetadata(`127.0.0.1:${ports.kafka}`, signal),
    readyLimitMs: SERVER_READY_LIMIT_MS,
    graceMs: 30_000,
  });
}
