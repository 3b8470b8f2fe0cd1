import type { FieldSpec } from "../../core/contract/field.ts";
import { bare } from "../../core/contract/fields.ts";
import { quoteName, type Sql } from "../../core/contract/sql.ts";
import { columnName, type Joined, joinedKey } from "../../core/definition/joined.ts";
import type { View } from "../../core/definition/view.ts";
import { dimensionScales } from "../../core/measures/decimals.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { emptyRelation, type JoinedSource, type JoinedType, joinedType } from "../../core/query/tables/joined-sql.ts";
import { linesSql } from "../../core/state/compile.ts";
import { eventColumns } from "../decode/events.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";
import { expressionProblem } from "./check-view.ts";
import { columnsOf, namedColumns } from "./lineage.ts";

/** A column of a joined table. */
export interface JoinedColumn {
  readonly sql: Sql;
  readonly type: JoinedType;
  /** The number of decimal places, if it is a decimal. */
  readonly scale: number;
  /** False if it reads an estimate. */
  readonly exact: boolean;
  /**
   * The columns that it reads, by table. A table is there without columns if the expression only tests whether it has a
   * row.
   */
  readonly reads: ReadonlyMap<string, readonly string[]>;
}

/** The tables of a joined table for an answer, by their names in the definition. */
export type JoinedTables = ReadonlyMap<string, View>;

const ANY = { types: null, shown: "a value" };

/**
 * Checks the expressions of a joined table against the columns of its tables, with the engine that will run them.
 * Returns one sentence per problem, naming the field.
 */
export async function checkJoinedSql(duck: Duck, definition: Joined): Promise<string[]> {
  const tables = new Map(Object.entries(definition.tables));
  const source = await joinedSource(duck, tables);
  const named = [...source.tables].flatMap(([table, columns]) => [
    table,
    ...[...columns.keys()].map((column) => columnName(table, column)),
  ]);
  const columns = new Set([...source.key.keys(), ...named]);
  const relation = emptyRelation(source);
  const problems: string[] = [];
  for (const [name, expression] of Object.entries(definition.columns)) {
    const problem = await expressionProblem(duck, expression, ANY, { relation, columns });
    const whole = problem === null ? await wholeRow(duck, expression, source) : undefined;
    if (problem !== null) problems.push(`columns.${name}: ${problem}`);
    if (whole !== undefined)
      problems.push(`columns.${name}: "${whole}" is a table: name a column of it, or ask ${whole} IS NULL`);
  }
  if (problems.length > 0) return problems;
  for (const [name, type] of await described(duck, definition.columns, relation))
    if (joinedType(type) === null)
      problems.push(`columns.${name}: is ${type}, and has to be text, a number, a boolean, a timestamp or a column`);
  return problems;
}

/**
 * Returns the columns of a joined table over these tables. Throws DuckDB's error where the tables lack a column that an
 * expression reads, or have it with another type.
 */
export async function joinedColumns(
  duck: Duck,
  definition: Joined,
  tables: JoinedTables,
): Promise<ReadonlyMap<string, JoinedColumn>> {
  const source = await joinedSource(duck, tables);
  const types = await described(duck, definition.columns, emptyRelation(source));
  const columns = new Map<string, JoinedColumn>();
  for (const [name, sql] of Object.entries(definition.columns)) {
    const found = joinedType(types.get(name) ?? "");
    if (found === null) throw new RangeError(`column ${name} of ${definition.name} is ${types.get(name)}`);
    const reads = readsOf(await columnsOf(duck, sql.text), source);
    const exact = [...reads].every(([table, read]) =>
      read.every((column) => tables.get(table)?.measures[column]?.accuracy.exact ?? true),
    );
    columns.set(name, { sql, ...found, exact, reads });
  }
  return columns;
}

/**
 * Returns the columns that the expressions of a joined table can read: all columns of its tables, in the form of rows.
 */
