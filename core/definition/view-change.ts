import { propertiesOf, propertyChanges } from "../contract/contract-change.ts";
import type { ViewDocument } from "./view-document.ts";

/**
 * Returns the differences between two definitions of a view in what they compute, without their streams: one sentence
 * per property, empty if there are none.
 */
export function viewChanges(before: ViewDocument, after: ViewDocument): string[] {
  return propertyChanges(computedOf(before), computedOf(after));
}

/**
 * Returns the properties that decide what is computed. `maxCells` is a limit, and `every` is a spelling of `grainMs`.
 */
function computedOf({
  where,
  by,
  each,
  grainMs,
  windowMs,
  sessions,
  measures,
  table,
}: ViewDocument): ReadonlyMap<string, string> {
  return propertiesOf({ where, by, each, grainMs, windowMs, sessions, measures, table });
}
