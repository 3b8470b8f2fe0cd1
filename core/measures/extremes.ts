import { wholeNumber } from "../fraction.ts";
import type { Sql } from "../sql.ts";
import { builtMeasure } from "./built-measure.ts";
import { EXACT, type Measure, presentInteger } from "./measure.ts";
import { plainInteger, plainPresented } from "./plain-values.ts";

function extreme(kind: "min" | "max", input: Sql, options: { unit?: string }): Measure {
  return builtMeasure(kind, () => {
    const { unit = "" } = options;
    return {
      kind,
      spec: { kind, of: input.text, unit },
      unit,
      accuracy: EXACT,
      inputs: [{ sql: input, type: "integer" }],
      components: [{ name: kind, form: "integer", merge: kind, partial: `${kind}(${input.text})::BIGINT` }],
      present: (state) => presentInteger(state.integer(kind)),
      exact: (state) => {
        const value = state.integer(kind);
        return value === undefined ? null : wholeNumber(value);
      },
      plain: {
        columns: { [kind]: { form: "aggregate", sql: `${kind}(${input.text})` } },
        present: (found) => plainPresented(plainInteger(found, kind)),
        terms: (found) => {
          const value = plainInteger(found, kind);
          return value === undefined ? null : [value, 1n];
        },
      },
    };
  });
}

/** The smallest value of an integer expression; null where every value was null. */
export function min(input: Sql, options: { unit?: string } = {}): Measure {
  return extreme("min", input, options);
}

/** The largest value of an integer expression; null where every value was null. */
export function max(input: Sql, options: { unit?: string } = {}): Measure {
  return extreme("max", input, options);
}
