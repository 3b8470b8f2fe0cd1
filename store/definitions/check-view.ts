import {
  ALLOWED_EXPRESSIONS,
  ALLOWED_FUNCTIONS,
  DIMENSION_TYPES,
  INTEGER_TYPES,
} from "../../core/contract/functions.ts";
import { quoteName, quoteText, type Sql } from "../../core/contract/sql.ts";
import { componentsOf } from "../../core/definition/components.ts";
import { LINE, type View } from "../../core/definition/view.ts";
import { indexProblems } from "../../core/query/tables/table-index.ts";
import { countedSql, linesSql, partialItemsSql, partialSql, singlesSql, stateSql } from "../../core/state/compile.ts";
import { eventColumns } from "../decode/events.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";

/** The result types that an expression may have: DuckDB types (null: any), and their name in messages. */
export interface Wanted {
  readonly types: ReadonlySet<string> | null;
  readonly shown: string;
}

/** The relation that an expression reads. */
interface Source {
  readonly relation: string;
  readonly columns: ReadonlySet<string>;
}

export const CONDITION: Wanted = { types: new Set(["BOOLEAN"]), shown: "a condition" };
export const DIMENSION: Wanted = { types: DIMENSION_TYPES, shown: "text, an integer or a boolean" };
const INTEGER: Wanted = {
  types: INTEGER_TYPES,
  shown: "an integer: give a floating-point value a scale, as a decimal field or in smaller units",
};
const ANY: Wanted = { types: null, shown: "a value" };
const INPUTS = { integer: INTEGER, condition: CONDITION, any: ANY } as const;

/**
 * Checks a view's SQL against its stream, with the engine that will run it: unknown columns, functions that are not
 * allowed, floating point without a scale, dimensions that JSON cannot hold. Returns one sentence per problem, naming
 * the field.
 */
export async function checkViewSql(duck: Duck, view: View): Promise<string[]> {
  await duck.run(`CREATE OR REPLACE TEMP TABLE checked (${eventColumns(view.stream)})`);
  const fields = Object.keys(view.stream.fields);
  const ofLines = [...fields.filter((field) => field !== view.each), ...(view.each === null ? [] : [LINE])];
  const problems: string[] = [];
  const check = async (field: string, expression: Sql, wanted: Wanted, source: Source) => {
    const found = await expressionProblem(duck, expression, wanted, source);
    if (found !== null) problems.push(`${field}: ${found}`);
  };
  const events = { relation: "checked", columns: new Set(fields) };
  const lines = { relation: linesSql(view, "checked"), columns: new Set(ofLines) };
  const checkKeys = async (part: "by" | "key") => {
    for (const [name, expression] of Object.entries(view.by))
      await check(`${part}.${name}`, expression, DIMENSION, lines);
  };
  // The condition of a table includes its key. Report a problem of the key as one of the key.
  if (view.table !== null) await checkKeys("key");
  if (problems.length > 0) return problems;
  if (view.where !== null) await check("where", view.where, CONDITION, events);
  if (problems.length > 0) return problems;
  if (view.table === null) await checkKeys("by");
  for (const [name, { inputs }] of Object.entries(view.measures))
    for (const { sql, type } of inputs) await check(`measures.${name}`, sql, INPUTS[type], lines);
  problems.push(...indexProblems(view));
  if (problems.length > 0) return problems;
  const items = componentsOf(view).filter(({ form }) => form === "items");
  const ofBatches = [partialSql(view, "checked"), singlesSql(view, "checked"), countedSql(view, "checked")];
  const statements = [...ofBatches, stateSql(view, "checked")];
  for (const statement of [...statements, ...items.map((component) => partialItemsSql(view, component, "checked"))])
    await duck.run(statement);
  return [];
}

