import type { Row } from "../../core/query/present.ts";
import type { AnswerPosition } from "../../serving/answer/answer.ts";
import type { AnswerField } from "../../serving/answer/answer-fields.ts";
import { printable } from "../terminal/printable.ts";
import { seconds } from "../terminal/seconds.ts";
import { draw } from "../terminal/sheet.ts";
import { fieldsSheet } from "./answer-text.ts";

/** What GET /tables/:name answers, as far as it is shown. */
export interface TableBody {
  readonly table: string;
  readonly rows: readonly Row[];
  readonly truncated: boolean;
  readonly next?: string;
  readonly fields: Readonly<Record<string, AnswerField>>;
  /** Of a joined table each of its tables has one. */
  readonly position?: AnswerPosition;
  readonly tables?: Readonly<Record<string, { readonly position: AnswerPosition }>>;
  readonly freshnessMs: number | null;
  readonly complete: boolean;
  readonly missing?: { readonly message: string };
}

/** Rows of a table as a sheet, and below it where they stand. */
export async function tableText(body: TableBody): Promise<string> {
  const { rows, fields, freshnessMs, complete, missing, truncated, next } = body;
  const sheet = rows.length === 0 ? "no rows" : await draw(fieldsSheet(fields, rows));
  const state = complete ? "complete" : `not complete: ${missing?.message ?? "the batch version alone"}`;
  const fresh = freshnessMs === null ? "an earlier position" : `${seconds(freshnessMs)} fresh`;
  const more = truncated
    ? `; the first ${rows.length} rows${next === undefined ? "" : `, --after ${next} shows the next`}`
    : "";
  return `${sheet}\n${printable(`applied ${appliedText(body) || "nothing"}; ${fresh}; ${state}${more}`)}\n`;
}

/** Up to where the log was read: `0:12 1:7`, and of a joined table the same for each of its tables. */
function appliedText({ position, tables = {} }: TableBody): string {
  const textOf = (one: AnswerPosition) =>
    Object.entries(one.applied)
      .map(([partition, offset]) => `${partition}:${offset}`)
      .join(" ");
  if (position !== undefined) return textOf(position);
  return Object.entries(tables)
    .map(([name, one]) => `${name} ${textOf(one.position) || "nothing"}`)
    .join(", ");
}
