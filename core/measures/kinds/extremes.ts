import type { Sql } from "../../contract/sql.ts";
import { scaledDown } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import { presentDecimal } from "../decimals.ts";
import { EXACT, type Measure, presentInteger } from "../measure.ts";
import { plainDecimal, plainInteger, plainUnits } from "../plain-values.ts";
import { chosenScale, type NumberOptions, scaleSpec } from "../scale-option.ts";

function extreme(kind: "min" | "max", input: Sql, options: NumberOptions): Measure {
  return builtMeasure(kind, options, (scaleOf) => {
    const { unit = "" } = options;
    const scale = chosenScale(input, options, scaleOf);
    return {
      kind,
      spec: { kind, of: input.text, unit, ...scaleSpec(options.scale) },
      unit,
      accuracy: EXACT,
      values: scale === 0 ? "integer" : "decimal",
      scale,
      inputs: [{ sql: input, type: "integer" }],
      components: [
        {
          name: kind,
          form: "integer",
          merge: kind,
          partial: `${kind}(${input.text})::BIGINT`,
          single: `(${input.text})::BIGINT`,
        },
      ],
      present: (state) => presentDecimal(state.integer(kind), scale),
      sortKey: (state) => presentInteger(state.integer(kind)),
      exact: (state) => scaledDown(state.integer(kind), scale),
      plain: {
        columns: { [kind]: { form: "aggregate", sql: `${kind}(${input.text})` } },
        present: (found) => plainDecimal(plainInteger(found, kind), scale),
        terms: (found) => {
          const value = plainInteger(found, kind);
          return value === undefined ? null : [value, plainUnits(scale)];
        },
      },
    };
  });
}

/** The smallest value of an integer expression, in the units of its decimal fields; null where every value was null. */
export function min(input: Sql, options: NumberOptions = {}): Measure {
  return extreme("min", input, options);
}

/** The largest value of an integer expression, in the units of its decimal fields; null where every value was null. */
export function max(input: Sql, options: NumberOptions = {}): Measure {
  return extreme("max", input, options);
}
