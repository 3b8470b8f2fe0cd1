import { componentsOf, type NamedComponent, SESSION_FIRST, SESSION_LAST } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { ROWS } from "../../core/measures/measure.ts";
import type { Query } from "../../core/query/query.ts";
import { type GroupValue, groupKey } from "../../core/state/cells.ts";
import { cellField } from "../../store/redis/chain-state.ts";

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

/** Beyond this many fields a bucket is read as a whole. */
const MAX_FIELDS = 256;

/**
 * The fields of a bucket that a question for single groups needs, so that not all of the others are read; null when
 * they cannot be named: without a value for every dimension, or when there are items, which have fields of their own.
 */
function keyedFields(view: View, { where }: Query, components: readonly NamedComponent[]): string[] | null {
  if (components.some(({ form }) => form === "items")) return null;
  let groups: GroupValue[][] = [[]];
  for (const dimension of Object.keys(view.by)) {
    const values = where.get(dimension)?.flatMap(valuesLike);
    if (values === undefined || groups.length * values.length * components.length > MAX_FIELDS) return null;
    groups = groups.flatMap((group) => values.map((value) => [...group, value]));
  }
  return groups.flatMap((group) => components.map(({ key }) => cellField(key, groupKey(group))));
}

/** A filter's values come as text: every value whose text that is. */
function valuesLike(value: GroupValue): GroupValue[] {
  if (value === null) return [null];
  const text = String(value);
  const others: GroupValue[] = [true, false, Number(text)];
  return [text, ...others.filter((other) => String(other) === text && !Number.isNaN(other))];
}
