import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { componentsOf } from "../../../core/definition/components.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { type Cut, cutFromJson, position } from "../../../core/log/position.ts";
import { tilesFrom } from "../../../core/log/spans.ts";
import { ANSWER_LIMITS } from "../../../core/query/budget.ts";
import { presentRows } from "../../../core/query/present.ts";
import type { Query } from "../../../core/query/query.ts";
import { finish } from "../../../core/query/work.ts";
import type { GroupValue } from "../../../core/state/cells.ts";
import { stateSql } from "../../../core/state/compile.ts";
import { BatchStates } from "../../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../../serving/read/batch/duck-queue.ts";
import type { AnswerBuilder } from "../../../serving/read/cells/tile-cells.ts";
import { ledgerOf, statesByPartition } from "../../../speed-layer/states/deltas.ts";
import { batchLedgers } from "../../../store/decode/decoded-batch.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { type Duck, DuckPool, rowsOf } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { Records } from "../../../store/kafka/read/records.ts";
import { Chain } from "../../../store/redis/chain.ts";
import { tilesOf } from "../../../store/redis/chain-state.ts";
import { compactSegments, segmentsToCompact } from "../../../store/redis/compact-segments.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { everything, type Tick, ticks } from "../../fixtures/events/views.ts";
import { everythingModel } from "../../fixtures/oracles/everything-model.ts";
import {
  countedEvents,
  differenceOf,
  expectedRows,
  type OracleLog,
  rowKey,
  sketchBytes,
} from "../../fixtures/oracles/oracle.ts";
import { addLive, answerBuilder, liveState, WHOLE } from "../../fixtures/oracles/served-cells.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

const PARTITIONS = [0, 1] as const;

const tick: fc.Arbitrary<Tick> = fc.record({
  id: fc.nat(25).map((n) => `e${n}`),
  at: fc.oneof(
    fc.integer({ min: 1_700_000_000_000, max: 1_700_000_060_000 }),
    fc.integer({ min: -200_000, max: 200_000 }),
  ),
  place: fc.constantFrom("eu", "us", 'q"\\uote ', "two\nlines\r\u2028", "é", null),
  good: fc.constantFrom(true, false, null),
  amount: fc.integer({ min: -1_000_000, max: 1_000_000 }),
  tip: fc.option(fc.nat(100)),
  test: fc.boolean().map((hit) => hit),
});

/**
 * A log: per partition records (some undecodable) at offsets with gaps, as control records and compaction leave them.
 */
const partitionLog = fc.record({
  values: fc.array(
    fc.oneof(
      { weight: 15, arbitrary: tick.map((event) => Buffer.from(JSON.stringify(event))) },
      { weight: 1, arbitrary: fc.constantFrom(null, Buffer.from("{broken")) },
    ),
    { minLength: 10, maxLength: 90 },
  ),
  gaps: fc.uniqueArray(fc.nat(70)).map((offsets) => new Set(offsets.map(BigInt))),
});
const logs = fc.tuple(partitionLog, partitionLog);
/** Where the batch view ends, in thousandths of each partition, and where the speed layer's batches and seals fall. */
const cuts = fc.record({
  batch: fc.tuple(fc.nat(500), fc.nat(500)),
  steps: fc.array(
    fc.record({
      partition: fc.constantFrom(...PARTITIONS),
      records: fc.integer({ min: 1, max: 8 }),
      seal: fc.constantFrom("no", "size", "size", "cut", "both"),
      parts: fc.boolean(),
      compact: fc.boolean(),
    }),
    { minLength: 8, maxLength: 40 },
  ),
});

const query: Query = {
  fromMs: null,
  toMs: null,
  everyMs: everything.grainMs,
  calendar: null,
  windowMs: everything.grainMs,
  zone: "UTC",
  by: ["place", "good"],
  where: new Map(),
  measures: Object.keys(everything.measures),
  order: [],
  limit: 100_000,
};

