import { componentsOf } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import type { Budget } from "../../core/query/budget.ts";
import { type Cell, CellTable, mergeStateRow } from "../../core/state/cells.ts";
import { stateColumns, stateSql } from "../../core/state/compile.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { type ReportPart, withinBudget } from "./budget.ts";

/**
 * Returns a view's measures over larger cells. Measures can be merged, so any multiple of the view's grain, and any
 * subset of its dimensions, gives the same numbers.
 */
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

/** Returns the cells of a view over a relation of events. Throws REPORT_TOO_LARGE. */
export async function cellsOver(duck: Duck, view: View, events: string, budget: Budget): Promise<Cell[]> {
  const part: ReportPart = { view, by: Object.keys(view.by), measures: Object.keys(view.measures) };
  const ofItems = new Set(componentsOf(view).flatMap(({ key, form }) => (form === "items" ? [key] : [])));
  const component = 1 + part.by.length;
  const table = new CellTable(view);
  return withinBudget(part, async () => {
    const found = await duck.stream(`SELECT ${stateColumns(view).join(", ")} FROM (${stateSql(view, events)})`);
    for (let chunk = await found.fetchChunk(); chunk !== null && chunk.rowCount > 0; chunk = await found.fetchChunk())
      for (const row of chunk.getRows()) {
        const before = table.size;
        mergeStateRow(table, view, row);
        budget.spend("merges", 1);
        budget.spend("cells", table.size - before);
        if (ofItems.has(String(row[component]))) budget.spend("items", 1);
      }
    return table.cells();
  });
}
