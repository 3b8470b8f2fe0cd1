import { randomBytes, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { Kafka, logLevel, type Producer } from "kafkajs";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { archiveChunk, CHUNK_LIMITS } from "../batch-layer/archive/archive-chunk.ts";
import { PLAN_LIMITS, planArchive } from "../batch-layer/archive/archive-plan.ts";
import { planStream } from "../batch-layer/archive/archive-stream.ts";
import { sweepArchive } from "../batch-layer/archive/archive-sweep.ts";
import { acceptLog, findDifferences } from "../batch-layer/recompute/accept-log.ts";
import {
  type BuiltPart,
  clearRebuilds,
  finishRebuild,
  pinVersion,
  planParts,
  rebuildPart,
} from "../batch-layer/recompute/rebuild.ts";
import { planRebuild } from "../batch-layer/recompute/rebuild-plan.ts";
import { chooseCut } from "../batch-layer/refresh/cut-choice.ts";
import { writeDelta } from "../batch-layer/refresh/delta.ts";
import { healLive } from "../batch-layer/refresh/heal-live.ts";
import { LiveStateDiffers, requireBalance } from "../batch-layer/refresh/ledger-check.ts";
import { checkDelta, finishPublish, publishDelta } from "../batch-layer/refresh/refresh.ts";
import { sealCut } from "../batch-layer/refresh/seal.ts";
import { type BatchStores, type StreamTarget, UNWATCHED, type ViewTarget, type Watch } from "../batch-layer/stores.ts";
import { compact } from "../batch-layer/versions/compact.ts";
import { cutMarks } from "../batch-layer/versions/cut-marks.ts";
import { planFold } from "../batch-layer/versions/fold-plan.ts";
import { sweepStates, versionPrefix } from "../batch-layer/versions/publish.ts";
import { stateHash } from "../batch-layer/versions/state-hash.ts";
import { instant, integer, oneOf, text } from "../core/contract/fields.ts";
import { sql } from "../core/contract/sql.ts";
import { stream } from "../core/contract/stream.ts";
import { generationOf } from "../core/definition/generation.ts";
import { view } from "../core/definition/view.ts";
import type { ArchiveEntry, LogMark, Manifest, StateFile } from "../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER, type Ledger } from "../core/log/ledger.ts";
import { at, type Cut, cutFromJson, cutsEqual, cutToJson, type Position, position } from "../core/log/position.ts";
import { tile } from "../core/log/spans.ts";
import { count } from "../core/measures/kinds/count.ts";
import { distinct } from "../core/measures/kinds/distinct.ts";
import { max, min } from "../core/measures/kinds/extremes.ts";
import { sum } from "../core/measures/kinds/sum.ts";
import { Archive } from "../store/archive/archive.ts";
import { beginGeneration } from "../store/archive/generation-start.ts";
import { LiveResets } from "../store/archive/live-resets.ts";
import { Manifests, manifestDocument } from "../store/archive/manifests.ts";
import { DuckPool, rowsOf } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { ensureTopics } from "../store/kafka/cluster/topics.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { lostOffset } from "../store/kafka/read/log-check.ts";
import { type Mark, markFromJson } from "../store/kafka/read/marks.ts";
import { Chain } from "../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../store/redis/redis.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import { flipBit } from "./flip-bit.ts";
import { patiently } from "./patiently.ts";

const DEDUP_WINDOW = 20;

/** A small stream whose dedup window is shorter than the archive's chunks in some tests, and longer in others. */
const sales = stream("sales", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: DEDUP_WINDOW,
  fields: {
    id: text({ max: 32 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" }),
    shop: oneOf("north", "south"),
    cents: integer({ min: -1_000_000, max: 1_000_000 }),
  },
});

const turnover = view("turnover", {
  stream: sales,
  where: sql`cents <> 0`,
  by: { shop: sql`shop` },
  every: "1 hour",
  measures: {
    sales: count(),
    cents: sum(sql`cents`),
    lowest: min(sql`cents`),
    highest: max(sql`cents`),
    ids: distinct(sql`id`),
  },
});

const T0 = Date.parse("2025-06-01T00:00:00Z");

/** An event as its producer writes it; every seventh has cents 0 and is filtered. */
function sale(id: number): string {
  return JSON.stringify({
    id: `s${id}`,
    at: T0 + id * 60_000,
    shop: id % 3 === 0 ? "north" : "south",
    cents: id % 7 === 0 ? 0 : ((id * 37) % 1_000) - 300,
  });
}

const positions = (json: Record<number, bigint | number>): Cut =>
  cutFromJson(Object.fromEntries(Object.entries(json).map(([p, o]) => [p, String(o)])));

describe("the archive's plan", () => {
  const bigOffset = fc.bigInt({ min: 0n, max: 2_000_000n });
  const situation = fc.record({
    begin: bigOffset,
    more: bigOffset,
    lost: fc.bigInt({ min: 0n, max: 10n }),
    chunkOffsets: fc.integer({ min: 1_000, max: 300_000 }),
  });

  it("tiles from where the archive ends to the target, in chunks of the limit at most (invariant 1)", () => {
    fc.assert(
      fc.property(situation, ({ begin, more, chunkOffsets }) => {
        const limits = { chunkOffsets, chunks: 10_000 };
        const target = positions({ 0: begin + more, 3: more });
        const chunks = planArchive(
          {
            topic: "t",
            archived: positions({ 0: begin }),
            logStart: positions({ 0: 0, 3: 0 }),
            stable: target,
            target,
          },
          limits,
        );
        for (const [partition, from] of [
          [0, begin],
          [3, 0n],
        ] as const) {
          const spans = chunks
            .filter((chunk) => chunk.partition === partition)
            .map((chunk) => ({ from: positions({ 0: BigInt(chunk.from) }), to: positions({ 0: BigInt(chunk.to) }) }));
          const tiling = tile(positions({ 0: from }), spans);
          expect(tiling.ok && at(tiling.to, 0)).toBe(at(target, partition) > from ? at(target, partition) : from);
          for (const span of spans) expect(at(span.to, 0) - at(span.from, 0)).toBeLessThanOrEqual(BigInt(chunkOffsets));
        }
      }),
    );
  });

  it("begins at the log's start where there is no archive yet", () => {
    const target = positions({ 0: 50 });
    expect(
      planArchive({ topic: "t", archived: new Map(), logStart: positions({ 0: 7 }), stable: target, target }),
    ).toEqual([{ partition: 0, from: "7", to: "50" }]);
  });

  it("plans a bounded number of chunks at a time", () => {
    const target = positions({ 0: 1_000_000_000 });
    const chunks = planArchive({
      topic: "t",
      archived: new Map(),
      logStart: positions({ 0: 0 }),
      stable: target,
      target,
    });
    expect(chunks).toHaveLength(PLAN_LIMITS.chunks);
  });

  it("stops with LOG_LOST before a gap, and with LOG_TRUNCATED when the log ends too early (invariant 10)", () => {
    const target = positions({ 0: 100 });
    const plan = (archived: number, logStart: number, stable: number) => () =>
      planArchive({
        topic: "t",
        archived: positions({ 0: archived }),
        logStart: positions({ 0: logStart }),
        stable: positions({ 0: stable }),
        target,
      });
    expect(plan(10, 11, 100)).toThrowError(expect.objectContaining({ code: "LOG_LOST" }));
    expect(plan(10, 10, 99)).toThrowError(expect.objectContaining({ code: "LOG_TRUNCATED" }));
    expect(plan(100, 200, 300)()).toEqual([]);
  });
});

describe("the choice of the next cut", () => {
  const cut = positions({ 0: 10, 1: 5 });
  const stable = positions({ 0: 30, 1: 9 });
  const segment = (from: Cut, to: Cut | null, id = "1") => ({ id, from, to, token: null, cells: null });
  const chainOf = (segments: ReturnType<typeof segment>[], applied: Cut) => ({
    digest: "",
    nonce: "n",
    topicId: "",
    pointer: 1,
    segments,
    applied,
    cells: 0,
    freshAtMs: null,
  });
  const sealed = positions({ 0: 20, 1: 5 });
  const chain = chainOf([segment(cut, sealed), segment(sealed, null, "2")], positions({ 0: 22, 1: 5 }));

  it("takes what the speed layer sealed", () => {
    expect(chooseCut({ cut, sealed, chain, stable, waited: false })).toEqual({ kind: "cut", cut: sealed, by: "speed" });
  });

  it("takes the log's end without a chain, with one that does not tile, and with one that is behind", () => {
    const end = { kind: "cut", cut: stable, by: "log" };
    expect(chooseCut({ cut, sealed: null, chain: null, stable, waited: false })).toEqual(end);
    const torn = chainOf([segment(positions({ 0: 11, 1: 5 }), null)], sealed);
    expect(chooseCut({ cut, sealed, chain: torn, stable, waited: false })).toEqual(end);
    const behind = positions({ 0: 9, 1: 5 });
    expect(
      chooseCut({
        cut,
        sealed: behind,
        chain: chainOf([segment(positions({ 0: 1 }), null)], behind),
        stable,
        waited: false,
      }),
    ).toEqual(end);
    // It was sealed in a chain that was reseeded a moment later.
    expect(chooseCut({ cut, sealed: behind, chain, stable, waited: false })).toEqual(end);
  });

  it("waits when nothing was applied though the log goes on, then takes the log's end", () => {
    const still = chainOf([segment(cut, null)], cut);
    expect(chooseCut({ cut, sealed: cut, chain: still, stable, waited: false })).toEqual({ kind: "wait" });
    expect(chooseCut({ cut, sealed: cut, chain: still, stable, waited: true })).toEqual({
      kind: "cut",
      cut: stable,
      by: "log",
    });
    expect(chooseCut({ cut, sealed: cut, chain: still, stable: cut, waited: false })).toEqual({ kind: "nothing" });
    expect(chooseCut({ cut, sealed: null, chain: null, stable: cut, waited: false })).toEqual({ kind: "nothing" });
  });

  it("says so when the log ends below the cut", () => {
    expect(chooseCut({ cut, sealed: null, chain: null, stable: positions({ 0: 30, 1: 4 }), waited: false })).toEqual({
      kind: "truncated",
    });
  });
});

describe("the plan of a fold", () => {
  const fileOf = (sizeBytes: number, index: number): StateFile => ({
    file: `f${index}`,
    rows: sizeBytes,
    sizeBytes,
    checksum: "",
  });

  it("leaves few files, and rewrites a byte about once for every doubling of its file", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 200, maxLength: 600 }), (deltas) => {
        let files: StateFile[] = [];
        let rewritten = 0;
        for (const [index, size] of deltas.entries()) {
          files.push(fileOf(size, index));
          const folded = planFold(files);
          if (folded.length === 0) continue;
          const weight = folded.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
          rewritten += weight;
          files = [fileOf(weight, index + 10_000), ...files.filter((file) => !folded.includes(file))];
          expect(files.length).toBeLessThanOrEqual(12);
        }
        const total = deltas.reduce((a, b) => a + b, 0);
        expect(rewritten).toBeLessThan(total * (2 + Math.log2(deltas.length)));
      }),
      { numRuns: 50 },
    );
  });

  it("leaves a large base alone when the deltas are small", () => {
    const folded = planFold([fileOf(1_000_000, 0), ...Array.from({ length: 24 }, (_, index) => fileOf(10, index + 1))]);
    expect(folded).toHaveLength(24);
    expect(folded.some(({ file }) => file === "f0")).toBe(false);
  });
});

