import { mkdtemp, readdir, rm, stat, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";
import { generationOf } from "../../../core/definition/generation.ts";
import { EMPTY_LEDGER, type Ledger } from "../../../core/log/ledger.ts";
import { at, type Cut, type EpochMs, position } from "../../../core/log/position.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { groupKey } from "../../../core/state/cells.ts";
import { freePorts } from "../../../stack/servers/ports.ts";
import { createServers, type ServerHandle } from "../../../stack/servers/servers.ts";
import { Chain } from "../../../store/redis/chain.ts";
import { type BucketCells, type ChainState, cellField, tilesOf } from "../../../store/redis/chain-state.ts";
import { compactSegments, segmentsToCompact } from "../../../store/redis/compact-segments.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { everything } from "../../fixtures/events/views.ts";
import { liveState } from "../../fixtures/oracles/served-cells.ts";

/**
 * Power fails while Redis writes its append-only file, which then ends at any byte. Redis cuts such a file behind the
 * last whole command, also inside a transaction, and carries out the transaction's beginning at the next start. A chain
 * is used only when it holds exactly the log between the newest cut and its applied position.
 */

const FIELD = cellField(ROWS.name, groupKey(["eu", true]));
const BUCKETS = 3;

let home: string;
let server: ServerHandle & { readonly url: string };
let redis: TidelineRedis;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-torn-"));
  server = createServers({ home, ports: await freePorts() }).redis;
  await server.start();
  redis = openRedis(server.url, () => undefined);
});

afterAll(async () => {
  redis.disconnect();
  await server.stop();
  await rm(home, { recursive: true });
});

/** Kills Redis, takes the last `bytes` off its append-only file, and starts it again. */
async function losePower(bytes: number): Promise<void> {
  await server.kill("SIGKILL");
  const folder = join(home, "redis", "appendonlydir");
  const [name] = (await readdir(folder)).filter((file) => file.endsWith(".incr.aof"));
  if (name === undefined) throw new Error(`no append-only file in ${folder}`);
  const file = join(folder, name);
  await truncate(file, Math.max(0, (await stat(file)).size - bytes));
  await server.start();
}

/**
 * A view of one partition whose records each count one event, in a bucket by their offset; and the batch layer's newest
 * cut.
 */
class World {
  readonly chain: Chain;
  #version = 0;
  #cut: Cut = new Map();

  constructor(name: string) {
    this.chain = new Chain(redis, name, generationOf(everything));
  }

  /** As a speed process attaches: a chain that tiles from the newest cut, made again where there is none. */
  async attached(): Promise<ChainState> {
    for (;;) {
      const state = await this.chain.load();
      if (state !== null && tilesOf(this.#cut, state).ok) return state;
      await this.chain.reseed(this.#cut, this.#version, state?.nonce ?? null);
    }
  }

  async apply(records: number): Promise<void> {
    const { applied } = await this.attached();
    const from = at(applied, 0);
    const to = position(from + BigInt(records));
    const counts = countsBetween(from, to);
    await this.chain.apply({
      partition: 0,
      from,
      to,
      mark: null,
      ledger: { ...EMPTY_LEDGER, records, counted: records },
      deltas: [...counts].map(([bucket, value]) => ({
        bucket,
        values: [{ merge: "sum", field: FIELD, value }],
        sketches: [],
      })),
      maxCells: 1_000,
      freshAtMs: null,
    });
  }

  async compact(): Promise<void> {
    const segments = segmentsToCompact(await this.attached(), 2);
    if (segments !== null) await compactSegments(this.chain, everything, segments);
  }

  /** A refresh: its cut is sealed, published, and trimmed to. */
  async publish(): Promise<void> {
    await this.attached();
    const cut = await this.chain.seal(String(this.#version + 1));
    if (cut === null) return;
    this.#version += 1;
    this.#cut = cut;
    await this.chain.publish(this.#version);
    await this.chain.trim(cut);
  }

  /** What the chain says, if it is one that a reader would use, against the log. */
  async expectExact(): Promise<void> {
    const look = await liveState(this.chain);
    const tiles = look === null ? null : tilesOf(this.#cut, look.chain);
    if (look === null || tiles?.ok !== true) return;
    const counts = new Map<EpochMs, bigint>();
    let ledger: Ledger = EMPTY_LEDGER;
    for (const { segment } of tiles.tiles) {
      const { to } = segment;
      const buckets = to === null ? look.open : (await this.chain.segment({ ...segment, to }))?.buckets;
      if (buckets === undefined) return; // as after a trim: a reader starts over
      for (const bucket of buckets) add(counts, bucket);
      for (const one of (await this.chain.ledger(segment.id)).values())
        ledger = { ...ledger, records: ledger.records + one.records, counted: ledger.counted + one.counted };
    }
    const [from, applied] = [at(this.#cut, 0), at(look.chain.applied, 0)];
    const records = Number(applied - from);
    expect({ counts, ledger }).toEqual({
      counts: countsBetween(from, applied),
      ledger: { ...EMPTY_LEDGER, records, counted: records },
    });
  }
}

function countsBetween(from: bigint, to: bigint): Map<EpochMs, bigint> {
  const counts = new Map<EpochMs, bigint>();
  for (let offset = from; offset < to; offset++) {
    const bucket = Number(offset % BigInt(BUCKETS)) * 60_000;
    counts.set(bucket, (counts.get(bucket) ?? 0n) + 1n);
  }
  return counts;
}

function add(counts: Map<EpochMs, bigint>, { bucket, values }: BucketCells): void {
  for (const [, value] of values) counts.set(bucket, (counts.get(bucket) ?? 0n) + BigInt(value));
}

type Step = (world: World) => Promise<unknown>;
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.integer({ min: 1, max: 5 }).map(
      (records): Step =>
        (world) =>
          world.apply(records),
    ),
  },
  { weight: 2, arbitrary: fc.constant<Step>((world) => world.chain.seal(null)) },
  { weight: 1, arbitrary: fc.constant<Step>((world) => world.compact()) },
  { weight: 1, arbitrary: fc.constant<Step>((world) => world.publish()) },
  { weight: 1, arbitrary: fc.constant<Step>((world) => world.chain.drop()) },
);

let worlds = 0;

test("a script of which Redis has kept a part only leaves no chain that is used", async () => {
  const round = fc.record({
    steps: fc.array(step, { minLength: 1, maxLength: 5 }),
    lost: fc.integer({ min: 0, max: 900 }),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 3 }), async (rounds) => {
      const world = new World(`torn-${worlds++}`);
      await world.attached();
      for (const { steps, lost } of rounds) {
        for (const one of steps) await one(world);
        await losePower(lost);
        await world.expectExact();
      }
      await world.attached();
      await world.expectExact();
      await world.apply(1);
      await world.expectExact();
    }),
    { numRuns: 25 },
  );
});
