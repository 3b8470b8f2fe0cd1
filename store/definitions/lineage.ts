import { z } from "zod";
import { quoteText } from "../../core/contract/sql.ts";
import { LINE, type View } from "../../core/definition/view.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";

/** A part of a view that reads a field of a stream. */
export const FieldReader = z.object({
  view: z.string(),
  part: z.string().describe("such as where, by.region or measures.revenue"),
});
export type FieldReader = z.infer<typeof FieldReader>;

/** Returns the readers of each field of a view's stream, by the field's name. An element of a list is `items.sku`. */
export async function lineageOf(duck: Duck, view: View): Promise<Map<string, FieldReader[]>> {
  const found = new Map<string, FieldReader[]>();
  const add = (field: string, part: string) =>
    found.set(field, [...(found.get(field) ?? []), { view: view.name, part }]);
  const parts = [
    ...(view.where === null ? [] : [["where", view.where.text] as const]),
    ...Object.entries(view.by).map(([name, { text }]) => [`by.${name}`, text] as const),
    ...Object.entries(view.measures).flatMap(([name, measure]) =>
      expressionsOf(measure).map((expression) => [`measures.${name}`, expression] as const),
    ),
  ];
  if (view.table === null) add(view.stream.eventTime, "every");
  if (view.each !== null) add(view.each, "each");
  for (const [part, text] of parts) {
    const columns = new Set(await columnsOf(duck, text));
    for (const column of columns) {
      const isLine = view.each !== null && (column === LINE || column.startsWith(`${LINE}.`));
      const field = isLine ? `${view.each}${column.slice(LINE.length)}` : column;
      if (!found.get(field)?.some((one) => one.part === part)) add(field, part);
    }
  }
  return found;
}

/** Returns the expressions that a measure reads. The newest record of a key is read as a whole. */
function expressionsOf({ inputs, components }: Measure): string[] {
  const picked = components.flatMap(({ form, partial }) => (form === "pick" ? [partial] : []));
  return [...inputs.map(({ sql }) => sql.text), ...picked];
}

/** Returns the columns that an expression names, as written. */
export async function columnsOf(duck: Duck, expression: string): Promise<string[]> {
  return (await namedColumns(duck, expression)).map(({ name }) => name);
}

/** Returns the columns that an expression names, and for each whether it is only tested for null. */
export async function namedColumns(
  duck: Duck,
  expression: string,
): Promise<{ readonly name: string; readonly isTested: boolean }[]> {
  const [row] = await rowsOf(duck, `SELECT json_serialize_sql(${quoteText(`SELECT (${expression})`)})`);
  const columns: { name: string; isTested: boolean }[] = [];
  const walk = (node: unknown, isTested: boolean): void => {
    if (typeof node !== "object" || node === null) return;
    const { class: kind, type, column_names: names } = node as SyntaxNode;
    if (kind === "COLUMN_REF" && names !== undefined) columns.push({ name: names.join("."), isTested });
    const isTest = type === "OPERATOR_IS_NULL" || type === "OPERATOR_IS_NOT_NULL";
    // The operands of a node are in a list.
    for (const inner of Object.values(node)) walk(inner, isTest || (isTested && Array.isArray(node)));
  };
  walk(JSON.parse(String(row?.[0])), false);
  return columns;
}

/** The used parts of a node in DuckDB's serialised syntax tree. */
interface SyntaxNode {
  readonly class?: string;
  readonly type?: string;
  readonly column_names?: readonly string[];
}
