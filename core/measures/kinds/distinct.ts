import type { Described } from "../../contract/described.ts";
import type { Sql } from "../../contract/sql.ts";
import { wholeFraction } from "../../numbers/fraction.ts";
import { hashSql, REGISTER_ERROR } from "../../numbers/hll.ts";
import { builtMeasure } from "../built-measure.ts";
import type { Measure } from "../measure.ts";
import { plainInteger } from "../plain-values.ts";

/**
 * The number of different values of an expression, by HyperLogLog: as if every value had been PFADDed to one Redis key.
 * The 64-bit hash of the value's text is added.
 */
export function distinct(input: Sql, options: { unit?: string } & Described = {}): Measure {
  return builtMeasure("distinct", options, () => {
    const { unit = "values" } = options;
    const text = `CAST(${input.text} AS VARCHAR)`;
    const hash = hashSql(text);
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
      values: "integer",
      scale: 0,
      inputs: [{ sql: input, type: "any" }],
      components: [
        {
          name: "hll",
          form: "registers",
          merge: "max",
          partial: hash,
          text,
          given,
        },
      ],
      present: (state) => state.registers("hll")?.estimate() ?? 0,
      exact: (state) => wholeFraction(BigInt(state.registers("hll")?.estimate() ?? 0)),
      plain: {
        columns: {
          hll: { form: "registers", hash, given },
          values: { form: "aggregate", sql: `count(DISTINCT ${input.text})` },
        },
        present: (found) => found.registers("hll").estimate(),
        terms: (found) => [BigInt(found.registers("hll").estimate()), 1n],
        truth: (found) => plainInteger(found, "values") ?? 0n,
      },
    };
  });
}