describe("the plan of a rebuild", () => {
  it("tiles each partition's span by whole archive files (invariant 1)", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 200 }),
        (spans, skip, cutOff, partRecords) => {
          let end = 0;
          const entries = spans.map((size) => {
            end += size;
            return { from: String(end - size), to: String(end), records: size } as ArchiveEntry;
          });
          const [start, cut] = [Math.min(skip, end), Math.max(Math.min(skip, end), end - cutOff)];
          const parts = planRebuild(
            new Map([[0, entries]]),
            positions({ 0: start }),
            positions({ 0: cut }),
            partRecords,
          );
          const tiling = tile(
            positions({ 0: start }),
            parts
              .flatMap(({ spans }) => spans)
              .map(({ from, to }) => ({ from: positions({ 0: BigInt(from) }), to: positions({ 0: BigInt(to) }) })),
          );
          expect(tiling.ok && at(tiling.to, 0)).toBe(BigInt(cut));
        },
      ),
    );
  });
});

describe("the ledger", () => {
  const ledger: Ledger = { records: 10, duplicates: 2, rejects: 1, counted: 6, filtered: 1 };
  const archive = new Map([[0, ledger]]);
  const readings = { view: "v", archive, entries: new Map([[0, ledger]]), segments: new Map([[0, ledger]]) };
  const unbalanced = expect.objectContaining({ code: "LEDGER_UNBALANCED" });

  it("is refused when it does not add up, or when another reading of the span differs (invariant 11)", () => {
    expect(() => requireBalance(readings)).not.toThrow();
    expect(() => requireBalance({ ...readings, segments: null, entries: new Map() })).not.toThrow();
    expect(() => requireBalance({ ...readings, archive: new Map([[0, { ...ledger, counted: 7 }]]) })).toThrowError(
      unbalanced,
    );
    expect(() =>
      requireBalance({ ...readings, segments: new Map([[0, { ...ledger, counted: 5, filtered: 2 }]]) }),
    ).toThrowError(unbalanced);
    expect(() => requireBalance({ ...readings, entries: new Map([[0, { ...ledger, records: 11 }]]) })).toThrowError(
      unbalanced,
    );
    expect(() =>
      requireBalance({
        ...readings,
        segments: new Map([
          [0, ledger],
          [1, ledger],
        ]),
      }),
    ).toThrowError(unbalanced);
  });
});

// From here on with a real broker, Redis and DuckDB.

const run = randomBytes(4).toString("hex");
let folder = "";
let pool: DuckPool;
let log: LogReader;
let redis: TidelineRedis;
let kafka: Kafka;
let producer: Producer;
let topics = 0;

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

