import { quoteName } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import { linesSql } from "../../core/state/compile.ts";
import { eventColumns } from "../../store/decode/events.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";

/**
 * The type of a dimension's values in an answer, or of the values that `first` and `last` pick. Each may also be null.
 */
export type ColumnType = "text" | "integer" | "boolean" | "double" | "other";

/** By the name of the dimension or measure. */
export type ColumnTypes = ReadonlyMap<string, ColumnType>;

const TYPES: Readonly<Record<string, ColumnType>> = {
  ...{ VARCHAR: "text", BOOLEAN: "boolean", DOUBLE: "double", FLOAT: "double" },
  // In JSON these are text.
  ...{ TIMESTAMP: "text", TIMESTAMP_MS: "text", DATE: "text", TIME: "text" },
  ...{ TINYINT: "integer", SMALLINT: "integer", INTEGER: "integer", BIGINT: "integer", HUGEINT: "integer" },
  ...{ UTINYINT: "integer", USMALLINT: "integer", UINTEGER: "integer", UBIGINT: "integer", UHUGEINT: "integer" },
};

function typeOf(type: string): ColumnType {
  if (/^DECIMAL\(\d+,0\)$/.test(type)) return "integer";
  if (/^DECIMAL\(\d+,\d+\)$/.test(type)) return "double";
  return TYPES[type] ?? "other";
}

/** Returns the types of a view's dimensions and picks, as DuckDB describes them. */
export async function columnTypes(duck: Duck, view: View): Promise<ColumnTypes> {
  const picks = Object.entries(view.measures).flatMap(([name, { values, inputs }]) =>
    values === "picked" && inputs[0] !== undefined ? [[name, inputs[0].sql] as const] : [],
  );
  const expressions = [...Object.entries(view.by), ...picks];
  if (expressions.length === 0) return new Map();
  await duck.run(`CREATE OR REPLACE TEMP TABLE described (${eventColumns(view.stream)})`);
  const columns = expressions.map(([name, { text }]) => `(${text}) AS ${quoteName(name)}`).join(", ");
  const described = await rowsOf(duck, `DESCRIBE SELECT ${columns} FROM ${linesSql(view, "described")}`);
  return new Map(described.map(([name, type]) => [String(name), typeOf(String(type))]));
}
