import { type Cell, CellTable, mergeStateRow } from "../../core/cells.ts";
import { stateColumns, stateSql } from "../../core/compile.ts";
import type { View } from "../../core/view.ts";
import { type Duck, rowsOf } from "../../store/duck.ts";

/** A view's measures over larger cells: measures merge, so any grain that its own divides, and any of its dimensions, give the same numbers. */
export function coarser(
  view: View,
  {
    grainMs,
    by,
    measures,
  }: { readonly grainMs: number; readonly by: readonly string[]; readonly measures: readonly string[] },
): View {
  return {
    ...view,
    grainMs,
    windowMs: grainMs,
    by: Object.fromEntries(Object.entries(view.by).filter(([name]) => by.includes(name))),
    measures: Object.fromEntries(Object.entries(view.measures).filter(([name]) => measures.includes(name))),
  };
}

/** The cells of a view over a relation of events. */
export async function cellsOver(duck: Duck, view: View, events: string): Promise<Cell[]> {
  const table = new CellTable(view);
  const rows = await rowsOf(duck, `SELECT ${stateColumns(view).join(", ")} FROM (${stateSql(view, events)})`);
  for (const row of rows) mergeStateRow(table, view, row);
  return table.cells();
}
