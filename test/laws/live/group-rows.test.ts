import { randomUUID } from "node:crypto";
import fc from "fast-check";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { view } from "../../../core/definition/view.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { position } from "../../../core/log/position.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { min } from "../../../core/measures/kinds/extremes.ts";
import { first, last } from "../../../core/measures/kinds/picks.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { MERGE, type StateValue } from "../../../core/measures/measure.ts";
import { groupKey } from "../../../core/state/cells.ts";
import { wide } from "../../../core/state/compile.ts";
import { Chain } from "../../../store/redis/chain.ts";
import {
  type BucketCells,
  type BucketDelta,
  cellField,
  closedOf,
  type GroupRow,
  splitCellField,
} from "../../../store/redis/chain-state.ts";
import { compactSegments } from "../../../store/redis/compact-segments.ts";
import { cellsOfDelta } from "../../../store/redis/group-rows.ts";
import { openRedis, type TidelineRedis } from "../../../store/redis/redis.ts";
import { ODD_KEYS } from "../../fixtures/events/odd-keys.ts";
import { ticks } from "../../fixtures/events/views.ts";

/** A large batch goes to Redis with a row for each group. It is the same state as a cell for each value. */

const places = view("places", {
  stream: ticks,
  by: { place: sql`place`, good: sql`good` },
  every: "1 minute",
  measures: {
    ticks: count(),
    tips: sum(sql`tip`),
    least: min(sql`amount`),
    first_place: first(sql`place`),
    last_place: last(sql`place`),
  },
});
const generation = generationOf(places);
const columns = wide(places);

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.quit());

const oddText = fc.constantFrom(...ODD_KEYS, "\u001f", "*", '["*"]', "a\nb", "rows [1]", "\ufeff", "\ud800");
const group = fc.tuple(oddText, fc.constantFrom(true, false, null)).map((values) => groupKey(values));
const integer = fc.bigInt({ min: -(2n ** 58n), max: 2n ** 58n });
const pick = fc
  .tuple(fc.nat({ max: 99 }), oddText)
  .map(([place, text]) => `${String(place).padStart(52, "0")}${JSON.stringify(text)}`);
/** Every group has its count. */
const values = fc.tuple(
  ...columns.map(({ key, form }) =>
    key === "rows" ? fc.constant(1n) : fc.option<StateValue>(form === "pick" ? pick : integer, { freq: 3 }),
  ),
) as fc.Arbitrary<(StateValue | null)[]>;
const rows = fc.uniqueArray(fc.tuple(group, values), { selector: ([key]) => key, minLength: 1, maxLength: 12 });
const delta = fc
  .tuple(fc.constantFrom(-60_000, 0), rows)
  .map(([bucket, some]): BucketDelta => ({ bucket, values: [], sketches: [], rows: { columns, rows: some } }));
/** What each of two partitions adds. A batch has each bucket once. */
const batch = fc.tuple(
  ...[0, 1].map(() => fc.uniqueArray(delta, { selector: ({ bucket }) => bucket, minLength: 1, maxLength: 2 })),
);

function applications(deltas: readonly (readonly BucketDelta[])[], from: bigint) {
  return deltas.map((some, partition) => ({
    partition,
    from: position(from),
    to: position(from + 1n),
    mark: null,
    ledger: { ...EMPTY_LEDGER, records: 1, counted: 1 },
    deltas: some,
    maxCells: 1_000_000,
    freshAtMs: null,
  }));
}

/** Merges cells of any form into `into`, by bucket and field. */
function add(into: Map<string, StateValue>, bucket: number, field: string, value: StateValue): void {
  const { component } = splitCellField(field);
  const merge = columns.find(({ key }) => key === component)?.merge ?? "sum";
  const before = into.get(`${bucket} ${field}`);
  into.set(`${bucket} ${field}`, before === undefined ? value : MERGE[merge](before, value));
}

function addCells(into: Map<string, StateValue>, { bucket, values: cells, rows: found }: BucketCells): void {
  for (const [field, value] of cells) add(into, bucket, field, value);
  for (const [key, held] of found)
    for (const [component, value] of held) add(into, bucket, cellField(component, key), value);
}

async function closedCells(chain: Chain): Promise<Map<string, StateValue>> {
  const cells = new Map<string, StateValue>();
  for (const segment of closedOf((await chain.load())?.segments ?? []))
    for (const bucket of (await chain.segment(segment))?.buckets ?? []) addCells(cells, bucket);
  return cells;
}

