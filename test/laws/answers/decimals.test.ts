import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import * as builders from "../../../core/definition/builders.ts";
import { componentsOf } from "../../../core/definition/components.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { viewDocument, viewFrom } from "../../../core/definition/view-document.ts";
import { decimalText, presentDecimal, unitsOfText } from "../../../core/measures/decimals.ts";
import { plainDecimal } from "../../../core/measures/plain-values.ts";
import { fractionOfText } from "../../../core/numbers/fraction.ts";
import { scaleOfSql } from "../../../core/numbers/scale.ts";
import { presentRows } from "../../../core/query/present.ts";
import { planQuery, type Query } from "../../../core/query/query.ts";
import { finish } from "../../../core/query/work.ts";
import { CellTable, mergeStateRow } from "../../../core/state/cells.ts";
import { stateColumns, stateSql } from "../../../core/state/compile.ts";
import { answerFields } from "../../../serving/answer/answer-fields.ts";
import { keysOf, keysOrder, keysQuery } from "../../../serving/answer/keys.ts";
import { numberColumns, rowsJson } from "../../../serving/common/numbers.ts";
import { topSql } from "../../../serving/read/batch/batch-sql.ts";
import { eventColumns } from "../../../store/decode/events.ts";
import { type Duck, DuckPool, rowsOf } from "../../../store/duckdb/duck.ts";

const { avg, count, decimal, first, histogram, instant, integer, last, list, max, min, optional } = builders;
const { quantile, ratio, sql, stream, sum, text, topK, view } = builders;

const priced = stream("priced", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 10,
  fields: {
    id: text(),
    at: instant({ from: "2020-01-01", to: "2100-01-01" }),
    price: optional(decimal({ scale: 4, min: -1e9, max: 1e9 })),
    lines: list({ cost: decimal({ scale: 2, min: 0, max: 100 }), n: integer({ min: 0, max: 9 }) }),
  },
});

const of = view("priced", {
  stream: priced,
  by: { price: sql`price` },
  every: "1 hour",
  measures: {
    total: sum(sql`price`),
    least: min(sql`price`),
    most: max(sql`price`),
    mean: avg(sql`price`),
    one: first(sql`price`),
    spread: quantile(sql`price`),
    bins: histogram(sql`price`, { edges: [0, 10_000] }),
    each: ratio(sum(sql`price`), count()),
    top: topK(sql`price`, { weight: sql`price` }),
    cents: sum(sql`price`, { unit: "cents" }),
  },
});

function planned(parameters: Record<string, string | string[]>): Query {
  const plan = planQuery(of, parameters);
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.query;
}

const units = fc.oneof(
  fc.bigInt({ min: -(10n ** 15n), max: 10n ** 15n }),
  fc.bigInt({ min: -(10n ** 24n), max: 10n ** 24n }),
  fc.constantFrom(0n, 1n, -1n, 10n ** 15n - 1n, 10n ** 15n, -(10n ** 15n)),
);
const scale = fc.integer({ min: 1, max: 12 });

describe("an integer of 10^-scale units", () => {
  test("is presented as the decimal number that it is, exactly, as a proof presents it", () => {
    fc.assert(
      fc.property(units, scale, (value, places) => {
        const shown = presentDecimal(value, places);
        const { over, under } = fractionOfText(String(shown)) ?? { over: 0n, under: 1n };
        expect(over * 10n ** BigInt(places)).toBe(value * under);
        expect(shown).toBe(plainDecimal(value, places));
      }),
    );
  });

  test("is read back from its text, and what has more places is no such number", () => {
    fc.assert(
      fc.property(units, scale, (value, places) => {
        expect(unitsOfText(decimalText(value, places), places)).toBe(String(value));
        expect(unitsOfText(`${decimalText(value, places)}1`, places)).toBeNull();
      }),
    );
    expect(["", "x", "1.2.3", "12.30", "-0", "7"].map((one) => unitsOfText(one, 1))).toEqual([
      null,
      null,
      null,
      "123",
      "0",
      "70",
    ]);
  });

  test("is JSON although a definition has text where numbers are said to be", () => {
    const rows = [{ total: "01:00:00" }, { total: "007" }, { total: "-12.50" }, { total: "9007199254740993" }];
    const { json } = rowsJson(rows, new Map([["total", 2]]), "number");
    expect(json).toBe('{"total":"01:00:00"},{"total":"007"},{"total":-12.50},{"total":9007199254740993}');
  });

  test("keeps one type in JSON, and all of its digits, whatever its size", () => {
    const columns = new Map([["total", 2]]);
    fc.assert(
      fc.property(fc.array(units, { minLength: 1 }), (values) => {
        const rows = values.map((value) => ({ total: presentDecimal(value, 2) }));
        const numbers = rowsJson(rows, columns, "number").json.match(/(?<=:)[^}]+/g) ?? [];
        const exact = numbers.map((one) => (/[eE]/.test(one) ? "" : unitsOfText(one, 2)));
        expect(exact).toEqual(values.map(String));
        const texts = rowsJson(rows, columns, "text").json.match(/(?<=:)[^}]+/g) ?? [];
        expect(texts).toEqual(values.map((value) => `"${decimalText(value, 2)}"`));
        expect(rowsJson(rows, columns, "number").hasLong).toBe(
          values.some((value) => !/^-?\d{1,15}$/.test(`${value}`)),
        );
      }),
    );
  });
});

