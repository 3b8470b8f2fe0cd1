import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { componentsOf } from "../../../core/definition/components.ts";
import { topK } from "../../../core/measures/kinds/top-k.ts";
import type { CellState } from "../../../core/measures/measure.ts";
import { compareText } from "../../../core/measures/order.ts";
import { Registers } from "../../../core/numbers/hll.ts";
import { presentRows } from "../../../core/query/present.ts";
import { planQuery } from "../../../core/query/query.ts";
import { type Cell, CellTable, stateOf } from "../../../core/state/cells.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { everything } from "../../fixtures/events/views.ts";

const components = componentsOf(everything);
const integers = components.filter(({ form }) => form === "integer");
const items = components.filter(({ form }) => form === "items");
const picks = components.filter(({ form }) => form === "pick");
const sketches = components.filter(({ form }) => form === "registers");

type State = readonly (
  | {
      readonly kind: "integer";
      readonly bucket: number;
      readonly group: string;
      readonly component: string;
      readonly value: bigint;
    }
  | {
      readonly kind: "item";
      readonly bucket: number;
      readonly group: string;
      readonly component: string;
      readonly item: number;
      readonly value: bigint;
    }
  | {
      readonly kind: "pick";
      readonly bucket: number;
      readonly group: string;
      readonly component: string;
      readonly offset: number;
    }
  | {
      readonly kind: "register";
      readonly bucket: number;
      readonly group: string;
      readonly component: string;
      readonly register: number;
      readonly rank: number;
    }
)[];

const where = { bucket: fc.nat(3).map((n) => n * 60_000), group: fc.constantFrom("eu", "us") };
/** State rows as either layer writes them; large values too, because counts and sums are 64-bit. */
const state: fc.Arbitrary<State> = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constant("integer" as const),
      ...where,
      component: fc.constantFrom(...integers.map(({ key }) => key)),
      value: fc.bigInt({ min: -(2n ** 58n), max: 2n ** 58n }),
    }),
    fc.record({
      kind: fc.constant("item" as const),
      ...where,
      component: fc.constantFrom(...items.map(({ key }) => key)),
      item: fc.integer({ min: 0, max: 3 }),
      value: fc.bigInt({ min: 1n, max: 2n ** 40n }),
    }),
    fc.record({
      kind: fc.constant("pick" as const),
      ...where,
      component: fc.constantFrom(...picks.map(({ key }) => key)),
      offset: fc.nat(50),
    }),
    fc.record({
      kind: fc.constant("register" as const),
      ...where,
      component: fc.constantFrom(...sketches.map(({ key }) => key)),
      register: fc.nat(16_383),
      rank: fc.integer({ min: 1, max: 51 }),
    }),
  ),
  { maxLength: 40 },
);

const NOTHING: CellState = {
  integer: () => undefined,
  items: () => new Map(),
  pick: () => undefined,
  registers: () => undefined,
};

function merged(...states: State[]): unknown {
  const table = new CellTable(everything);
  mergeInto(table, states.flat());
  return shownOf(table);
}

function mergeInto(table: CellTable, state: State): void {
  for (const row of state) {
    const cell = table.cell(row.bucket, [row.group, null]);
    if (row.kind === "integer") table.merge(cell, row.component, row.value);
    else if (row.kind === "item") table.mergeItem(cell, row.component, row.item, row.value);
    else if (row.kind === "pick")
      table.merge(cell, row.component, `${String(row.offset).padStart(52, "0")}"v${row.offset}"`);
    else table.sketch(cell, row.component).offer(row.register, row.rank);
  }
}

function shownOf(table: CellTable) {
  return table
    .cells()
    .map(shown)
    .sort((a, b) => (a.key < b.key ? -1 : 1));
}

const planned = planQuery(everything, {});
if (!planned.ok) throw new Error(JSON.stringify(planned.problems));
const ALL = planned.query;

