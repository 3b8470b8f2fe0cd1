import { REGISTER_ERROR } from "../hll.ts";
import type { Sql } from "../sql.ts";
import { type Measure, plainInteger } from "./measure.ts";

/**
 * How many different values an expression takes, by HyperLogLog: as if every value had been PFADDed to one Redis key.
 * The value's 64-bit hash is DuckDB's md5_number_lower of its text, so both layers and any later version agree on it.
 */
export function distinct(input: Sql, options: { unit?: string } = {}): Measure {
  const { unit = "values" } = options;
  const hash = `md5_number_lower(CAST(${input.text} AS VARCHAR))`;
  const given = `(${input.text}) IS NOT NULL`;
  return {
    kind: "distinct",
    spec: { kind: "distinct", of: input.text, unit },
    unit,
    accuracy: {
      exact: false,
      error: REGISTER_ERROR,
      note: "HyperLogLog estimate; error is one standard error, and small counts are off by one at times",
    },
    inputs: [{ sql: input, type: "any" }],
    components: [
      {
        name: "hll",
        form: "registers",
        merge: "max",
        partial: hash,
        given,
      },
    ],
    present: (state) => state.registers("hll")?.estimate() ?? 0,
    plain: {
      columns: {
        hll: { form: "registers", hash, given },
        values: { form: "aggregate", sql: `count(DISTINCT ${input.text})` },
      },
      present: (found) => found.registers("hll").estimate(),
      truth: (found) => plainInteger(found, "values") ?? 0n,
    },
  };
}