/** Returns the problem of a definition's expression over the columns of a relation. Null if there is none. */
export async function expressionProblem(
  duck: Duck,
  expression: Sql,
  wanted: Wanted,
  source: Source,
): Promise<string | null> {
  return (
    (await syntaxProblem(duck, expression, source.columns)) ??
    (await typeProblem(duck, expression, wanted, source.relation))
  );
}

async function syntaxProblem(duck: Duck, { text }: Sql, columns: ReadonlySet<string>): Promise<string | null> {
  const [row] = await rowsOf(duck, `SELECT json_serialize_sql(${quoteText(`SELECT (${text})`)})`);
  const parsed = JSON.parse(String(row?.[0])) as {
    error: boolean;
    error_message?: string;
    statements?: { node: Statement }[];
  };
  if (parsed.error)
    return `not SQL: ${parsed.error_message} (a column that is called like a word of SQL, such as at, is written "at")`;
  const [statement, ...others] = parsed.statements ?? [];
  const [expression, ...extra] = statement?.node.select_list ?? [];
  const isOne = others.length === 0 && extra.length === 0 && statement !== undefined && isBare(statement.node);
  if (expression === undefined || !isOne) return "not one expression";
  return nodeProblem(expression, columns);
}

/** The used parts of a statement in DuckDB's serialised syntax tree. */
interface Statement {
  readonly select_list?: readonly Node[];
  readonly from_table?: Node;
  readonly [part: string]: unknown;
}

/**
 * Whether a statement is a list of expressions and nothing else. A text such as `true) WHERE (false` adds a clause of
 * its own.
 */
function isBare({ from_table, where_clause, having, qualify, sample, ...parts }: Statement): boolean {
  const lists = [parts.modifiers, parts.group_expressions, parts.group_sets];
  const hasClause = [where_clause, having, qualify, sample].some((clause) => clause !== null && clause !== undefined);
  return from_table?.type === "EMPTY" && !hasClause && lists.every((list) => !Array.isArray(list) || list.length === 0);
}

/** The used parts of a node in DuckDB's serialised syntax tree. */
interface Node {
  readonly class?: string;
  readonly type?: string;
  readonly function_name?: string;
  readonly column_names?: readonly string[];
  readonly [key: string]: unknown;
}

function nodeProblem(node: Node, columns: ReadonlySet<string>): string | null {
  if (node.class !== undefined && !ALLOWED_EXPRESSIONS.has(node.class))
    return `${node.class.toLowerCase()} expressions are not allowed`;
  if (node.class === "FUNCTION" && !ALLOWED_FUNCTIONS.has(node.function_name ?? "")) {
    const hint = node.function_name === "/" ? "; / gives floating point, // divides integers" : "";
    return `function "${node.function_name}" is not on the list of allowed functions${hint}`;
  }
  if (node.class === "COLUMN_REF") {
    const name = node.column_names?.join(".") ?? "";
    // For a line (`item.sku`), DuckDB's binder checks whether the field exists.
    if (!columns.has(name) && !(columns.has(LINE) && name.startsWith(`${LINE}.`)))
      return `there is no column "${name}" (there are ${[...columns].join(", ")})`;
  }
  for (const value of Object.values(node)) {
    for (const child of Array.isArray(value) ? value : [value]) {
      const problem = typeof child === "object" && child !== null ? nodeProblem(child as Node, columns) : null;
      if (problem !== null) return problem;
    }
  }
  return null;
}

async function typeProblem(
  duck: Duck,
  { text }: Sql,
  { types, shown }: Wanted,
  relation: string,
): Promise<string | null> {
  try {
    const [row] = await rowsOf(
      duck,
      `SELECT column_type FROM (DESCRIBE SELECT (${text}) AS ${quoteName("value")} FROM ${relation})`,
    );
    const type = String(row?.[0]);
    return types === null || types.has(type) ? null : `is ${type}, and has to be ${shown}`;
  } catch (error) {
    return (error as Error).message.split("\n")[0] ?? "cannot be evaluated";
  }
}
