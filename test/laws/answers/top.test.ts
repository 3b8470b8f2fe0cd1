import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { componentsOf } from "../../../core/definition/components.ts";
import { table } from "../../../core/definition/table.ts";
import { type View, view } from "../../../core/definition/view.ts";
import type { Manifest } from "../../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { ZERO } from "../../../core/log/position.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { max } from "../../../core/measures/kinds/extremes.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { ANSWER_LIMITS, Budget } from "../../../core/query/budget.ts";
import { presentRows } from "../../../core/query/present.ts";
import { planQuery, type Query } from "../../../core/query/query.ts";
import { planTable } from "../../../core/query/tables/table-query.ts";
import { topOrder } from "../../../core/query/top-order.ts";
import { finish } from "../../../core/query/work.ts";
import { type GroupValue, groupKey } from "../../../core/state/cells.ts";
import { shardOf } from "../../../core/state/shard.ts";
import { keysOf, keysOrder, keysQuery } from "../../../serving/answer/keys.ts";
import { BatchStates } from "../../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../../serving/read/batch/duck-queue.ts";
import { topCells } from "../../../serving/read/batch/top-cells.ts";
import { AnswerBuilder, type GroupCells, type StoredTile } from "../../../serving/read/cells/tile-cells.ts";
import { needsOf } from "../../../serving/read/needs.ts";
import { type Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { ticks } from "../../fixtures/events/views.ts";

const MINUTE = 60_000;
const measures = {
  ticks: count(),
  good_ticks: count({ where: sql`good` }),
  total: sum(sql`amount`),
  most: max(sql`amount`),
};
const places = view("places", {
  stream: ticks,
  by: { place: sql`place`, good: sql`good`, tip: sql`tip` },
  every: "1 minute",
  measures,
});
/** A table of the same cells: their bucket is the shard of their key. */
const spots = table("spots", { stream: ticks, key: { place: sql`place`, tip: sql`tip` }, measures, shards: 5 });
const components = componentsOf(places);

/** One stored cell: some of the components have a value. */
const state = fc.record({
  at: fc.integer({ min: 0, max: 3 }),
  place: fc.constantFrom(
    "7",
    "007",
    "-0",
    "0",
    "-12",
    "-3",
    "10",
    "9".repeat(41),
    "z",
    "",
    "-",
    "null",
    "é",
    "\uE000",
    "😀",
    null,
  ),
  good: fc.constantFrom(true, false, null),
  tip: fc.constantFrom(0, 5, -7, 12, null),
  values: fc.tuple(
    fc.integer({ min: 1, max: 3 }),
    ...Array.from({ length: 3 }, () => fc.option(fc.integer({ min: -2, max: 2 }))),
  ),
});
type State = typeof state extends fc.Arbitrary<infer T> ? T : never;

const shapes = fc.record({
  order: fc.constantFrom(
    "bucket",
    "-ticks",
    "total",
    "-total,-place",
    "most,-tip",
    "-good_ticks",
    "place",
    "-good,place",
  ),
  by: fc.constantFrom("place,good,tip", "place", "tip,place", "good"),
  every: fc.constantFrom("1m", "2m"),
  limit: fc.integer({ min: 1, max: 6 }),
});

let folder = "";
let pool: DuckPool;
let duck: Duck;
let batch: BatchStates;
let data: DataDirectory;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-top-"));
  data = new DataDirectory(folder);
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  duck = await pool.connect();
  const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
  batch = new BatchStates(data, ducks, { maxCachedCells: 0, limits: ANSWER_LIMITS, pieceRows: 30 });
});
afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

/** The stored bucket of a cell, and its group. */
function placeOf(of: View, { at, ...state }: State): { bucket: number; group: GroupValue[] } {
  const group = Object.keys(of.by).map((name) => state[name as "place" | "good" | "tip"]);
  return { bucket: of.table === null ? at * MINUTE : shardOf(group.map(String), of.table), group };
}

let version = 0;
/** A batch version that holds these cells; those of one place are stored as rows that have yet to be merged. */
async function published(of: View, states: readonly State[]): Promise<Manifest> {
  const file = await data.attempt("states", "top", "parquet");
  const rows = states.flatMap((state) =>
    components.flatMap(({ key }, index) => {
      const { place, good, tip, values } = state;
      const value = values[index];
      const { bucket } = placeOf(of, state);
      return value === null ? [] : [{ bucket, place, good, tip, component: key, item: 0, value }];
    }),
  );
  const types = {
    bucket: "BIGINT",
    place: "VARCHAR",
    good: "BOOLEAN",
    tip: "BIGINT",
    component: "VARCHAR",
    item: "BIGINT",
    value: "BIGINT",
  };
  const parsed = "SELECT unnest(from_json($1::VARCHAR, $2::VARCHAR), recursive := true)";
  const source =
    "SELECT bucket, place, good, tip, component, item, NULL::VARCHAR AS " +
    `label, value FROM (${parsed}) ORDER BY bucket`;
  await duck.run(`CREATE OR REPLACE TEMP TABLE states AS ${source}`, [JSON.stringify(rows), JSON.stringify([types])]);
  await duck.run(`COPY states TO '${data.path(file)}' (FORMAT parquet)`);
  version += 1;
  const files = [{ file, rows: rows.length, ...(await data.settle(file)) }];
  const cut = new Map([[0, ZERO]]);
  return {
    generation: "g",
    version,
    base: cut,
    cut,
    files,
    ledger: EMPTY_LEDGER,
    topicId: "t",
    createdBy: "test",
    createdAtMs: 0,
  };
}

