import { bare } from "../contract/fields.ts";
import { quoteText } from "../contract/sql.ts";
import { componentKey } from "../definition/components.ts";
import { LATEST } from "../definition/table.ts";
import type { View } from "../definition/view.ts";
import { dimensionScales, unitsOfText } from "../measures/decimals.ts";
import { PICK_PLACE_DIGITS } from "../state/compile.ts";
import { ONE_INTEGER, type StoredFilter } from "./top-order.ts";

type Values = readonly (string | null)[];

/** The place of a column's values in stored state. */
export type StoredPlace = Place<StoredFilter>;
type Place<Filter> = Filter extends StoredFilter ? Omit<Filter, "column" | "values"> : never;

/**
 * Returns the filters of a query that a database can apply to stored state. A key for which they hold may have another
 * row now, or none. A settled key for which one does not hold has no row that the query wants. Filters on other columns
 * are left out: lists, and measures that are not count, sum, min or max.
 */
export function storedFilters(view: View, where: ReadonlyMap<string, Values>): StoredFilter[] {
  return [...where].flatMap(([column, values]) => {
    const place = storedPlace(view, column);
    return place === null ? [] : { ...place, column, values: storedValues(view, column, values) };
  });
}

/** Returns the place of a column's values. Null for lists, and for measures that are not count, sum, min or max. */
export function storedPlace(view: View, column: string): StoredPlace | null {
  const spec = recordField(view, column);
  if (spec !== null)
    return RECORD_TYPES.has(spec.type) ? { by: "record", key: componentKey(LATEST, LATEST), field: column } : null;
  if (column in view.by) return { by: "dimension", name: column };
  const measure = view.measures[column];
  const [component, ...others] = measure?.components ?? [];
  if (measure === undefined || component === undefined || others.length > 0 || !ONE_INTEGER.has(measure.kind))
    return null;
  return { by: "component", key: componentKey(column, component.name), absent: measure.kind === "count" ? 0 : null };
}

/** SQL: a field of the newest record in a stored row, as text. */
export function recordFieldSql(field: string): string {
  return `json_extract_string(label[${PICK_PLACE_DIGITS + 1}:], ${quoteText(`$."${field}"`)})`;
}

/**
 * The types of fields that are compared as text. For a decimal the text is its units, for an instant its milliseconds.
 */
const RECORD_TYPES: ReadonlySet<string> = new Set(["text", "oneOf", "flag", "integer", "decimal", "instant"]);

function recordField(view: View, column: string) {
  const spec = view.table?.kind === "latest" ? view.stream.fields[column]?.spec : undefined;
  return spec === undefined ? null : bare(spec);
}

/** Returns the values in the form of stored state. */
function storedValues(view: View, column: string, values: Values): Values {
  const spec = recordField(view, column);
  if (spec?.type === "instant") return values.flatMap(milliseconds);
  if (spec !== null) return inUnits(values, spec.type === "decimal" ? spec.scale : 0);
  return inUnits(values, dimensionScales(view).get(column) ?? view.measures[column]?.scale ?? 0);
}

/**
 * Returns values in units of their last place. Leaves out values that are not numbers with this many places, because
 * the column cannot have them.
 */
function inUnits(values: Values, scale: number): Values {
  if (scale === 0) return values;
  return values.flatMap((value) => (value === null ? [null] : (unitsOfText(value, scale) ?? [])));
}

function milliseconds(value: string | null): (string | null)[] {
  if (value === null) return [null];
  const timeMs = Date.parse(value);
  return Number.isNaN(timeMs) ? [] : [String(timeMs)];
}
