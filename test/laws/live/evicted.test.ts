import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { segmentLedgers } from "../../../batch-layer/refresh/segment-ledgers.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { at, type Cut, cutReached, position } from "../../../core/log/position.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { Registers, registerOf, registersFromRedis } from "../../../core/numbers/hll.ts";
import { groupKey } from "../../../core/state/cells.ts";
import { Chain } from "../../../store/redis/chain.ts";
import {
  type Application,
  type BucketCells,
  type BucketDelta,
  type ChainRead,
  cellField,
  closedOf,
  tilesOf,
} from "../../../store/redis/chain-state.ts";
import { compactSegments, segmentsToCompact } from "../../../store/redis/compact-segments.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { everything } from "../../fixtures/events/views.ts";
import { watched } from "../../fixtures/servers/watched-redis.ts";

/**
 * A Redis with an eviction policy deletes any key at any moment. What is read then is refused, or exact; and the state
 * comes back by itself.
 */

const generation = generationOf(everything);
const GROUP = groupKey(["eu", true]);
const COUNT = cellField(ROWS.name, GROUP);
const SKETCH = cellField("amounts.registers", GROUP);
const COLUMNS = [{ key: ROWS.name, merge: "sum" }] as const;
const BUCKETS = 2;
const PARTITIONS = [0, 1] as const;

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.quit());

const bucketOf = (offset: bigint) => Number(offset % BigInt(BUCKETS)) * 60_000;

/** Each record has a value of its own. */
const hashOf = (partition: number, offset: bigint) =>
  BigInt.asUintN(64, (BigInt(partition) * 1_000_003n + offset + 1n) * 0x9e3779b97f4a7c15n);

function hashBytes(partition: number, offsets: readonly bigint[]): Buffer {
  const bytes = Buffer.alloc(8 * offsets.length);
  for (const [index, offset] of offsets.entries()) bytes.writeBigUInt64LE(hashOf(partition, offset), 8 * index);
  return bytes;
}

/** What the records of a span add: a count and a sketch in each bucket. */
function deltasOf(partition: number, from: bigint, to: bigint): BucketDelta[] {
  const buckets = new Map<number, bigint[]>();
  for (let offset = from; offset < to; offset++)
    buckets.set(bucketOf(offset), [...(buckets.get(bucketOf(offset)) ?? []), offset]);
  return [...buckets].map(([bucket, offsets]) => ({
    bucket,
    values: [],
    rows: { columns: COLUMNS, rows: [[GROUP, [BigInt(offsets.length)]]] },
    sketches: [{ field: SKETCH, hashes: hashBytes(partition, offsets) }],
  }));
}

function applicationOf(partition: number, from: bigint, to: bigint): Application {
  const records = Number(to - from);
  return {
    partition,
    from: position(from),
    to: position(to),
    mark: null,
    ledger: { ...EMPTY_LEDGER, records, counted: records },
    deltas: deltasOf(partition, from, to),
    maxCells: 100_000,
    freshAtMs: null,
  };
}

/** Counts and registers by bucket, of a log or of what Redis holds. */
class Found {
  readonly #counts = new Map<number, bigint>();
  readonly #registers = new Map<number, Registers>();

  static ofLog(from: Cut, to: Cut): Found {
    const found = new Found();
    for (const partition of PARTITIONS)
      for (let offset: bigint = at(from, partition); offset < at(to, partition); offset++) {
        found.#count(bucketOf(offset), 1n);
        const { register, rank } = registerOf(hashOf(partition, offset));
        found.#of(bucketOf(offset)).offer(register, rank);
      }
    return found;
  }

  add({ bucket, values, rows, sketches }: BucketCells): void {
    for (const [, value] of values) this.#count(bucket, BigInt(value));
    for (const [, row] of rows) for (const [, value] of row) this.#count(bucket, BigInt(value));
    for (const [, bytes] of sketches) this.#of(bucket).merge(registersFromRedis(bytes));
  }

