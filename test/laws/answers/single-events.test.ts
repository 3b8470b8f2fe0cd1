import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { instant, integer, list, optional, text } from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { stream } from "../../../core/contract/stream.ts";
import { table } from "../../../core/definition/table.ts";
import { type View, view } from "../../../core/definition/view.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { distinct } from "../../../core/measures/kinds/distinct.ts";
import { max } from "../../../core/measures/kinds/extremes.ts";
import { first, last } from "../../../core/measures/kinds/picks.ts";
import { topK } from "../../../core/measures/kinds/top-k.ts";
import { statesByPartition } from "../../../speed-layer/states/deltas.ts";
import { type BatchSize, batchLedgers, type DecodedBatch } from "../../../store/decode/decoded-batch.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { everything, scaled, ticks } from "../../fixtures/events/views.ts";
import { comparable } from "../../fixtures/oracles/comparable-states.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Events with lists, from which views with `each` make lines. */
const carts = stream("carts", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 6,
  fields: {
    id: text({ max: 20 }),
    at: instant(),
    place: optional(text({ max: 20 })),
    lines: list({ sku: text({ max: 20 }), pieces: optional(integer({ min: 0, max: 100 })) }, { max: 5 }),
  },
});

const visits = view("visits", {
  stream: ticks,
  by: { place: sql`place` },
  every: "1 minute",
  sessions: { gap: "5 minutes" },
  measures: { ticks: count(), first: first(sql`amount`), last: last(sql`good`) },
});

const newest = table("newest", { stream: ticks, key: sql`place`, deleted: sql`good` });
const totals = table("totals", {
  stream: ticks,
  key: { place: sql`place`, id: sql`id` },
  measures: { ticks: count() },
});

const lines = view("lines", {
  stream: carts,
  where: sql`place <> 'us'`,
  each: "lines",
  by: { place: sql`place` },
  every: "1 minute",
  measures: {
    lines: count(),
    skus: distinct(sql`item.sku`),
    pieces: topK(sql`item.sku`, { weight: sql`item.pieces` }),
    most: max(sql`item.pieces`),
    first: first(sql`item.sku`),
    last: last(sql`item.pieces`),
  },
});

const at = fc.integer({ min: 0, max: 90_000 }).map((ms) => 1_700_000_000_000 + ms);
/** Before 1970 as well. */
const tickAt = fc.oneof(at, fc.integer({ min: -90_000, max: 90_000 }));
const place = fc.constantFrom("eu", "us", 'q"\\uote \u2028', null);
const tick = fc.record({
  id: fc.nat(30).map((n) => `e${n}`),
  at: tickAt,
  place,
  good: fc.constantFrom(true, false, null),
  amount: fc.integer({ min: -1_000_000, max: 1_000_000 }),
  tip: fc.option(fc.nat(100)),
  test: fc.boolean(),
});
const line = fc.record({ sku: fc.constantFrom("a", "b", "é"), pieces: fc.option(fc.nat(100)) });
const cart = fc.record({
  id: fc.nat(30).map((n) => `e${n}`),
  at,
  place,
  lines: fc.array(line, { maxLength: 5 }),
});

/** Two partitions of records, of which some cannot be decoded. */
function partitionsOf(event: fc.Arbitrary<object>) {
  const record = fc.oneof(
    { weight: 12, arbitrary: event.map((one) => Buffer.from(JSON.stringify(one))) },
    { weight: 1, arbitrary: fc.constantFrom(null, Buffer.from("{broken")) },
  );
  return fc.tuple(fc.array(record, { maxLength: 40 }), fc.array(record, { minLength: 1, maxLength: 10 }));
}

describe("events that are merged one by one make the states that DuckDB makes of them together", () => {
  const duck = duckForTests({ keepsPlans: true });

  test.each([
    ["every measure", [everything], partitionsOf(tick)],
    ["sessions", [visits], partitionsOf(tick)],
    ["tables", [newest, totals], partitionsOf(tick)],
    ["the lines of lists", [lines], partitionsOf(cart)],
  ] as const)("%s", async (_, views, partitions) => {
    const [{ stream: read }] = views;
    await fc.assert(
      fc.asyncProperty(partitions, async (values) => {
        const decoder = await Decoder.open(duck(), read, NO_SCHEMAS);
        const batch = await decoder.decode(values.map((some, partition) => fetchedOf(partition, 7n, some)));
        const stateOf = (one: View, size: BatchSize) => stateOfBatch(decoder, batch, { one, size });
        for (const one of views) expect(await stateOf(one, "small")).toEqual(await stateOf(one, "large"));
      }),
      { numRuns: 30 },
    );
  });

  test("a sum that leaves 64 bits fails either way", async () => {
    const decoder = await Decoder.open(duck(), ticks, NO_SCHEMAS);
    const most = ["a", "b"].map((id) => ({ id, at: 0, amount: 1_000_000, test: false }));
    const { relation } = await decoder.decode([
      fetchedOf(
        0,
        0n,
        most.map((one) => Buffer.from(JSON.stringify(one))),
      ),
    ]);
    for (const size of ["small", "large"] as const)
      await expect(statesByPartition(decoder.statements, scaled, relation, size)).rejects.toThrow(
        /out of( the)? range/i,
      );
  });
});

/** What a batch adds to a view and its ledger, in an order of its own. */
async function stateOfBatch(
  { statements }: Decoder,
  { relation }: DecodedBatch,
  { one, size }: { readonly one: View; readonly size: BatchSize },
) {
  const states = comparable(await statesByPartition(statements, one, relation, size));
  const ledgers = [...(await batchLedgers(statements, relation, size))];
  return { states, ledgers: ledgers.sort(([a], [b]) => a - b) };
}
