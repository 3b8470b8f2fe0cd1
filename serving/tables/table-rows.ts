import type { TidelineError } from "../../core/errors.ts";
import type { Cut } from "../../core/log/position.ts";
import { OverBudget } from "../../core/query/budget.ts";
import { filterAllows } from "../../core/query/filter.ts";
import { presenting, type Row } from "../../core/query/present.ts";
import { storedFilters } from "../../core/query/stored-filter.ts";
import {
  compareKeys,
  keyIsAsked,
  type TableKey,
  type TableQuestion,
  tableRow,
} from "../../core/query/tables/table-query.ts";
import { type TopOrder, topOrder } from "../../core/query/top-order.ts";
import type { Cell, GroupValue } from "../../core/state/cells.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { askLess } from "../common/refusals.ts";
import { inTurns } from "../common/turns.ts";
import type { Reader } from "../read/reader.ts";
import type { Reading } from "../read/reading.ts";

/** The rows of a table that were asked for, and their position. */
export interface TableAnswer extends Omit<Reading, "cells" | "budget" | "firstOnly"> {
  readonly rows: readonly Row[];
  readonly truncated: boolean;
}

/**
 * If too few rows were found (some keys are removed, or `where` leaves them out), the next read takes this many times
 * more cells.
 */
const MORE = 4;
/** The cells of one read if `where` may leave some out: the usual and the greatest number. */
const FILTERED_AT_ONCE = 2_000;
const MOST_AT_ONCE = 20_000;
/** The most cells that `where` may leave out before a query is refused. */
export const MOST_LEFT_OUT = 200_000;

/** Reads a table at `at`, or at its newest position if that is null. `left` is aborted when the client has left. */
export interface TableRead {
  readonly at: Cut | null;
  readonly left: AbortSignal | null;
}

/** Reads the rows of a table. Throws as `Reader.read`, and TOO_LARGE. */
export async function readTable(
  reader: Reader,
  definition: Definition,
  question: TableQuestion,
  read: TableRead,
): Promise<TableAnswer> {
  try {
    return await readRows(reader, definition, question, read);
  } catch (error) {
    throw error instanceof OverBudget ? error.ofTable() : error;
  }
}

async function readRows(
  reader: Reader,
  definition: Definition,
  question: TableQuestion,
  read: TableRead,
): Promise<TableAnswer> {
  const { limit, order } = question.query;
  const found: Row[] = [];
  // A quarter of the limit, because cells that changed since the newest version are held too.
  const room = Math.floor(reader.mostCells / 4);
  const isFiltered = question.where.size > 0;
  // One row more than is shown tells whether there are more.
  const atOnce = isFiltered ? Math.max(limit + 1, Math.min(FILTERED_AT_ONCE, room)) : limit + 1;
  let [position, after, cells] = [read.at, question.after, atOnce];
  let leftOut = 0;
  for (;;) {
    const asked = { ...question, after };
    const top = tableOrder(definition, asked, cells);
    const reading = await reader.read(definition, asked.query, { at: position, top, left: read.left });
    // If not all cells were read, only the first `cells` are certain: unread cells may come before later cells with
    // live state.
    const isWhole = !reading.firstOnly || reading.cells.length <= cells;
    const { rows, last } = await rowsOf(definition, asked, reading, isWhole ? Number.POSITIVE_INFINITY : cells);
    found.push(...rows);
    if (isWhole || found.length > limit || last === null) {
      const { cells: _, budget: __, firstOnly: ___, ...status } = reading;
      return {
        ...status,
        rows: found.slice(0, limit),
        truncated: found.length > limit || (!isWhole && last !== null),
      };
    }
    // All further reads are at the position of the first one.
    position = reading.applied;
    if (order.length === 0) {
      after = last;
      leftOut += cells - rows.length;
      if (isFiltered && leftOut > MOST_LEFT_OUT) throw tooFar(question.where, found.length, leftOut);
      if (isFiltered) cells = Math.max(cells, Math.min(cells * MORE, MOST_AT_ONCE, room));
    } else {
      found.length = 0;
      cells *= MORE;
    }
  }
}

/** Returns the order in which the first rows can be found without reading all; null if SQL cannot sort like this. */
function tableOrder(
  { view }: Definition,
  { query, prefix, where, after }: TableQuestion,
  limit: number,
): TopOrder | null {
  const order = topOrder(view, query);
  const [dimension = ""] = Object.keys(view.by);
  if (!("keys" in order)) return null;
  return {
    ...order,
    limit,
    prefix: prefix === "" ? null : { dimension, text: prefix },
    ...(after === null ? {} : { after }),
    filters: storedFilters(view, where),
  };
}

/** Returns the rows of the first `certain` cells, and the key of the last of these cells. */
async function rowsOf(
  { view }: Definition,
  question: TableQuestion,
  reading: Reading,
  certain: number,
): Promise<{ readonly rows: Row[]; readonly last: TableKey | null }> {
  const { query, where, columns } = question;
  const asked = reading.cells.filter(({ group }) => keyIsAsked(view, question, group));
  const byKey = query.order.length === 0 && certain < asked.length;
  const first = byKey ? firstByKey(asked, certain) : asked;
  const all = [...columns, ...[...where.keys()].filter((name) => !columns.includes(name))];
  const every = { ...query, limit: certain };
  const { rows } = await inTurns(
    presenting({ view, query: every, window: reading }, first, reading.budget),
    reading.budget,
  );
  const kept = rows.flatMap((row) => {
    const shown = tableRow(view, row, all);
    const allowed = [...where].every(([name, values]) => filterAllows(values, (shown?.[name] ?? null) as GroupValue));
    return shown !== null && allowed ? [shown] : [];
  });
  const shown =
    where.size === 0 ? kept : kept.map((row) => Object.fromEntries(columns.map((name) => [name, row[name] ?? null])));
  return { rows: shown, last: certain < asked.length ? (first.at(-1)?.group.map(String) ?? null) : null };
}

/**
 * Returns the error for a filter that leaves out too many keys, on a column that stored state cannot be filtered by.
 */
export function tooFar(where: ReadonlyMap<string, unknown>, found: number, leftOut: number): TidelineError {
  const columns = [...where.keys()].map((name) => `where[${name.slice(0, 60)}]`).join(", ");
  const problem = `${columns} leaves out ${leftOut.toLocaleString("en-US")} keys before it has found ${found + 1}`;
  const allowed = "key, prefix, or where[column] of a table's fields, key, counts, sums, mins and maxes";
  return askLess({ parameter: "where", problem, allowed }, "with");
}

function firstByKey(cells: readonly Cell[], count: number): Cell[] {
  return cells.toSorted((a, b) => compareKeys(a.group, b.group)).slice(0, count);
}
