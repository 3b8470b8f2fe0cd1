import { wholeNumber } from "../fraction.ts";
import type { Sql } from "../sql.ts";
import { builtMeasure } from "./built-measure.ts";
import { EXACT, type Measure, presentInteger } from "./measure.ts";
import { plainInteger, plainPresented } from "./plain-values.ts";

/** The sum of an integer expression; null where every value was null. */
export function sum(input: Sql, options: { unit?: string } = {}): Measure {
  return builtMeasure("sum", () => {
    const { unit = "" } = options;
    return {
      kind: "sum",
      spec: { kind: "sum", of: input.text, unit },
      unit,
      accuracy: EXACT,
      inputs: [{ sql: input, type: "integer" }],
      components: [{ name: "sum", form: "integer", merge: "sum", partial: `sum(${input.text})::BIGINT` }],
      present: (state) => presentInteger(state.integer("sum")),
      exact: (state) => {
        const value = state.integer("sum");
        return value === undefined ? null : wholeNumber(value);
      },
      plain: {
        columns: { sum: { form: "aggregate", sql: `sum(${input.text})` } },
        present: (found) => plainPresented(plainInteger(found, "sum")),
        terms: (found) => {
          const value = plainInteger(found, "sum");
          return value === undefined ? null : [value, 1n];
        },
      },
    };
  });
}
