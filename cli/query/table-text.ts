import type { LogPosition } from "../../core/json-parts.ts";
import type { TableBody } from "../../serving/tables/table-schemas.ts";
import { printable } from "../terminal/printable.ts";
import { seconds } from "../terminal/seconds.ts";
import { draw } from "../terminal/sheet.ts";
import { fieldsSheet } from "./answer-text.ts";

/** Returns rows of a table as a sheet, with their position below. */
export async function tableText(body: TableBody): Promise<string> {
  const { rows, fields, freshnessMs, complete, truncated, next } = body;
  const missing = "missing" in body ? body.missing : undefined;
  const sheet = rows.length === 0 ? "no rows" : await draw(fieldsSheet(fields, rows));
  const state = complete ? "complete" : `not complete: ${missing?.message ?? "the batch version alone"}`;
  const fresh = freshnessMs === null ? "an earlier position" : `${seconds(freshnessMs)} fresh`;
  const more = truncated
    ? `; the first ${rows.length} rows${next === undefined ? "" : `, --after ${next} shows the next`}`
    : "";
  return `${sheet}\n${printable(`applied ${appliedText(body) || "nothing"}; ${fresh}; ${state}${more}`)}\n`;
}

/** Returns the positions up to which the log was read: `0:12 1:7`, or the same for each table of a joined table. */
function appliedText(body: TableBody): string {
  const textOf = ({ applied }: LogPosition) =>
    Object.entries(applied)
      .map(([partition, offset]) => `${partition}:${offset}`)
      .join(" ");
  if ("position" in body) return textOf(body.position);
  return Object.entries(body.tables)
    .map(([name, one]) => `${name} ${textOf(one.position) || "nothing"}`)
    .join(", ");
}