  counts(): [number, bigint][] {
    return [...this.#counts].sort(([a], [b]) => a - b);
  }

  registers(): [number, [number, number][]][] {
    return [...this.#registers]
      .map(([bucket, of]): [number, [number, number][]] => [bucket, of.entries()])
      .sort(([a], [b]) => a - b);
  }

  #count(bucket: number, by: bigint): void {
    this.#counts.set(bucket, (this.#counts.get(bucket) ?? 0n) + by);
  }

  #of(bucket: number): Registers {
    const held = this.#registers.get(bucket) ?? new Registers();
    this.#registers.set(bucket, held);
    return held;
  }
}

/** A view, its speed layer, its batch layer and a reader, over a log that has as many records as somebody reads. */
class World {
  readonly chain: Chain;
  readonly name: string;
  /** What a script does at most: batches of several records go in parts. */
  readonly #inParts: Chain;
  #version = 0;
  #cut: Cut = new Map();
  /** Where the speed layer believes to be; null when it looks. */
  #positions: Map<number, bigint> | null = null;

  /** `before` is called before every script. */
  constructor(before: (world: World, script: string) => Promise<void> = async () => {}) {
    this.name = randomUUID();
    const seen = watched(redis, async (script, _, call) => {
      await before(this, script);
      return call();
    });
    this.chain = new Chain(seen, this.name, generation);
    this.#inParts = new Chain(seen, this.name, generation, 30);
  }

  /** Names of the keys behind the prefix of the chain, in order. */
  async keys(): Promise<string[]> {
    const prefix = this.#key("");
    return (await redis.keys(`*${this.name}*`)).map((key) => key.slice(prefix.length)).sort();
  }

  /** As Redis evicts keys. */
  async evict(...names: readonly string[]): Promise<void> {
    for (const name of names) await redis.del(this.#key(name));
  }

  #key(name: string): string {
    return `tl:{${this.name}/${generation}}:${name}`;
  }