/** The same as tiles of live state. */
function tilesOf(of: View, states: readonly State[]): StoredTile[] {
  return states.map((state) => {
    const { values } = state;
    const { bucket, group } = placeOf(of, state);
    const key = groupKey(group);
    const cells: GroupCells = {
      group,
      key,
      values: components.flatMap(({ key }, index): [string, bigint][] => {
        const value = values[index];
        return value === null || value === undefined ? [] : [[key, BigInt(value)]];
      }),
      items: [],
      sketches: [],
    };
    return { bucket, groups: new Map([[key, cells]]) };
  });
}

const range = { fromMs: 0, toMs: 4 * MINUTE };
const states = fc.array(state, { minLength: 1, maxLength: 30 });
const live = fc.array(state, { maxLength: 6 });

interface Held {
  readonly stored: readonly State[];
  readonly applied: readonly State[];
}

async function candidates(of: View, query: Query, order: Parameters<typeof topCells>[0], { stored, applied }: Held) {
  const manifest = await published(of, stored);
  const budget = new Budget(ANSWER_LIMITS);
  const builder = new AnswerBuilder({ view: of, query, window: range }, needsOf(of, query), budget);
  finish(builder.addStored(tilesOf(of, applied), range));
  const { everyMs, by, where } = query;
  const plan = { view: of, ...range, everyMs, calendar: null, by, where, components };
  return topCells(order, { batch, manifest, plan, limits: ANSWER_LIMITS, budget, builder });
}

/** All cells, merged in memory. */
function allCells(of: View, query: Query, { stored, applied }: Held) {
  const builder = new AnswerBuilder({ view: of, query, window: range }, needsOf(of, query), Budget.unlimited());
  finish(builder.addStored(tilesOf(of, [...stored, ...applied]), range));
  return builder.table.cells();
}

describe("the first rows of an answer that is too large to be held", () => {
  test("are those of the whole answer, for any text, order and live state", async () => {
    await fc.assert(
      fc.asyncProperty(states, live, shapes, async (stored, applied, { order, by, every, limit }) => {
        const kept = order
          .split(",")
          .filter(
            (field) =>
              !["place", "good", "tip"].includes(field.replace("-", "")) ||
              by.split(",").includes(field.replace("-", "")),
          );
        const plan = planQuery(places, { by, every, limit: String(limit), order: kept.join(",") || "bucket" });
        if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
        const top = topOrder(places, plan.query);
        if ("unsortable" in top) throw new Error(top.unsortable);
        const found = await candidates(places, plan.query, top, { stored, applied });
        const whole = presentRows(places, plan.query, allCells(places, plan.query, { stored, applied }), range);
        expect(presentRows(places, plan.query, found, range)).toEqual(whole);
      }),
      { numRuns: 150 },
    );
  });

  test("and so are those of a table, whose keys lie in shards", async () => {
    const keyed = fc.array(
      state.filter(({ place, tip }) => place !== null && tip !== null),
      { minLength: 1, maxLength: 30 },
    );
    const asked = fc.record({
      order: fc.constantFrom("", "-ticks", "total", "-total,-place", "most,-tip", "tip,place"),
      limit: fc.integer({ min: 1, max: 6 }),
    });
    await fc.assert(
      fc.asyncProperty(keyed, keyed, asked, async (stored, applied, { order, limit }) => {
        const plan = planTable(spots, { keys: null, order, limit: String(limit) });
        if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
        const { query } = plan.question;
        const top = topOrder(spots, query);
        if ("unsortable" in top) throw new Error(top.unsortable);
        const held = { stored, applied: applied.slice(0, 3) };
        const whole = presentRows(spots, query, allCells(spots, query, held), range);
        expect(presentRows(spots, query, await candidates(spots, query, top, held), range)).toEqual(whole);
      }),
      { numRuns: 50 },
    );
  });

  test("and so are the most frequent values of a dimension", async () => {
    const asked = fc.record({
      dimension: fc.constantFrom("place", "good", "tip"),
      prefix: fc.constantFrom("", "-", "n", "1", "😀"),
      limit: fc.integer({ min: 1, max: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(states, live, asked, async (stored, applied, { dimension, prefix, limit }) => {
        const plan = planQuery(places, {});
        if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
        const query = keysQuery(places, plan.query, dimension);
        const found = await candidates(places, query, keysOrder(dimension, { prefix, limit }), { stored, applied });
        const cells = allCells(places, query, { stored, applied });
        const whole = finish(keysOf(places, dimension, { cells }, { prefix, limit }));
        expect(finish(keysOf(places, dimension, { cells: found }, { prefix, limit }))).toEqual(whole);
      }),
      { numRuns: 100 },
    );
  });

  test("cannot be found by what a database does not sort exactly", () => {
    const plan = planQuery(places, { order: "-ticks" });
    if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
    expect(topOrder(places, { ...plan.query, windowMs: 2 * plan.query.everyMs })).toEqual({ unsortable: "ticks" });
  });
});
