import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel, type Producer } from "kafkajs";
import { afterAll, beforeAll, inject } from "vitest";
import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import {
  type BuiltPart,
  clearRebuilds,
  finishRebuild,
  pinVersion,
  planParts,
  rebuildPart,
} from "../../batch-layer/recompute/rebuild.ts";
import { writeDelta } from "../../batch-layer/refresh/delta.ts";
import { checkDelta, finishPublish, publishDelta } from "../../batch-layer/refresh/refresh.ts";
import {
  type BatchStores,
  type StreamTarget,
  UNWATCHED,
  type ViewTarget,
  type Watch,
} from "../../batch-layer/stores.ts";
import { versionPrefix } from "../../batch-layer/versions/publish.ts";
import { generationOf } from "../../core/definition/generation.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { type Cut, cutFromJson, cutToJson } from "../../core/log/position.ts";
import { Archive } from "../../store/archive/archive.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DuckPool, rowsOf } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { sales, turnover } from "./sales.ts";

const run = randomBytes(4).toString("hex");
export let folder = "";
let pool: DuckPool;
export let log: LogReader;
let redis: TidelineRedis;
export let kafka: Kafka;
let producer: Producer;
let topics = 0;

/**
 * Opens a data directory and clients of the shared servers for a test file, which the exported variables above hold
 * until it ends.
 */
export function useServers(): void {
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tideline-batch-"));
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [folder] });
    log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "batch-test" });
    redis = openRedis(inject("redisUrl"), () => {});
    kafka = new Kafka({ brokers: [inject("kafkaBrokers")], logLevel: logLevel.NOTHING });
    producer = kafka.producer();
    await producer.connect();
  });

  afterAll(async () => {
    await producer?.disconnect();
    await log?.close();
    redis?.disconnect();
    pool?.close();
    await rm(folder, { recursive: true, force: true });
  });
}

/** A fresh topic and a data directory of its own; all of this file's topics are gone with the broker. */
export async function place(
  partitions = 1,
  revision = 1,
): Promise<{ stores: BatchStores; target: ViewTarget; topicId: string; chain: Chain }> {
  const topic = `${run}.sales-${topics++}`;
  await ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions }]);
  const data = new DataDirectory(join(folder, topic));
  const stores = {
    data,
    archive: new Archive(data),
    manifests: new Manifests(data),
    log,
    pool,
    schemas: Schemas.inFiles(data),
    readersMs: 0,
  };
  const generation = generationOf(turnover);
  const target = { stream: { ...sales, revision }, view: turnover, generation, topic };
  return { stores, target, topicId: (await log.topic(topic)).id, chain: new Chain(redis, topic, generation) };
}

export const send = (topic: string, values: readonly (string | Buffer | null)[], partition = 0) =>
  producer.send({ topic, messages: values.map((value, index) => ({ key: `k${index}`, value, partition })) });

/** Archives up to `to`, or to the end of committed data, chunk after chunk. */
export async function archiveTo(
  stores: BatchStores,
  target: StreamTarget,
  to: Cut | null = null,
  chunkOffsets = 200_000,
  watch: Watch = UNWATCHED,
): Promise<void> {
  for (;;) {
    const plan = await planStream(stores, target, to === null ? null : cutToJson(to));
    const [chunk] = plan.chunks;
    if (chunk === undefined) return;
    const limit = BigInt(chunk.from) + BigInt(chunkOffsets);
    await archiveChunk(
      stores,
      target,
      plan.topicId,
      { ...chunk, to: String(limit < BigInt(chunk.to) ? limit : chunk.to) },
      watch,
    );
  }
}

interface ArchivedRow {
  readonly offset: bigint;
  readonly key: string | null;
  readonly value: string | null;
  readonly duplicate: boolean;
  readonly rejected: boolean;
}

/** What the archive holds of a partition, in the order of its files. */
export async function archivedRows(
  stores: BatchStores,
  topic: string,
  topicId: string,
  partition = 0,
): Promise<ArchivedRow[]> {
  const files = (await stores.archive.entries(topic, topicId, partition)).flatMap(({ file }) =>
    file === null ? [] : [stores.data.path(file)],
  );
  if (files.length === 0) return [];
  const duck = await pool.connect();
  const list = files.map((file) => `'${file}'`).join(", ");
  const rows = await rowsOf(
    duck,
    "SELECT _offset, hex(_key), hex(_value), _duplicate, _reject IS NOT NULL " +
      `FROM read_parquet([${list}]) ORDER BY _offset`,
  );
  duck.closeSync();
  return rows.map(([offset, key, value, duplicate, rejected]) => ({
    offset: offset as bigint,
    key: key as string | null,
    value: value as string | null,
    duplicate: duplicate === true,
    rejected: rejected === true,
  }));
}

export const entriesOf = (stores: BatchStores, topic: string, topicId: string, partition = 0) =>
  stores.archive.entries(topic, topicId, partition);

/** Steps 3 to 7 of a refresh to the cut `to`, without a speed layer unless the chain has segments. */
export async function refreshTo(
  { stores, target, chain, topicId }: Awaited<ReturnType<typeof place>>,
  to: Cut,
): Promise<boolean> {
  const manifest = await beginGeneration(stores, target.generation, target.topic, "test");
  await archiveTo(stores, target, to, 97);
  const from = cutFromJson(manifest.cut);
  const delta = await writeDelta(
    stores,
    target,
    { topicId, from, to },
    stores.manifests.stateFolder(target.generation),
    versionPrefix(manifest.version + 1),
    UNWATCHED,
  );
  await checkDelta(stores, target, chain, { from, to, ...delta });
  const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
  const published = await publishDelta(stores, target, {
    version: manifest.version,
    from,
    to,
    file: delta.file,
    ledger,
    createdBy: randomUUID(),
  });
  if (published !== null) await finishPublish(stores, target, chain, published);
  return published !== null;
}

export async function rebuildAll(
  { stores, target }: Awaited<ReturnType<typeof place>>,
  partRecords: number,
  meanwhile: () => Promise<unknown> = async () => {},
) {
  const pinned = await pinVersion(stores, target, UNWATCHED);
  const built: BuiltPart[] = [];
  for (const part of await planParts(stores, target, pinned, partRecords))
    built.push(await rebuildPart(stores, target, pinned.topicId, part, "run", UNWATCHED));
  await meanwhile();
  const result = await finishRebuild(stores, target, pinned, built, { run: "run", createdBy: "test" }, UNWATCHED);
  await clearRebuilds(stores, target.generation);
  return result;
}

export const newestOf = async ({ manifests }: BatchStores, { generation }: ViewTarget): Promise<Manifest> => {
  const manifest = await manifests.newest(generation);
  if (manifest === null) throw new Error("no manifest");
  return manifest;
};
