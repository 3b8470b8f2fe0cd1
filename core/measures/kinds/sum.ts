import type { Sql } from "../../contract/sql.ts";
import { scaledDown } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import { presentDecimal } from "../decimals.ts";
import { EXACT, type Measure, presentInteger } from "../measure.ts";
import { plainDecimal, plainInteger, plainUnits } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

/** The sum of an integer expression, in the units of its decimal fields; null where every value was null. */
export function sum(input: Sql, options: NumberOptions = {}): Measure {
  return builtMeasure("sum", options, (scaleOf) => {
    const { unit = "" } = options;
    const scale = chosenScale(input, options, scaleOf);
    return {
      kind: "sum",
      spec: { kind: "sum", of: input.text, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: EXACT,
      values: scale === 0 ? "integer" : "decimal",
      scale,
      inputs: [{ sql: input, type: "integer" }],
      components: [
        {
          name: "sum",
          form: "integer",
          merge: "sum",
          partial: `sum(${input.text})::BIGINT`,
          single: `(${input.text})::BIGINT`,
        },
      ],
      present: (state) => presentDecimal(state.integer("sum"), scale),
      sortKey: (state) => presentInteger(state.integer("sum")),
      exact: (state) => scaledDown(state.integer("sum"), scale),
      plain: {
        columns: { sum: { form: "aggregate", sql: `sum(${input.text})` } },
        present: (found) => plainDecimal(plainInteger(found, "sum"), scale),
        terms: (found) => {
          const value = plainInteger(found, "sum");
          return value === undefined ? null : [value, plainUnits(scale)];
        },
      },
    };
  });
}