  async #attached(): Promise<Map<number, bigint>> {
    for (let tries = 0; this.#positions === null; tries++) {
      // Before the first chain there is none, and at most three are evicted before they are used.
      if (tries > 4) throw new Error("no chain comes back");
      const state = await this.chain.load();
      if (state !== null && tilesOf(this.#cut, state).ok) this.#positions = new Map(state.applied);
      else await this.chain.reseed(this.#cut, this.#version, state?.nonce ?? null);
    }
    return this.#positions;
  }

  /** Applies records of a partition, as a speed process does: it looks at the chain only when it has to. */
  async apply(partition: number, records: number, { inParts = false } = {}): Promise<void> {
    const positions = await this.#attached();
    const from = positions.get(partition) ?? 0n;
    const application = applicationOf(partition, from, from + BigInt(records));
    const reply = inParts ? await this.#inParts.applyInParts([application]) : await this.chain.apply(application);
    if (reply.kind === "ok") positions.set(partition, from + BigInt(records));
    else if (reply.kind === "position") for (const [of, stored] of reply.stored) positions.set(of, stored);
    else if (reply.kind === "no-chain") this.#positions = null;
    else throw new Error(`the reply is ${reply.kind}`);
  }

  async compact(): Promise<void> {
    const state = await this.chain.load();
    const segments = state === null ? null : segmentsToCompact(state, 2);
    if (segments !== null) await compactSegments(this.chain, everything, segments);
  }

  /** A settlement: the batch layer counts from the log itself. */
  async settle(): Promise<void> {
    const cut = await this.chain.seal(String(this.#version + 1));
    if (cut === null || !cutReached(cut, this.#cut)) return;
    this.#version += 1;
    this.#cut = cut;
    await this.chain.publish(this.#version);
    await this.chain.trim(cut);
  }

  /** The chain and all of its open segment; null without a chain. */
  read(sketches: boolean): Promise<ChainRead | null> {
    return this.chain.read(null, [{ fromMs: -1, toMs: 1_000_000, sketches, fields: null, held: false }]);
  }

  /** Reads as the serving does. Returns whether live state was part of the answer, and throws when it is wrong. */
  async isExact(): Promise<boolean> {
    const read = await this.read(true);
    const tiles = read === null ? null : tilesOf(this.#cut, read.chain);
    if (read === null || tiles?.ok !== true) return false;
    const open = read.parts[0] ?? [];
    const closed = closedOf(tiles.tiles.map(({ segment }) => segment));
    const expected = Found.ofLog(this.#cut, read.chain.applied);
    const keyed = await this.chain.keyed(closed, { fromMs: -1, toMs: 1_000_000, fields: [COUNT] });
    if (keyed !== null) {
      const byKey = new Found();
      for (const bucket of [...open, ...keyed.flat()]) byKey.add(bucket);
      expect(byKey.counts()).toEqual(expected.counts());
    }
    await this.#checkLedgers(closed.at(-1)?.to ?? this.#cut);
    const found = new Found();
    for (const bucket of open) found.add(bucket);
    for (const segment of closed) {
      const cells = await this.chain.segment(segment);
      if (cells === null) return false;
      for (const bucket of cells.buckets) found.add(bucket);
    }
    expect(found.counts()).toEqual(expected.counts());
    expect(found.registers()).toEqual(expected.registers());
    return true;
  }

  /** What a settlement compares with the archive is what the log has, or is not there. */
  async #checkLedgers(to: Cut): Promise<void> {
    const ledgers = await segmentLedgers(this.chain, this.#cut, to);
    for (const [partition, { records }] of ledgers ?? [])
      expect(BigInt(records)).toBe(at(to, partition) - at(this.#cut, partition));
  }
}

/** The keys of a world, of which the pattern matches at least one. */
async function keysLike(world: World, pattern: RegExp): Promise<string[]> {
  const found = (await world.keys()).filter((key) => pattern.test(key));
  expect(found).not.toEqual([]);
  return found;
}

const OPEN_SKETCH = /^s:[^:]+:h:0:/;

test("a sketch of the open segment that is gone makes the chain void for a reader of sketches, and for the next batch", async () => {
  const world = new World();
  await world.apply(0, 4);
  expect(await world.isExact()).toBe(true);
  await world.evict(...(await keysLike(world, OPEN_SKETCH)));
  expect(await world.read(false)).not.toBeNull();
  expect(await world.read(true)).toBeNull();
  expect(await world.chain.load()).toBeNull();

  const writer = new World();
  await writer.apply(0, 4);
  await writer.evict(...(await keysLike(writer, OPEN_SKETCH)));
  expect(await writer.chain.apply(applicationOf(0, 4n, 6n))).toEqual({ kind: "no-chain" });
  expect(await writer.chain.load()).toBeNull();
});

test("a closed segment that lost a sketch is not read, nor merged, whenever the sketch is lost", async () => {
  for (const before of ["segment", "stage"]) {
    let lost: Promise<void> | null = null;
    const world: World = new World(async (_, script) => {
      if (script !== before || lost !== null || (await world.chain.pointer()) === null) return;
      lost = keysLike(world, OPEN_SKETCH).then((keys) => world.evict(...keys.slice(0, 1)));
      await lost;
    });
    for (let segment = 0; segment < 3; segment++) {
      await world.apply(0, 4);
      await world.chain.seal(null);
    }
    const segments = segmentsToCompact((await world.chain.load()) ?? expect.fail("no chain"), 2) ?? [];
    expect(segments).toHaveLength(3);
    expect(await compactSegments(world.chain, everything, segments)).toBe(false);
    expect(lost).not.toBeNull();
    const read = await Promise.all(segments.map((segment) => world.chain.segment(segment)));
    expect(read.filter((cells) => cells === null)).toHaveLength(1);
  }
});

test("a sketch with hashes in several parts is not begun again when it is lost between them", async () => {
  let parts = 0;
  const hashes = 20_000;
  const world: World = new World(async (_, script) => {
    parts += script === "stage" ? 1 : 0;
    if (parts === 2) await world.evict(...(await keysLike(world, /:h:/)));
  });
  await world.chain.reseed(new Map(), 0, null);
  const wide = applicationOf(0, 0n, 10n);
  const sketches = [
    {
      field: SKETCH,
      hashes: hashBytes(
        0,
        Array.from({ length: hashes }, (_, n) => BigInt(n)),
      ),
    },
  ];
  const [reply] = await world.chain.applyBatch([{ ...wide, deltas: [{ bucket: 0, values: [], sketches }] }]);
  expect(parts).toBeGreaterThan(2);
  expect(reply).toEqual({ kind: "no-chain" });
});

test("segments of which one has lost its ledger are neither merged nor compared with the archive", async () => {
  const world = new World();
  for (let segment = 0; segment < 2; segment++) {
    await world.apply(0, 4);
    await world.chain.seal(null);
  }
  const state = (await world.chain.load()) ?? expect.fail("no chain");
  const segments = segmentsToCompact(state, 2) ?? [];
  const compared = () => segmentLedgers(world.chain, new Map(), state.applied);
  expect(await compared()).toEqual(new Map([[0, { ...EMPTY_LEDGER, records: 8, counted: 8 }]]));
  await world.evict(...(await keysLike(world, /:ledger$/)).slice(1));
  expect(await compared()).toBeNull();
  expect(await compactSegments(world.chain, everything, segments)).toBe(false);
});

test("applied positions that are gone do not become 0", async () => {
  for (const settled of [true, false]) {
    const world = new World();
    await world.apply(0, 4);
    if (settled) await world.settle();
    await world.evict("applied");
    expect(await world.chain.apply(applicationOf(0, 4n, 6n))).toEqual({ kind: "no-chain" });
    await world.apply(0, 1);
    await world.apply(0, 5);
    expect(await world.isExact()).toBe(true);
  }
});

test("what is gone of the open segment is not begun again", async () => {
  for (const pattern of [/:b:0$/, /:buckets$/, /:ledger$/, /^applied$/]) {
    const world = new World();
    await world.apply(0, 2);
    await world.evict(...(await keysLike(world, pattern)));
    expect(await world.chain.apply(applicationOf(1, 0n, 2n))).toEqual({ kind: "no-chain" });
    expect(await world.chain.load()).toBeNull();
  }
  // Records that were counted, and have no cells.
  const filtered = new World();
  await filtered.chain.reseed(new Map(), 0, null);
  expect(await filtered.chain.apply({ ...applicationOf(0, 0n, 2n), deltas: [] })).toMatchObject({ kind: "ok" });
  await filtered.evict("applied");
  expect(await filtered.chain.apply(applicationOf(0, 2n, 4n))).toEqual({ kind: "no-chain" });
  expect(await filtered.chain.load()).toBeNull();
});

test("a batch in parts does not join a chain that has lost keys", async () => {
  for (const pattern of [/:buckets$/, /:ledger$/, /^applied$/]) {
    const world = new World();
    await world.apply(0, 2);
    await world.evict(...(await keysLike(world, pattern)));
    expect(await world.chain.applyInParts([applicationOf(1, 0n, 2n)])).toEqual({ kind: "no-chain" });
    expect(await world.chain.load()).toBeNull();
  }
});

type Step = (world: World) => Promise<unknown>;
const partition = fc.constantFrom(...PARTITIONS);
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.tuple(partition, fc.integer({ min: 1, max: 4 }), fc.boolean()).map(
      ([of, records, inParts]): Step =>
        (world) =>
          world.apply(of, records, { inParts }),
    ),
  },
  { weight: 2, arbitrary: fc.constant<Step>((world) => world.chain.seal(null)) },
  { weight: 1, arbitrary: fc.constant<Step>((world) => world.compact()) },
  { weight: 1, arbitrary: fc.constant<Step>((world) => world.settle()) },
  { weight: 2, arbitrary: fc.constant<Step>((world) => world.isExact()) },
);

test("whatever key is evicted before whatever script, no answer is wrong, and a settlement makes all whole again", async () => {
  const eviction = fc.record({ script: fc.nat({ max: 60 }), key: fc.nat({ max: 1_000 }) });
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { minLength: 3, maxLength: 14 }),
      fc.array(eviction, { minLength: 1, maxLength: 3 }),
      async (steps, evictions) => {
        let scripts = 0;
        const world = new World(async (self) => {
          const due = evictions.filter(({ script }) => script === scripts);
          scripts += 1;
          for (const { key } of due) {
            const names = await self.keys();
            if (names.length > 0) await self.evict(names[key % names.length] ?? "");
          }
        });
        for (const one of steps) await one(world);
        await world.isExact();
        scripts = 1_000;
        for (let round = 0; round < 3; round++) {
          for (const of of PARTITIONS) await world.apply(of, 1);
          await world.isExact();
        }
        await world.settle();
        for (const of of PARTITIONS) await world.apply(of, 1);
        expect(await world.isExact()).toBe(true);
        await world.chain.drop();
      },
    ),
    { numRuns: 400 },
  );
});