export async function joinedSource(duck: Duck, tables: JoinedTables): Promise<JoinedSource> {
  const all = new Map<string, ReadonlyMap<string, string>>();
  for (const [name, view] of tables) all.set(name, await shownTypes(duck, view));
  const [first] = tables;
  const [name = "", view] = first ?? [];
  const key = view === undefined ? [] : joinedKey({ tables: { [name]: view } });
  return { key: new Map(key.map((part) => [part, all.get(name)?.get(part) ?? "VARCHAR"])), tables: all };
}

/**
 * Returns the DuckDB types of a table's columns in the form of rows: decimals with their places, instants as
 * timestamps.
 */
async function shownTypes(duck: Duck, view: View): Promise<ReadonlyMap<string, string>> {
  const isLatest = view.table?.kind === "latest";
  const picks = Object.entries(view.measures).flatMap(([name, { values, inputs }]) =>
    !isLatest && values === "picked" && inputs[0] !== undefined ? [[name, inputs[0].sql] as const] : [],
  );
  await duck.run(`CREATE OR REPLACE TEMP TABLE joined (${eventColumns(view.stream)})`);
  const given = await described(duck, { ...view.by, ...Object.fromEntries(picks) }, linesSql(view, "joined"));
  const scales = dimensionScales(view);
  const key = Object.keys(view.by).map((name) => {
    const scale = scales.get(name) ?? 0;
    return [name, scale > 0 ? decimalType(scale) : (given.get(name) ?? "VARCHAR")] as const;
  });
  const others = isLatest
    ? Object.entries(view.stream.fields).map(([name, { spec }]) => [name, fieldType(bare(spec))] as const)
    : Object.entries(view.measures).map(([name, measure]) => [name, measureType(measure, given.get(name))] as const);
  return new Map([...key, ...others]);
}

function fieldType(spec: FieldSpec): string {
  if (spec.type === "decimal") return decimalType(spec.scale);
  return FIELD_TYPES[spec.type] ?? "JSON";
}

const FIELD_TYPES: Partial<Record<FieldSpec["type"], string>> = {
  integer: "BIGINT",
  instant: "TIMESTAMP",
  text: "VARCHAR",
  oneOf: "VARCHAR",
  flag: "BOOLEAN",
};

function measureType({ parts, values, scale }: Measure, picked: string | undefined): string {
  if (parts !== undefined) return "JSON";
  if (values === "decimal" || scale > 0) return decimalType(scale);
  if (values === "integer") return "BIGINT";
  if (values === "double") return "DOUBLE";
  return picked !== undefined && joinedType(picked) !== null ? picked : "JSON";
}

function decimalType(scale: number): string {
  return `DECIMAL(38,${scale})`;
}

async function described(
  duck: Duck,
  expressions: Readonly<Record<string, Sql>>,
  relation: string,
): Promise<Map<string, string>> {
  const columns = Object.entries(expressions).map(([name, { text }]) => `(${text}) AS ${quoteName(name)}`);
  if (columns.length === 0) return new Map();
  const found = await rowsOf(duck, `DESCRIBE SELECT ${columns.join(", ")} FROM ${relation}`);
  return new Map(found.map(([name, type]) => [String(name), String(type)]));
}

/**
 * Returns a table that an expression reads as a whole. That is a problem, because only the columns that expressions
 * name are read.
 */
async function wholeRow(duck: Duck, { text }: Sql, { tables }: JoinedSource): Promise<string | undefined> {
  const named = await namedColumns(duck, text);
  return named.find(({ name, isTested }) => tables.has(name) && !isTested)?.name;
}

function readsOf(names: readonly string[], { tables }: JoinedSource): Map<string, string[]> {
  const reads = new Map<string, string[]>();
  for (const name of names) {
    const [table = "", column] = name.split(".");
    if (!tables.has(table)) continue;
    const read = reads.get(table) ?? [];
    reads.set(table, column === undefined || read.includes(column) ? read : [...read, column]);
  }
  return reads;
}