describe("the places of an expression", () => {
  const fields: Readonly<Record<string, number>> = { fare: 2, tip: 2, rate: 3, n: 0, "item.cost": 2, "item.n": 0 };
  const cases: [sql: string, scale: number | null][] = [
    ["fare", 2],
    ['-"fare"', 2],
    ["fare + tip - 100", 2],
    ["(fare + tip) * n", 2],
    ["fare * rate", 5],
    ["item.cost * item.n", 2],
    ["coalesce(fare, 0)", 2],
    ["greatest(fare, tip)", 2],
    ["nullif(abs(fare), 0)", 2],
    ["if(n > 1, fare, NULL)", 2],
    ["CASE WHEN n > 3 AND x IN ('a', 'case') THEN fare ELSE -tip END", 2],
    ["CASE n WHEN 1 THEN fare WHEN 2 THEN CASE WHEN n = 1 THEN tip END ELSE 0 END", 2],
    ["n", 0],
    ["n * 100", 0],
    ["fare + rate", null],
    ["fare * ((fare + rate))", null],
    ["fare * coalesce(fare, rate)", null],
    ["coalesce(fare, sign(n) * rate)", null],
    ["CASE WHEN n > 1 THEN fare ELSE sign(n) * rate END", null],
    ["fare // 100", null],
    ["fare % 100", null],
    ["fare > 3", null],
    ["fare::BIGINT", null],
    ["CAST(fare AS BIGINT)", null],
    ["sign(fare)", null],
    ["fare * 1.5", null],
    ["fare -- tip", null],
    ["fare /* x */", null],
    ["fare fare", null],
    ["((fare)", null],
    ["other", null],
    ["'fare'", null],
    ["", null],
  ];
  test.each(cases)("%s has %s", (sql, expected) => {
    expect(scaleOfSql(sql, (name) => fields[name])).toBe(expected);
  });

  test("are those of a list's fields for its lines", () => {
    const lines = view("lines", {
      stream: priced,
      each: "lines",
      every: "1 hour",
      measures: { cost: sum(sql`item.cost * item.n`), best: topK(sql`item.n`, { weight: sql`item.cost` }) },
    });
    expect(Object.values(lines.measures).map(({ scale }) => scale)).toEqual([2, 2]);
  });

  test("are what the definition says where it says so, and hundredths where the unit does", () => {
    const cost = (options: { unit?: string; scale?: number }) =>
      view("one", { stream: priced, each: "lines", every: "1 hour", measures: { cost: sum(sql`item.cost`, options) } })
        .measures.cost?.scale;
    const given = [{}, { unit: "EUR" }, { unit: "cents" }, { unit: "cents", scale: 2 }, { scale: 0 }, { scale: 3 }];
    expect(given.map(cost)).toEqual([2, 2, 0, 2, 0, 3]);
    expect(sum(sql`cost`, { scale: 1.5 }).problem).toContain("scale is a whole number from 0 to 18");
  });
});

test("decimals change nothing of what a view computes: its generation is that of the release before", () => {
  expect(generationOf(of)).toBe("priced.f5e6296d8445");
  const again = viewFrom(JSON.parse(JSON.stringify(viewDocument(of))));
  expect(generationOf(again)).toBe(generationOf(of));
  expect(Object.values(again.measures).map(({ scale }) => scale)).toEqual(
    Object.values(of.measures).map(({ scale }) => scale),
  );
});

