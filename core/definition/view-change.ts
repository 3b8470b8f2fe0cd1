import { propertiesOf, propertyChanges } from "../contract/contract-change.ts";
import type { ViewDocument } from "./view-document.ts";

/**
 * What differs between two definitions of a view in what they compute, their streams left out: a sentence per property,
 * empty when nothing does.
 */
export function viewChanges(before: ViewDocument, after: ViewDocument): string[] {
  return propertyChanges(computedOf(before), computedOf(after));
}

/** `maxCells` is a limit and `every` is a spelling of `grainMs`. */
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
