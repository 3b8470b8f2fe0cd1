import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { generationOf } from "../../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { position } from "../../../core/log/position.ts";
import type { StateValue } from "../../../core/measures/measure.ts";
import { groupKey } from "../../../core/state/cells.ts";
import { Chain } from "../../../store/redis/chain.ts";
import {
  type Application,
  type BucketDelta,
  type ChainState,
  cellField,
  closedOf,
} from "../../../store/redis/chain-state.ts";
import { compactSegments, segmentsToCompact } from "../../../store/redis/compact-segments.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { everything } from "../../fixtures/events/views.ts";
import { watched } from "../../fixtures/servers/watched-redis.ts";

/**
 * Batches that are far wider than what one script may touch: they are applied as a whole or not at all, in bounded
 * parts.
 */

const generation = generationOf(everything);
/** Values, fields and their bucket of one part: no script gets more arguments. */
const MOST_ARGUMENTS = 3 * 2_000 + 100;

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.quit());

/** A process that is killed before the call of this number to one of the scripts of a wide apply. */
function dying(at: number): TidelineRedis {
  let calls = 0;
  return watched(redis, (name, _, call) => {
    if (name !== "stage" && name !== "commit") return call();
    calls += 1;
    return calls > at ? Promise.reject(new Error("killed")) : call();
  });
}

const rowsField = (group: number) => cellField("rows", groupKey([`g${group}`, true]));

/** One count in each of `cells` groups from `first` on, spread over two buckets. */
function counts(first: number, cells: number): BucketDelta[] {
  const [even, odd]: [BucketDelta["values"][number][], BucketDelta["values"][number][]] = [[], []];
  for (let group = first; group < first + cells; group++)
    (group % 2 === 0 ? even : odd).push({ merge: "sum", field: rowsField(group), value: 1n });
  return [
    { bucket: -60_000, values: even, sketches: [] },
    { bucket: 0, values: odd, sketches: [] },
  ];
}

function application(partition: number, deltas: readonly BucketDelta[], records: number): Application {
  return {
    partition,
    from: position(0n),
    to: position(BigInt(records)),
    mark: null,
    ledger: { ...EMPTY_LEDGER, records, counted: records },
    deltas,
    maxCells: 5_000_000,
    freshAtMs: null,
  };
}

async function closedCells(chain: Chain): Promise<Map<string, StateValue>> {
  const cells = new Map<string, StateValue>();
  for (const segment of closedOf((await chain.load())?.segments ?? []))
    for (const { bucket, values } of (await chain.segment(segment))?.buckets ?? [])
      for (const [field, value] of values) cells.set(`${bucket} ${field}`, value);
  return cells;
}

test("a million cells in one batch are applied once, also when processes are killed between the parts", async () => {
  const namespace = randomUUID();
  const CELLS = 1_000_000;
  const applications = [
    application(0, counts(0, CELLS / 2 + 1_000), CELLS / 2 + 1_000),
    application(1, counts(CELLS / 2, CELLS / 2), CELLS / 2),
  ];
  const chain = new Chain(redis, namespace, generation);
  await chain.reseed(new Map(), 0, null);
  for (const parts of [0, 1, 7]) {
    const killed = new Chain(dying(parts), namespace, generation);
    await expect(killed.applyBatch(applications)).rejects.toThrow("killed");
    expect((await chain.load())?.applied.size).toBe(0);
  }
  let [most, scripts] = [0, 0];
  const measured = watched(redis, (_, args, call) => {
    most = Math.max(most, args.length);
    scripts += 1;
    return call();
  });
  const [reply] = await new Chain(measured, namespace, generation).applyBatch(applications);
  expect(reply).toMatchObject({ kind: "ok", inParts: true, cells: CELLS });
  expect(scripts).toBeGreaterThan(CELLS / 2_000);
  expect(most).toBeLessThan(MOST_ARGUMENTS);

  const again = await new Chain(measured, namespace, generation).applyBatch(applications);
  expect(again).toEqual([
    { kind: "position", stored: new Map(applications.map(({ partition, to }) => [partition, to])) },
  ]);
  const cells = await closedCells(chain);
  expect(cells.size).toBe(CELLS);
  for (const group of [0, 1, CELLS / 2 - 1, CELLS / 2, CELLS / 2 + 999, CELLS / 2 + 1_000, CELLS - 1]) {
    const twice = group >= CELLS / 2 && group < CELLS / 2 + 1_000;
    expect(cells.get(`${group % 2 === 0 ? -60_000 : 0} ${rowsField(group)}`)).toBe(twice ? 2n : 1n);
  }
  const [segment] = (await chain.load())?.segments ?? [];
  expect([...(await chain.ledger(segment?.id ?? "")).values()].map(({ records }) => records)).toEqual(
    applications.map(({ ledger }) => ledger.records),
  );
  await chain.drop();
  expect(await redis.keys(`*${namespace}*`)).toEqual([]);
}, 240_000);

