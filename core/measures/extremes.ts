import type { Sql } from "../sql.ts";
import { EXACT, type Measure, plainInteger, presentInteger } from "./measure.ts";

function extreme(kind: "min" | "max", input: Sql, unit: string): Measure {
  return {
    kind,
    spec: { kind, of: input.text, unit },
    unit,
    accuracy: EXACT,
    inputs: [{ sql: input, type: "integer" }],
    components: [{ name: kind, form: "integer", merge: kind, partial: `${kind}(${input.text})::BIGINT` }],
    present: (state) => presentInteger(state.integer(kind)),
    plain: {
      columns: { [kind]: { form: "aggregate", sql: `${kind}(${input.text})` } },
      present: (found) => presentInteger(plainInteger(found, kind)),
    },
  };
}

/** The smallest value of an integer expression; null where every value was null. */
export function min(input: Sql, options: { unit?: string } = {}): Measure {
  return extreme("min", input, options.unit ?? "");
}

/** The largest value of an integer expression; null where every value was null. */
export function max(input: Sql, options: { unit?: string } = {}): Measure {
  return extreme("max", input, options.unit ?? "");
}
