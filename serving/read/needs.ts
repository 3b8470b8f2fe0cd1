import { componentsOf, type NamedComponent, SESSION_FIRST, SESSION_LAST } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { ROWS } from "../../core/measures/measure.ts";
import type { Query } from "../../core/query/query.ts";
import { keyedFields } from "./live/keyed-fields.ts";

/** What a question needs of a view's state. */
export interface Needs {
  readonly components: readonly NamedComponent[];
  readonly sketches: boolean;
  /** The fields of a bucket in Redis; null: all of them. */
  readonly fields: readonly string[] | null;
}

const known = new WeakMap<Query, Needs>();

/** What a question needs; computed once for each query. */
export function needsOf(view: View, query: Query): Needs {
  const held = known.get(query) ?? needs(view, query);
  known.set(query, held);
  return held;
}

function needs(view: View, query: Query): Needs {
  const measures = new Set(query.measures);
  const always = new Set([ROWS.name, SESSION_FIRST, SESSION_LAST]);
  const components = componentsOf(view).filter(
    ({ key }) => always.has(key) || measures.has(key.slice(0, key.indexOf("."))),
  );
  const sketches = components.some(({ form }) => form === "registers");
  return { components, sketches, fields: keyedFields(view, query, components) };
}