test("cells that are large by themselves go in parts, too: long picks, sketches of many hashes, many buckets", async () => {
  const namespace = randomUUID();
  const long = (place: number) => `${String(place).padStart(52, "0")}${JSON.stringify("é".repeat(200_000))}`;
  const pick = (bucket: number): BucketDelta => ({
    bucket,
    values: [{ merge: "last", field: cellField("last_place.pick", groupKey(["eu", true])), value: long(bucket) }],
    sketches: [],
  });
  const hashes = Buffer.alloc(8 * 50_000);
  for (let hash = 0; hash < 50_000; hash++)
    hashes.writeBigUInt64LE(BigInt.asUintN(64, BigInt(hash) * 0x9e3779b97f4a7c15n), 8 * hash);
  const field = cellField("amounts.registers", groupKey(["eu", true]));
  const sketched: BucketDelta = { bucket: 0, values: [], sketches: [{ field, hashes }] };
  const many = Array.from({ length: 3_000 }, (_, index): BucketDelta => {
    const bucket = (index + 1) * 60_000;
    const value = { merge: "sum", field: rowsField(index), value: BigInt(index) } as const;
    return index < 3 ? pick(bucket) : { bucket, values: [value], sketches: [] };
  });
  const chain = new Chain(redis, namespace, generation);
  await chain.reseed(new Map(), 0, null);
  const [reply] = await chain.applyBatch([application(0, [sketched, ...many], 10)]);
  expect(reply).toMatchObject({ kind: "ok", inParts: true });
  const [first] = closedOf((await chain.load())?.segments ?? []);
  if (first === undefined) throw new Error("nothing was closed");
  const read = await chain.segment(first);
  expect(read?.buckets.length).toBe(3_001);
  expect(read?.buckets.slice(1, 4).map(({ values }) => values[0]?.[1])).toEqual([60_000, 120_000, 180_000].map(long));
  expect(read?.buckets.at(-1)?.values).toEqual([[rowsField(2_999), 2_999n]]);
  const whole = `oracle:${namespace}`;
  for (let at = 0; at < hashes.length; at += 8_000)
    await redis.pfadd(
      whole,
      ...Array.from({ length: 1_000 }, (_, index) => hashes.subarray(at + 8 * index, at + 8 * index + 8)),
    );
  const key = `tl:{${namespace}/${generation}}:s:${first.id}:h:0:${field}`;
  expect(await redis.pfcount(key)).toBe(await redis.pfcount(whole));

  // The same cells once more, and both segments merged into one.
  await chain.applyBatch([{ ...application(0, [sketched, ...many], 10), from: position(10n), to: position(20n) }]);
  const segments = closedOf((await chain.load())?.segments ?? []);
  expect(segments.length).toBe(2);
  expect(await compactSegments(chain, everything, segments)).toBe(true);
  const [compacted] = closedOf((await chain.load())?.segments ?? []);
  const merged = compacted === undefined ? null : await chain.segment(compacted);
  expect(merged?.buckets.at(-1)?.rows).toEqual([[groupKey(["g2999", true]), [["rows", 5_998n]]]]);
  expect(merged?.buckets.length).toBe(3_001);
  expect(await redis.pfcount(`tl:{${namespace}/${generation}}:s:${compacted?.id}:h:0:${field}`)).toBe(
    await redis.pfcount(whole),
  );
  await redis.del(whole);
  await chain.drop();
  expect(await redis.keys(`*${namespace}*`)).toEqual([]);
});

