import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { answerText } from "../../../cli/query/answer-text.ts";
import { sql } from "../../../core/contract/sql.ts";
import { view } from "../../../core/definition/view.ts";
import { avg } from "../../../core/measures/kinds/avg.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { quantile } from "../../../core/measures/kinds/quantile.ts";
import { ratio } from "../../../core/measures/kinds/ratio.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import type { Measure, PlainFound, Presented } from "../../../core/measures/measure.ts";
import { comparePresented, compareText } from "../../../core/measures/order.ts";
import { plainPicked, plainPresented, plainQuotient, plainTerms } from "../../../core/measures/plain-values.ts";
import {
  divide,
  type Fraction,
  fractionOfDouble,
  fractionOfText,
  nearestDouble,
} from "../../../core/numbers/fraction.ts";
import { filterText, filterValue } from "../../../core/query/filter.ts";
import { presentRows } from "../../../core/query/present.ts";
import { planQuery } from "../../../core/query/query.ts";
import { type Cell, CellTable, stateOf } from "../../../core/state/cells.ts";
import type { AnswerBody } from "../../../serving/answer/answer-schemas.ts";
import { keysJson } from "../../../serving/answer/keys.ts";
import type { DescribedView } from "../../../serving/views/served-views.ts";
import { shownValue } from "../../../systems/shop/report/shown.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { ticks } from "../../fixtures/events/views.ts";

/** Quotients, ranks and orders: each law compares with whole numbers alone, and shares no code with what it tests. */

const bits = new DataView(new ArrayBuffer(8));

/** A double's value times 2^1074, by its bits (IEEE 754). */
function scaledValue(value: number): bigint {
  bits.setFloat64(0, value);
  const word = bits.getBigUint64(0);
  const exponent = (word >> 52n) & 0x7ffn;
  const mantissa = (word & ((1n << 52n) - 1n)) | (exponent === 0n ? 0n : 1n << 52n);
  const size = mantissa << (exponent === 0n ? 0n : exponent - 1n);
  return word >> 63n === 0n ? size : -size;
}

function neighbour(value: number, step: 1n | -1n): number {
  bits.setFloat64(0, value);
  bits.setBigUint64(0, bits.getBigUint64(0) + step);
  return bits.getFloat64(0);
}

const absolute = (value: bigint) => (value < 0n ? -value : value);

/** Whether a double is the nearest to over/under, and the even one of two that are as near. */
function isNearest(value: number, over: bigint, under: bigint): boolean {
  if (over === 0n) return Object.is(value, 0);
  const away = (one: number) => absolute(scaledValue(one) * under - (over << 1074n));
  const isEven = scaledValue(value) % (1n << BigInt(Math.max(0, exponentOf(value) + 1))) === 0n;
  return [neighbour(value, 1n), neighbour(value, -1n)].every(
    (other) => away(value) < away(other) || (away(value) === away(other) && isEven),
  );
}

/** The power of two, over 2^-1074, of a double's last bit. */
function exponentOf(value: number): number {
  bits.setFloat64(0, value);
  return Math.max(0, Number((bits.getBigUint64(0) >> 52n) & 0x7ffn) - 1);
}

const wide = fc.oneof(
  fc.bigInt({ min: -(2n ** 126n), max: 2n ** 126n }),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n }),
  fc.bigInt({ min: -1_000n, max: 1_000n }),
  // Where doubles lie apart by two, a half rounds one way or the other.
  fc
    .tuple(fc.bigInt({ min: 2n ** 52n, max: 2n ** 56n }), fc.integer({ min: -2, max: 2 }))
    .map(([n, d]) => n + BigInt(d)),
);
const counted = fc.oneof(
  fc.bigInt({ min: 1n, max: 2n ** 62n }),
  fc.bigInt({ min: 1n, max: 100n }),
  fc.nat(60).map((power) => 2n ** BigInt(power)),
);

const total = sum(sql`amount`);
const mean = avg(sql`amount`);
const measures = {
  total,
  mean,
  ticks: count(),
  share: ratio(total, mean),
  each: ratio(mean, count()),
  spread: quantile(sql`amount`, { error: 0.001, at: [0.07, 0.5, 0.29, 0.999999, 1e-7, 1] }),
};
const sums = view("sums", { stream: ticks, by: { place: sql`place` }, every: "1 minute", measures });

