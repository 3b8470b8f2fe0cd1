import type { Sql } from "../sql.ts";
import { EXACT, type Measure, plainInteger, presentInteger } from "./measure.ts";

/** The sum of an integer expression; null where every value was null. */
export function sum(input: Sql, options: { unit?: string } = {}): Measure {
  const { unit = "" } = options;
  return {
    kind: "sum",
    spec: { kind: "sum", of: input.text, unit },
    unit,
    accuracy: EXACT,
    inputs: [{ sql: input, type: "integer" }],
    components: [{ name: "sum", form: "integer", merge: "sum", partial: `sum(${input.text})::BIGINT` }],
    present: (state) => presentInteger(state.integer("sum")),
    plain: {
      columns: { sum: { form: "aggregate", sql: `sum(${input.text})` } },
      present: (found) => presentInteger(plainInteger(found, "sum")),
    },
  };
}
