import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { instant, stream, text } from "../../core/definition/builders.ts";
import { STEADY_CLOCK } from "../../speed-layer/clock.ts";
import { PACING } from "../../speed-layer/fetches.ts";
import { speedMetrics } from "../../speed-layer/metrics.ts";
import { StreamConsumer } from "../../speed-layer/stream-consumer.ts";
import { Archive } from "../../store/archive/archive.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { FailureTracker } from "../../store/redis/failure-tracker.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { until } from "../fixtures/servers/installation.ts";

const visits = stream("visits", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 1_000,
  fields: { id: text({ max: 40 }), at: instant() },
});
const topic = topicName(`stream-consumer-${Date.now().toString(36)}`, visits.name);

let home: string;
let pool: DuckPool;
let log: LogReader;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-stream-consumer-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 128, directories: [home], keepsPlans: true });
  log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "stream-consumer-test" });
  await ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions: 1 }]);
});

afterAll(async () => {
  await log.close();
  pool.close();
  await rm(home, { recursive: true });
});

test("a consumer stops and leaves its group although a lane cannot be closed", { timeout: 120_000 }, async () => {
  const data = new DataDirectory(home);
  const failing = new Proxy(pool, {
    get: (target, name) =>
      name === "connect"
        ? async () => {
            const duck = await target.connect();
            const closeSync = duck.closeSync.bind(duck);
            return Object.assign(duck, {
              closeSync: () => {
                closeSync();
                throw new Error("the connection cannot be closed");
              },
            });
          }
        : Reflect.get(target, name, target),
  });
  const lines: { readonly msg: string; readonly error?: string }[] = [];
  const consumer = new StreamConsumer(
    {
      ...{ stream: visits, topic, brokers: inject("kafkaBrokers"), pool: failing, name: "visits", nameOf: () => "" },
      deadLetters: { send: () => Promise.reject(new Error("there are no records")) },
      ...{ pacing: PACING, clock: STEADY_CLOCK, failures: new FailureTracker(null) },
      dedup: { archive: new Archive(data), data, log, schemas: Schemas.inFiles(data) },
      metrics: speedMetrics(new Registry()),
      logger: pino({}, { write: (line: string) => void lines.push(JSON.parse(line)) }),
    },
    [],
  );
  consumer.start();
  await until(
    "the consumer has the partition",
    async () => consumer.partitions,
    (all) => all.length === 1,
  );
  await consumer.stop();
  const told = lines.map(({ msg, error }) => `${msg}: ${error}`);
  expect(told).toContain("could not close a lane: the connection cannot be closed");
});
