import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { generationOf } from "../../../core/definition/generation.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { type Cut, position } from "../../../core/log/position.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { groupKey } from "../../../core/state/cells.ts";
import { Chain } from "../../../store/redis/chain.ts";
import { type Application, cellField, closedOf } from "../../../store/redis/chain-state.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { everything } from "../../fixtures/events/views.ts";

/** Another program writes to the keys of a chain: everything that meets it says so by one code. */

const generation = generationOf(everything);
const COUNT = cellField(ROWS.name, groupKey(["eu", true]));
const EVERYTHING = { fromMs: -1, toMs: 1_000_000, sketches: true, fields: null, held: false };

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.quit());

function applicationOf(partition: number, from: number, to: number): Application {
  return {
    partition,
    from: position(from),
    to: position(to),
    mark: { offset: position(to - 1), hash: "", leaderEpoch: 0, topicId: "t" },
    ledger: { ...EMPTY_LEDGER, records: to - from, counted: to - from },
    deltas: [{ bucket: 0, values: [{ merge: "sum", field: COUNT, value: BigInt(to - from) }], sketches: [] }],
    maxCells: 1_000,
    freshAtMs: null,
  };
}

/** Two closed segments and records in the open one, of partition 0. */
async function filledChain() {
  const namespace = randomUUID();
  const [chain, inParts] = [new Chain(redis, namespace, generation), new Chain(redis, namespace, generation, 1)];
  await chain.reseed(new Map(), 0, null);
  for (const from of [0, 2]) {
    await chain.apply(applicationOf(0, from, from + 2));
    await chain.seal(null);
  }
  await chain.apply(applicationOf(0, 4, 5));
  const state = (await chain.load()) ?? expect.fail("no chain");
  const closed = closedOf(state.segments);
  expect(closed).toHaveLength(2);
  const key = (name: string) => `tl:{${namespace}/${generation}}:${name}`;
  const [first] = closed;
  if (first === undefined) throw new Error("no segment");
  const cut: Cut = new Map([[0, position(2)]]);
  const calls = {
    read: () => chain.read(null, [EVERYTHING]),
    reached: () => chain.reached(),
    seal: () => chain.seal("1"),
    trim: () => chain.trim(cut),
    apply: () => chain.apply(applicationOf(0, 5, 6)),
    "apply of a partition that is new": () => chain.apply(applicationOf(1, 0, 1)),
    "apply in parts": () => inParts.applyBatch([applicationOf(0, 5, 6)]),
    compact: () => chain.compact(closed, []),
    segment: () => chain.segment(first),
    keyed: () => chain.keyed(closed, { fromMs: -1, toMs: 1_000_000, fields: [COUNT] }),
  };
  return { key, first, calls };
}

type Call = keyof Awaited<ReturnType<typeof filledChain>>["calls"];

/** What another program may write, into which hash, and which calls meet it. */
const WRITTEN: readonly (readonly [string, string, string, string, readonly Call[]])[] = [
  ...['[{"id":"1', '{"from":1}', "[]", "[1]", '[{"id":"1","from":"x"}]'].map(
    (text) =>
      [
        ...[`the segments ${text}`, "chain", "segments", text],
        [
          "seal",
          "trim",
          "apply of a partition that is new",
          "apply in parts",
          "compact",
          "segment",
          "keyed",
          ...(text === "[]" ? [] : (["read", "reached"] as const)),
        ],
      ] as const,
  ),
  ["a position", "applied", "0", "many", ["read", "reached", "seal", "apply", "apply in parts"]],
  ["a mark", "mark", "0", "{", ["reached"]],
  ["a cell of the open segment", "s:open:b:0", COUNT, "many", ["read"]],
  ["a cell of a closed segment", "s:closed:b:0", COUNT, "many", ["segment", "keyed"]],
];

test.each(WRITTEN)(
  "%s that cannot be read is named by every call that meets it",
  async (_, hash, field, text, meets) => {
    for (const name of meets) {
      const { key, first, calls } = await filledChain();
      const open = await redis.hget(key("chain"), "open");
      const written = key(hash.replace("s:open:", `s:${open}:`).replace("s:closed:", `s:${first.id}:`));
      expect(await redis.hset(written, field, text)).toBe(0); // it was there
      const failed = await calls[name]().then(
        () => "no error",
        (error: { code?: string; message: string }) => error.code ?? error.message,
      );
      expect([name, failed]).toEqual([name, "LIVE_STATE_UNREADABLE"]);
    }
  },
);
