import { SESSION_COLUMNS, type View } from "../../core/definition/view.ts";
import type { EpochMs } from "../../core/log/position.ts";
import { shownGroupValue } from "../../core/measures/decimals.ts";
import type { ServedRow } from "../../core/proof/proof.ts";
import type { GivenAnswer } from "../../core/proof/proof-answer.ts";
import { Budget } from "../../core/query/budget.ts";
import { componentsOfMeasures, presenting, windowsOf } from "../../core/query/present.ts";
import { DEFAULT_LIMIT, type Query, sortableColumns } from "../../core/query/query.ts";
import { slide } from "../../core/query/windows.ts";
import type { Work } from "../../core/query/work.ts";
import { type Cell, copyOf, stateOf } from "../../core/state/cells.ts";
import { csvOf } from "../answer/csv.ts";
import type { Reading } from "../read/reading.ts";

/** The parts of a reading that a proof needs. */
export type ProvenReading = Pick<Reading, "cells" | "fromMs" | "toMs" | "budget">;

/** Returns all rows that a client is answered, with the registers behind their estimates. Throws OverBudget. */
export function* servedRows(view: View, query: Query, reading: ProvenReading): Work<ServedRow[]> {
  const { cells, budget } = reading;
  const all = { ...query, order: BY_TIME, limit: Number.POSITIVE_INFINITY };
  const { rows } = yield* presenting({ view, query: all, window: reading }, cells, budget);
  const keyOf = (bucket: EpochMs, group: readonly unknown[]) => JSON.stringify([bucket, ...group]);
  const byKey = new Map<string, Cell>();
  const keep = (cell: Cell) => {
    for (const registers of cell.registers.values()) budget.spend("sketchBytes", registers.sizeBytes);
    const group = query.by.map((name, index) => shownGroupValue(view, name, cell.group[index] ?? null));
    byKey.set(keyOf(cell.bucket, group), cell);
  };
  if (query.windowMs > query.everyMs) {
    const sketched = query.measures.filter((name) =>
      view.measures[name]?.components.some(({ form }) => form === "registers"),
    );
    yield* slide(view, cells, windowsOf(query, reading), {
      components: componentsOfMeasures(view, sketched),
      onWindow: (cell) => keep(copyOf(cell)),
    });
  } else cells.forEach(keep);
  return rows.map((row) => {
    const group = query.by.map((name) => row[name] ?? null);
    const cell = byKey.get(keyOf(Date.parse(String(row.bucket)), group));
    return {
      row,
      registers: (measure, column) => (cell === undefined ? undefined : stateOf(cell, measure).registers(column)),
    };
  });
}

const BY_TIME: Query["order"] = [{ field: "bucket", descending: false }];

/** A larger answer is proven in its usual order only: each further order costs as much as the answer. */
const MOST_SORTED_ROWS = 2_000;

/**
 * Returns the same rows as clients get them: in their usual order, and sorted by each column with a limit of half the
 * rows.
 */
export function* givenAnswers(view: View, query: Query, reading: ProvenReading, rows: number): Work<GivenAnswer[]> {
  const columns = [
    ...(view.sessions === null ? [] : SESSION_COLUMNS),
    ...query.by,
    ...query.measures.flatMap((name) => sortableColumns(view, name)),
  ];
  const half = Math.max(1, Math.ceil(rows / 2));
  const asked: Pick<Query, "order" | "limit">[] = [{ order: BY_TIME, limit: DEFAULT_LIMIT }];
  if (rows <= MOST_SORTED_ROWS)
    for (const [index, field] of columns.entries())
      asked.push({ order: [{ field, descending: index % 2 === 0 }], limit: half });
  const given: GivenAnswer[] = [];
  for (const one of asked) {
    const answer = yield* presenting(
      { view, query: { ...query, ...one }, window: reading },
      reading.cells,
      Budget.unlimited(),
    );
    given.push({ ...one, ...answer, csv: null });
  }
  return given;
}

/** Returns the first of these answers together with its CSV. */
export async function withCsv(view: View, query: Query, given: readonly GivenAnswer[]): Promise<GivenAnswer[]> {
  const [usual, ...others] = given;
  if (usual === undefined) return [];
  let csv = "";
  for await (const piece of csvOf(view, query, usual.rows)) csv += String(piece);
  return [{ ...usual, csv }, ...others];
}
