import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { componentsOf } from "../../../core/definition/components.ts";
import { checkViewShape, type View, view } from "../../../core/definition/view.ts";
import type { Manifest } from "../../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { ZERO } from "../../../core/log/position.ts";
import { ANSWER_LIMITS, Budget } from "../../../core/query/budget.ts";
import { presentRows } from "../../../core/query/present.ts";
import { bucketStarts, planQuery, readRange } from "../../../core/query/query.ts";
import { topOrder } from "../../../core/query/top-order.ts";
import { finish } from "../../../core/query/work.ts";
import { stateSql } from "../../../core/state/compile.ts";
import { BatchStates } from "../../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../../serving/read/batch/duck-queue.ts";
import { topCells } from "../../../serving/read/batch/top-cells.ts";
import { AnswerBuilder } from "../../../serving/read/cells/tile-cells.ts";
import { needsOf } from "../../../serving/read/needs.ts";
import { eventColumns } from "../../../store/decode/events.ts";
import { checkViewSql } from "../../../store/definitions/check-view.ts";
import { type Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import { plainRows } from "../../../store/duckdb/plain-rows.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { everything, ticks } from "../../fixtures/events/views.ts";

/** What generated SQL calls its relations and columns, or once did; words of SQL; fields of the stream. */
const NAMES = [
  ...["start", "stored", "calendar", "state", "row", "cell", "held", "picked", "of_item", "hash", "register", "rank"],
  ...["x", "bits", "partition", "e", "h", "s", "events", "placed", "wanted", "lines", "counted", "gaps", "islands"],
  ...["whole", "starts", "unfolded", "reached", "ended", "session_id", "rows", "steps", "key", "group", "order"],
  ...["select", "from", "where", "at", "amount", "place", "test", "good", "tip", "id", "t", "p", "o", "l", "v"],
];
const FROM = Date.parse("2026-03-28T20:00:00Z");
const TO = FROM + 6 * 3_600_000;

const DIMENSIONS = 6;

/** Some dimensions, and a measure of each kind. */
function viewOf(names: readonly string[]): View {
  const by = names.slice(0, DIMENSIONS).map((name, index) => [name, index % 2 === 0 ? sql`place` : sql`good`]);
  const kinds = Object.values(everything.measures);
  const measures = kinds.map((measure, index) => [names[DIMENSIONS + index] ?? `m${index}`, measure]);
  return view("named", {
    stream: ticks,
    by: Object.fromEntries(by),
    every: "1 minute",
    measures: Object.fromEntries(measures),
  });
}

/** Every name stands in each place: as a dimension, and as measures of several kinds. */
const rounds = NAMES.map((_, turn) => [...NAMES.slice(turn), ...NAMES.slice(0, turn)]).filter(
  (_, turn) => turn % DIMENSIONS === 0,
);

let folder = "";
let pool: DuckPool;
let duck: Duck;
let data: DataDirectory;
let batch: BatchStates;
let version = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-names-"));
  data = new DataDirectory(folder);
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  duck = await pool.connect();
  const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
  batch = new BatchStates(data, ducks, { maxCachedCells: 0, limits: ANSWER_LIMITS });
  await duck.run(`CREATE TABLE events (${eventColumns(ticks)})`);
  await duck.run(`INSERT INTO events BY NAME SELECT 0 AS _partition, i AS _offset, 'e' || i AS id,
    ${FROM} + i * 61000 AS at, CASE i % 3 WHEN 0 THEN 'eu' WHEN 1 THEN 'us' END AS place,
    i % 2 = 0 AS good, i * 7 % 100 AS amount, i % 11 AS tip, i % 13 = 0 AS test,
    'e' || i AS _id, false AS _duplicate, NULL AS _reject FROM range(300) t(i)`);
});
afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

async function published(of: View): Promise<Manifest> {
  const file = await data.attempt("states", "named", "parquet");
  await duck.run(`COPY (${stateSql(of, "events")}) TO '${data.path(file)}' (FORMAT parquet)`);
  version += 1;
  const cut = new Map([[0, ZERO]]);
  const files = [{ file, rows: 1, ...(await data.settle(file)) }];
  return {
    generation: "g",
    version,
    base: cut,
    cut,
    files,
    ledger: EMPTY_LEDGER,
    topicId: "t",
    createdBy: "t",
    createdAtMs: 0,
  };
}

/**
 * The answers to one question of each shape, without the names: by the states, by the first ones of them, and by plain
 * SQL.
 */
async function answers(of: View): Promise<unknown[]> {
  const manifest = await published(of);
  const [first = "", second = ""] = Object.keys(of.by);
  const counted = Object.keys(of.measures)[0] ?? "";
  const found: unknown[] = [];
  for (const parameters of [
    {},
    { by: second, every: "1h", order: `-${counted},${second}` },
    { by: first, every: "1d", zone: "Europe/Berlin", [`where[${second}]`]: "true" },
    { by: "", every: "20m", window: "1h", [`where[${first}]`]: "eu" },
  ]) {
    const plan = planQuery(of, { from: String(FROM), to: String(TO), limit: "5", ...parameters });
    if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
    const { query } = plan;
    const window = { fromMs: query.fromMs ?? 0, toMs: query.toMs ?? 0 };
    const starts = bucketStarts(of, query, window);
    const calendar = query.calendar === null || starts === null ? null : { grain: query.calendar, starts };
    const { everyMs, by, where } = query;
    const components = componentsOf(of);
    const read = { view: of, ...readRange(of, query, window), everyMs, calendar, by, where, components };
    const needs = needsOf(of, query);
    const builder = () => new AnswerBuilder({ view: of, query, window }, needs, new Budget(ANSWER_LIMITS));
    const whole = builder();
    finish(whole.addRolledUp((await batch.cells(manifest, read)).tiles));
    const shown = presentRows(of, query, whole.table.cells(), window).rows.map((row) => Object.values(row));
    expect(shown.length).toBeGreaterThan(0);
    found.push(shown);
    const order = topOrder(of, query);
    if ("keys" in order) {
      const source = {
        batch,
        manifest,
        plan: read,
        limits: ANSWER_LIMITS,
        budget: new Budget(ANSWER_LIMITS),
        builder: builder(),
      };
      const first = presentRows(of, query, await topCells(order, source), window);
      expect(first.rows.map((row) => Object.values(row))).toEqual(shown);
    }
    const plain = await plainRows(duck, { view: of, query, range: window, events: "events" });
    found.push(plain.map(({ bucket, group }) => JSON.stringify([bucket, group])).sort());
  }
  return found;
}

test("a dimension or measure may be called as anything, and every question has the same answer", {
  timeout: 300_000,
}, async () => {
  const expected = await answers(viewOf(["d0", "d1", "d2", "d3", "d4", "d5"]));
  for (const names of rounds) {
    const named = viewOf(names);
    expect([names, checkViewShape(named), await checkViewSql(duck, named)]).toEqual([names, [], []]);
    expect([names, await answers(named)]).toEqual([names, expected]);
  }
});
