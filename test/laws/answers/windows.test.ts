import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { componentsOf, type NamedComponent } from "../../../core/definition/components.ts";
import { ANSWER_LIMITS, Budget, OverBudget } from "../../../core/query/budget.ts";
import { presenting, presentRows } from "../../../core/query/present.ts";
import { planQuery, type Query, windowOf } from "../../../core/query/query.ts";
import { slide } from "../../../core/query/windows.ts";
import { finish } from "../../../core/query/work.ts";
import { type Cell, CellTable, stateOf } from "../../../core/state/cells.ts";
import { everything } from "../../fixtures/events/views.ts";

const MINUTE = 60_000;
const components = componentsOf(everything);
const groups = [
  ["eu", true],
  ["eu", null],
  [null, false],
] as const;

/** What one bucket of one group holds: a value for some components. */
const bucketOfGroup = fc.record({
  at: fc.integer({ min: -15, max: 45 }),
  group: fc.constantFrom(...groups),
  held: fc.array(
    fc.record({ component: fc.constantFrom(...components), item: fc.nat(3), value: fc.integer({ min: -50, max: 50 }) }),
    { minLength: 1, maxLength: 12 },
  ),
});
const states = fc.uniqueArray(bucketOfGroup, {
  maxLength: 40,
  selector: ({ at, group }) => JSON.stringify([at, group]),
});

function put(table: CellTable, cell: Cell, component: NamedComponent, item: number, value: number): void {
  const { form, key } = component;
  if (form === "integer") table.merge(cell, key, BigInt(value));
  else if (form === "items")
    table.mergeItem(cell, key, component.item?.type === "integer" ? item : `i${item}`, BigInt(value));
  else if (form === "pick") table.merge(cell, key, `${String(value + 50).padStart(52, "0")}"v${value}"`);
  else table.sketch(cell, key).offer(item * 5_000 + 1, 1 + Math.abs(value));
}

function cellsOf(found: readonly { at: number; group: readonly (string | boolean | null)[]; held: readonly Held[] }[]) {
  const table = new CellTable(everything);
  for (const { at, group, held } of found) {
    const cell = table.cell(at * MINUTE, group);
    for (const { component, item, value } of held) put(table, cell, component, item, value);
  }
  return table.cells();
}
type Held = { component: NamedComponent; item: number; value: number };

/** The definition of a sliding window: everything in `(end - window, end]` merged, bucket by bucket. */
function plainWindows(cells: readonly Cell[], { everyMs, windowMs }: Query, fromMs: number, toMs: number): Cell[] {
  const table = new CellTable(everything);
  for (let end = Math.floor(fromMs / everyMs) * everyMs; end < toMs; end += everyMs)
    for (const cell of cells)
      if (cell.bucket <= end && cell.bucket > end - windowMs) table.absorb(table.cell(end, cell.group), cell);
  return table.cells();
}

function asked(parameters: Record<string, string>): Query {
  const plan = planQuery(everything, { limit: "100000", ...parameters });
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.query;
}

describe("the window of a question that does not say up to when", () => {
  const newest = { untilNow: 100 * MINUTE, any: 5_000 * MINUTE };
  const nowMs = 200 * MINUTE + 30_000;
  const from = (minute: number) => {
    const range = windowOf({ ...asked({}), fromMs: minute * MINUTE }, everything, newest, nowMs);
    return [range.fromMs / MINUTE, range.toMs / MINUTE];
  };

  test("ends with the newest bucket until now, and holds later ones only from after now on", () => {
    expect(from(50)).toEqual([50, 101]);
    expect(from(101)).toEqual([101, 101]);
    expect(from(200)).toEqual([200, 200]);
    expect(from(201)).toEqual([201, 5_001]);
  });
});