/** A cell that holds these sums and this many values. */
function cellOf(over: bigint, under: bigint): Cell {
  const table = new CellTable(sums);
  const cell = table.cell(0, ["here"]);
  for (const key of ["total.sum", "mean.sum", "share.top.sum", "share.bottom.sum", "each.top.sum"])
    table.merge(cell, key, over);
  for (const key of ["rows", "mean.count", "share.bottom.count", "each.top.count"]) table.merge(cell, key, under);
  return cell;
}

describe("a quotient is the double nearest to the exact one", () => {
  test("for any sum and count, and the proof's own formula finds the same", () => {
    fc.assert(
      fc.property(wide, counted, (over, under) => {
        const answered = nearestDouble({ over, under });
        expect(isNearest(answered, over, under), `${over}/${under} = ${answered}`).toBe(true);
        expect(plainQuotient([over, under])).toBe(answered);
        expect(plainQuotient([-over, -under])).toBe(answered);
      }),
      { numRuns: 3_000 },
    );
  });

  test("an average, a ratio of averages, and an average per event are rounded once", () => {
    fc.assert(
      fc.property(wide, counted, (over, under) => {
        const cell = cellOf(over, under);
        const presented = (name: keyof typeof measures) => measures[name].present(stateOf(cell, name)) as number | null;
        expect(isNearest(presented("mean") ?? Number.NaN, over, under)).toBe(true);
        expect(isNearest(presented("each") ?? Number.NaN, over, under * under)).toBe(true);
        if (over === 0n) expect(presented("share")).toBeNull();
        else expect(isNearest(presented("share") ?? Number.NaN, under, 1n)).toBe(true);
      }),
    );
    expect(mean.present(stateOf(cellOf(3n * 3_002_399_751_580_331n, 3n), "mean"))).toBe(3_002_399_751_580_331);
  });

  test("a double and a decimal number are exact fractions, in the answer and in the proof", () => {
    const double = fc.double({ noNaN: true, noDefaultInfinity: true });
    fc.assert(
      fc.property(double, double, (a, b) => {
        const [over, under] = [fractionOfDouble(a), fractionOfDouble(b)] as [Fraction, Fraction];
        expect(over.over << 1074n).toBe(scaledValue(a) * over.under);
        const quotient = divide(over, under);
        expect(quotient === null).toBe(b === 0);
        const [top, bottom] = plainTerms(a) as [bigint, bigint];
        expect(top * over.under).toBe(over.over * bottom);
      }),
    );
    expect(fractionOfText("0.07")).toEqual({ over: 7n, under: 100n });
    expect(fractionOfText("-12.5")).toEqual({ over: -125n, under: 10n });
    expect(fractionOfText("1e-7")).toEqual({ over: 1n, under: 10_000_000n });
    expect(fractionOfText("1e+21")).toEqual({ over: 10n ** 21n, under: 1n });
    expect([fractionOfText("NaN"), fractionOfDouble(Infinity), plainTerms("no number")]).toEqual([null, null, null]);
  });

  test("the proof presents integers and picks as answers do, by code of its own", () => {
    const integer = fc.oneof(
      fc.bigInt({ min: -(2n ** 70n), max: 2n ** 70n }),
      fc.constantFrom(2n ** 53n, 2n ** 53n - 1n),
    );
    fc.assert(
      fc.property(integer, (value) => {
        const cell = cellOf(value, 1n);
        expect(plainPresented(value)).toBe(total.present(stateOf(cell, "total")));
        expect(BigInt(plainPicked(String(value)) as string)).toBe(value);
      }),
    );
    expect(["true", '"007"', "1.5", "1e400", "9007199254740993"].map(plainPicked)).toEqual([
      true,
      "007",
      1.5,
      Infinity,
      "9007199254740993",
    ]);
  });
});