/** A fresh topic and a data directory of its own; all of this file's topics are gone with the broker. */
async function place(
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
  };
  const generation = generationOf(turnover);
  const target = { stream: { ...sales, revision }, view: turnover, generation, topic };
  return { stores, target, topicId: (await log.topic(topic)).id, chain: new Chain(redis, topic, generation) };
}

const send = (topic: string, values: readonly (string | Buffer | null)[], partition = 0) =>
  producer.send({ topic, messages: values.map((value, index) => ({ key: `k${index}`, value, partition })) });

/** Archives up to `to`, or to the end of committed data, chunk after chunk. */
async function archiveTo(
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
async function archivedRows(
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
    `SELECT _offset, hex(_key), hex(_value), _duplicate, _reject IS NOT NULL FROM read_parquet([${list}]) ORDER BY _offset`,
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

interface ReadRow {
  readonly offset: bigint;
  readonly key: string | null;
  readonly value: string | null;
}

/** The oracle: what another client reads with isolation read_committed, up to and with offset `last`. */
const readCommitted = (topic: string, last: bigint, partition = 0) =>
  patiently(() => readCommittedOnce(topic, last, partition));

async function readCommittedOnce(topic: string, last: bigint, partition: number): Promise<ReadRow[]> {
  const consumer = kafka.consumer({ groupId: randomUUID(), readUncommitted: false });
  await consumer.connect();
  await consumer.subscribe({ topic, fromBeginning: true });
  const rows: ReadRow[] = [];
  const hex = (bytes: Buffer | null) => (bytes === null ? null : bytes.toString("hex").toUpperCase());
  await new Promise<void>((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    const eachMessage = async ({
      partition: found,
      message,
    }: {
      partition: number;
      message: { offset: string; key: Buffer | null; value: Buffer | null };
    }) => {
      if (found !== partition) return;
      if (BigInt(message.offset) <= last)
        rows.push({ offset: BigInt(message.offset), key: hex(message.key), value: hex(message.value) });
      if (BigInt(message.offset) >= last) resolve();
    };
    consumer.run({ eachMessage }).catch(reject);
  }).finally(() => consumer.disconnect());
  return rows;
}

/** Invariant 4, said again: an id that occurred within the window before. */
function duplicatesAmong(rows: readonly ReadRow[]): bigint[] {
  const seen = new Map<string, bigint>();
  return rows.flatMap(({ offset, value }) => {
    const id = /"id":"(s\d+)"/.exec(Buffer.from(value ?? "", "hex").toString())?.[1];
    if (id === undefined) return [];
    const before = seen.get(id);
    seen.set(id, offset);
    return before !== undefined && offset - before <= BigInt(DEDUP_WINDOW) ? [offset] : [];
  });
}

const entriesOf = (stores: BatchStores, topic: string, topicId: string, partition = 0) =>
  stores.archive.entries(topic, topicId, partition);
const sumOf = (entries: readonly ArchiveEntry[], field: "records" | "duplicates" | "rejects" | "control") =>
  entries.reduce((total, entry) => total + entry[field], 0);

describe("the archive", () => {
  it("holds what a read_committed consumer reads, byte for byte, with duplicates across files (invariants 1, 4, 12)", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    const transactional = kafka.producer({ transactionalId: topic, idempotent: true, maxInFlightRequests: 1 });
    await patiently(() => transactional.connect());
    const inTransaction = async (ids: readonly number[], end: "commit" | "abort") => {
      const transaction = await patiently(() => transactional.transaction());
      await transaction.send({ topic, messages: ids.map((id) => ({ key: null, value: sale(id), partition: 0 })) });
      await transaction[end]();
    };
    await send(
      topic,
      Array.from({ length: 30 }, (_, id) => sale(id)),
    ); // offsets 0 to 29
    await inTransaction([30, 31, 32], "commit"); // 30 to 32, marker 33
    await inTransaction([33, 34], "abort"); // 34 and 35, marker 36
    // Not a duplicate of the aborted one; one; one that has left the window; one of the first here.
    await send(topic, [sale(33), sale(29), sale(2), sale(33)]);
    await send(topic, [
      null,
      "",
      "{",
      '{"id":1}',
      Buffer.from([0xff, 0xfe]),
      sale(40).replace('"s40"', '"s\\u00340"'),
      `${sale(41).slice(0, -1)},"more":true}`,
    ]);
    await inTransaction([40, 41, 42], "commit");
    const open = await patiently(() => transactional.transaction());
    await open.send({ topic, messages: [{ value: sale(43), partition: 0 }] });
    await send(topic, [sale(44)]);

    const { stable } = await log.bounds(topic);
    await archiveTo(stores, target, null, 5);
    const entries = await entriesOf(stores, topic, topicId);
    expect(entries.length).toBeGreaterThan(8);
    expect(position(entries.at(-1)?.to ?? 0)).toBe(at(stable, 0)); // the open transaction and what lies behind it wait
    const oracle = await readCommitted(topic, at(stable, 0) - 2n);
    const rows = await archivedRows(stores, topic, topicId);
    expect(rows.map(({ offset, key, value }) => ({ offset, key, value }))).toEqual(oracle);
    expect(rows.filter(({ duplicate }) => duplicate).map(({ offset }) => offset)).toEqual(
      duplicatesAmong(
        oracle.map((row) => ({
          ...row,
          value: Buffer.from(
            Buffer.from(row.value ?? "", "hex")
              .toString()
              .replace("\\u0034", "4"),
          ).toString("hex"),
        })),
      ),
    );
    expect(sumOf(entries, "rejects")).toBe(5);
    expect(rows.filter(({ rejected }) => rejected)).toHaveLength(5);
    expect(sumOf(entries, "records")).toBe(oracle.length);
    expect(sumOf(entries, "control")).toBe(3);

    await open.commit();
    await archiveTo(stores, target);
    const after = await entriesOf(stores, topic, topicId);
    expect((await archivedRows(stores, topic, topicId)).at(-1)?.value).toBe(
      Buffer.from(sale(44)).toString("hex").toUpperCase(),
    );
    expect(sumOf(after, "control")).toBe(4);
    await transactional.disconnect();
  });

  it("gives the same rows however it is divided: markers at chunks' ends, spans of markers alone", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    const transactional = kafka.producer({ transactionalId: `${topic}-t`, idempotent: true, maxInFlightRequests: 1 });
    await patiently(() => transactional.connect());
    for (let round = 0; round < 8; round++) {
      const transaction = await patiently(() => transactional.transaction());
      await transaction.send({
        topic,
        messages: [
          { value: sale(round), partition: 0 },
          { value: sale(round + 3), partition: 0 },
        ],
      });
      await (round % 3 === 2 ? transaction.abort() : transaction.commit());
    }
    await transactional.disconnect();
    // Repeats at the dedup window's very end, and one beyond it.
    await send(
      topic,
      Array.from({ length: 50 }, (_, index) => sale(100 + (index % DEDUP_WINDOW))),
    );
    await send(
      topic,
      Array.from({ length: 50 }, (_, index) => sale(200 + (index % (DEDUP_WINDOW + 1)))),
    );
    await archiveTo(stores, target);
    const whole = await archivedRows(stores, topic, topicId);
    const duplicates = duplicatesAmong(whole);
    expect(duplicates.length).toBeGreaterThan(30);
    expect(whole.filter(({ duplicate }) => duplicate).map(({ offset }) => offset)).toEqual(duplicates);
    for (const step of [1, 3, 7]) {
      const data = new DataDirectory(join(folder, `${topic}-by-${step}`));
      const again = { ...stores, data, archive: new Archive(data) };
      await archiveTo(again, target, positions({ 0: 24 }), step); // the transactions
      await archiveTo(again, target, null, step + 6);
      expect(await archivedRows(again, topic, topicId)).toEqual(whole);
      const entries = await entriesOf(again, topic, topicId);
      expect(sumOf(entries, "control")).toBe(8);
      if (step === 1) expect(entries.filter(({ file }) => file === null).length).toBe(8 + 2 * 2);
    }
  });

  it("publishes each span once when archivers run at the same time, whatever their chunks (invariant 7)", async () => {
    const { stores, target, topicId } = await place(2);
    const { topic } = target;
    for (const partition of [0, 1])
      await send(
        topic,
        Array.from({ length: 400 }, (_, id) => sale(id % 390)),
        partition,
      );
    const other = { ...stores, archive: new Archive(stores.data) };
    await Promise.all([
      archiveTo(stores, target, null, 37),
      archiveTo(other, target, null, 50),
      archiveTo({ ...other, archive: new Archive(stores.data) }, target, null, 37),
    ]);
    for (const partition of [0, 1]) {
      const oracle = await readCommitted(topic, 399n, partition);
      const rows = await archivedRows(stores, topic, topicId, partition);
      expect(rows.map(({ offset, key, value }) => ({ offset, key, value }))).toEqual(oracle);
      const named = (await entriesOf(stores, topic, topicId, partition)).map(({ file }) => file?.split("/").at(-1));
      expect((await stores.data.list(stores.archive.fileFolder(topic, partition))).sort()).toEqual(named.sort());
    }
  });

  it("ends a chunk early when its file grows too large, and an abort leaves nothing behind", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    for (let batch = 0; batch < 10; batch++)
      await send(
        topic,
        Array.from({ length: 50 }, (_, id) => sale(batch * 50 + id)),
      );
    const chunk = { partition: 0, from: "0", to: "500" };
    const stop = new AbortController();
    const watch = { signal: stop.signal, beat: () => stop.abort(new Error("no longer wanted")) };
    await expect(archiveChunk(stores, target, topicId, chunk, watch)).rejects.toThrow("no longer wanted");
    expect(await entriesOf(stores, topic, topicId)).toEqual([]);
    const outcome = await archiveChunk(stores, target, topicId, chunk, UNWATCHED, {
      fetchBytes: 1_000,
      fileBytes: 5_000,
    });
    expect(outcome.won).toBe(true);
    expect(Number(outcome.to)).toBeLessThan(500);
    expect(outcome.records).toBe(Number(outcome.to));
    const again = await archiveChunk(stores, target, topicId, chunk, UNWATCHED, CHUNK_LIMITS);
    expect(again).toMatchObject({ won: false, to: outcome.to });
    await archiveTo(stores, target);
    expect(await archivedRows(stores, topic, topicId)).toHaveLength(500);
    // Chunks of a plan that is out of date: in the middle of what is archived, and beyond its end.
    for (const from of ["1", "600"]) {
      const stale = await archiveChunk(stores, target, topicId, { partition: 0, from, to: "700" }, UNWATCHED);
      expect(stale).toMatchObject({ won: false, to: "500", records: 0 });
    }
  });

  it("sweeps the files of attempts that were killed, and none that may still be published", async () => {
    const { stores, target, topicId } = await place();
    await send(
      target.topic,
      Array.from({ length: 20 }, (_, id) => sale(id)),
    );
    await archiveTo(stores, target);
    const files = stores.archive.fileFolder(target.topic, 0);
    const orphan = await stores.data.attempt(files, `${"5".padStart(19, "0")}-9`, "parquet");
    const pending = await stores.data.attempt(files, `${"20".padStart(19, "0")}-30`, "parquet");
    for (const file of [orphan, pending]) await stores.data.createExclusively(file, {});
    expect(await sweepArchive(stores, target, topicId)).toBe(1);
    expect(await stores.data.list(files)).toContain(pending.split("/").at(-1));
    expect(await archivedRows(stores, target.topic, topicId)).toHaveLength(20);
  });

  it("stops when the topic was made again, and when the log lost what was not archived (invariant 10)", async () => {
    const { stores, target } = await place();
    const { topic } = target;
    const admin = kafka.admin();
    await admin.connect();
    await send(
      topic,
      Array.from({ length: 10 }, (_, id) => sale(id)),
    );
    await archiveTo(stores, target, positions({ 0: 4 }));
    await admin.fetchTopicOffsets(topic); // or kafkajs does not know the topic's leaders
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: "6" }] });
    await expect(planStream(stores, target, null)).rejects.toMatchObject({ code: "LOG_LOST" });
    await expect(
      archiveChunk(stores, target, (await log.topic(topic)).id, { partition: 0, from: "4", to: "10" }, UNWATCHED),
    ).rejects.toMatchObject({ code: "LOG_LOST" });
    await admin.deleteTopics({ topics: [topic] });
    await expect
      .poll(() =>
        ensureTopics(inject("kafkaBrokers"), [{ name: topic, partitions: 1 }]).then(
          () => true,
          () => false,
        ),
      )
      .toBe(true);
    await expect(planStream(stores, target, null)).rejects.toMatchObject({ code: "TOPIC_RECREATED" });
    await admin.disconnect();
  });
});