function shown(cell: Cell) {
  return {
    key: JSON.stringify([cell.bucket, cell.group]),
    items: Object.fromEntries([...cell.items].sort().map(([name, held]) => [name, [...held].sort().map(String)])),
    values: Object.fromEntries([...cell.values].sort().map(([name, value]) => [name, value.toString()])),
    registers: Object.fromEntries([...cell.registers].sort().map(([name, set]) => [name, set.entries()])),
    presented: presentRows(everything, ALL, [cell]).rows,
  };
}

describe("every measure's state is a commutative monoid, to the bit", () => {
  test("merging does not depend on order", () => {
    fc.assert(
      fc.property(state, state, (a, b) => {
        expect(merged(a, b)).toEqual(merged(b, a));
      }),
    );
  });

  test("merging does not depend on grouping", () => {
    fc.assert(
      fc.property(state, state, state, fc.nat(), (a, b, c, seed) => {
        const shuffled = [...a, ...b, ...c]
          .map((row, index) => ({ row, rank: (index * 7_919 + seed) % 1_000 }))
          .sort((x, y) => x.rank - y.rank)
          .map(({ row }) => row);
        expect(merged(a, [...b, ...c])).toEqual(merged(shuffled));
      }),
    );
  });

  test("the shown items are the first ones of all in the order of weights and code points", () => {
    const measure = topK(sql`place`, { show: 7 });
    const found = fc.uniqueArray(fc.tuple(anyText({ maxLength: 3 }), fc.bigInt(-3n, 3n)), {
      selector: ([item]) => item,
      maxLength: 60,
    });
    const plain = (items: readonly (readonly [string, bigint])[]) =>
      items
        .toSorted(([a, x], [b, y]) => Number(y - x) || compareText(a, b))
        .slice(0, 7)
        .map(([item, weight]) => ({ item, weight: Number(weight) }));
    fc.assert(
      fc.property(found, (items) => {
        const table = new CellTable(everything);
        const cell = table.cell(0, ["eu", null]);
        for (const [item, weight] of items) table.mergeItem(cell, "top.weights", item, weight);
        expect(measure.present(stateOf(cell, "top"))).toEqual(plain(items));
      }),
    );
    // More than are held at a time, in ascending, descending and mixed order.
    for (const weightOf of [(at: number) => at, (at: number) => -at, (at: number) => (at * 7_919) % 1_009]) {
      const items = Array.from({ length: 5_000 }, (_, at): [string, bigint] => [`item ${at}`, BigInt(weightOf(at))]);
      expect(measure.present({ ...NOTHING, items: () => new Map(items) })).toEqual(plain(items));
    }
  });

  test("a table that begins with the cells of another is as if all had been merged into one", () => {
    fc.assert(
      fc.property(state, state, (a, b) => {
        const first = new CellTable(everything);
        mergeInto(first, a);
        const [before, size] = [shownOf(first), first.size];
        const held = first.held();
        const unchanged = new CellTable(everything);
        unchanged.adopt(held);
        expect(shownOf(unchanged)).toEqual(before);
        const table = new CellTable(everything);
        table.adopt(held);
        mergeInto(table, b);
        expect(shownOf(table)).toEqual(merged(a, b));
        expect(table.size).toBe(table.cells().length);
        expect([shownOf(first), first.size]).toEqual([before, size]);
      }),
    );
  });

  test("nothing is the zero", () => {
    fc.assert(
      fc.property(state, (a) => {
        expect(merged(a, [])).toEqual(merged([], a));
      }),
    );
    expect(merged([], [])).toEqual([]);
  });

  test("merging registers twice changes nothing, and sparse and dense sketches say the same", () => {
    const offers = fc.array(fc.tuple(fc.nat(16_383), fc.integer({ min: 1, max: 51 })), { maxLength: 3_000 });
    fc.assert(
      fc.property(offers, (pairs) => {
        const once = new Registers();
        for (const [register, rank] of pairs) once.offer(register, rank);
        const twice = new Registers().merge(once).merge(once);
        const best = new Map<number, number>();
        for (const [register, rank] of pairs) best.set(register, Math.max(best.get(register) ?? 0, rank));
        expect(twice.entries()).toEqual([...best].sort((a, b) => a[0] - b[0]));
        expect(twice.estimate()).toBe(once.estimate());
      }),
      { numRuns: 40 },
    );
  });
});