describe("a quantile's rank", () => {
  const at: readonly (readonly [part: string, over: bigint, under: bigint])[] = [
    ["p7", 7n, 100n],
    ["p50", 1n, 2n],
    ["p29", 29n, 100n],
    ["p99_9999", 999_999n, 1_000_000n],
    ["p0_00001", 1n, 10_000_000n],
    ["p100", 1n, 1n],
  ];
  /** Values 1 to 5, small enough for bins of their own. */
  const histograms = fc.array(fc.bigInt({ min: 0n, max: 2n ** 58n }), { minLength: 5, maxLength: 5 });

  function answered(counts: readonly bigint[]): Record<string, Presented> {
    const table = new CellTable(sums);
    const cell = table.cell(0, ["here"]);
    // 1 ms is in bin 1; a power of two is divided into 500 parts.
    const bins = [1, 501, 751, 1001, 1126];
    for (const [index, bin] of bins.entries())
      if ((counts[index] ?? 0n) > 0n) table.mergeItem(cell, "spread.bins", bin, counts[index] as bigint);
    return measures.spread.present(stateOf(cell, "spread")) as Record<string, Presented>;
  }

  test("is the first value that at least that share of all values does not pass, for any counts", () => {
    fc.assert(
      fc.property(histograms, (counts) => {
        const all = counts.reduce((a, b) => a + b, 0n);
        fc.pre(all > 0n);
        const found = answered(counts);
        for (const [part, over, under] of at) {
          const value = Number(found[part]);
          const below = (limit: number) => counts.slice(0, limit).reduce((a, b) => a + b, 0n);
          expect(below(value) * under >= over * all, `${part} of ${counts}`).toBe(true);
          expect(below(value - 1) * under < over * all, `${part} of ${counts}`).toBe(true);
        }
      }),
    );
  });

  test("is not moved by one where 0.07 times a count is a little more than a whole number", () => {
    // 70,000,000 of 10^9 values are 1, and the 70,000,001st is 2.
    expect(answered([70_000_000n, 930_000_000n, 0n, 0n, 0n])).toMatchObject({ p7: 1, p29: 2 });
    expect(answered([69_999_999n, 930_000_001n, 0n, 0n, 0n])).toMatchObject({ p7: 2 });
  });
});

describe("the order of rows is total", () => {
  const presented = fc.oneof(
    fc.constantFrom(
      "7",
      "007",
      "07",
      "-7",
      "-007",
      "9007199254740993",
      "09007199254740993",
      "x",
      "",
      "true",
      "\u{1f600}",
      "\uffee",
    ),
    fc.constantFrom<Presented>(7, 7.5, true, false, null, -0, 0),
    anyText({ maxLength: 4 }),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
  );

  test("only equal values compare as equal, and any three are in order", () => {
    fc.assert(
      fc.property(presented, presented, presented, fc.boolean(), (a, b, c, descending) => {
        const order = (x: Presented, y: Presented) => Math.sign(comparePresented(x, y, descending));
        expect(order(a, b) === 0).toBe(JSON.stringify(a) === JSON.stringify(b));
        expect(Math.abs(order(a, b) + order(b, a))).toBe(0);
        if (order(a, b) <= 0 && order(b, c) <= 0) expect(order(a, c)).toBeLessThanOrEqual(0);
      }),
      { numRuns: 3_000 },
    );
  });

  test("text is in the order of its code points, which is that of its UTF-8 bytes", () => {
    const text = anyText({ maxLength: 6 });
    fc.assert(
      fc.property(text, text, (a, b) => {
        expect(Math.sign(compareText(a, b))).toBe(Buffer.compare(Buffer.from(a), Buffer.from(b)));
      }),
    );
    expect(compareText("\uffee", "\u{1f600}")).toBeLessThan(0);
  });

  test("so rows come in one order, wherever their cells came from", () => {
    const places = ["7", "007", "07", "-7", "x", "", null, "\u{1f600}", "\uffee"];
    const plan = planQuery(sums, { order: "-place,ticks", from: "1970-01-01", to: "1970-01-02" });
    if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
    fc.assert(
      fc.property(fc.shuffledSubarray(places, { minLength: places.length }), (shuffled) => {
        const table = new CellTable(sums);
        for (const place of shuffled) table.merge(table.cell(0, [place]), "rows", 1n);
        const { rows } = presentRows(sums, plan.query, table.cells());
        expect(rows.map(({ place }) => place)).toEqual(["\u{1f600}", "\uffee", "x", "", "7", "07", "007", "-7", null]);
      }),
    );
  });
});