/** Steps 3 to 7 of a refresh to the cut `to`, without a speed layer unless the chain has segments. */
async function refreshTo(
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
  if (published) await finishPublish(stores, target, chain, manifest.version + 1);
  return published;
}

async function rebuildAll(
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

const newestOf = async ({ manifests }: BatchStores, { generation }: ViewTarget): Promise<Manifest> => {
  const manifest = await manifests.newest(generation);
  if (manifest === null) throw new Error("no manifest");
  return manifest;
};

/** Events with ids from a small set, so that many are duplicates of others near them, and some rejects. */
function muddle(random: () => number, length: number): string[] {
  return Array.from({ length }, () =>
    random() < 0.05 ? "not an event" : sale(Math.floor(random() * 60) + Math.floor(random() * 3) * 1_000),
  );
}

function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return state / 2 ** 32;
  };
}

describe("a refresh", () => {
  it("adds up, over random cuts, to the very state that a rebuild gives, compacted or not", async () => {
    const seed = Number(process.env.SEED ?? Date.now() % 1_000_000);
    console.log(`SEED=${seed}`);
    const random = seeded(seed);
    const here = await place(2);
    const { stores, target } = here;
    for (const partition of [0, 1]) await send(target.topic, muddle(random, 700), partition);
    let cut = positions({ 0: 0, 1: 0 });
    for (let step = 0; step < 10; step++) {
      const ahead = (partition: number) => {
        const next = Number(at(cut, partition)) + Math.floor(random() * 140);
        return step === 9 ? 700 : Math.min(next, 700);
      };
      cut = positions({ 0: ahead(0), 1: ahead(1) });
      if (step === 4) await archiveTo(stores, target, positions({ 0: 500, 1: 600 }), 90); // entries that straddle later cuts
      expect(await refreshTo(here, cut)).toBe(true);
      if (step === 6) await compact(stores, target, "test", UNWATCHED, { files: 4, left: 3 });
    }
    const incremental = await newestOf(stores, target);
    const result = await rebuildAll(here, 150);
    expect(result).toMatchObject({ equal: true, compared: incremental.version, version: incremental.version + 1 });
    expect(result.rows).toBeGreaterThan(100);
    const rebuilt = await newestOf(stores, target);
    expect(rebuilt).toMatchObject({ cut: incremental.cut, base: incremental.cut, ledger: incremental.ledger });
    expect((await stateHash(stores, turnover, rebuilt.files, UNWATCHED)).hash).toBe(result.comparedHash);
    expect(incremental.ledger.records).toBe(1_400);
    expect(incremental.ledger.duplicates).toBeGreaterThan(100);
    expect(incremental.ledger.rejects).toBeGreaterThan(20);
  });

  it("goes on while a rebuild is under way, whose version then has what was refreshed meanwhile", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(
      target.topic,
      Array.from({ length: 300 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 200 }));
    const result = await rebuildAll(here, 64, () => refreshTo(here, positions({ 0: 300 })));
    expect(result).toMatchObject({ equal: true, compared: 1, version: 3 });
    const { base, cut, ledger, files } = await newestOf(stores, target);
    expect([base, cut]).toEqual([{ "0": "300" }, { "0": "300" }]);
    expect(ledger.records).toBe(300);
    expect((await stateHash(stores, turnover, files, UNWATCHED)).hash).toBe(
      (
        await stateHash(
          stores,
          turnover,
          (await stores.manifests.version(target.generation, 2))?.files ?? [],
          UNWATCHED,
        )
      ).hash,
    );
  });

  it("reads no published file that is not what it was, and is made anew from the archive (invariant 10)", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(
      target.topic,
      Array.from({ length: 300 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 200 }));
    const { files } = await newestOf(stores, target);
    const was = await stateHash(stores, turnover, files, UNWATCHED);
    await flipBit(stores.data.path(files[0]?.file ?? ""));
    await expect(stateHash(stores, turnover, files, UNWATCHED)).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: false, comparedHash: null, hash: was.hash });
    const anew = await newestOf(stores, target);
    expect((await stateHash(stores, turnover, anew.files, UNWATCHED)).hash).toBe(was.hash);

    const entry = (await stores.archive.entries(target.topic, anew.topicId, 0)).at(-1);
    await flipBit(stores.data.path(entry?.file ?? ""));
    await expect(rebuildAll(here, 1_000)).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
    // The next chunk needs the ids of the dedup window, which the damaged file holds.
    await expect(refreshTo(here, positions({ 0: 300 }))).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
    expect(await newestOf(stores, target)).toEqual(anew);
  });

  it("is told apart from a rebuild when its state was changed", async () => {
    const here = await place();
    const { stores, target, topicId } = here;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const { version, cut } = await newestOf(stores, target);
    const states = stores.manifests.stateFolder(target.generation);
    const deltaTo = (to: number) => {
      const span = { topicId, from: cutFromJson(cut), to: positions({ 0: to }) };
      return writeDelta(stores, target, span, states, versionPrefix(version + 1), UNWATCHED);
    };
    await expect(deltaTo(90)).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" }); // not archived that far
    await archiveTo(stores, target);
    const [whole, part] = [await deltaTo(90), await deltaTo(89)];
    const ledger = [...whole.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const forged = {
      version,
      from: cutFromJson(cut),
      to: positions({ 0: 90 }),
      file: part.file,
      ledger,
      createdBy: "forger",
    };
    expect(await publishDelta(stores, target, forged)).toBe(true);
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: false });
    expect(await rebuildAll(here, 1_000)).toMatchObject({ equal: true });
  });

  it("that lost the race for its version deletes its own file and changes nothing (invariant 7)", async () => {
    const here = await place();
    const { stores, target, topicId } = here;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    const genesis = await beginGeneration(stores, target.generation, target.topic, "test");
    await archiveTo(stores, target);
    const states = stores.manifests.stateFolder(target.generation);
    const racer = async (to: number, createdBy: string) => {
      const span = { topicId, from: cutFromJson(genesis.cut), to: positions({ 0: to }) };
      const delta = await writeDelta(stores, target, span, states, versionPrefix(1), UNWATCHED);
      const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
      const publication = { version: 0, ...span, file: delta.file, ledger, createdBy };
      return { publication, publish: () => publishDelta(stores, target, publication) };
    };
    const [first, second] = [await racer(40, "first"), await racer(70, "second")];
    const outcomes = await Promise.all([first.publish(), second.publish()]);
    expect(outcomes.toSorted()).toEqual([false, true]);
    const winner = outcomes[0] ? first : second;
    expect(await newestOf(stores, target)).toMatchObject({
      version: 1,
      cut: cutToJson(winner.publication.to),
      createdBy: winner.publication.createdBy,
    });
    expect(await stores.data.list(states)).toEqual([winner.publication.file?.file.split("/").at(-1)]);
    // An attempt whose answer was lost asks again, and must not take itself for another writer.
    expect(await winner.publish()).toBe(true);
    expect(await stores.data.list(states)).toHaveLength(1);
  });

  it("goes by cuts where a restore has given a version's number to another one", async () => {
    const here = await place();
    const { target, topicId } = here;
    const { data, manifests } = here.stores;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    const states = manifests.stateFolder(target.generation);
    await refreshTo(here, positions({ 0: 60 }));
    const base = await newestOf(here.stores, target);
    const span = { topicId, from: cutFromJson(base.cut), to: positions({ 0: 80 }) };
    await archiveTo(here.stores, target);
    const delta = await writeDelta(here.stores, target, span, states, versionPrefix(2), UNWATCHED);
    const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const publication = { version: 1, ...span, file: delta.file, ledger, createdBy: "from before" };
    const pinned = await pinVersion(here.stores, target, UNWATCHED);

    // The directory goes back to the genesis, and the program is started again.
    await data.remove(manifestDocument(target.generation, 1));
    const stores = { ...here.stores, manifests: new Manifests(data) };
    expect(await publishDelta(stores, target, publication)).toBe(false);
    await refreshTo({ ...here, stores }, positions({ 0: 40 }));
    const other = await newestOf(stores, target);
    expect(other).toMatchObject({ version: 1, cut: { 0: "40" } });
    const again = await writeDelta(stores, target, span, states, versionPrefix(2), UNWATCHED);
    expect(await publishDelta(stores, target, { ...publication, file: again.file })).toBe(false);
    const [run, createdBy] = ["run", "from before"];
    await expect(finishRebuild(stores, target, pinned, [], { run, createdBy }, UNWATCHED)).rejects.toMatchObject({
      code: "NOT_READY",
    });
    expect(await newestOf(stores, target)).toEqual(other);
    expect((await data.list(states)).map((name) => `${states}/${name}`)).toEqual(other.files.map(({ file }) => file));
    // Where the base is as it was, but the delta's file went with the directory, nothing is published either.
    const onOther = { ...publication, from: cutFromJson(other.cut) };
    expect(await publishDelta(stores, target, onOther)).toBe(false);
  });

  it("publishes no delta, be it without states, beyond the archive that was restored", async () => {
    const here = await place();
    const { target, topicId } = here;
    const { data, manifests } = here.stores;
    await send(
      target.topic,
      Array.from({ length: 60 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const base = await newestOf(here.stores, target);
    const saved = await data.list(`archive/${target.topic}/0/entries`);
    // Records that are no events: their delta has a ledger and no file.
    await send(
      target.topic,
      Array.from({ length: 20 }, () => "no event"),
    );
    await archiveTo(here.stores, target);
    const span = { topicId, from: cutFromJson(base.cut), to: positions({ 0: 80 }) };
    const states = manifests.stateFolder(target.generation);
    const { file, ledgers } = await writeDelta(here.stores, target, span, states, versionPrefix(2), UNWATCHED);
    expect(file).toBeNull();
    const ledger = [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const publication = { version: 1, ...span, file, ledger, createdBy: "from before" };

    // The directory goes back to where version 1 was the newest, and the program is started again.
    const folder = `archive/${target.topic}/0/entries`;
    const later = (await data.list(folder)).filter((name) => !saved.includes(name));
    const texts = await Promise.all(later.map((name) => data.text(`${folder}/${name}`)));
    for (const name of later) await data.remove(`${folder}/${name}`);
    const stores = { ...here.stores, archive: new Archive(data), manifests: new Manifests(data) };
    expect(await publishDelta(stores, target, publication)).toBe(false);
    expect(await newestOf(stores, target)).toEqual(base);
    // With the archive as it was, the same is published.
    for (const [index, name] of later.entries()) await data.replace(`${folder}/${name}`, texts[index] ?? "");
    const whole = { ...stores, archive: new Archive(data) };
    expect(await publishDelta(whole, target, publication)).toBe(true);
  });

  it("keeps a delta that was published already, although the version below is not in the restored directory", async () => {
    const here = await place();
    const { target, topicId } = here;
    const { data, manifests } = here.stores;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    await refreshTo(here, positions({ 0: 60 }));
    const base = await newestOf(here.stores, target);
    const span = { topicId, from: cutFromJson(base.cut), to: positions({ 0: 80 }) };
    await archiveTo(here.stores, target);
    const states = manifests.stateFolder(target.generation);
    const { file, ledgers } = await writeDelta(here.stores, target, span, states, versionPrefix(2), UNWATCHED);
    const ledger = [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const publication = { version: 1, ...span, file, ledger, createdBy: "a run" };
    expect(await publishDelta(here.stores, target, publication)).toBe(true);
    const published = await newestOf(here.stores, target);

    // A backup holds the newest version alone, and the run tries again what it was not told of.
    await data.remove(manifestDocument(target.generation, 1));
    const stores = { ...here.stores, manifests: new Manifests(data) };
    expect(await publishDelta(stores, target, publication)).toBe(true);
    expect(await publishDelta(stores, target, { ...publication, createdBy: "another run" })).toBe(false);
    await data.requireIntact(published.files);
  });

  it("keeps the files of the version before until the next publish, and sweeps older ones (invariant 8)", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(
      target.topic,
      Array.from({ length: 100 }, (_, id) => sale(id)),
    );
    for (const to of [20, 40, 60]) await refreshTo(here, positions({ 0: to }));
    const unfolded = await newestOf(stores, target);
    expect(await compact(stores, target, "test", UNWATCHED, { files: 2, left: 1 })).toMatchObject({
      version: 4,
      folded: 3,
    });
    const missing = async ({ files }: Manifest) =>
      files.filter(({ file }) => !stored.includes(file.split("/").at(-1) ?? ""));
    let stored = await stores.data.list(stores.manifests.stateFolder(target.generation));
    expect(await sweepStates(stores, target.generation)).toBe(0);
    expect(await missing(unfolded)).toEqual([]);
    const states = stores.manifests.stateFolder(target.generation);
    const [orphan, pending] = [
      await stores.data.attempt(states, versionPrefix(5), "parquet"),
      await stores.data.attempt(states, versionPrefix(6), "parquet"),
    ];
    for (const file of [orphan, pending]) await stores.data.createExclusively(file, {});
    await refreshTo(here, positions({ 0: 80 }));
    stored = await stores.data.list(stores.manifests.stateFolder(target.generation));
    expect(await missing(unfolded)).toHaveLength(3);
    expect(await missing(await newestOf(stores, target))).toEqual([]);
    expect(stored).toHaveLength(3); // with the file of an attempt at a version to come
    expect(stored).toContain(pending.split("/").at(-1));
    expect(await sweepStates(stores, target.generation)).toBe(0);
  });

  it("publishes the new cut without a file when the view counted nothing", async () => {
    const here = await place();
    const { stores, target } = here;
    await send(target.topic, ["nothing", sale(0), sale(7), sale(7)]);
    await refreshTo(here, positions({ 0: 4 }));
    expect(await newestOf(stores, target)).toMatchObject({
      version: 1,
      files: [],
      cut: { "0": "4" },
      ledger: { records: 4, duplicates: 1, rejects: 1, counted: 0, filtered: 2 },
    });
    expect(await rebuildAll(here, 10)).toMatchObject({ equal: true, rows: 0 });
  });
});

describe("a refresh beside a speed layer", () => {
  /** Applies `[from, to)` as a consumer would that counted `ledger`. */
  const apply = async (chain: Chain, from: bigint, to: bigint, ledger: Ledger) => {
    const reply = await chain.apply({
      partition: 0,
      from: from as Position,
      to: to as Position,
      mark: null,
      ledger,
      deltas: [],
      maxCells: 1_000,
      freshAtMs: null,
    });
    expect(reply.kind).toBe("ok");
  };
  const honest = (records: number): Ledger => ({ records, duplicates: 0, rejects: 0, counted: records, filtered: 0 });
  const events = (from: number, to: number) => Array.from({ length: to - from }, (_, id) => sale((from + id) * 7 + 1));
  const patience = { waitMs: 300, pollMs: 20, redisMs: 5_000 };

  it("takes the sealed cut, compares ledgers, and trims one cut behind (invariants 8 and 11)", async () => {
    const here = await place();
    const { stores, target, chain } = here;
    await send(target.topic, events(0, 50));
    const genesis = await beginGeneration(stores, target.generation, target.topic, "test");
    await chain.reseed(cutFromJson(genesis.cut), 0, null);
    await apply(chain, 0n, 10n, honest(10));
    await chain.seal(null);
    await apply(chain, 10n, 30n, honest(20));
    const first = await sealCut(
      stores,
      target,
      chain,
      { version: 0, cut: cutFromJson(genesis.cut) },
      UNWATCHED,
      patience,
    );
    expect(first).toMatchObject({ by: "speed", cut: positions({ 0: 30 }) });
    expect(await refreshTo(here, positions({ 0: 30 }))).toBe(true);
    expect(await chain.load()).toMatchObject({ pointer: 1 });
    expect((await chain.load())?.segments).toHaveLength(3); // grace: version 0 still finds its segments
    // A version with the same cut trims nothing: a read that began before both of them ends exactly.
    expect(await compact(stores, target, "test", UNWATCHED, { files: 0, left: 1 })).toMatchObject({ version: 2 });
    expect(await finishPublish(stores, target, chain, 2)).toEqual({ announced: true, swept: 0 });
    expect(await chain.load()).toMatchObject({ pointer: 2 });
    expect((await chain.load())?.segments).toHaveLength(3);
    await apply(chain, 30n, 50n, honest(20));
    const second = await sealCut(stores, target, chain, { version: 2, cut: positions({ 0: 30 }) }, UNWATCHED, patience);
    expect(second).toMatchObject({ by: "speed", cut: positions({ 0: 50 }) });
    expect(await refreshTo(here, positions({ 0: 50 }))).toBe(true);
    expect((await chain.load())?.segments).toHaveLength(2);
    expect(
      await sealCut(stores, target, chain, { version: 3, cut: positions({ 0: 50 }) }, UNWATCHED, patience),
    ).toBeNull();
  });

  it("fails loudly, and leaves the version, when the speed layer counted otherwise", async () => {
    const here = await place();
    const { stores, target, chain } = here;
    await send(target.topic, events(0, 20));
    await beginGeneration(stores, target.generation, target.topic, "test");
    await chain.reseed(positions({ 0: 0 }), 0, null);
    await apply(chain, 0n, 20n, { ...honest(20), counted: 19, filtered: 1 });
    await chain.seal("1");
    await expect(refreshTo(here, positions({ 0: 20 }))).rejects.toMatchObject({ code: "LEDGER_UNBALANCED" });
    expect((await newestOf(stores, target)).version).toBe(0);
  });

  it("drops live state that three refreshes in a row find different over one span, not more often than once an hour", async () => {
    const { stores, target, chain } = await place();
    const begun = async () => {
      await chain.reseed(positions({ 0: 0 }), 0, null);
      await apply(chain, 0n, 20n, honest(20));
    };
    await begun();
    const found = new LiveStateDiffers("LEDGER_UNBALANCED", "differs", "none");
    const heal = (to: number, nowMs: number) =>
      healLive(stores, target, chain, { version: 0, to: positions({ 0: to }), found, nowMs });
    const dropped = async (to: number, nowMs: number) => [
      (await heal(to, nowMs)).dropped,
      (await chain.load()) === null,
    ];
    expect([await dropped(20, 0), await dropped(20, 0)]).toEqual(Array(2).fill([false, false]));
    // Another span: the count begins again.
    expect([await dropped(30, 0), await dropped(30, 0)]).toEqual(Array(2).fill([false, false]));
    expect(await dropped(30, 1_000)).toEqual([true, true]);
    const resets = new LiveResets(stores.data);
    const note = { version: 0, to: { "0": "30" }, message: "differs", atMs: 1_000 };
    expect(await resets.newest(target.generation)).toEqual(note);
    await begun();
    expect(await dropped(30, 3_600_999)).toEqual([false, false]);
    const { error } = await heal(30, 3_600_999);
    expect([error.code, error.message]).toEqual(["LEDGER_UNBALANCED", expect.stringContaining("differs again")]);
    expect(await dropped(30, 3_601_000)).toEqual([true, true]);
    expect(await resets.newest(target.generation)).toEqual({ ...note, atMs: 3_601_000 });
  });

  it("waits for a speed layer that does not move, then goes to the log's end", async () => {
    const { stores, target, chain } = await place();
    await send(target.topic, events(0, 20));
    const cut = positions({ 0: 0 });
    await chain.reseed(cut, 0, null);
    const stuck = await sealCut(stores, target, chain, { version: 0, cut }, UNWATCHED, patience);
    expect(stuck).toMatchObject({ by: "log", cut: positions({ 0: 20 }) });
    const moving = sealCut(stores, target, chain, { version: 0, cut }, UNWATCHED, { ...patience, waitMs: 20_000 });
    await apply(chain, 0n, 5n, honest(5));
    expect(await moving).toMatchObject({ by: "speed", cut: positions({ 0: 5 }) });
  });

  it("does without Redis when it does not answer", async () => {
    const { stores, target } = await place();
    await send(target.topic, events(0, 20));
    const nobody = openRedis("redis://127.0.0.1:1", () => {});
    const cut = positions({ 0: 0 });
    const choice = await sealCut(
      stores,
      target,
      new Chain(nobody, "", target.generation),
      { version: 0, cut },
      UNWATCHED,
      { ...patience, redisMs: 100 },
    );
    expect(choice).toMatchObject({ by: "log", cut: positions({ 0: 20 }) });
    nobody.disconnect();
  });
});

describe("a log that is not the one that was archived", () => {
  const events = (from: number, to: number) => Array.from({ length: to - from }, (_, id) => sale((from + id) * 7 + 1));
  const patience = { waitMs: 0, pollMs: 10, redisMs: 5_000 };

  it("is not archived and gives no cut until somebody accepts it; then it is read from where the archive ends", async () => {
    const { stores: before, target, topicId, chain } = await place();
    const { topic } = target;
    await send(topic, events(0, 30));
    const genesis = await beginGeneration(before, target.generation, topic, "test");
    await archiveTo(before, target);
    const document = `archive/${topic}/0/entries/${"0".repeat(19)}.json`;
    const entry = JSON.parse(await before.data.text(document)) as ArchiveEntry;
    expect(entry.mark).toMatchObject({ offset: "29" });
    // As if another record had been archived where the log has this one.
    await before.data.replace(document, JSON.stringify({ ...entry, mark: { ...entry.mark, hash: "0".repeat(16) } }));
    await send(topic, events(30, 40));
    const stores = { ...before, archive: new Archive(before.data) };

    const cut = cutFromJson(genesis.cut);
    const seal = () => sealCut(stores, target, chain, { version: 0, cut }, UNWATCHED, patience);
    const refused = expect.objectContaining({ code: "LOG_TRUNCATED" });
    await expect(planStream(stores, target, null)).rejects.toThrowError(refused);
    const chunk = { partition: 0, from: "30", to: "40" };
    await expect(archiveChunk(stores, target, topicId, chunk, UNWATCHED)).rejects.toThrowError(refused);
    await expect(seal()).rejects.toThrowError(refused);
    expect(await stores.data.list(`archive/${topic}/0/files`)).toHaveLength(1);

    const found = { partition: 0, archivedTo: 30n, logEnd: 40n, differsAt: 29n, passedOver: 1 };
    expect(await findDifferences(stores, topic)).toEqual([expect.objectContaining(found)]);
    await chain.reseed(cut, 0, null);
    expect(await acceptLog(stores, topic, [chain], { by: "test" })).toEqual([expect.objectContaining(found)]);
    expect(await chain.load()).toBeNull();
    expect(await findDifferences(stores, topic)).toEqual([expect.objectContaining({ differsAt: null })]);
    expect(await stores.archive.continuation(topic, topicId, 0)).toMatchObject({ number: 1, from: "30", by: "test" });

    expect(await seal()).toMatchObject({ by: "archive", cut: positions({ 0: 30 }) });
    await archiveTo(stores, target);
    const offsets = (await archivedRows(stores, topic, topicId)).map(({ offset }) => Number(offset));
    expect(offsets).toEqual(Array.from({ length: 40 }, (_, offset) => offset));
  });

  it("gives no cut while Redis holds state of other records, also when that was made anew below a cut", async () => {
    const { stores, target, topicId, chain } = await place();
    await send(target.topic, events(0, 20));
    await archiveTo(stores, target);
    const cut = positions({ 0: 10 });
    const json = (await cutMarks(stores, target.topic, topicId, cut))["0"] as LogMark;
    const seal = () => sealCut(stores, target, chain, { version: 1, cut }, UNWATCHED, patience);
    const mark = markFromJson(json, topicId);
    await chain.reseed(cut, 1, null, { marks: new Map([[0, mark]]) });
    expect(await chain.reached()).toEqual(new Map([[0, { position: 10n, mark }]]));
    expect(await seal()).toMatchObject({ by: "log" });
    const other = { ...mark, hash: "0".repeat(16) };
    await chain.reseed(cut, 1, (await chain.load())?.nonce ?? null, { marks: new Map([[0, other]]) });
    await expect(seal()).rejects.toMatchObject({ code: "LOG_TRUNCATED" });
    const later = { from: cut, to: positions({ 0: 20 }), file: null, ledgers: new Map(), entries: new Map() };
    await expect(checkDelta(stores, target, chain, later)).rejects.toMatchObject({ code: "LOG_TRUNCATED" });
  });

  it("is told by the last record below a cut, also by one inside an archive file", async () => {
    const { stores, target, topicId } = await place();
    const { topic } = target;
    await send(topic, events(0, 30));
    await archiveTo(stores, target);
    const [whole] = await stores.archive.entries(topic, topicId, 0);
    expect(await cutMarks(stores, topic, topicId, positions({ 0: 30 }))).toEqual({ "0": whole?.mark });
    const inside = await cutMarks(stores, topic, topicId, positions({ 0: 12 }));
    expect(inside["0"]).toMatchObject({ offset: "11" });
    const compared = { log: stores.log, topic, topicId, bounds: await stores.log.bounds(topic) };
    const mark = markFromJson(inside["0"] as LogMark, topicId);
    const lost = (changes: Partial<Mark>) =>
      lostOffset(compared, 0, { position: position(12), mark: { ...mark, ...changes } });
    expect(await lost({})).toBeNull();
    expect(await lost({ hash: "0".repeat(16) })).toBe(11n);
    expect(await lost({ offset: position(10) })).toBe(10n);
    expect(await lostOffset(compared, 0, { position: position(31), mark })).toBe(30n);
  });
});

describe("the beginning of a generation", () => {
  it("is the same for all who begin it at once, and binds the archive to it", async () => {
    const { stores, target, topicId } = await place(2);
    const admin = kafka.admin();
    await admin.connect();
    await send(
      target.topic,
      Array.from({ length: 10 }, (_, id) => sale(id)),
    );
    await admin.fetchTopicOffsets(target.topic);
    await admin.deleteTopicRecords({ topic: target.topic, partitions: [{ partition: 0, offset: "3" }] });
    const begun = await Promise.all(
      ["speed", "batch", "speed", "batch"].map((who) =>
        beginGeneration({ ...stores, archive: new Archive(stores.data) }, target.generation, target.topic, who),
      ),
    );
    expect(new Set(begun.map((manifest) => JSON.stringify(manifest))).size).toBe(1);
    expect(begun[0]).toMatchObject({ version: 0, cut: { "0": "3", "1": "0" } });
    await archiveTo(stores, target);
    expect((await entriesOf(stores, target.topic, topicId))[0]?.from).toBe("3");
    expect(cutsEqual(await stores.archive.start(target.topic, topicId), positions({ 0: 3 }))).toBe(true);
    await admin.disconnect();
  });

  it("is a promise that the archive begins there: records that go before it does are lost, loudly (invariant 10)", async () => {
    const { stores, target } = await place();
    const admin = kafka.admin();
    await admin.connect();
    await send(target.topic, [sale(1), sale(2), sale(3)]);
    await beginGeneration(stores, target.generation, target.topic, "test");
    await admin.fetchTopicOffsets(target.topic);
    await admin.deleteTopicRecords({ topic: target.topic, partitions: [{ partition: 0, offset: "1" }] });
    await admin.disconnect();
    await expect(planStream(stores, target, null)).rejects.toMatchObject({ code: "LOG_LOST" });
  });

  it("of a partition that came later and had lost its beginning already: LOG_LOST, and a missing entry stays ARCHIVE_DAMAGED", async () => {
    const here = await place();
    const { stores, target, topicId } = here;
    await send(
      target.topic,
      [1, 2, 3, 4, 5].map((n) => sale(n)),
    );
    expect(await refreshTo(here, positions({ 0: 5 }))).toBe(true);
    const admin = kafka.admin();
    await admin.connect();
    await admin.createPartitions({ topicPartitions: [{ topic: target.topic, count: 2 }] });
    const wider = kafka.producer();
    await wider.connect();
    const values = [6, 7, 8, 9, 10].map((n) => ({ key: `k${n}`, value: sale(n), partition: 1 }));
    await patiently(() => wider.send({ topic: target.topic, messages: values }));
    await wider.disconnect();
    // The client deletes by what it knows of the topic, which is from before.
    await admin.fetchTopicOffsets(target.topic);
    await admin.deleteTopicRecords({ topic: target.topic, partitions: [{ partition: 1, offset: "2" }] });
    await admin.disconnect();
    await expect(refreshTo(here, positions({ 0: 5, 1: 5 }))).rejects.toMatchObject({
      code: "LOG_LOST",
      message: `${target.topic}/1: Kafka had deleted [0, 2) before it was archived`,
      hint: expect.stringContaining("Raise the stream's `revision`"),
    });
    const [entry] = await stores.archive.entries(target.topic, topicId, 0);
    expect(entry?.from).toBe("0");
    await rm(join(stores.data.root, "archive", target.topic, "0", "entries"), { recursive: true });
    const fresh = new Archive(stores.data);
    await expect(fresh.covering(target.topic, topicId, 0, position(0), position(5))).rejects.toMatchObject({
      code: "ARCHIVE_DAMAGED",
    });
  });
});
