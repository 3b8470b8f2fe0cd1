import { quoteText } from "../../core/contract/sql.ts";
import { LINE, type View } from "../../core/definition/view.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";

/** What reads a field of a stream: a part of a view such as `where`, `by.region` or `measures.revenue`. */
export interface FieldReader {
  readonly view: string;
  readonly part: string;
}

/** Returns what each field of a view's stream is read by, by the field's name; of an element of a list `items.sku`. */
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

/** What a measure reads: the newest record of a key is picked as a whole. */
function expressionsOf({ inputs, components }: Measure): string[] {
  const picked = components.flatMap(({ form, partial }) => (form === "pick" ? [partial] : []));
  return [...inputs.map(({ sql }) => sql.text), ...picked];
}

/** The columns that an expression of a definition names, as they stand there. */
export async function columnsOf(duck: Duck, expression: string): Promise<string[]> {
  const [row] = await rowsOf(duck, `SELECT json_serialize_sql(${quoteText(`SELECT (${expression})`)})`);
  const columns: string[] = [];
  const walk = (node: unknown): void => {
    if (typeof node !== "object" || node === null) return;
    const { class: kind, column_names: names } = node as { class?: string; column_names?: readonly string[] };
    if (kind === "COLUMN_REF" && names !== undefined) columns.push(names.join("."));
    for (const inner of Object.values(node)) walk(inner);
  };
  walk(JSON.parse(String(row?.[0])));
  return columns;
}