describe("an answer about decimals", () => {
  let pool: DuckPool;
  let duck: Duck;
  const table = new CellTable(of);
  const PRICES = ["123.7567", "-0.5", "0", "-12.3456", "99999.9999", null];
  beforeAll(async () => {
    pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
    duck = await pool.connect();
    await duck.run(`CREATE TEMP TABLE events (${eventColumns(priced)})`);
    const rows = PRICES.map((price, index) => {
      const value = price === null ? "NULL" : unitsOfText(price, 4);
      return `('e${index}', ${Date.parse("2026-01-01T00:00:00Z") + index}, ${value}, 0, ${index}, false)`;
    });
    await duck.run(`INSERT INTO events (id, "at", price, _partition, _offset, _duplicate) VALUES ${rows.join(", ")}`);
    const states = `SELECT ${stateColumns(of).join(", ")} FROM (${stateSql(of, "events")})`;
    for (const row of await rowsOf(duck, states)) mergeStateRow(table, of, row);
  });
  afterAll(() => {
    duck.closeSync();
    pool.close();
  });

  test("is in the units of the field, in every measure and dimension", () => {
    const rolledUp = new CellTable(of);
    for (const cell of table.cells()) rolledUp.absorb(rolledUp.cell(cell.bucket, []), cell);
    const [row = {}] = presentRows(of, planned({ by: "" }), rolledUp.cells()).rows;
    const total = 123.7567 - 0.5 - 12.3456 + 99_999.9999;
    expect(row).toMatchObject({ total: 100_110.911, least: -12.3456, most: 99_999.9999, one: 123.7567 });
    expect(row.cents).toBe(row.total);
    expect([row.mean, row.each].map(Number).map((value) => value.toFixed(6))).toEqual([
      (total / 5).toFixed(6),
      (total / 6).toFixed(6),
    ]);
    expect(row.bins).toEqual([
      { from: null, to: 0, count: 2 },
      { from: 0, to: 1, count: 1 },
      { from: 1, to: null, count: 2 },
    ]);
    expect((row.top as { item: string }[])[0]).toEqual({ item: "99999.9999", weight: 99_999.9999 });
    const { p99 } = row.spread as { p99: number };
    expect(Math.abs(p99 - 99_999.9999) / 99_999.9999).toBeLessThan(0.01);
    const { rows } = presentRows(of, planned({ order: "-price", measures: "total" }), table.cells());
    expect(rows.map(({ price }) => price)).toEqual([99_999.9999, 123.7567, 0, -0.5, -12.3456, null]);
  });

  test("says so in its fields, and a filter speaks the same units", () => {
    const query = planned({ "where[price]": ["123.7567", "-0.50", "null"] });
    expect(query.where.get("price")).toEqual(["1237567", "-5000", null]);
    const fields = answerFields(of, new Map([["price", "integer"]]), query);
    expect(fields.price).toMatchObject({ type: "decimal", values: "decimal", scale: 4, json: "number" });
    expect(fields.total).toMatchObject({ type: "sum", values: "decimal", scale: 4, json: "number" });
    expect(fields.mean).toMatchObject({ values: "double", json: "number" });
    expect(fields.mean).not.toHaveProperty("scale");
    expect([...numberColumns(fields).keys()]).toEqual([
      "price",
      "total",
      "least",
      "most",
      "one",
      "bins",
      "top",
      "cents",
    ]);
    const texts = answerFields(of, new Map(), query, "text");
    expect([texts.total?.json, texts.mean?.json]).toEqual(["string", "number"]);
    const wrong = planQuery(of, { "where[price]": ["1.23456", "cheap"] });
    expect(wrong.ok ? [] : wrong.problems.map(({ allowed }) => allowed)).toEqual(
      Array.from({ length: 2 }, () => "a number with at most 4 decimal places, or null"),
    );
  });

  test("finds and sorts keys by their decimal text, in memory as in SQL", async () => {
    const query = keysQuery(of, planned({}), "price");
    const state = `SELECT ${stateColumns(of).join(", ")} FROM (${stateSql(of, "events")})`;
    for (const prefix of ["", "-", "-0.5", "123.7", "0.", "9", "null", "1237567"]) {
      const order = keysOrder("price", { prefix, limit: 10 });
      const { keys } = finish(keysOf(of, "price", { cells: table.cells() }, { prefix, limit: 10 }));
      const plan = { view: of, fromMs: 0, toMs: 4e12, everyMs: query.everyMs, calendar: null };
      const asked = { ...plan, by: ["price"], where: query.where, components: componentsOf(of) };
      const pieces = [
        { fromMs: 0, toMs: 2e12 },
        { fromMs: 2e12, toMs: 4e12 },
      ];
      const statement = topSql(["STATES"], asked, order, { most: 10, pieces });
      const source = statement.sql.replaceAll("read_parquet(['STATES'])", `(${state})`);
      const found = await rowsOf(duck, source, statement.values);
      const shown = found.map(([, price]) => (price === null ? null : presentDecimal(BigInt(price as bigint), 4)));
      expect([prefix, keys.map(({ key }) => key)]).toEqual([prefix, shown]);
    }
    const { keys } = finish(keysOf(of, "price", { cells: table.cells() }, { prefix: "-0.5", limit: 10 }));
    expect(keys).toEqual([{ key: -0.5, rows: 1 }]);
  });

  test("has the last value of a text as it is", () => {
    const named = view("named", { stream: priced, every: "1 hour", measures: { id: last(sql`id`) } });
    expect([named.measures.id?.values, named.measures.id?.scale]).toEqual(["picked", 0]);
  });
});
