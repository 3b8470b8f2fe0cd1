import type { Cut } from "../../core/log/position.ts";
import { filterAllows } from "../../core/query/filter.ts";
import { presenting, type Row } from "../../core/query/present.ts";
import { keyIsAsked, type TableQuestion, tableRow } from "../../core/query/table-query.ts";
import { type TopOrder, topOrder } from "../../core/query/top-order.ts";
import type { GroupValue } from "../../core/state/cells.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { inTurns } from "../common/turns.ts";
import type { Reader, Reading } from "../read/reader.ts";

/** The rows of a table that were asked for, and where they stand. */
export interface TableAnswer extends Omit<Reading, "cells" | "budget" | "firstOnly"> {
  readonly rows: readonly Row[];
  readonly truncated: boolean;
}

/**
 * How many times more cells are looked at when those that were read had too few rows: of removed keys, or filtered by
 * `where`.
 */
const MORE = 4;

/** Reads the rows of a table, at `at` or the newest position. Throws as `Reader.read`. */
export async function readTable(
  reader: Reader,
  definition: Definition,
  question: TableQuestion,
  at: Cut | null,
): Promise<TableAnswer> {
  const { limit } = question.query;
  for (let cells = limit; ; cells *= MORE) {
    const order = tableOrder(definition, question, cells);
    const reading = await reader.read(definition, question.query, { at, top: order });
    const rows = await rowsOf(definition, question, reading);
    if (rows.length <= limit && reading.firstOnly && reading.cells.length > cells) continue;
    const { cells: _, budget: __, firstOnly: ___, ...standing } = reading;
    return { ...standing, rows: rows.slice(0, limit), truncated: rows.length > limit };
  }
}

/** The order in which the first ones of too many rows are found; null where a database cannot do that. */
function tableOrder({ view }: Definition, { query, prefix, after }: TableQuestion, limit: number): TopOrder | null {
  const order = topOrder(view, query);
  const [dimension = ""] = Object.keys(view.by);
  if (!("keys" in order)) return null;
  return {
    ...order,
    limit,
    prefix: prefix === "" ? null : { dimension, text: prefix },
    ...(after === null ? {} : { after }),
  };
}

async function rowsOf({ view }: Definition, question: TableQuestion, reading: Reading): Promise<Row[]> {
  const { query, where, columns } = question;
  const asked = reading.cells.filter(({ group }) => keyIsAsked(question, group));
  const all = [...columns, ...[...where.keys()].filter((name) => !columns.includes(name))];
  const every = { ...query, limit: Number.POSITIVE_INFINITY };
  const { rows } = await inTurns(presenting(view, every, asked, reading, reading.budget), reading.budget);
  const kept = rows.flatMap((row) => {
    const shown = tableRow(view, row, all);
    const allowed = [...where].every(([name, values]) => filterAllows(values, (shown?.[name] ?? null) as GroupValue));
    return shown !== null && allowed ? [shown] : [];
  });
  return where.size === 0
    ? kept
    : kept.map((row) => Object.fromEntries(columns.map((name) => [name, row[name] ?? null])));
}
