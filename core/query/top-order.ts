import { componentKey } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import type { Query } from "./query.ts";

/**
 * One column to sort cells by, such that a database can do it exactly as `comparePresented`. Null comes last in both
 * directions.
 */
export type OrderKey = (
  | { readonly by: "bucket" }
  | { readonly by: "dimension"; readonly name: string }
  /** A dimension's value as text; the one of events that have none is "null", and the last of that name. */
  | { readonly by: "text"; readonly name: string }
  /** An integer of the state; `absent` is what a cell without it has. */
  | { readonly by: "component"; readonly key: string; readonly absent: 0 | null }
) & { readonly descending: boolean };

/**
 * What a filter on a column of a table's rows means for its stored state. `values` are texts as state has them, null
 * means no value.
 */
export type StoredFilter =
  /** A part of the key. */
  (
    | { readonly by: "dimension"; readonly name: string }
    /** An integer of the state; `absent` is what a cell without it has. */
    | { readonly by: "component"; readonly key: string; readonly absent: 0 | null }
    /** A field of the newest record, which is the pick `key`. */
    | { readonly by: "record"; readonly key: string; readonly field: string }
  ) & { readonly column: string; readonly values: readonly (string | null)[] };

/** Which cells come first. */
export interface TopOrder {
  readonly keys: readonly OrderKey[];
  /** How many are wanted. */
  readonly limit: number;
  /** Only values of this dimension that begin so, as text. */
  readonly prefix: { readonly dimension: string; readonly text: string } | null;
  /**
   * Only groups that come after this one, whose values are given as text; absent: all. Of an order by dimensions alone.
   */
  readonly after?: readonly string[];
  /** Only cells for which these hold. Of a table; absent: all. */
  readonly filters?: readonly StoredFilter[];
}

/** Measures that present one integer of their state. */
export const ONE_INTEGER: ReadonlySet<string> = new Set(["count", "sum", "min", "max"]);

/** How the rows of a query are sorted; the field that stands against it, when a database cannot do that. */
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
