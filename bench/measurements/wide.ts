import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { generationOf } from "../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { position } from "../../core/log/position.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { createServers } from "../../stack/servers/servers.ts";
import { Chain } from "../../store/redis/chain.ts";
import { type BucketDelta, closedOf } from "../../store/redis/chain-state.ts";
import { compactSegments } from "../../store/redis/compact-segments.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";
import { type Figure, limit } from "../setup/figure.ts";

const CELLS = 1_000_000;
const ROUNDS = 3;
/** Of the compaction: each of two segments. */
const COMPACTED_CELLS = 90_000;
/** Of these one is a sketch: what Redis spends most on. */
const SKETCH_EVERY = 50;

/**
 * How long one script blocks Redis while a batch of a million distinct cells is applied, read, compacted and swept.
 * Redis' own slow log says so: it measures the execution of a command alone. Cells of one bucket, names of 30
 * characters, every fiftieth a sketch.
 */
export async function benchWide(report: (line: string) => void): Promise<Figure[]> {
  const home = await mkdtemp(join(tmpdir(), "tideline-bench-"));
  const server = createServers({ home, ports: await freePorts() }).redis;
  await server.start();
  const redis = openRedis(server.url, () => undefined);
  const [slowest, seconds]: [number[], number[]] = [[], []];
  try {
    await redis.config("SET", "slowlog-log-slower-than", "1000");
    await redis.config("SET", "slowlog-max-len", "10000");
    for (let round = 0; round < ROUNDS; round++) {
      await redis.slowlog("RESET");
      const chain = new Chain(redis, `wide-${round}`, generationOf(revenue));
      await chain.reseed(new Map(), 0, null);
      const beganMs = performance.now();
      await apply(chain, 0n, deltas(CELLS));
      seconds.push((performance.now() - beganMs) / 1_000);
      await readAll(chain);
      await chain.seal("1");
      for (const from of [1n, 2n]) await apply(chain, from, deltas(COMPACTED_CELLS));
      await compactSegments(chain, revenue, closedOf((await chain.load())?.segments ?? []).slice(1));
      await readAll(chain);
      await chain.drop();
      const entries = (await redis.slowlog("GET", 10_000)) as [number, number, number, string[]][];
      slowest.push(Math.max(0, ...entries.map(([, , microseconds]) => microseconds)) / 1_000);
      report(`applied in ${seconds.at(-1)?.toFixed(1)} s; the longest script took ${slowest.at(-1)} ms`);
    }
  } finally {
    redis.disconnect();
    await server.stop();
    await rm(home, { recursive: true, force: true });
  }
  return [
    limit(
      `longest script while ${CELLS.toLocaleString("en-US")} cells are applied, read, compacted, swept`,
      "ms",
      50,
      slowest,
    ),
    limit(`a batch of ${CELLS.toLocaleString("en-US")} cells applied`, "s", null, seconds),
  ];
}

async function apply(chain: Chain, from: bigint, made: readonly BucketDelta[]): Promise<void> {
  const span = { partition: 0, from: position(from), to: position(from + 1n), mark: null, freshAtMs: null };
  const ledger = { ...EMPTY_LEDGER, records: 1, counted: 1 };
  const [reply] = await chain.applyBatch([{ ...span, ledger, deltas: made, maxCells: 10 * CELLS }]);
  if (reply?.kind !== "ok") throw new Error(`not applied: ${reply?.kind}`);
}

async function readAll(chain: Chain): Promise<void> {
  for (const segment of closedOf((await chain.load())?.segments ?? []))
    if ((await chain.segment(segment)) === null) throw new Error("a segment is gone");
}

function deltas(cells: number): BucketDelta[] {
  const hashes = Buffer.from("0123456789abcdef");
  const [values, sketches]: [BucketDelta["values"][number][], BucketDelta["sketches"][number][]] = [[], []];
  for (let cell = 0; cell < cells; cell++) {
    const field = `orders.count ["group-${String(cell).padStart(9, "0")}"]`;
    if (cell % SKETCH_EVERY === 0) sketches.push({ field, hashes });
    else values.push({ merge: "sum", field, value: BigInt(cell) });
  }
  return [{ bucket: 0, values, sketches }];
}
