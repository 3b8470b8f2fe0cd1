import type { PresentedField } from "../../core/measures/measure.ts";
import type { Row } from "../../core/query/present.ts";
import type { JoinedRow } from "../../core/query/tables/joined-rows.ts";
import type { TypedColumns } from "../../core/query/tables/joined-sql.ts";
import type { DescribedJoin } from "./described-join.ts";

/** Returns the parameters of a statement over `joinedRelation`: JSON lists of the keys, and of each table's rows. */
export function joinedValues(join: DescribedJoin, found: readonly JoinedRow[]): string[] {
  const { source, tables } = join;
  const keys = JSON.stringify(found.map((one) => asTexts(keyOf(join, one))));
  return [keys, ...[...tables.keys()].map((table) => listOf(source.tables.get(table), found, table))];
}

/** Returns the key of a row, in the form of answers. Every table that has the row shows the same key. */
export function keyOf({ key }: Pick<DescribedJoin, "key">, { rows }: JoinedRow): Row {
  return Object.fromEntries(key.map((name) => [name, [...rows.values()][0]?.[name] ?? null]));
}

/** Returns the JSON list of a table's rows, with all values as text; null where the table has no row. */
function listOf(columns: TypedColumns | undefined, found: readonly JoinedRow[], table: string): string {
  const names = [...(columns?.keys() ?? [])];
  return JSON.stringify(
    found.map(({ rows }) => {
      const row = rows.get(table);
      return row === undefined ? null : asTexts(Object.fromEntries(names.map((name) => [name, row[name] ?? null])));
    }),
  );
}

function asTexts(row: Row): Record<string, string | null> {
  return Object.fromEntries(Object.entries(row).map(([name, value]) => [name, value === null ? null : asText(value)]));
}

function asText(value: NonNullable<PresentedField>): string {
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
