import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { generationOf } from "../../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { position } from "../../../core/log/position.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { groupKey } from "../../../core/state/cells.ts";
import { Chain } from "../../../store/redis/chain.ts";
import { cellField } from "../../../store/redis/chain-state.ts";
import { compactSegments, segmentsToCompact } from "../../../store/redis/compact-segments.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { everything } from "../../fixtures/events/views.ts";
import { copyOf } from "../../fixtures/servers/redis-copy.ts";

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.quit());

/** A Redis to which `compact` is sent twice, as after a lost reply. */
function repeating(sound: TidelineRedis): TidelineRedis {
  return new Proxy(sound, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== "tideline_compact") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: (string | number)[]) => {
        await target.tideline_compact(...args);
        return target.tideline_compact(...args);
      };
    },
  });
}

/** A Redis on the way to which a process dies: it writes merges, and no `compact`. */
function dying(sound: TidelineRedis): TidelineRedis {
  return new Proxy(sound, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name === "tideline_compact") return () => Promise.reject(new Error("killed"));
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

/** A Redis that loses a page of what the first part wrote, as one does that comes back without its last second. */
function losing(sound: TidelineRedis): TidelineRedis {
  let lost = false;
  return new Proxy(sound, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (name !== "tideline_stage") return typeof value === "function" ? value.bind(target) : value;
      return async (...args: (string | number)[]) => {
        const answer = await target.tideline_stage(...args);
        const [, , , prefix, id, , , , bucket] = args;
        if (!lost) {
          await target.del(`${prefix}:s:${id}:b:${bucket}`);
          await target.zrem(`${prefix}:s:${id}:buckets`, String(bucket));
        }
        lost = true;
        return answer;
      };
    },
  });
}

async function applyOne(chain: Chain, from: bigint): Promise<void> {
  const values = [{ merge: "sum", field: cellField(ROWS.name, groupKey(["eu", true])), value: 1n }] as const;
  const reply = await chain.apply({
    partition: 0,
    from: position(from),
    to: position(from + 1n),
    mark: null,
    ledger: { ...EMPTY_LEDGER, records: 1, counted: 1 },
    deltas: [0, 60_000].map((bucket) => ({ bucket, values, sketches: [] })),
    maxCells: 1_000,
    freshAtMs: null,
  });
  expect(reply.kind).toBe("ok");
}

test("a segment is not the one of the same id in a Redis that came back as it was, and was closed elsewhere", async () => {
  const namespace = randomUUID();
  const chain = new Chain(redis, namespace, generationOf(everything));
  expect(await chain.reseed(new Map(), 0, null)).toBe(true);
  await applyOne(chain, 0n);
  const restore = await copyOf(redis, namespace);
  const closed = async () => {
    await chain.seal(null);
    await applyOne(chain, 2n);
    await chain.seal(null);
    const segments = (await chain.load())?.segments ?? [];
    const [first, second] = segments.map((segment) => ({ ...segment, to: segment.to ?? new Map() }));
    if (first === undefined || second === undefined) throw new Error("nothing was closed");
    return [first, second] as const;
  };
  await applyOne(chain, 1n);
  const before = await closed();
  expect((await chain.segment(before[0]))?.buckets.length).toBe(2);

  await restore();
  await chain.seal(null);
  await applyOne(chain, 1n);
  const after = await closed();
  expect(after.map(({ id }) => id)).toEqual(before.map(({ id }) => id));
  expect(await chain.segment(before[0])).toBeNull();
  expect(await chain.segment(before[1])).toBeNull();
  expect(await compactSegments(chain, everything, before)).toBe(false);
  expect((await chain.segment(after[0]))?.buckets.flatMap(({ values }) => values.map(([, value]) => value))).toEqual([
    1n,
    1n,
  ]);
  expect(await compactSegments(chain, everything, after)).toBe(true);
  await chain.drop();
});

test("a merge of which Redis has lost a part is not swapped in; the next one is, also when it is sent twice", async () => {
  const namespace = randomUUID();
  const generation = generationOf(everything);
  const chain = new Chain(redis, namespace, generation);
  expect(await chain.reseed(new Map(), 0, null)).toBe(true);
  for (const from of [0n, 1n]) {
    await applyOne(chain, from);
    await chain.seal(null);
  }
  const before = await chain.load();
  const segments = before === null ? null : segmentsToCompact(before, 2);
  if (before === null || segments === null) throw new Error("nothing to compact");
  expect(await compactSegments(new Chain(losing(redis), namespace, generation), everything, segments)).toBe(false);
  expect((await chain.load())?.segments).toEqual(before.segments);

  await expect(compactSegments(new Chain(dying(redis), namespace, generation), everything, segments)).rejects.toThrow(
    "killed",
  );
  expect(await compactSegments(new Chain(repeating(redis), namespace, generation), everything, segments)).toBe(true);
  const [compacted] = (await chain.load())?.segments ?? [];
  const to = compacted?.to ?? null;
  if (compacted === undefined || to === null) throw new Error("the merge is not there");
  const cells = await chain.segment({ ...compacted, to });
  expect(
    cells?.buckets.map(({ bucket, rows }) => [bucket, rows.flatMap(([, values]) => values).map(([, value]) => value)]),
  ).toEqual([
    [0, [2n]],
    [60_000, [2n]],
  ]);
  const names = await redis.keys(`*${namespace}*:s:*`);
  expect(names.filter((name) => !name.includes(`:s:${compacted.id}:`))).toEqual([]);
  await chain.drop();
  expect(await redis.keys(`*${namespace}*`)).toEqual([]);
});