describe("batch ⊕ speed = a plain fold of the whole log", () => {
  let redis: TidelineRedis;
  let pool: DuckPool;
  let duck: Duck;
  let folder: string;
  let data: DataDirectory;
  let batch: BatchStates;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tideline-merge-"));
    data = new DataDirectory(folder);
    redis = openRedis(inject("redisUrl"), () => undefined);
    // As the speed layer has it: plans are kept while rows change.
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, keepsPlans: true, directories: [folder] });
    duck = await pool.connect();
    const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
    batch = new BatchStates(data, ducks, { maxCachedCells: 0, limits: ANSWER_LIMITS });
  });
  afterAll(async () => {
    duck.closeSync();
    pool.close();
    await redis.quit();
    await rm(folder, { recursive: true, force: true });
  });

  test("for any log with duplicates, late events, rejects and gaps, and any cuts through it", async () => {
    await fc.assert(
      fc.asyncProperty(logs, cuts, async (partitions, { batch, steps }) => {
        const fetched = partitions.map(({ values, gaps }, partition) => fetchedOf(partition, 0n, values, gaps));
        const log: OracleLog = new Map(
          fetched.map(({ partition, records }) => [
            partition,
            records.offsets.map((offset, index) => ({ offset, value: records.value(index) })),
          ]),
        );
        const cut: Cut = new Map(
          fetched.map(({ partition, to }, index) => [partition, position((to * BigInt(batch[index] ?? 0)) / 1_000n)]),
        );

        const builder = answerBuilder(everything, query);
        await addBatchStates(builder, fetched, cut);
        const namespace = randomUUID();
        const chain = new Chain(redis, namespace, generationOf(everything));
        expect(await chain.reseed(cut, 0, null)).toBe(true);
        const inParts = new Chain(redis, namespace, generationOf(everything), 24);
        const applied = await applySpeed({ chain, inParts }, fetched, cut, steps);
        const ledger = await addChain(builder, chain, cut, applied);

        const rows = presentRows(everything, query, builder.table.cells()).rows;
        const expected = expectedRows(everythingModel, log, applied);
        expect(
          new Set(
            rows.map((row) =>
              rowKey(Date.parse(String(row.bucket)), [row.place as GroupValue, row.good as GroupValue]),
            ),
          ),
        ).toEqual(new Set(expected.keys()));
        for (const row of rows) {
          const want = expected.get(
            rowKey(Date.parse(String(row.bucket)), [row.place as GroupValue, row.good as GroupValue]),
          );
          expect(want === undefined ? "no such row" : differenceOf(row, want)).toBe("");
          expect(row.amounts).toBe(await countDistinct(want?.seen.amounts ?? new Set()));
        }
        const before = countedEvents(everythingModel, log, cut).ledger;
        const upTo = countedEvents(everythingModel, log, applied).ledger;
        expect(ledger).toEqual(
          Object.fromEntries(
            Object.entries(upTo).map(([field, value]) => [field, value - before[field as keyof typeof before]]),
          ),
        );
      }),
      { numRuns: 60 },
    );
  });

  test("a field or value that would not stay one line is refused before anything is written", async () => {
    const chain = new Chain(redis, randomUUID(), generationOf(everything));
    await chain.reseed(new Map(), 0, null);
    const sum = { merge: "sum", field: 'total.sum ["eu",true]', value: 1n } as const;
    const pick = { merge: "last", field: 'last_place.pick ["eu",true]', value: `${"1".repeat(52)}"eu"` } as const;
    const hashes = Buffer.alloc(8);
    const apply = (values: (typeof sum | typeof pick)[], sketches: { field: string; hashes: Buffer }[]) =>
      chain.apply({
        partition: 0,
        from: position(0n),
        to: position(1n),
        mark: null,
        ledger: { ...EMPTY_LEDGER, records: 1, counted: 1 },
        deltas: [{ bucket: 0, values, sketches }],
        maxCells: 100,
        freshAtMs: null,
      });
    const broken = (line: string) => line.replace("eu", "e\nu") as never;
    await expect(apply([sum, { ...sum, field: broken(sum.field) }], [])).rejects.toThrow("bad field");
    await expect(apply([sum, { ...pick, value: broken(pick.value) }], [])).rejects.toThrow("bad pick");
    await expect(apply([sum], [{ field: broken(sum.field), hashes }])).rejects.toThrow("bad field");
    expect((await liveState(chain))?.open).toEqual([]);
    expect((await apply([sum, pick], [{ field: 'amounts.registers ["eu",true]', hashes }])).kind).toBe("ok");
    const [bucket] = (await liveState(chain))?.open ?? [];
    expect(new Map(bucket?.values)).toEqual(
      new Map<string, unknown>([
        [sum.field, 1n],
        [pick.field, pick.value],
      ]),
    );
    expect(bucket?.sketches.map(([field]) => field)).toEqual(['amounts.registers ["eu",true]']);
  });

  /** The batch layer's part: states of everything below the cut, in a file as a version has it. */
  async function addBatchStates(
    builder: AnswerBuilder,
    fetched: ReturnType<typeof fetchedOf>[],
    cut: Cut,
  ): Promise<void> {
    const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
    const { relation } = await decoder.decode(fetched);
    const below = PARTITIONS.map((p) => `(_partition = ${p} AND _offset < ${cut.get(p) ?? 0n})`).join(" OR ");
    const states = stateSql(everything, `(SELECT * FROM ${relation} WHERE ${below})`);
    const file = await data.attempt("states", "merge", "parquet");
    const [[rows] = []] = await rowsOf(duck, `COPY (${states}) TO '${data.path(file)}' (FORMAT parquet)`);
    const files = [{ file, rows: Number(rows), ...(await data.settle(file)) }];
    const generation = generationOf(everything);
    const document = { generation, version: 1, base: cut, cut, ledger: EMPTY_LEDGER };
    const manifest = { ...document, files, topicId: "t", createdBy: "t", createdAtMs: 0 };
    const { everyMs, by, where } = query;
    const plan = { view: everything, ...WHOLE, everyMs, calendar: null, by, where };
    const { tiles } = await batch.cells(manifest, { ...plan, components: componentsOf(everything) });
    finish(builder.addRolledUp(tiles));
  }

  /**
   * The speed layer's part: micro-batches of any size in any interleaving, sealed anywhere, with a dedup window warmed
   * up at the cut.
   */
  async function applySpeed(
    { chain, inParts }: { chain: Chain; inParts: Chain },
    fetched: ReturnType<typeof fetchedOf>[],
    cut: Cut,
    steps: readonly { partition: 0 | 1; records: number; parts: boolean; seal: string; compact: boolean }[],
  ): Promise<Map<number, bigint>> {
    const decoder = await Decoder.open(duck, ticks, NO_SCHEMAS);
    const applied = new Map<number, bigint>(cut);
    for (const part of fetched) await decoder.decode([between(part, 0n, cut.get(part.partition) ?? 0n)]);
    const boundaries: Cut[] = [];
    for (const { partition, records, parts, seal, compact } of steps) {
      const part = fetched[partition];
      const from = applied.get(partition) ?? 0n;
      if (part === undefined || from >= part.to) continue;
      const next = part.records.offsets.filter((offset) => offset >= from).at(records) ?? part.to;
      const micro = between(part, from, next);
      const events = (await decoder.decode([micro])).from(cut, [micro]);
      const size = records % 2 === 0 ? "small" : "large";
      const states = await statesByPartition(decoder.statements, everything, events, size);
      const { deltas, counted } = states.get(partition) ?? { deltas: [], counted: 0 };
      const ledger = ledgerOf((await batchLedgers(decoder.statements, events, size)).get(partition), counted);
      const application = {
        partition,
        from: position(from),
        to: micro.to,
        mark: null,
        ledger,
        deltas,
        maxCells: 10_000,
        freshAtMs: null,
      };
      const writer = parts ? inParts : chain;
      expect((await writer.applyBatch([application])).map(({ kind }) => kind)).toEqual(["ok"]);
      // Sent again, as after a lost reply: nothing is counted twice, and the answer says where to continue.
      const stored = new Map([[partition, micro.to]]);
      expect(await writer.applyBatch([application])).toEqual([{ kind: "position", stored }]);
      applied.set(partition, micro.to);
      if (seal === "size" || seal === "both") await chain.seal(null);
      const boundary = seal === "cut" || seal === "both" ? await chain.seal(`cut-${boundaries.length}`) : null;
      if (boundary !== null) boundaries.push(boundary);
      const state = await chain.load();
      const segments = state !== null && compact ? segmentsToCompact(state, 2) : null;
      if (segments !== null) expect(await compactSegments(parts ? inParts : chain, everything, segments)).toBe(true);
    }
    // Whatever was merged, the chain still tiles from every cut that a refresh was given.
    const state = await chain.load();
    if (state !== null) for (const boundary of boundaries) expect(tilesOf(boundary, state).ok).toBe(true);
    return applied;
  }

  async function addChain(
    builder: AnswerBuilder,
    chain: Chain,
    cut: Cut,
    applied: ReadonlyMap<number, bigint>,
  ): Promise<Record<string, number>> {
    const read = await liveState(chain);
    if (read === null) throw new Error("the chain is gone");
    const run = tilesFrom(
      cut,
      read.chain.segments.map((segment) => ({ ...segment, to: segment.to ?? read.chain.applied, id: segment.id })),
    );
    expect(run.ok && [...run.to]).toEqual([
      ...cutFromJson(Object.fromEntries([...applied].map(([p, offset]) => [p, String(offset)]))),
    ]);
    const ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };
    await addLive(builder, everything, chain, read);
    for (const segment of read.chain.segments)
      for (const partial of (await chain.ledger(segment.id)).values())
        for (const field of Object.keys(ledger) as (keyof typeof ledger)[]) ledger[field] += partial[field];
    return ledger;
  }

  async function countDistinct(values: ReadonlySet<string>): Promise<number> {
    const key = `oracle:${randomUUID()}`;
    for (const value of values) await redis.pfadd(key, sketchBytes(value));
    const estimate = await redis.pfcount(key);
    await redis.del(key);
    return estimate;
  }
});

function between(part: ReturnType<typeof fetchedOf>, from: bigint, to: bigint): ReturnType<typeof fetchedOf> {
  const records = part.records.offsets.map((offset, index) => ({
    offset,
    key: null,
    value: part.records.value(index),
  }));
  const within = records.filter(({ offset }) => offset >= from && offset < to);
  return { ...part, from: position(from), to: position(to), records: Records.of(within) };
}
