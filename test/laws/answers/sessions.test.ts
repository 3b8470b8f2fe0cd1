import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { SESSION_FIRST, SESSION_LAST } from "../../../core/definition/components.ts";
import { view } from "../../../core/definition/view.ts";
import type { TimeRange } from "../../../core/interval.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { ANSWER_LIMITS, Budget, OverBudget } from "../../../core/query/budget.ts";
import type { RowExtent } from "../../../core/query/extents.ts";
import { groupMatches, planQuery, type Query } from "../../../core/query/query.ts";
import { sessionEnd } from "../../../core/query/sessions.ts";
import { type Cell, CellTable, type GroupValue } from "../../../core/state/cells.ts";
import { readSessions } from "../../../serving/read/session-pieces.ts";
import { ticks } from "../../fixtures/events/views.ts";

const GRAIN = 60_000;
const GAP = 3 * GRAIN;
const visits = view("visits", {
  stream: ticks,
  by: { place: sql`place` },
  every: "1 minute",
  sessions: { gap: "3 minutes" },
  measures: { ticks: count() },
});

interface Event {
  readonly at: number;
  readonly place: GroupValue;
}
type Shown = readonly [start: number, end: number, place: GroupValue, events: number];

/**
 * The definition: events of one place in the order of their times; one as much as the gap after the one before begins a
 * session.
 */
function plainSessions(events: readonly Event[], { fromMs, toMs }: TimeRange): Shown[] {
  const newest = new Map<GroupValue, [number, number, GroupValue, number]>();
  const all: [number, number, GroupValue, number][] = [];
  for (const { at, place } of events.toSorted((a, b) => a.at - b.at)) {
    const held = newest.get(place);
    if (held !== undefined && at - held[1] < GAP) {
      held[1] = at;
      held[3] += 1;
    } else {
      const begun: [number, number, GroupValue, number] = [at, at, place, 1];
      newest.set(place, begun);
      all.push(begun);
    }
  }
  return all.filter(([start]) => start >= fromMs && start < toMs);
}

function cellsOf(events: readonly Event[]): Cell[] {
  const table = new CellTable(visits);
  for (const { at, place } of events) {
    const cell = table.cell(Math.floor(at / GRAIN) * GRAIN, [place]);
    table.merge(cell, "rows", 1n);
    table.merge(cell, SESSION_FIRST, BigInt(at));
    table.merge(cell, SESSION_LAST, BigInt(at));
  }
  return table.cells();
}

function planned(parameters: Record<string, string> = {}): Query {
  const plan = planQuery(visits, parameters);
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.query;
}

/** Reads sessions as the server does, from cells in memory; tells which buckets it read. */
async function read(cells: readonly Cell[], range: TimeRange, limits = ANSWER_LIMITS, query = planned()) {
  const pieces: TimeRange[] = [];
  const budget = new Budget(limits);
  const byTime = cells.toSorted((a, b) => a.bucket - b.bucket);
  const found = await readSessions(visits, query, range, {
    gapMs: GAP,
    extents: extentsOf(byTime),
    limits,
    budget,
    read: async (asked, piece, own) => {
      pieces.push(piece);
      const held = byTime.filter(
        ({ bucket, group }) => bucket >= piece.fromMs && bucket < piece.toMs && groupMatches(visits, asked, group),
      );
      own.spend("cells", held.length);
      return held;
    },
  });
  const shown = found.map((cell): Shown => {
    return [cell.bucket, sessionEnd(cell), cell.group[0] ?? null, Number(cell.values.get("rows"))];
  });
  return { shown, pieces, budget };
}

/** As a file's row groups are: of some successive cells each. */
function extentsOf(cells: readonly Cell[]): RowExtent[] {
  const size = cells.length < 1_000 ? 3 : 1_000;
  return Array.from({ length: Math.ceil(cells.length / size) }, (_, index) => {
    const group = cells.slice(index * size, (index + 1) * size);
    return { fromMs: group[0]?.bucket ?? 0, lastMs: group.at(-1)?.bucket ?? 0, rows: group.length };
  });
}

const sorted = (sessions: readonly Shown[]) => sessions.map((one) => JSON.stringify(one)).sort();

describe("sessions", () => {
  const events = fc.array(
    fc.record({
      at: fc.integer({ min: -40 * GRAIN, max: 60 * GRAIN }),
      place: fc.constantFrom("a", "b", "null", null),
    }),
    { maxLength: 60 },
  );
  const range = fc.tuple(fc.integer({ min: -20, max: 20 }), fc.integer({ min: 1, max: 30 })).map(([from, length]) => ({
    fromMs: from * GRAIN,
    toMs: (from + length) * GRAIN,
  }));

  test("are those of the definition, whatever range is asked for and however little is read at a time", async () => {
    await fc.assert(
      fc.asyncProperty(events, range, fc.integer({ min: 4, max: 60 }), async (found, asked, cells) => {
        const limits = { ...ANSWER_LIMITS, cells };
        const expected = plainSessions(found, asked);
        fc.pre(expected.length <= cells);
        const { shown } = await read(cellsOf(found), asked, limits);
        expect(sorted(shown)).toEqual(sorted(expected));
      }),
      { numRuns: 400 },
    );
  });

  test("are read to the end of the last open one, and not to the end of time", async () => {
    const toMs = 100 * GRAIN;
    const open = Array.from({ length: 20 }, (_, minute) => ({ at: (90 + minute) * GRAIN, place: "a" }));
    const later = Array.from({ length: 5_000 }, (_, minute) => ({ at: (100 + minute * 2) * GRAIN, place: "bot" }));
    const { shown, pieces } = await read(cellsOf([...open, ...later]), { fromMs: 80 * GRAIN, toMs });
    expect(shown).toEqual([[90 * GRAIN, 109 * GRAIN, "a", 20]]);
    expect(Math.max(...pieces.map((piece) => piece.toMs))).toBeLessThan(130 * GRAIN);
  });

  test("count the items that they hold, and are refused when these are too many", async () => {
    const minutes = Array.from({ length: 50 }, (_, minute) => ({ at: minute * GRAIN, place: "a" }));
    const cells = cellsOf(minutes);
    const table = new CellTable(visits);
    for (const [index, cell] of cells.entries()) {
      table.mergeItem(cell, "top.weights", `item ${index % 30}`, 1n);
      table.sketch(cell, "amounts.hll").offer(index, 1);
    }
    const { budget } = await read(cells, { fromMs: 0, toMs: GRAIN });
    expect([budget.spent("cells"), budget.spent("items")]).toEqual([1, 30]);
    expect(budget.spent("sketchBytes")).toBeGreaterThan(0);
    await expect(read(cells, { fromMs: 0, toMs: GRAIN }, { ...ANSWER_LIMITS, items: 29 })).rejects.toThrow(OverBudget);
  });

  test.each([40_000, 300_000])("of %i cells of one group cost one merge a cell and are one session", async (cells) => {
    const events = Array.from({ length: cells }, (_, minute) => ({ at: minute * 2 * GRAIN, place: "bot" }));
    const { shown, budget } = await read(cellsOf(events), { fromMs: 0, toMs: GRAIN });
    expect(shown).toEqual([[0, (cells - 1) * 2 * GRAIN, "bot", cells]]);
    expect(budget.spent("cells")).toBe(1);
    expect(budget.spent("merges")).toBeLessThan(6 * cells);
  });
});
