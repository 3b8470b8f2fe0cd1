import { componentsOf, type NamedComponent, SESSION_FIRST, SESSION_LAST } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { ROWS } from "../../core/measures/measure.ts";
import type { Query } from "../../core/query/query.ts";
import { type GroupKey, type GroupValue, groupKey } from "../../core/state/cells.ts";
import { cellField } from "../../store/redis/chain-state.ts";
import type { AnswerNeeds } from "./cells/tile-cells.ts";

/** The parts of a view's state that a query needs. */
export interface Needs extends AnswerNeeds {
  readonly components: readonly NamedComponent[];
  readonly sketches: boolean;
  /** The fields of a bucket in Redis; null: all of them. */
  readonly fields: readonly string[] | null;
}

const known = new WeakMap<Query, Needs>();

/** Returns what a query needs; computed once for each query. */
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
  const groups = namedGroups(view, query);
  return { components, sketches, groups, fields: groups === null ? null : keyedFields(groups, components) };
}

/** If more groups or fields than this are needed, a bucket is read whole. */
const MAX_FIELDS = 256;

/**
 * Returns the groups of a query that has values for every dimension; null if it has not, or if there are too many
 * groups.
 */
function namedGroups(view: View, { where }: Query): GroupKey[] | null {
  let groups: GroupValue[][] = [[]];
  for (const dimension of Object.keys(view.by)) {
    const values = where.get(dimension)?.flatMap(valuesLike);
    if (values === undefined || groups.length * values.length > MAX_FIELDS) return null;
    groups = groups.flatMap((group) => values.map((value) => [...group, value]));
  }
  return groups.map((group) => groupKey(group));
}

/**
 * Returns the fields of a bucket that a query for single groups needs, so that the others are not read. Null if there
 * are too many, or if there are items, whose fields cannot be named.
 */
function keyedFields(groups: readonly GroupKey[], components: readonly NamedComponent[]): string[] | null {
  const isItemized = components.some(({ form }) => form === "items");
  if (isItemized || groups.length * components.length > MAX_FIELDS) return null;
  return groups.flatMap((group) => components.map(({ key }) => cellField(key, group)));
}

/** A filter's values are text. Returns every value that is written like this. */
function valuesLike(value: GroupValue): GroupValue[] {
  if (value === null) return [null];
  const text = String(value);
  const others: GroupValue[] = [true, false, Number(text)];
  return [text, ...others.filter((other) => String(other) === text && !Number.isNaN(other))];
}
