import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { type Sql, sql } from "../../../core/contract/sql.ts";
import { table } from "../../../core/definition/table.ts";
import { type View, view } from "../../../core/definition/view.ts";
import { position } from "../../../core/log/position.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { distinct } from "../../../core/measures/kinds/distinct.ts";
import { max, min } from "../../../core/measures/kinds/extremes.ts";
import { last } from "../../../core/measures/kinds/picks.ts";
import { quantile } from "../../../core/measures/kinds/quantile.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { topK } from "../../../core/measures/kinds/top-k.ts";
import type { Measure } from "../../../core/measures/measure.ts";
import { BatchReader } from "../../../speed-layer/states/batch-states.ts";
import { statesByPartition } from "../../../speed-layer/states/deltas.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { everything, scaled, ticks } from "../../fixtures/events/views.ts";
import { comparable } from "../../fixtures/oracles/comparable-states.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

const duck = duckForTests({ keepsPlans: true });

/** Of some views' parts any may be combined; equal expressions stand in several of them. */
const CONDITIONS: readonly (Sql | null)[] = [null, sql`NOT test`, sql`good`, sql`place = 'eu' OR tip > 50`];
const DIMENSIONS: Readonly<Record<string, Sql>> = {
  place: sql`place`,
  good: sql`good`,
  shout: sql`upper(place)`,
  third: sql`amount % 3`,
  // The name of a field for another expression.
  amount: sql`tip`,
};
const MEASURES: Readonly<Record<string, Measure>> = {
  ticks: count(),
  good_ticks: count({ where: sql`good` }),
  total: sum(sql`amount`),
  tips: sum(sql`tip`),
  least: min(sql`tip`),
  most: max(sql`amount % 3`),
  places: distinct(sql`upper(place)`),
  spread: quantile(sql`amount`),
  top: topK(sql`place`, { weight: sql`tip` }),
  latest: last(sql`upper(place)`),
};

const someOf = <T>(all: Readonly<Record<string, T>>, minLength: number) =>
  fc
    .subarray(Object.keys(all), { minLength, maxLength: 4 })
    .map((names) => Object.fromEntries(names.map((name) => [name, all[name] as T])));

const views = fc.array(
  fc
    .record({
      where: fc.constantFrom(...CONDITIONS),
      by: someOf(DIMENSIONS, 0),
      measures: someOf(MEASURES, 1),
      every: fc.constantFrom("1 minute", "1 hour"),
    })
    .map(({ where, ...rest }) => view("some", { stream: ticks, ...(where === null ? {} : { where }), ...rest })),
  { minLength: 2, maxLength: 6 },
);
const place = fc.constantFrom("eu", "us", 'q"\\uote \u2028', null);
const tick = fc.record({
  id: fc.nat(30).map((n) => `e${n}`),
  at: fc.integer({ min: -90_000, max: 90_000 }),
  place,
  good: fc.constantFrom(true, false, null),
  amount: fc.integer({ min: -1_000_000, max: 1_000_000 }),
  tip: fc.option(fc.nat(100)),
  test: fc.boolean(),
});
const record = fc.oneof(
  { weight: 12, arbitrary: tick.map((one) => Buffer.from(JSON.stringify(one))) },
  { weight: 1, arbitrary: fc.constantFrom(null, Buffer.from("{broken")) },
);
const batch = fc.tuple(fc.array(record, { maxLength: 30 }), fc.array(record, { minLength: 1, maxLength: 10 }));

const newest = table("newest", { stream: ticks, key: sql`place`, deleted: sql`good` });
const visits = view("visits", {
  stream: ticks,
  by: { place: sql`place` },
  every: "1 minute",
  sessions: { gap: "5 minutes" },
  measures: { ticks: count() },
});

async function decodedOf(partitions: readonly (readonly (Buffer | null)[])[]) {
  const decoder = await Decoder.open(duck(), ticks, NO_SCHEMAS);
  const fetched = partitions.map((some, partition) => fetchedOf(partition, 7n, some));
  const decoded = await decoder.decode(fetched);
  return { statements: decoder.statements, fetched, decoded, events: decoded.relation };
}

