import { type Fraction, nearestDouble } from "../fraction.ts";
import type { Sql } from "../sql.ts";
import { builtMeasure } from "./built-measure.ts";
import type { CellState, Measure, PlainFound, PlainTerms } from "./measure.ts";
import { plainInteger, plainQuotient } from "./plain-values.ts";

/** The mean of an integer expression: both parts are exact integers, and their quotient is rounded once, to the nearest double. */
export function avg(input: Sql, options: { unit?: string } = {}): Measure {
  return builtMeasure("avg", () => {
    const { unit = "" } = options;
    return {
      kind: "avg",
      spec: { kind: "avg", of: input.text, unit },
      unit,
      accuracy: { exact: true, error: 0, note: "exact sum over exact count, rounded once to a double" },
      inputs: [{ sql: input, type: "integer" }],
      components: [
        { name: "sum", form: "integer", merge: "sum", partial: `sum(${input.text})::BIGINT` },
        { name: "count", form: "integer", merge: "sum", partial: `count(${input.text})` },
      ],
      present: (state) => {
        const mean = exact(state);
        return mean === null ? null : nearestDouble(mean);
      },
      exact,
      plain: {
        columns: {
          sum: { form: "aggregate", sql: `sum(${input.text})` },
          count: { form: "aggregate", sql: `count(${input.text})` },
        },
        present: (found) => plainQuotient(terms(found)),
        terms,
      },
    };
  });
}

function exact(state: CellState): Fraction | null {
  const count = state.integer("count") ?? 0n;
  return count === 0n ? null : { over: state.integer("sum") ?? 0n, under: count };
}

function terms(found: PlainFound): PlainTerms {
  return [plainInteger(found, "sum") ?? 0n, plainInteger(found, "count") ?? 0n];
}