test("rows are the cells that they stand for, in whatever parts and pages they go, merged or asked for by key", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(batch, { minLength: 2, maxLength: 3 }),
      fc.constantFrom(1, 7, 40, 2_000),
      async (batches, partWork) => {
        const chain = new Chain(redis, randomUUID(), generation, partWork);
        await chain.reseed(new Map(), 0, null);
        const expected = new Map<string, StateValue>();
        for (const [index, deltas] of batches.entries()) {
          const reply = await chain.applyInParts(applications(deltas, BigInt(index)));
          expect(reply.kind).toBe("ok");
          for (const one of deltas.flat())
            for (const { field, value } of cellsOfDelta(one)) add(expected, one.bucket, field, value);
        }
        expect(await closedCells(chain)).toEqual(expected);

        const segments = closedOf((await chain.load())?.segments ?? []);
        const asked = [...expected.keys()].slice(0, 3).map((key) => key.slice(key.indexOf(" ") + 1));
        const groups = new Set(asked.map((field) => splitCellField(field).group));
        const ofGroups = [...expected].filter(([key]) =>
          groups.has(splitCellField(key.slice(key.indexOf(" ") + 1)).group),
        );
        const readByKey = async (of: typeof segments) => {
          const found = new Map<string, StateValue>();
          const fields = [...groups].flatMap((key) => columns.map((one) => cellField(one.key, key)));
          const part = { fromMs: -60_000, toMs: 1, fields };
          for (const bucket of (await chain.keyed(of, part))?.flat() ?? []) addCells(found, bucket);
          return found;
        };
        if (asked.length > 0) expect(await readByKey(segments)).toEqual(new Map(ofGroups));

        expect(await compactSegments(chain, places, segments)).toBe(true);
        expect(await closedCells(chain)).toEqual(expected);
        const compacted = closedOf((await chain.load())?.segments ?? []);
        expect(compacted).toHaveLength(1);
        if (asked.length > 0) expect(await readByKey(compacted)).toEqual(new Map(ofGroups));
        expect((await chain.load())?.cells).toBe(expected.size);
        await chain.drop();
      },
    ),
    { numRuns: 60 },
  );
});

test("cells of an open segment and rows are merged together", async () => {
  const chain = new Chain(redis, randomUUID(), generation);
  await chain.reseed(new Map(), 0, null);
  const row: GroupRow = [groupKey(["quay", true]), columns.map(({ form }) => (form === "pick" ? null : 3n))];
  const deltas = [[{ bucket: 0, values: [], sketches: [], rows: { columns, rows: [row] } }]];
  // One script applies a batch that is small enough, cell by cell.
  expect(await chain.applyBatch(applications(deltas, 0n))).toMatchObject([{ kind: "ok", inParts: false }]);
  expect((await chain.applyInParts(applications(deltas, 1n))).kind).toBe("ok");
  const segments = closedOf((await chain.load())?.segments ?? []);
  expect(segments).toHaveLength(2);
  expect(await compactSegments(chain, places, segments)).toBe(true);
  const cells = await closedCells(chain);
  expect(cells.get(`0 ${cellField("rows", row[0])}`)).toBe(6n);
  expect(cells.get(`0 ${cellField("least.min", row[0])}`)).toBe(3n);
  await chain.drop();
});

test("a malformed row is refused before anything is written, and one that would overflow stops the batch", async () => {
  const namespace = randomUUID();
  const chain = new Chain(redis, namespace, generation);
  await chain.reseed(new Map(), 0, null);
  const good = columns.map(({ form }) => (form === "pick" ? `${"1".repeat(52)}"x"` : 1n));
  const apply = (row: readonly (StateValue | null)[]) => {
    const some: GroupRow[] = [
      [groupKey(["a", true]), good],
      [groupKey(["b", true]), row],
    ];
    return chain.applyInParts(
      applications([[{ bucket: 0, values: [], sketches: [], rows: { columns, rows: some } }]], 0n),
    );
  };
  const changed = (value: StateValue) => good.map((held, index) => (index === 1 ? value : held));
  await expect(apply(changed("1.5"))).rejects.toThrow("bad value");
  await expect(apply(changed(`${"x".repeat(52)}"x"`))).rejects.toThrow("bad pick");
  await expect(apply([...good, 1n])).rejects.toThrow("bad row");
  await expect(apply(good.slice(1))).rejects.toThrow("bad row");
  expect(await apply(changed(2n ** 61n))).toEqual({ kind: "overflow" });
  expect(await apply(changed(-(2n ** 61n)))).toEqual({ kind: "overflow" });
  expect((await chain.load())?.applied.size).toBe(0);
  expect(await redis.keys(`*${namespace}*:s:*`)).toEqual([]);
  expect((await apply(changed(2n ** 60n))).kind).toBe("ok");
  await chain.drop();
});

test("a chain of format 2 goes on, and one of a later format is as good as none", async () => {
  const namespace = randomUUID();
  const chain = new Chain(redis, namespace, generation);
  await chain.reseed(new Map(), 0, null);
  const key = `tl:{${namespace}/${generation}}:chain`;
  const begun = await redis.hget(key, "begun");
  await redis.hset(key, "ended", `2:${begun}`);
  expect(await chain.load()).not.toBeNull();
  const row: GroupRow = [groupKey(["quay", true]), columns.map(({ form }) => (form === "pick" ? null : 1n))];
  const deltas = [[{ bucket: 0, values: [], sketches: [], rows: { columns, rows: [row] } }]];
  expect((await chain.applyInParts(applications(deltas, 0n))).kind).toBe("ok");
  expect(await redis.hget(key, "ended")).toBe(`3:${await redis.hget(key, "begun")}`);
  await redis.hset(key, "ended", `2:${begun}`);
  expect(await chain.load()).toBeNull();
  await redis.hset(key, "ended", `4:${await redis.hget(key, "begun")}`);
  expect(await chain.load()).toBeNull();
  await chain.drop();
});
