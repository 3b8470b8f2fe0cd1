import { decodeText } from "../../core/codec/decode/decode.ts";
import type { ColumnType } from "../../core/contract/field.ts";
import { INTEGER_TYPES } from "../../core/contract/functions.ts";
import { quoteName } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { partOf } from "../../core/contract/wire.ts";
import type { Duck } from "../duckdb/duck.ts";
import { expressionProblem, type Wanted } from "./check-view.ts";

/**
 * Checks a stream's example by its contract, and the upcasts of older versions with the engine that will run them. An
 * upcast has the limits of a view's expressions. Returns one sentence per problem, naming version and field. Call
 * `checkStream` first.
 */
export async function checkStreamSql(duck: Duck, stream: Stream): Promise<string[]> {
  const { tried, fields } = stream;
  const problems = exampleProblems(stream);
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

/**
 * Returns the problems of a stream's example. An example that needs other parts of a record than its value cannot be
 * checked.
 */
function exampleProblems(stream: Stream): string[] {
  const needsMore = Object.values(stream.fields).some(({ spec }) => partOf(spec) !== null);
  if (stream.example === undefined || needsMore) return [];
  const decoded = decodeText(stream, JSON.stringify(stream.example));
  return decoded.ok ? [] : [`example: the contract refuses it: ${decoded.reject}`];
}

/**
 * Returns the types that an upcast may have for a column. A bare NULL has no type of its own; DuckDB gives it an
 * integer's.
 */
function wantedFor(column: ColumnType): Wanted {
  if (column === "BIGINT") return { types: INTEGER_TYPES, shown: "an integer" };
  const nothing = '"NULL"';
  return { types: new Set([column, nothing]), shown: column === "VARCHAR" ? "text" : column.toLowerCase() };
}
