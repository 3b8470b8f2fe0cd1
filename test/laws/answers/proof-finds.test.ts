import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as builders from "../../../core/definition/builders.ts";
import * as proof from "../../../core/proof/proof.ts";
import type { ComparedRows } from "../../../core/proof/proof-result.ts";
import * as budget from "../../../core/query/budget.ts";
import * as query from "../../../core/query/query.ts";
import * as work from "../../../core/query/work.ts";
import * as cells from "../../../core/state/cells.ts";
import * as compile from "../../../core/state/compile.ts";
import { bundleMutant } from "../../../faults/mutants/bundle.ts";
import { formulaMutants } from "../../../faults/mutants/formulas.ts";
import type { Replacement } from "../../../faults/mutants/test-build.ts";
import * as proofAnswers from "../../../serving/proof/proof-answers.ts";
import * as events from "../../../store/decode/events.ts";
import * as duck from "../../../store/duckdb/duck.ts";
import * as plainRows from "../../../store/duckdb/plain-rows.ts";
import { repository } from "../protocol/modules.ts";

/** A proof finds every wrong formula of an answer: the program is built with one, and proves its own answers. */

/** Below the repository, so that a bundle finds the installed packages. */
const folder = join(repository, ".tideline", `formulas-${process.pid}`);
beforeAll(() => mkdir(folder, { recursive: true }));
afterAll(() => rm(folder, { recursive: true, force: true }));

const MODULES = [
  "core/definition/builders.ts",
  "core/query/budget.ts",
  "core/state/cells.ts",
  "core/state/compile.ts",
  "core/proof/proof.ts",
  "core/query/query.ts",
  "core/query/work.ts",
  "serving/proof/proof-answers.ts",
  "store/duckdb/duck.ts",
  "store/decode/events.ts",
  "store/duckdb/plain-rows.ts",
] as const;

/** The program as it is. */
const program = {
  ...builders,
  ...budget,
  ...cells,
  ...compile,
  ...proof,
  ...query,
  ...work,
  ...proofAnswers,
  ...duck,
  ...events,
  ...plainRows,
};

type Program = typeof program;

async function mutantOf(mutant: Replacement & { readonly name: string }): Promise<Program> {
  const outfile = join(folder, `${mutant.name}.mjs`);
  await bundleMutant(MODULES, mutant, outfile);
  return (await import(/* @vite-ignore */ outfile)) as Program;
}

const DAY = Date.parse("2026-03-01T00:00:00Z");
/** Dimensions and picks that are easily sorted, cut or written wrongly. */
const PLACES = [
  "7",
  "007",
  "-7",
  "9007199254740993",
  "",
  "=1+1",
  'a "quote", and',
  "two\nlines",
  "\u{1f600}",
  "\uffee",
  null,
];
const SIZES = [9_007_199_254_740_991, 3_002_399_751_580_331, 2, 40, 900, 7];

