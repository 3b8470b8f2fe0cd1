import type { Described } from "../contract/described.ts";
import { type Sql, sqlProblem } from "../contract/sql.ts";
import { COLUMN_NAME, DEFINITION_NAME, type View } from "./view.ts";

export interface JoinedDefinition extends Described {
  /** The tables to join, by their names in `columns`. All have the same key. */
  readonly tables: Readonly<Record<string, View>>;
  /**
   * The columns of a row in addition to its key: expressions over the tables' columns as rows show them, such as
   * `created.amount_cents`. If a table has no row with the key, it and its columns are null.
   */
  readonly columns: Readonly<Record<string, Sql>>;
}

/** A joined table: a query over several tables, without state of its own. */
export interface Joined extends JoinedDefinition {
  readonly kind: "joined";
  readonly name: string;
}

/**
 * Defines a joined table: one row for each key that any of its tables has. Each table is exact at positions of its own
 * stream, and an answer contains all of these positions.
 */
export function joined(name: string, definition: JoinedDefinition): Joined {
  return { ...definition, kind: "joined", name };
}

/** Returns the key of a joined table, which all its tables have: the names of its parts. */
export function joinedKey({ tables }: Pick<JoinedDefinition, "tables">): string[] {
  return Object.keys(Object.values(tables)[0]?.by ?? {});
}

/** Returns the name of a table's column in expressions. */
export function columnName(table: string, column: string): string {
  return `${table}.${column}`;
}

/**
 * Returns the problems of a joined table that can be found without a database: one sentence per problem, naming the
 * field.
 */
export function checkJoinedShape(definition: Joined): string[] {
  const { name, tables, columns } = definition;
  const problems: string[] = [];
  if (!DEFINITION_NAME.test(name)) problems.push(`name "${name}": use lower-case letters, digits and dashes`);
  if (Object.keys(tables ?? {}).length === 0) return [...problems, "tables: a joined table needs at least one"];
  for (const [part, table] of Object.entries(tables)) {
    if (!COLUMN_NAME.test(part)) problems.push(`tables.${part}: use lower-case letters, digits and underscores`);
    if (table?.kind !== "view" || table.table === null) problems.push(`tables.${part}: no table`);
  }
  if (problems.length > 0) return problems;
  const key = joinedKey(definition);
  for (const [part, { by }] of Object.entries(tables)) {
    if (key.includes(part)) problems.push(`tables.${part}: a part of the key has this name already`);
    if (JSON.stringify(Object.keys(by)) !== JSON.stringify(key))
      problems.push(`tables.${part}: its key is ${Object.keys(by).join("/")}, and has to be ${key.join("/")}`);
  }
  if (Object.keys(columns ?? {}).length === 0) problems.push("columns: a joined table needs at least one");
  for (const [column, expression] of Object.entries(columns ?? {})) {
    if (!COLUMN_NAME.test(column)) problems.push(`columns.${column}: use lower-case letters, digits and underscores`);
    if (key.includes(column)) problems.push(`columns.${column}: a part of the key has this name already`);
    const problem = sqlProblem(expression);
    if (problem !== null) problems.push(`columns.${column}: ${problem}`);
  }
  return problems;
}
