import type { ColumnType } from "../../core/contract/field.ts";
import { INTEGER_TYPES } from "../../core/contract/functions.ts";
import { quoteName } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import type { Duck } from "../duckdb/duck.ts";
import { expressionProblem, type Wanted } from "./check-view.ts";

/**
 * Checks the upcasts of a stream's older versions with the engine that will run them, by the rules of a view's expressions. One sentence per
 * problem, naming version and field. The definition has passed `checkStream`.
 */
export async function checkStreamSql(duck: Duck, { tried, fields }: Stream): Promise<string[]> {
  const problems: string[] = [];
  for (const older of tried.slice(1)) {
    const columns = Object.entries(older.fields).map(([name, { column }]) => `${quoteName(name)} ${column}`);
    await duck.run(`CREATE OR REPLACE TEMP TABLE older (${columns.join(", ")})`);
    const source = { relation: "older", columns: new Set(Object.keys(older.fields)) };
    for (const [name, expression] of Object.entries(older.upcast)) {
      const field = fields[name];
      if (field === undefined) continue;
      const problem = await expressionProblem(duck, expression, wantedFor(field.column), source);
      if (problem !== null) problems.push(`version ${older.version}: upcast.${name}: ${problem}`);
    }
  }
  return problems;
}

/** The types that an upcast may give for a column. A bare NULL has no type of its own; DuckDB gives it an integer's. */
function wantedFor(column: ColumnType): Wanted {
  if (column === "BIGINT") return { types: INTEGER_TYPES, shown: "an integer" };
  const nothing = '"NULL"';
  return { types: new Set([column, nothing]), shown: column === "VARCHAR" ? "text" : column.toLowerCase() };
}
