import { linesSql } from "../core/compile.ts";
import { quoteName } from "../core/sql.ts";
import type { View } from "../core/view.ts";
import { type Duck, rowsOf } from "../store/duck.ts";
import { eventColumns } from "../store/events.ts";

/** The type of a dimension's values in an answer; each may also be null. */
export type DimensionType = "text" | "integer" | "boolean";

const TYPES: Readonly<Record<string, DimensionType>> = { VARCHAR: "text", BOOLEAN: "boolean" };

/** The types of a view's dimensions, as the engine that runs the view sees them. */
export async function dimensionTypes(duck: Duck, view: View): Promise<Map<string, DimensionType>> {
  const dimensions = Object.entries(view.by).map(([name, { text }]) => `(${text}) AS ${quoteName(name)}`);
  if (dimensions.length === 0) return new Map();
  await duck.run(`CREATE OR REPLACE TEMP TABLE described (${eventColumns(view.stream)})`);
  const columns = await rowsOf(duck, `DESCRIBE SELECT ${dimensions.join(", ")} FROM ${linesSql(view, "described")}`);
  return new Map(columns.map(([name, type]) => [String(name), TYPES[String(type)] ?? "integer"]));
}
