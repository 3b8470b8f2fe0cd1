import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { Kafka, logLevel, type Producer } from "kafkajs";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { UNWATCHED } from "../../batch-layer/stores.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { type View, view } from "../../core/definition/view.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { position } from "../../core/log/position.ts";
import { type NeededLog, retentionRisk, retentionText } from "../../core/log/retention.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { retentionOf } from "../../store/archive/retention.ts";
import { type Definitions, loadDefinitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { compactArchive, guardRetention } from "../../workflows/index.ts";
import { taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { entry } from "../fixtures/events/archived-log.ts";
import { startWorkerIn } from "../fixtures/servers/batch-worker.ts";
import { storesOf } from "../fixtures/servers/stores.ts";
import { installQuietRuntime } from "../fixtures/servers/temporal-runtime.ts";

const HOUR_MS = 3_600_000;
const STREAM = "order-completed";
const root = fileURLToPath(new URL("../..", import.meta.url));

describe("the time that is left", () => {
  const nowMs = 1_000 * HOUR_MS;
  const log = (more: Partial<NeededLog>): NeededLog => ({
    partition: 0,
    start: position(0),
    stable: position(1_000),
    needed: position(500),
    purpose: "what is not archived yet",
    startAtMs: nowMs - 10 * HOUR_MS,
    neededAtMs: nowMs - 5 * HOUR_MS,
    sizeBytes: 1_000_000,
    ...more,
  });
  const byAge = { retentionMs: 8 * HOUR_MS, retentionBytes: null };
  const left = (...args: Parameters<typeof retentionRisk>) => retentionRisk(...args)?.secondsLeft;

  it("is unlimited when Kafka keeps everything, and when nothing is needed", () => {
    expect(retentionRisk({ retentionMs: null, retentionBytes: null }, [log({})], nowMs)).toBeNull();
    expect(retentionRisk(byAge, [log({ needed: position(1_000) })], nowMs)).toBeNull();
    expect(retentionRisk(byAge, [], nowMs)).toBeNull();
  });

  it("is by age what the first needed record has left, and the least of all partitions", () => {
    expect(left(byAge, [log({})], nowMs)).toBe(3 * 3_600);
    const risk = retentionRisk(byAge, [log({}), log({ partition: 1, neededAtMs: nowMs - 7 * HOUR_MS })], nowMs);
    expect(risk).toMatchObject({ partition: 1, secondsLeft: 3_600 });
  });

  it("is by size how long the log takes to grow so far, at the higher of its rates", () => {
    const bySize = { retentionMs: null, retentionBytes: 600_000 };
    // 500 kB are needed and 100 kB left; 1 MB came in ten hours, 500 kB in five, so 100 kB come in one.
    expect(left(bySize, [log({})], nowMs)).toBe(3_600);
    // All of what is needed came in the last hour.
    expect(left(bySize, [log({ neededAtMs: nowMs - HOUR_MS })], nowMs)).toBe(720);
    expect(left({ ...bySize, retentionBytes: 400_000 }, [log({})], nowMs)).toBe(0);
  });

  it("is nothing when the log begins after what is needed, or should have lost it", () => {
    expect(left(byAge, [log({ start: position(501) })], nowMs)).toBe(0);
    expect(left(byAge, [log({ neededAtMs: nowMs - 9 * HOUR_MS })], nowMs)).toBe(0);
  });

  it("is told in words", () => {
    const risk = { partition: 0, needed: position(0), purpose: "what is not archived yet" };
    const told = [0, 90, 600, 11_000, 864_000].map((secondsLeft) => retentionText({ ...risk, secondsLeft }));
    expect(told).toEqual([
      "Kafka may have deleted what is not archived yet",
      "Kafka will delete what is not archived yet in 90 s",
      "Kafka will delete what is not archived yet in 10 min",
      "Kafka will delete what is not archived yet in 3 h",
      "Kafka will delete what is not archived yet in 10 days",
    ]);
  });
});

describe("against Kafka and Temporal", () => {
  let folder = "";
  let log: LogReader;
  let pool: DuckPool;
  let producer: Producer;
  let connection: Connection;
  let definitions: Definitions;

  beforeAll(async () => {
    installQuietRuntime();
    folder = await mkdtemp(join(tmpdir(), "tideline-retention-"));
    log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "retention-test" });
    pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [folder] });
    producer = new Kafka({ brokers: [inject("kafkaBrokers")], logLevel: logLevel.NOTHING }).producer();
    connection = await Connection.connect({ address: inject("temporalAddress") });
    definitions = await loadDefinitions({
      schemas: [join(root, "schemas")],
      views: [join(root, "systems/shop/views")],
    });
    await producer.connect();
  });

  afterAll(async () => {
    await connection?.close();
    await producer?.disconnect();
    await log?.close();
    pool?.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** An installation of its own, whose topic has one partition with `records` records that were written an hour ago. */
  async function place(records: number, config: Record<string, string>) {
    const namespace = `r${randomBytes(4).toString("hex")}`;
    const topic = topicName(namespace, STREAM);
    await ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions: 1, config }]);
    const timestamp = String(Date.now() - HOUR_MS);
    const value = (id: number) =>
      JSON.stringify({
        event_id: `e${id}`,
        order_id: `o${id}`,
        completed_at: Date.parse("2025-06-01T00:00:00Z") + id * 1_000,
        region: "eu",
        category: "c",
        buyer_id: `b${id % 7}`,
        amount_cents: id,
        test_order: false,
      });
    await producer.send({
      topic,
      messages: Array.from({ length: records }, (_, id) => ({
        key: `o${id}`,
        value: value(id),
        partition: 0,
        timestamp,
      })),
    });
    const data = new DataDirectory(join(folder, namespace, "data"));
    const stream = definitions.streams.get(STREAM);
    if (stream === undefined) throw new Error(`no ${STREAM}`);
    const stores = storesOf(data, { log, pool });
    const { id: topicId } = await log.topic(topic);
    return { namespace, stores, topicId, target: { stream: { ...stream, partitions: 1 }, topic } };
  }

  type Place = Awaited<ReturnType<typeof place>>;

  const archive = ({ stores, target, topicId }: Place, from: number, to: number) =>
    archiveChunk(
      stores,
      { ...target, topicId },
      { chunk: { partition: 0, from: String(from), to: String(to) } },
      UNWATCHED,
    );

  const entriesOf = ({ stores, target, topicId }: Place) => stores.archive.list(target.topic, topicId, 0);

  async function withWorker<T>(
    { namespace }: Place,
    registry: Registry,
    work: (client: Client) => Promise<T>,
  ): Promise<T> {
    const data = new DataDirectory(join(folder, namespace, "data"));
    const worker = await startWorkerIn(
      { namespace, taskQueue: taskQueueOf(namespace), data },
      { definitions, registry },
    );
    try {
      return await work(new Client({ connection }));
    } finally {
      await worker.close();
    }
  }

  it("looks at every generation that is kept up to date, also of a view whose file is gone", async () => {
    const generations = new Generations(new DataDirectory(join(folder, "kept")));
    const orders = definitions.streams.get(STREAM) as Stream;
    const files = (views: readonly View[]): Definitions => ({
      views: new Map(views.map((one) => [one.name, { view: one, generation: generationOf(one), file: "test" }])),
      streams: new Map([[STREAM, orders]]),
    });
    const takings = (every: string) =>
      view("takings", { stream: orders, by: {}, every, measures: { orders: count() } });
    const [served, next] = [takings("1 hour"), takings("1 day")];
    await generations.register(files([served]), "test");
    await generations.register(files([next]), "test");
    const both = [
      { name: "takings", generation: generationOf(served) },
      { name: generationOf(next), generation: generationOf(next) },
    ];
    expect(await generations.reading(STREAM, files([next]))).toEqual(both);
    expect(await generations.reading(STREAM, files([]))).toEqual(both.slice(0, 1));
    expect(await generations.reading("another", files([next]))).toEqual([]);
  });

  it("knows what Kafka keeps, and from when on the archive and the views need it", async () => {
    const here = await place(10, { "retention.ms": String(3 * HOUR_MS) });
    const { stores, target, topicId } = here;
    const look = (views: readonly { name: string; generation: string }[] = []) =>
      retentionOf({ ...stores, brokers: inject("kafkaBrokers") }, target.topic, views);
    const soon = (secondsLeft = 0) => secondsLeft > 2 * 3_600 - 120 && secondsLeft <= 2 * 3_600;

    await archive(here, 0, 4);
    const { retentionMs, risk } = await look();
    expect(retentionMs).toBe(3 * HOUR_MS);
    expect(risk).toMatchObject({ partition: 0, needed: 4n, purpose: "what is not archived yet" });
    expect(soon(risk?.secondsLeft)).toBe(true);

    await archive(here, 4, 10);
    expect((await look()).risk).toBeNull();
    await stores.manifests.genesis("revenue-1", new Map([[0, position(7)]]), topicId, "test");
    const view = (await look([{ name: "revenue", generation: "revenue-1" }])).risk;
    expect(view).toMatchObject({ needed: 7n, purpose: expect.stringContaining("view revenue") });
  });

  it("sees nothing to fear in a topic that keeps everything, and the size limit of one that does not", async () => {
    const ask = async ({ stores, target }: Place) =>
      retentionOf({ ...stores, brokers: inject("kafkaBrokers") }, target.topic, []);
    expect(await ask(await place(10, {}))).toEqual({ retentionMs: null, retentionBytes: null, risk: null });
    const small = await ask(await place(1_000, { "retention.bytes": "1000" }));
    expect(small).toMatchObject({ retentionMs: null, retentionBytes: 1_000, risk: { needed: 0n, secondsLeft: 0 } });
  });

  it("archives at once what Kafka will soon delete, says so, and then has nothing to say", async () => {
    const here = await place(50, { "retention.ms": String(3 * HOUR_MS) });
    const registry = new Registry();
    await withWorker(here, registry, async (client) => {
      const handle = await client.workflow.start<typeof guardRetention>("guardRetention", {
        workflowId: workId(here.namespace, "retention", STREAM),
        taskQueue: taskQueueOf(here.namespace),
        args: [{ stream: STREAM }],
      });
      const nothing = { secondsLeft: null, message: "Kafka will delete nothing that is still needed" };
      expect(await handle.result()).toEqual({ ...nothing, close: true });
      expect((await entriesOf(here)).entries.at(-1)?.to).toBe(50n);
      const { raw } = await handle.describe();
      expect(JSON.stringify(raw)).toContain("TidelineStream");
      expect(await registry.metrics()).toContain(`tideline_retention_seconds_left{stream="${STREAM}"} +Inf`);
      expect(await client.workflow.getHandle(workId(here.namespace, "archive", STREAM)).result()).toMatchObject({
        records: 50,
      });
    });
  });

  it("merges small archive files when somebody starts it with nothing but the stream", async () => {
    const here = await place(64, {});
    for (let from = 0; from < 64; from += 4) await archive(here, from, from + 4);
    await withWorker(here, new Registry(), async (client) => {
      const run = () =>
        client.workflow.execute<typeof compactArchive>("compactArchive", {
          workflowId: workId(here.namespace, "compact-archive", STREAM),
          taskQueue: taskQueueOf(here.namespace),
          args: [{ stream: STREAM }],
        });
      // Three blocks of sixteen offsets are complete; the newest entries stay.
      expect(await run()).toEqual({ entries: 12, merged: 3, swept: 0 });
      expect(await run()).toEqual({ entries: 0, merged: 0, swept: 0 });
    });
    const spans = ({ from, to, records }: ArchiveEntry) => [from, to, records];
    expect((await entriesOf(here)).entries.map(spans)).toEqual([
      [0n, 16n, 16],
      [16n, 32n, 16],
      [32n, 48n, 16],
      ...[48, 52, 56, 60].map((from) => spans(entry(from, from + 4, 4))),
    ]);
  });
});
