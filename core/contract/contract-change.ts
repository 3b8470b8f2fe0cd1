import { parseBound } from "../time.ts";
import type { FieldSpec } from "./field.ts";
import { idFields } from "./stream.ts";
import type { StreamDocument } from "./stream-document.ts";

/**
 * Returns the properties of a stream's definition that decide how its records are decoded, by path, as JSON text. Left
 * out are the topic's number of partitions, the field that producers partition by, the rule for new versions, the order
 * of fields or values, and the spelling of an instant's bounds: they decide nothing here.
 */
function decodingOf(document: StreamDocument): ReadonlyMap<string, string> {
  const { eventId, eventTime, dedupWindow, version, fields, previous, tombstones } = document;
  const older = previous.map(
    ({ version, fields, upcast }) => [version, { fields: sameBounds(fields), upcast }] as const,
  );
  return propertiesOf({
    // The order of the fields is part of an event id. As a list it would be left out.
    ...{ eventId: idFields({ eventId }).join(", "), eventTime, dedupWindow, version, fields: sameBounds(fields) },
    ...(tombstones === undefined ? {} : { tombstones }),
    ...(older.length === 0 ? {} : { previous: Object.fromEntries(older) }),
  });
}

/**
 * Returns the properties of plain data by path (`fields.amount.max`), as JSON text. The order of a list is left out.
 */
export function propertiesOf(data: Readonly<Record<string, unknown>>): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  const add = (path: string, value: unknown) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      if (value !== undefined) found.set(path, JSON.stringify(Array.isArray(value) ? value.toSorted() : value));
    } else for (const [name, inner] of Object.entries(value)) add(`${path}.${name}`, inner);
  };
  for (const [name, value] of Object.entries(data)) add(name, value);
  return found;
}

function sameBounds(fields: Readonly<Record<string, FieldSpec>>): Record<string, FieldSpec> {
  return Object.fromEntries(Object.entries(fields).map(([name, spec]) => [name, withSameBounds(spec)]));
}

/** Returns a field in which all bounds of instants have one spelling. */
function withSameBounds(spec: FieldSpec): FieldSpec {
  switch (spec.type) {
    case "instant":
      return { ...spec, from: boundText(spec.from), to: boundText(spec.to) };
    case "optional":
    case "default":
    case "values":
    case "map":
      return { ...spec, of: withSameBounds(spec.of) };
    case "list":
    case "entries":
      return { ...spec, of: sameBounds(spec.of) };
    default:
      return spec;
  }
}

function boundText(text: string): string {
  try {
    return new Date(parseBound(text)).toISOString();
  } catch {
    return text;
  }
}

/**
 * Returns the differences between two definitions of a stream that have to decode alike: one sentence per property,
 * empty if there are none.
 */
export function decodingChanges(before: StreamDocument, after: StreamDocument): string[] {
  return propertyChanges(decodingOf(before), decodingOf(after));
}

/** Returns the differences between two results of `propertiesOf`: one sentence per property. */
export function propertyChanges(was: ReadonlyMap<string, string>, is: ReadonlyMap<string, string>): string[] {
  return [...new Set([...was.keys(), ...is.keys()])].flatMap((path) => {
    const [old, now] = [was.get(path), is.get(path)];
    if (old === now) return [];
    if (now === undefined) return [`${path} was ${old} and is gone`];
    return [old === undefined ? `${path} is new: ${now}` : `${path} was ${old} and is now ${now}`];
  });
}
