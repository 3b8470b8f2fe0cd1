import type { Described } from "../../contract/described.ts";
import type { Sql } from "../../contract/sql.ts";
import { wholeFraction } from "../../numbers/fraction.ts";
import { builtMeasure } from "../built-measure.ts";
import { EXACT, type Measure, type Plain, presentInteger, ROWS } from "../measure.ts";
import { plainInteger, plainPresented } from "../plain-values.ts";

/** The number of events that the view counted, or of those that also meet a condition. 0 where a group has none. */
export function count(options: { where?: Sql; unit?: string } & Described = {}): Measure {
  return builtMeasure("count", options, () => {
    const { where, unit = "events" } = options;
    const shared = { kind: "count", unit, accuracy: EXACT, values: "integer", scale: 0 } as const;
    if (where === undefined) {
      return {
        ...shared,
        spec: { kind: "count", unit },
        inputs: [],
        components: [ROWS],
        present: (state) => presentInteger(state.integer(ROWS.name) ?? 0n),
        exact: (state) => wholeFraction(state.integer(ROWS.name) ?? 0n),
        plain: plain("count(*)"),
      };
    }
    return {
      ...shared,
      spec: { kind: "count", where: where.text, unit },
      inputs: [{ sql: where, type: "condition" }],
      components: [
        {
          name: "count",
          form: "integer",
          merge: "sum",
          partial: `nullif(count(*) FILTER (${where.text}), 0)`,
          single: `CASE WHEN (${where.text}) THEN 1 END`,
        },
      ],
      present: (state) => presentInteger(state.integer("count") ?? 0n),
      exact: (state) => wholeFraction(state.integer("count") ?? 0n),
      plain: plain(`count(*) FILTER (WHERE ${where.text})`),
    };
  });
}

function plain(sql: string): Plain {
  return {
    columns: { count: { form: "aggregate", sql } },
    present: (found) => plainPresented(plainInteger(found, "count")),
    terms: (found) => [plainInteger(found, "count") ?? 0n, 1n],
  };
}