const tickOf = (some: object) => Buffer.from(JSON.stringify({ id: "a", at: 0, amount: 1, test: false, ...some }));

describe("views that share one statement", () => {
  test("have the states that DuckDB makes for each alone, of all events and of the later ones", async () => {
    await fc.assert(
      fc.asyncProperty(views, batch, async (some, partitions) => {
        const { statements, fetched, decoded } = await decodedOf(partitions);
        const all = [everything, newest, visits, ...some];
        for (const from of [7, 12]) {
          const events = decoded.from(new Map([[0, position(from)]]), fetched);
          const read = new BatchReader(statements, () => undefined).read(all, decoded);
          for (const one of all)
            expect(comparable(await read.states(one, events))).toEqual(
              comparable(await statesByPartition(statements, one, events, "large")),
            );
        }
      }),
      { numRuns: 20 },
    );
  });

  test("are read by one statement, which has equal expressions once", async () => {
    const { statements, decoded, events } = await decodedOf([[tickOf({})]]);
    const asked = vi.spyOn(statements, "columns");
    const all = Array.from({ length: 20 }, (_, number) =>
      view(`v${number}`, {
        stream: ticks,
        by: { place: sql`upper(place)` },
        every: "1 minute",
        measures: { total: sum(sql`amount`), top: topK(sql`place`) },
      }),
    );
    const read = new BatchReader(statements, () => undefined).read(all, decoded);
    for (const one of all) await read.states(one, events);
    expect(asked).toHaveBeenCalledTimes(1);
    expect(asked.mock.calls[0]?.[0].split("upper(place)")).toHaveLength(2);
  });

  test("do not evaluate an expression for events that its view does not count", async () => {
    const numbers = view("numbers", {
      stream: ticks,
      where: sql`good`,
      by: {},
      every: "1 hour",
      measures: { total: sum(sql`CAST(place AS BIGINT)`) },
    });
    const { statements, decoded, events } = await decodedOf([
      [tickOf({ good: true, place: "7" }), tickOf({ id: "b", good: false, place: "none" })],
    ]);
    const asked = vi.spyOn(statements, "columns");
    const read = new BatchReader(statements, () => undefined).read([everything, numbers], decoded);
    const [[, { deltas, counted } = { deltas: [], counted: 0 }] = []] = [...(await read.states(numbers, events))];
    expect(counted).toBe(1);
    expect(deltas.flatMap(({ values }) => values.map(({ value }) => value))).toEqual([1n, 7n]);
    expect(asked).toHaveBeenCalledTimes(1);
  });

  test("fail alone, in SQL and in a sum that leaves 64 bits: the others count what they would have counted", async () => {
    const failing = view("failing", {
      stream: ticks,
      by: {},
      every: "1 hour",
      measures: { total: sum(sql`CAST(place AS BIGINT)`) },
    });
    const { statements, decoded, events } = await decodedOf([
      ["a", "b"].map((id) => tickOf({ id, amount: 1_000_000, place: "none", good: true })),
    ]);
    const all = [failing, everything, scaled, newest];
    const told: string[] = [];
    const reader = new BatchReader(statements, ({ message }) => told.push(message));
    const read = reader.read(all, decoded);
    await expect(read.states(failing, events)).rejects.toThrow("Could not convert string 'none'");
    await expect(read.states(scaled, events)).rejects.toThrow("out of the range");
    for (const one of [everything, newest]) {
      const states = await read.states(one, events);
      expect(states.get(0)?.counted).toBe(2);
      expect(comparable(states)).toEqual(comparable(await statesByPartition(statements, one, events, "large")));
    }
    expect(told).toEqual([expect.stringContaining("Could not convert string 'none'")]);

    // While the same views read, it is not tried again with each batch; without the one that failed at once.
    const asked = vi.spyOn(statements, "columns");
    const statementsOf = async (some: readonly View[]) => {
      asked.mockClear();
      const later = reader.read(some, decoded);
      for (const one of [everything, newest]) await later.states(one, events);
      return asked.mock.calls.length;
    };
    expect(await statementsOf(all)).toBe(2);
    expect(await statementsOf([everything, scaled, newest])).toBe(1);
    expect(told).toHaveLength(1);
  });
});