/** What a program's proof finds of its own answers over the same events, question by question. */
async function proven(program: Program): Promise<ComparedRows[]> {
  const {
    avg,
    count,
    decimal,
    distinct,
    first,
    integer,
    instant,
    last,
    max,
    optional,
    quantile,
    ratio,
    sql,
    sum,
    text,
    topK,
  } = program;
  const parts = program.stream("parts", {
    revision: 1,
    partitions: 1,
    key: "id",
    eventId: "id",
    eventTime: "at",
    dedupWindow: 0,
    fields: {
      id: text(),
      at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
      place: optional(text()),
      size: optional(integer({ min: 0, max: Number.MAX_SAFE_INTEGER })),
      price: decimal({ scale: 2, min: -1_000, max: 9_999_999_999_999.99 }),
      rate: optional(decimal({ scale: 1, min: -100, max: 100 })),
    },
  });
  const view = program.view("parts", {
    stream: parts,
    by: { place: sql`place`, rate: sql`rate` },
    every: "1 day",
    measures: {
      parts: count(),
      total: sum(sql`size`),
      largest: max(sql`size`),
      mean: avg(sql`size`),
      share: ratio(sum(sql`size`), count()),
      ids: distinct(sql`id`),
      spread: quantile(sql`size`, { at: [0.5, 1 / 4] }),
      names: topK(sql`coalesce(place, 'none') || (length(id) % 3)`, { show: 2 }),
      first_place: first(sql`place`),
      last_size: last(sql`size`),
      earned: sum(sql`price`, { unit: "EUR" }),
      discounted: max(sql`price - 10 * rate`),
      mean_price: avg(sql`price`, { unit: "EUR" }),
      prices: quantile(sql`price`, { at: [0.5] }),
      last_price: last(sql`price`),
      sold: topK(sql`price`, { weight: sql`price`, show: 2 }),
    },
  });
  /** All of it, and a week and a month that the range cuts. */
  const asked = [{}, { every: "1w", by: "", measures: "parts" }, { every: "1mo", by: "", measures: "parts" }];
  const queries = asked.map((parameters) => {
    const range = { from: String(DAY), to: String(DAY + 86_400_000) };
    const plan = program.planQuery(view, "every" in parameters ? { ...parameters, ...range } : parameters);
    if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
    return plan.query;
  });
  const pool = await program.DuckPool.open({ threads: 1, memoryLimitMb: 512 });
  const duck = await pool.connect();
  try {
    await duck.run(`CREATE TEMP TABLE events (${program.eventColumns(parts)})`);
    const list = (values: readonly unknown[]) => JSON.stringify(values).replaceAll("'", "''");
    const columns =
      `n.range AS n, ('${list(PLACES)}'::JSON ->> (n.range % ${PLACES.length})::INTEGER) AS place, ('${list(SIZES)}` +
      `'::JSON ->> (n.range // ${PLACES.length} % ${SIZES.length})::INTEGER)::BIGINT AS size`;
    await duck.run(
      `INSERT INTO events BY NAME SELECT 'p' || n AS id, ${DAY} + n AS at, place, CASE WHEN place = '' THEN NULL ` +
        `ELSE abs(size - n % 11) END AS size, CASE n % ${PLACES.length} WHEN 1 THEN 999999999999999 - n ELSE n * 7 ` +
        `- 30 END AS price, CASE n // ${PLACES.length} % 3 WHEN 1 THEN 5 WHEN 2 THEN -120 END AS rate, 0 AS ` +
        `_partition, n AS _offset, false AS _duplicate FROM (SELECT ${columns} FROM range(4400) n)`,
    );
    const table = new program.CellTable(view);
    const states = `SELECT ${program.stateColumns(view).join(", ")} FROM (${program.stateSql(view, "events")})`;
    for (const row of await program.rowsOf(duck, states)) program.mergeStateRow(table, view, row);
    const range = { fromMs: DAY, toMs: DAY + 86_400_000 };
    const found: ComparedRows[] = [];
    for (const query of queries) {
      const places = program.answerPlaces(view, query, range);
      const rolledUp = new program.CellTable(view);
      for (const cell of table.cells())
        rolledUp.absorb(rolledUp.cell(places.bucket(cell.bucket), places.group(cell.group)), cell);
      const reading = { ...range, cells: rolledUp.cells(), budget: program.Budget.unlimited() };
      const served = program.finish(program.servedRows(view, query, reading));
      const answers = program.finish(program.givenAnswers(view, query, reading, served.length));
      const given = await program.withCsv(view, query, answers);
      const comparison = new program.RowComparison(view, query, 1);
      const logged = await program.plainRows(duck, { view, query, range, events: "events" });
      comparison.add(served, logged, given, range);
      found.push(comparison.result());
    }
    return found;
  } finally {
    duck.closeSync();
    pool.close();
  }
}

test("the program as it is is proven equal", async () => {
  const found = await proven(program);
  expect(found.flatMap(({ differences }) => differences)).toEqual([]);
  expect(found.map(({ rows }) => rows)).toEqual([3 * PLACES.length, 1, 1]);
});

describe("a wrong formula is found", () => {
  test.each(formulaMutants)("$name: $what", async (mutant) => {
    const found = await proven(await mutantOf(mutant));
    expect(found.reduce((sum, { mismatches }) => sum + mismatches, 0)).toBeGreaterThan(0);
  });
});
