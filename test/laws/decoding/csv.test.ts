import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  count,
  decimal,
  first,
  histogram,
  instant,
  optional,
  quantile,
  sql,
  stream,
  sum,
  text,
  topK,
  view,
} from "../../../core/definition/builders.ts";
import type { Row } from "../../../core/query/present.ts";
import { planQuery } from "../../../core/query/query.ts";
import { answerFields } from "../../../serving/answer/answer-fields.ts";
import { csvOf } from "../../../serving/answer/csv.ts";
import { numberColumns, rowsJson } from "../../../serving/common/numbers.ts";
import { type Duck, DuckPool, rowsOf } from "../../../store/duckdb/duck.ts";
import { anyText } from "../../fixtures/events/any-text.ts";

/**
 * An answer as CSV, read by another library and by DuckDB, has the rows of the answer as JSON, whatever text is in
 * them.
 */

const sales = stream("sales", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  fields: {
    id: text(),
    at: instant({ from: "2020-01-01", to: "2100-01-01" }),
    place: optional(text()),
    price: optional(decimal({ scale: 2, min: -1e9, max: 1e9 })),
  },
});
const shop = view("shop", {
  stream: sales,
  by: { place: sql`place`, price: sql`price` },
  every: "1 hour",
  measures: {
    sales: count(),
    earned: sum(sql`price`),
    label: first(sql`place`),
    spread: quantile(sql`price`, { at: [0.5] }),
    bins: histogram(sql`price`, { edges: [100] }),
    top: topK(sql`place`, { weight: sql`price` }),
  },
});

const query = (() => {
  const plan = planQuery(shop, { every: "1mo" });
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.query;
})();
const columns = numberColumns(answerFields(shop, new Map(), query));

const pieces = fc.constantFrom(
  ...[
    '"',
    '""',
    ",",
    ";",
    "\t",
    "\r",
    "\n",
    "\r\n",
    "'",
    "\\",
    " ",
    "\u00a0",
    "\ufeff",
    "\u2028",
    "\u0085",
    "null",
    "NULL",
  ],
  ...[
    "=1+1",
    "-7",
    "+",
    "@x",
    "007",
    "1e5",
    "#",
    "--",
    "NaN",
    "true",
    "\u{1f600}",
    "é",
    "e\u0301",
    "\u0001",
    "a",
    "\v",
    "\f",
  ],
);
const hostile = fc.oneof(
  fc.array(pieces, { maxLength: 5 }).map((parts) => parts.join("")),
  anyText({ maxLength: 12 }),
);
const integer = fc.oneof(fc.maxSafeInteger(), fc.constantFrom("9007199254740993", "-123456789012345678901234"));
const money = fc.oneof(
  fc.integer({ min: -1_000_000, max: 1_000_000 }).map((units) => units / 100),
  fc.constantFrom("12345678901234567.80", "-98765432109876543210.05"),
);
const row = fc.record({
  bucket: fc.constant("2026-01-01T00:00:00.000Z"),
  place: fc.option(hostile),
  price: fc.option(money),
  sales: integer,
  earned: fc.option(money),
  label: fc.option(hostile),
  spread: fc.record({ p50: fc.option(fc.double({ noNaN: true, noDefaultInfinity: true })) }),
  bins: fc.record({ count: integer, to: money }).map(({ count, to }) => [{ from: null, to, count }]),
  top: fc.array(fc.record({ item: hostile, weight: money }), { maxLength: 3 }),
  partial: fc.constantFrom({}, { partial: true }),
});
const rows = fc
  .array(row, { maxLength: 8 })
  .map((list) => list.map(({ partial, ...rest }): Row => ({ ...rest, ...partial }) as Row));

async function written(answer: readonly Row[]): Promise<string> {
  let csv = "";
  for await (const piece of csvOf(shop, query, answer)) csv += String(piece);
  return csv;
}

/**
 * The answer as a client of JSON reads it, cell by cell: exact numbers as text, and a list as the JSON that documents
 * describe.
 */
function cellsOf(answer: readonly Row[]): (string | null)[][] {
  const { json } = rowsJson(answer, columns, "text");
  return (JSON.parse(`[${json}]`) as Row[]).map((one, index) => {
    const { p50 } = one.spread as { p50: number | null };
    const { bins, top } = answer[index] as unknown as Lists;
    const binsJson = bins.map(({ to, count }) => `{"from":null,"to":${to},"count":${count}}`);
    const topJson = top.map(({ item, weight }) => `{"item":${JSON.stringify(item)},"weight":${weight}}`);
    const lists = { bins: `[${binsJson.join(",")}]`, top: `[${topJson.join(",")}]` };
    const cells = { ...one, spread: p50 === null ? null : String(p50), ...lists, partial: `${one.partial === true}` };
    return HEADER.map((name) => (cells as Record<string, string | null>)[name.split(".")[0] ?? ""] ?? null);
  });
}

interface Lists {
  readonly bins: readonly { readonly to: number | string; readonly count: number | string }[];
  readonly top: readonly { readonly item: string; readonly weight: number | string }[];
}

const HEADER = ["bucket", "place", "price", "sales", "earned", "label", "spread.p50", "bins", "top", "partial"];

describe("CSV holds what JSON holds", () => {
  let folder = "";
  let pool: DuckPool;
  let duck: Duck;
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "tideline-csv-"));
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
    duck = await pool.connect();
  });
  afterAll(async () => {
    duck.closeSync();
    pool.close();
    await rm(folder, { recursive: true, force: true });
  });

  /** An empty field that is quoted is text, any other is no value. */
  const asParsed = (csv: string) =>
    parse(csv, {
      record_delimiter: "\r\n",
      cast: (value, { quoting }) => (value === "" && !quoting ? null : value),
    }) as unknown as (string | null)[][];

  async function asDuckDb(csv: string): Promise<unknown[][]> {
    const file = join(folder, "answer.csv");
    await writeFile(file, csv);
    const names = HEADER.map((name) => `'${name}': 'VARCHAR'`).join(", ");
    const options = `header = true, auto_detect = false, delim = ',', quote = '"', escape = '"', new_line = '\\r\\n'`;
    return rowsOf(
      duck,
      `SELECT * FROM read_csv('${file}', ${options}, columns = {${names}}, nullstr ` +
        "= '', allow_quoted_nulls = false, parallel = false)",
    );
  }

  test("a text keeps a byte-order mark that it begins with when DuckDB gives it", async () => {
    for (const text of ["\ufeff", "\ufeffa", "\ufeff\ufeff and more than twelve bytes"])
      expect(await rowsOf(duck, "SELECT $1::VARCHAR", [text])).toEqual([[text]]);
  });

  test("read by csv-parse", async () => {
    await fc.assert(
      fc.asyncProperty(rows, async (answer) => {
        expect(asParsed(await written(answer))).toEqual([HEADER, ...cellsOf(answer)]);
      }),
      { numRuns: 200 },
    );
  });

  test("read by DuckDB", async () => {
    await fc.assert(
      fc.asyncProperty(rows, async (answer) => {
        expect(await asDuckDb(await written(answer))).toEqual(cellsOf(answer));
      }),
      { numRuns: 100 },
    );
  });
});