test("people see every digit of a whole number, and text of digits as it is", async () => {
  const beyond = "9007199254740993";
  expect(shownValue(beyond, "events")).toBe("9,007,199,254,740,993");
  expect(shownValue(`-${beyond}`, "cents")).toBe("-90,071,992,547,409.93");
  expect([shownValue(1_234, "cents"), shownValue(1_234.5, "cents"), shownValue(-7, "")]).toEqual([
    "12.34",
    "12.35",
    "-7",
  ]);
  const field = { kind: "measure", type: "first", unit: "", exact: true, error: 0, note: "", values: "text" } as const;
  const [integer, decimal] = (["integer", "decimal"] as const).map((values) => ({ ...field, values }));
  const answer = {
    rows: [{ a: beyond, b: "007", c: "-12", d: "-1234567890123456.70" }],
    fields: { a: integer, b: field, c: field, d: decimal },
    window: {},
    position: { applied: {} },
  } as unknown as AnswerBody;
  const table = await answerText({ ...answer, freshnessMs: 1, complete: true });
  expect(table).toMatch(/│\s+9,007,199,254,740,993 │ 007 │ -12 │ -1,234,567,890,123,456\.70 │/);
});

test("people see a missing value apart from the texts that look like it", async () => {
  const dimension = { kind: "dimension", type: "text", unit: "", exact: true, error: 0, note: "" } as const;
  const first = { ...dimension, kind: "measure", type: "first", values: "text" } as const;
  const cells = [null, "null", '"null"', "-", '"-"', "none", ""];
  const answer = {
    rows: cells.map((cell) => ({ place: cell, word: cell })),
    fields: { place: dimension, word: first },
    window: {},
    position: { applied: {} },
  } as unknown as AnswerBody;
  const table = await answerText({ ...answer, freshnessMs: 1, complete: true });
  const [, ...rows] = table
    .split("\n")
    .filter((line) => line.startsWith("│"))
    .map((line) =>
      line
        .split("│")
        .slice(1, 3)
        .map((cell) => cell.trim()),
    );
  expect(rows).toEqual([
    ["null", "-"],
    ['"null"', "null"],
    ['""null""', '"null"'],
    ["-", '"-"'],
    ['"-"', '""-""'],
    ["none", "none"],
    ["", ""],
  ]);
  const text = fc.array(fc.constantFrom('"', "null", "-", "x")).map((parts) => parts.join(""));
  fc.assert(fc.property(text, (value) => filterValue(filterText(value)) === value));
});

test("a ratio needs two measures of one number each", () => {
  const parted: Measure = measures.spread;
  expect(ratio(count(), parted).problem).toContain("two measures of one number each");
  const found = { aggregate: () => null } as unknown as PlainFound;
  expect(ratio(total, count()).plain.present(found)).toBeNull();
});

test("a list of keys with numbers that a double does not keep says so, unless they are given as text", () => {
  const wide = view("wide", {
    stream: ticks,
    by: { amount: sql`amount` },
    every: "1 minute",
    measures: { n: count() },
  });
  const described: DescribedView = {
    definition: { view: wide, generation: "wide.0", file: "test" },
    types: new Map([["amount", "integer"]]),
  };
  const noticed = (key: number | string, numbers: "number" | "text") => {
    const text = keysJson(described, { view: "wide", dimension: "amount", keys: [{ key, rows: 1 }] }, numbers);
    const { notices = [] } = JSON.parse(text) as { notices?: { code: string }[] };
    return [text.includes(String(key)), notices.map(({ code }) => code)];
  };
  expect(noticed("9007199254740993", "number")).toEqual([true, ["LONG_NUMBERS"]]);
  expect(noticed("9007199254740993", "text")).toEqual([true, []]);
  expect(noticed(12, "number")).toEqual([true, []]);
});
