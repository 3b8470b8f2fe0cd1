import { componentKey } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import type { Query } from "./query.ts";

/**
 * One column to sort cells by, if a database can sort exactly as `comparePresented` does. Null comes last in both
 * directions.
 */
export type OrderKey = (
  | { readonly by: "bucket" }
  | { readonly by: "dimension"; readonly name: string }
  /** A dimension's value as text. The value of events without one is "null", and comes after the text "null". */
  | { readonly by: "text"; readonly name: string }
  /** An integer of the state. A cell without it has the value `absent`. */
  | { readonly by: "component"; readonly key: string; readonly absent: 0 | null }
) & { readonly descending: boolean };

/**
 * A filter on a column of a table's rows, for its stored state. `values` are texts in the form of state, null means no
 * value.
 */
export type StoredFilter =
  /** A part of the key. */
  (
    | { readonly by: "dimension"; readonly name: string }
    /** An integer of the state. A cell without it has the value `absent`. */
    | { readonly by: "component"; readonly key: string; readonly absent: 0 | null }
    /** A field of the newest record, which is the pick `key`. */
    | { readonly by: "record"; readonly key: string; readonly field: string }
  ) & { readonly column: string; readonly values: readonly (string | null)[] };

/** The cells that come first. */
export interface TopOrder {
  readonly keys: readonly OrderKey[];
  /** The number of cells wanted. */
  readonly limit: number;
  /** Only values of this dimension that begin with this text. */
  readonly prefix: { readonly dimension: string; readonly text: string } | null;
  /** Only groups after this one, whose values are given as text. Only for an order by dimensions alone. Absent: all. */
  readonly after?: readonly string[];
  /** Only cells for which these filters hold. Only for a table. Absent: all. */
  readonly filters?: readonly StoredFilter[];
}

/** Measures that present one integer of their state. */
export const ONE_INTEGER: ReadonlySet<string> = new Set(["count", "sum", "min", "max"]);

/** Returns how the rows of a query are sorted. If a database cannot sort them, returns the field that is the reason. */
export function topOrder(view: View, query: Query): TopOrder | { readonly unsortable: string } {
  const keys: OrderKey[] = [];
  const order = [...query.order, ...["bucket", ...query.by].map((field) => ({ field, descending: false }))];
  for (const { field, descending } of order) {
    const key = orderKey(view, query, field);
    if (key === null) return { unsortable: field };
    keys.push({ ...key, descending });
  }
  return { keys, limit: query.limit, prefix: null };
}

type Place = OrderKey extends infer Key ? (Key extends OrderKey ? Omit<Key, "descending"> : never) : never;

function orderKey(view: View, query: Query, field: string): Place | null {
  if (query.windowMs > query.everyMs || view.sessions !== null) return null;
  if (field === "bucket") return { by: "bucket" };
  if (query.by.includes(field)) return { by: "dimension", name: field };
  const measure = view.measures[field];
  const [component, ...others] = measure?.components ?? [];
  if (measure === undefined || component === undefined || others.length > 0 || !ONE_INTEGER.has(measure.kind))
    return null;
  return { by: "component", key: componentKey(field, component.name), absent: measure.kind === "count" ? 0 : null };
}
