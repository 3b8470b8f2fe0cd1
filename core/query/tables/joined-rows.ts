import type { Row } from "../present.ts";
import { compareKeys, type TableKey } from "./table-query.ts";

/** The first rows of one of the joined tables, in the order of their keys. */
export interface PartRows {
  readonly rows: readonly { readonly key: TableKey; readonly row: Row }[];
  /** Whether there are more rows after the last one. */
  readonly truncated: boolean;
}

/** The tables' rows with one key. */
export interface JoinedRow {
  readonly key: TableKey;
  /** By the table's name in the definition. A table without a row is absent. */
  readonly rows: ReadonlyMap<string, Row>;
}

/**
 * Joins the first rows of some tables by their key, in the order of keys. Returns only keys up to which every table was
 * read: up to the end of the table that was read the least far. `truncated` says that there are more.
 */
export function joinRows(parts: ReadonlyMap<string, PartRows>): {
  readonly rows: readonly JoinedRow[];
  readonly truncated: boolean;
} {
  const ends = [...parts.values()].flatMap(({ rows, truncated }) => (truncated ? [rows.at(-1)?.key ?? []] : []));
  const [end = null] = ends.toSorted(compareKeys);
  const found = new Map<string, { readonly key: TableKey; readonly rows: Map<string, Row> }>();
  for (const [name, { rows }] of parts)
    for (const { key, row } of rows) {
      if (end !== null && compareKeys(key, end) > 0) break;
      const text = JSON.stringify(key);
      const held = found.get(text) ?? { key, rows: new Map<string, Row>() };
      held.rows.set(name, row);
      found.set(text, held);
    }
  return { rows: [...found.values()].toSorted((a, b) => compareKeys(a.key, b.key)), truncated: end !== null };
}
