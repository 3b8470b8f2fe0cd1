import { bare } from "../contract/fields.ts";
import { componentKey } from "../definition/components.ts";
import { LATEST } from "../definition/table.ts";
import type { View } from "../definition/view.ts";
import { dimensionScales, unitsOfText } from "../measures/decimals.ts";
import { ONE_INTEGER, type StoredFilter } from "./top-order.ts";

type Values = readonly (string | null)[];

/**
 * The filters of a question that a database can look for in stored state. Keys for which they hold may have other rows
 * by now, or none; a settled key for which one does not hold has no such row. Filters on other columns are left out:
 * lists, and measures that are no count, sum, min or max.
 */
export function storedFilters(view: View, where: ReadonlyMap<string, Values>): StoredFilter[] {
  return [...where].flatMap(([column, values]) => storedFilter(view, column, values) ?? []);
}

function storedFilter(view: View, column: string, values: Values): StoredFilter | null {
  const spec = view.table?.kind === "latest" ? view.stream.fields[column]?.spec : undefined;
  if (spec !== undefined) return recordFilter(column, bare(spec), values);
  if (column in view.by) {
    const scale = dimensionScales(view).get(column) ?? 0;
    return { by: "dimension", name: column, values: inUnits(values, scale) };
  }
  const measure = view.measures[column];
  const [component, ...others] = measure?.components ?? [];
  if (measure === undefined || component === undefined || others.length > 0 || !ONE_INTEGER.has(measure.kind))
    return null;
  const absent = measure.kind === "count" ? 0 : null;
  return {
    ...{ by: "component", key: componentKey(column, component.name), absent },
    values: inUnits(values, measure.scale),
  };
}

function recordFilter(
  field: string,
  spec: { readonly type: string; readonly scale?: number },
  values: Values,
): StoredFilter | null {
  const found = { by: "record", key: componentKey(LATEST, LATEST), field } as const;
  switch (spec.type) {
    case "text":
    case "oneOf":
    case "flag":
    case "integer":
      return { ...found, values };
    case "decimal":
      return { ...found, values: inUnits(values, spec.scale ?? 0) };
    case "instant":
      return { ...found, values: values.flatMap(milliseconds) };
    default:
      return null;
  }
}

/** What is no number of this many places is no value of the column. */
function inUnits(values: Values, scale: number): Values {
  if (scale === 0) return values;
  return values.flatMap((value) => (value === null ? [null] : (unitsOfText(value, scale) ?? [])));
}

function milliseconds(value: string | null): (string | null)[] {
  if (value === null) return [null];
  const timeMs = Date.parse(value);
  return Number.isNaN(timeMs) ? [] : [String(timeMs)];
}
