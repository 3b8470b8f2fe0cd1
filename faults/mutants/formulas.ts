import type { Replacement } from "./test-build.ts";

/** A wrong formula of an answer. */
export interface FormulaMutant extends Replacement {
  readonly name: string;
  /** What is broken, for people. */
  readonly what: string;
}

/**
 * Mutants of what answers are made with after the state is merged: presentation, order, limit and CSV. A proof has
 * formulas of its own, so it has to say "not equal" to each of them: test/laws/answers/proof-finds.test.ts.
 */
export const formulaMutants: readonly FormulaMutant[] = [
  {
    name: "average-of-doubles",
    what: "an average divides two doubles, so that sum, count and quotient are each rounded",
    file: "core/measures/kinds/avg.ts",
    find: "mean === null ? null : nearestDouble(mean)",
    replace: "mean === null ? null : Number(mean.over) / Number(mean.under)",
  },
  {
    name: "quotient-cut",
    what: "a quotient is cut off instead of rounded",
    file: "core/numbers/fraction.ts",
    find: "const sticky = dividend % divisor === 0n ? 0n : 1n;",
    replace: "const sticky = -((dividend / divisor) % 8n) * 2n;",
  },
  {
    name: "ratio-upside-down",
    what: "a ratio divides the other way round",
    file: "core/measures/kinds/ratio.ts",
    find: "divide(over, under)",
    replace: "divide(under, over)",
  },
  {
    name: "integers-rounded",
    what: "integers beyond 2^53 are numbers",
    file: "core/measures/measure.ts",
    find: "return Number.isSafeInteger(number) ? number : value.toString();",
    replace: "return number;",
  },
  {
    name: "rank-one-too-high",
    what: "a quantile takes the value after the one of its rank",
    file: "core/measures/kinds/quantile.ts",
    find: "const rank = ceiling({ over: over * total, under });",
    replace: "const rank = ceiling({ over: over * total, under }) + 1n;",
  },
  {
    name: "lightest-items",
    what: "topK shows the items with the least weight",
    file: "core/measures/kinds/top-k.ts",
    find: "x > y ? -1 : 1",
    replace: "x > y ? 1 : -1",
  },
  {
    name: "items-cut-early",
    what: "topK shows one item less",
    file: "core/measures/kinds/top-k.ts",
    find: ".slice(0, show)",
    replace: ".slice(0, show - 1)",
  },
  {
    name: "estimate-a-tenth-off",
    what: "a distinct count is a tenth too large",
    file: "core/numbers/hll.ts",
    find: "return Math.round((ALPHA_INFINITY",
    replace: "return Math.round((1.1 * ALPHA_INFINITY",
  },
  {
    name: "descending-ignored",
    what: "rows are always in ascending order",
    file: "core/measures/order.ts",
    find: "return descending ? -order : order;",
    replace: "return order;",
  },
  {
    name: "nulls-first",
    what: "rows without a value come first",
    file: "core/measures/order.ts",
    find: "return a === b ? 0 : a === null ? 1 : -1;",
    replace: "return a === b ? 0 : a === null ? -1 : 1;",
  },
  {
    name: "numbers-as-text",
    what: "numbers that are text are sorted as text",
    file: "core/measures/order.ts",
    find: "/^-?\\d{1,40}$/.test(value) ? BigInt(value) : null",
    replace: "/^$/.test(value) ? BigInt(value) : null",
  },
  {
    name: "order-not-total",
    what: "7 and 007 compare as equal",
    file: "core/measures/order.ts",
    find: "if (left > right) return 1;",
    replace: "return left > right ? 1 : 0;",
  },
  {
    name: "order-by-code-unit",
    what: "text is sorted by its UTF-16 units",
    file: "core/measures/order.ts",
    find: "return rankOf(left) - rankOf(right);",
    replace: "return left - right;",
  },
  {
    name: "limit-passed",
    what: "an answer has one row more than its limit",
    file: "core/query/present.ts",
    find: "sorted.slice(0, query.limit)",
    replace: "sorted.slice(0, query.limit + 1)",
  },
  {
    name: "never-truncated",
    what: "an answer does not say that rows are left out",
    file: "core/query/present.ts",
    find: "truncated: sorted.length > query.limit",
    replace: "truncated: false",
  },
  {
    name: "limit-before-order",
    what: "rows are left out before they are sorted",
    file: "core/query/present.ts",
    find: "yield* sorting(candidates, ",
    replace: "yield* sorting(candidates.slice(0, query.limit), ",
  },
  {
    name: "decimals-in-units",
    what: "a sum of decimals is answered in units of their last place",
    file: "core/measures/kinds/sum.ts",
    find: 'presentDecimal(state.integer("sum"), scale)',
    replace: 'presentDecimal(state.integer("sum"), 0)',
  },
  {
    name: "decimals-rounded",
    what: "decimals of more than fifteen digits are numbers",
    file: "core/measures/decimals.ts",
    find: "? Number(text) : text;",
    replace: "? Number(text) : Number(text);",
  },
  {
    name: "average-in-units",
    what: "an average of decimals is in units of their last place",
    file: "core/measures/kinds/avg.ts",
    find: "under: count * 10n ** BigInt(scale)",
    replace: "under: count",
  },
  {
    name: "dimension-in-units",
    what: "a dimension that is a decimal is answered in units of its last place",
    file: "core/measures/decimals.ts",
    find: "inDecimals(value, dimensionScales(view).get(dimension) ?? 0)",
    replace: "inDecimals(value, 0)",
  },
  {
    name: "cut-at-the-front-unmarked",
    what: "a bucket that begins before the range is not marked as partial",
    file: "core/query/partial.ts",
    find: "first < fromMs;",
    replace: "first < fromMs - 8 * 86_400_000;",
  },
  {
    name: "cut-at-the-end-unmarked",
    what: "a bucket that ends after the range is not marked as partial",
    file: "core/query/partial.ts",
    find: "endMs > toMs;",
    replace: "endMs < toMs;",
  },
  {
    name: "csv-zeros-lost",
    what: "CSV takes text of digits for a number, and its zeros are lost",
    file: "serving/answer/csv.ts",
    find: ": String(value);",
    replace: ': String(value).replace(/^0+(?=[0-9])/, "");',
  },
  {
    name: "csv-apostrophes",
    what: "CSV for programs has an apostrophe before text that a spreadsheet would run",
    file: "serving/answer/csv.ts",
    find: "isForSpreadsheet ? harmless",
    replace: "!isForSpreadsheet ? harmless",
  },
  {
    name: "csv-places-lost",
    what: "CSV writes a decimal without the zeros at its end",
    file: "serving/answer/csv.ts",
    find: "? numberText(value, scale)",
    replace: "? numberText(value, 0)",
  },
  {
    name: "csv-empty-is-null",
    what: "CSV writes empty text as it writes null",
    file: "serving/answer/csv.ts",
    find: "quoted_empty: true",
    replace: "quoted_empty: false",
  },
  {
    name: "csv-lines-broken",
    what: "CSV does not quote a line feed",
    file: "serving/answer/csv.ts",
    find: "quoted_match: /[\\r\\n]/,",
    replace: "",
  },
];