describe("sliding windows", () => {
  const shapes = fc.record({
    every: fc.constantFrom(1, 2, 3),
    times: fc.integer({ min: 2, max: 40 }),
    from: fc.integer({ min: -5, max: 20 }),
    length: fc.integer({ min: 1, max: 40 }),
    order: fc.constantFrom("bucket", "-bucket,place", "-total", "spread.p50,-bucket", "-amounts"),
    limit: fc.constantFrom("3", "100000"),
  });

  test("are what the windows' definition says, for every kind of measure, order and limit", () => {
    fc.assert(
      fc.property(states, shapes, (found, { every, times, from, length, order, limit }) => {
        const query = asked({ every: `${every}m`, window: `${every * times}m`, order, limit });
        const buckets = cellsOf(found.map((one) => ({ ...one, at: Math.floor(one.at / every) * every })));
        const window = { fromMs: from * MINUTE, toMs: (from + length) * MINUTE };
        const plain = plainWindows(buckets, query, window.fromMs, window.toMs);
        const expected = presentRows(everything, { ...query, windowMs: query.everyMs }, plain);
        expect(presentRows(everything, query, buckets, window)).toEqual(expected);
      }),
      { numRuns: 400 },
    );
  });

  test("have the registers of all their values", () => {
    fc.assert(
      fc.property(states, fc.integer({ min: 2, max: 30 }), (found, times) => {
        const query = asked({ every: "1m", window: `${times}m` });
        const buckets = cellsOf(found);
        const shown = (cell: Cell) =>
          JSON.stringify([cell.bucket, cell.group, stateOf(cell, "amounts").registers("hll")?.entries() ?? []]);
        const slid: string[] = [];
        const work = slide(
          everything,
          buckets,
          { everyMs: MINUTE, windowMs: times * MINUTE, fromMs: 0, toMs: 30 * MINUTE },
          { components: new Set(components.map(({ key }) => key)), onWindow: (cell) => slid.push(shown(cell)) },
        );
        finish(work);
        expect(slid.sort()).toEqual(
          plainWindows(buckets, query, 0, 30 * MINUTE)
            .map(shown)
            .sort(),
        );
      }),
      { numRuns: 200 },
    );
  });

  test("cost some merges a bucket, however wide they are", () => {
    const held = components.map((component) => ({ component, item: 1, value: 7 }));
    const buckets = cellsOf(Array.from({ length: 7_200 }, (_, at) => ({ at, group: groups[0], held })));
    const range = { fromMs: 0, toMs: 7_200 * MINUTE };
    const costs = ["2m", "60m", "1440m"].map((window) => {
      const budget = new Budget({
        rows: 0,
        cells: 0,
        windows: 7_200,
        merges: Infinity,
        items: Infinity,
        sketchBytes: 0,
      });
      const work = presenting(
        { view: everything, query: asked({ every: "1m", window, order: "-total" }), window: range },
        buckets,
        budget,
      );
      let merges = 0;
      for (let step = work.next(); !step.done; step = work.next()) merges += step.value;
      return merges / buckets.length;
    });
    for (const cost of costs) expect(cost).toBeLessThan(8 * components.length);
  });

  test("count the bins that their rows show", () => {
    const buckets = cellsOf([{ at: 0, group: groups[0], held: [] }]);
    const query = asked({ every: "1m", window: "1440m" });
    const within = (items: number) => {
      const budget = new Budget({ ...ANSWER_LIMITS, items });
      return finish(
        presenting({ view: everything, query, window: { fromMs: 0, toMs: 2_000 * MINUTE } }, buckets, budget),
      ).rows;
    };
    const listed = within(ANSWER_LIMITS.items).flatMap((row) => Object.values(row).filter(Array.isArray).flat()).length;
    expect(listed).toBeGreaterThan(1_440);
    expect(within(listed)).toHaveLength(1_440);
    expect(() => within(listed - 1)).toThrow(OverBudget);
  });

  test("that make too many rows are over the budget, which is the same every time", () => {
    const buckets = cellsOf([{ at: 0, group: groups[0], held: [] }]);
    const query = asked({ every: "1m", window: "1440m" });
    const range = { fromMs: 0, toMs: 2_000 * MINUTE };
    const within = (windows: number) => {
      const budget = new Budget({ rows: 0, cells: 0, windows, merges: Infinity, items: Infinity, sketchBytes: 0 });
      return finish(presenting({ view: everything, query, window: range }, buckets, budget)).rows.length;
    };
    expect(within(1_440)).toBe(1_440);
    expect(() => within(1_439)).toThrow(OverBudget);
  });
});