test("what was staged for a position that has moved on is swept, and a chain that lost a cell is void", async () => {
  const namespace = randomUUID();
  const chain = new Chain(redis, namespace, generation, 100);
  await chain.reseed(new Map(), 0, null);
  const wide = application(0, counts(0, 500), 500);
  await expect(new Chain(dying(2), namespace, generation, 100).applyBatch([wide])).rejects.toThrow("killed");
  // Somebody else applies the same batch: what the killed one has staged is of no use to anybody.
  expect((await chain.applyBatch([wide])).map(({ kind }) => kind)).toEqual(["ok"]);
  const [segment] = closedOf((await chain.load())?.segments ?? []);
  await chain.trim(new Map());
  const kept = (await redis.keys(`*${namespace}*:s:*`)).filter((name) => !name.includes(`:s:${segment?.id}:`));
  expect(kept).toEqual([]);

  const small = { ...application(0, counts(0, 4), 4), from: wide.to, to: position(504n) };
  expect((await chain.applyBatch([small])).map(({ kind }) => kind)).toEqual(["ok"]);
  expect((await chain.load())?.applied.get(0)).toBe(504n);
  const open = (await chain.load())?.segments.at(-1)?.id;
  // As a Redis does that evicts keys.
  await redis.del(`tl:{${namespace}/${generation}}:s:${open}:b:0`);
  expect(await chain.load()).toBeNull();
  const late = { ...small, from: small.to, to: position(508n) };
  expect(await chain.applyBatch([late])).toEqual([{ kind: "no-chain" }]);
  expect(await chain.reseed(new Map(), 0, null)).toBe(true);
  // Of a closed segment, too.
  expect((await chain.applyBatch([wide])).map(({ kind }) => kind)).toEqual(["ok"]);
  const [again] = closedOf((await chain.load())?.segments ?? []);
  if (again === undefined) throw new Error("nothing was closed");
  await redis.del(`tl:{${namespace}/${generation}}:s:${again.id}:b:0/1`);
  expect(await chain.segment(again)).toBeNull();
  await chain.drop();
});

test("segments with many cells are merged, too, some at a time", () => {
  const segment = (id: number, cells: number) => ({
    id: String(id),
    from: new Map(),
    to: new Map(),
    token: null,
    cells,
  });
  const runOf = (cells: readonly number[]) =>
    segmentsToCompact({ segments: cells.map((of, id) => segment(id, of)) } as unknown as ChainState)?.length ?? null;
  expect(runOf(Array(15).fill(10))).toBeNull();
  expect(runOf(Array(16).fill(10))).toBe(16);
  expect(runOf(Array(200).fill(10))).toBe(64);
  expect(runOf(Array(100).fill(20_000))).toBe(10);
  expect(runOf(Array(100).fill(90_000))).toBeNull();
  expect(runOf([150_000, ...Array(100).fill(50_000)])).toBe(4);
});

test("a batch of which Redis has lost a part on the way is not committed", async () => {
  const namespace = randomUUID();
  const chain = new Chain(redis, namespace, generation, 100);
  await chain.reseed(new Map(), 0, null);
  // As a Redis does that comes back without its last second.
  let parts = 0;
  const losing = watched(redis, async (name, args, call) => {
    const answer = await call();
    const [, , , prefix, id, , , , page] = args;
    parts += name === "stage" ? 1 : 0;
    if (name !== "stage" || parts !== 2) return answer;
    await redis.del(`${prefix}:s:${id}:b:${page}`);
    await redis.zrem(`${prefix}:s:${id}:buckets`, String(page));
    return answer;
  });
  const wide = application(0, counts(0, 500), 500);
  expect(await new Chain(losing, namespace, generation, 100).applyBatch([wide])).toEqual([{ kind: "no-chain" }]);
  expect((await chain.load())?.applied.size).toBe(0);
  expect(await redis.keys(`*${namespace}*:s:*`)).toEqual([]);
  expect((await chain.applyBatch([wide])).map(({ kind }) => kind)).toEqual(["ok"]);
  expect((await closedCells(chain)).size).toBe(500);
  await chain.drop();
});

test("a batch of another topic is refused, and malformed state is refused before anything is written", async () => {
  const namespace = randomUUID();
  const chain = new Chain(redis, namespace, generation, 100);
  await chain.reseed(new Map(), 0, null, { topicId: "topic-a" });
  for (const cells of [2, 500]) {
    const foreign = { ...application(0, counts(0, cells), cells), topicId: "topic-b" };
    expect(await chain.applyBatch([foreign])).toEqual([{ kind: "other-topic", topicId: "topic-a" }]);
  }
  const broken = counts(0, 500).map((delta) => ({
    ...delta,
    values: delta.values.map((one) => ({ ...one, field: one.field.replace("g499", "g\n499") })),
  }));
  await expect(chain.applyBatch([application(0, broken, 500)])).rejects.toThrow("bad field");
  const [first, ...rest] = counts(0, 500).reverse();
  const over = { merge: "sum", field: rowsField(1_000), value: 2n ** 61n } as const;
  // In the last part, and in an earlier one, behind which the next one is on its way already.
  const last = [...rest, { bucket: 0, sketches: [], values: [...(first?.values ?? []), over] }];
  const early = [{ bucket: 0, sketches: [], values: [...(first?.values ?? []).slice(0, 150), over] }, ...rest, ...rest];
  for (const large of [last, early])
    expect(await chain.applyBatch([application(0, large, 500)])).toEqual([{ kind: "overflow" }]);
  expect((await chain.load())?.applied.size).toBe(0);
  // Nothing of what was staged in vain is left.
  expect(await redis.keys(`*${namespace}*:s:*`)).toEqual([]);
  await chain.drop();
});
