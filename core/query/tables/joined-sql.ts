import { quoteName, quoteText, type Sql } from "../../contract/sql.ts";

/** Columns with their DuckDB types. */
export type TypedColumns = ReadonlyMap<string, string>;

/** The columns that the expressions of a joined table can read. */
export interface JoinedSource {
  /** The parts of the key. */
  readonly key: TypedColumns;
  /** The columns of the tables' rows, by table. */
  readonly tables: ReadonlyMap<string, TypedColumns>;
}

/**
 * SQL: a relation with the parts of the key as columns, and each table as a struct, which is null where the table has
 * no row. `$1` is the JSON list of the keys. `$2` and on are the lists of the tables' rows, in the tables' order, each
 * as long as `$1`. All values in them are text. `_row` counts from 0.
 */
export function joinedRelation({ key, tables }: JoinedSource): string {
  const all = [key, ...tables.values()];
  const lists = all.map((columns, index) => `unnest(from_json($${index + 1}, ${listOf(columns)})) AS _${index}`);
  const structs = [...tables].map(
    ([name, columns], index) => `${typed(columns, `_${index + 1}`)} AS ${quoteName(name)}`,
  );
  const parts = [...key.keys()].map((name) => `_key.${quoteName(name)} AS ${quoteName(name)}`);
  const rows = `SELECT ${lists.join(", ")}, unnest(range(json_array_length($1)::BIGINT)) AS _row`;
  const named = `SELECT ${[`${typed(key, "_0")} AS _key`, ...structs, "_row"].join(", ")} FROM (${rows})`;
  return `(SELECT ${[...parts, ...[...tables.keys()].map(quoteName), "_row"].join(", ")} FROM (${named}))`;
}

/** SQL: the same columns without rows, to find the types of expressions. */
export function emptyRelation({ key, tables }: JoinedSource): string {
  const parts = [...key].map(([name, type]) => `NULL::${type} AS ${quoteName(name)}`);
  const structs = [...tables].map(([name, columns]) => `NULL::${structOf(columns)} AS ${quoteName(name)}`);
  return `(SELECT ${[...parts, ...structs].join(", ")})`;
}

/** SQL: a column's values as text, so that none loses a digit. */
export function textSql({ text }: Sql, type: JoinedType): string {
  return type === "instant" ? `epoch_ms(${text})::VARCHAR` : `(${text})::VARCHAR`;
}

/** The types of a joined table's columns. */
export type JoinedType = "integer" | "decimal" | "double" | "text" | "boolean" | "instant" | "other";

const TYPES: Readonly<Record<string, JoinedType>> = {
  ...{ VARCHAR: "text", BOOLEAN: "boolean", DOUBLE: "double", JSON: "other", '"NULL"': "text" },
  ...{ TIMESTAMP: "instant", TIMESTAMP_MS: "instant" },
  ...{ TINYINT: "integer", SMALLINT: "integer", INTEGER: "integer", BIGINT: "integer", HUGEINT: "integer" },
  ...{ UTINYINT: "integer", USMALLINT: "integer", UINTEGER: "integer", UBIGINT: "integer" },
};

/**
 * Returns the type that clients see for a DuckDB type, and its number of decimal places. Null for a type that rows
 * cannot show.
 */
export function joinedType(type: string): { readonly type: JoinedType; readonly scale: number } | null {
  const [, places] = /^DECIMAL\(\d+,(\d+)\)$/.exec(type) ?? [];
  if (places !== undefined) return { type: places === "0" ? "integer" : "decimal", scale: Number(places) };
  const found = TYPES[type];
  return found === undefined ? null : { type: found, scale: 0 };
}

function listOf(columns: TypedColumns): string {
  return quoteText(JSON.stringify([Object.fromEntries([...columns.keys()].map((name) => [name, "VARCHAR"]))]));
}

function typed(columns: TypedColumns, name: string): string {
  return `CAST(${name} AS ${structOf(columns)})`;
}

function structOf(columns: TypedColumns): string {
  return `STRUCT(${[...columns].map(([name, type]) => `${quoteName(name)} ${type}`).join(", ")})`;
}
