import type { StreamDocument } from "./stream-document.ts";

/**
 * What of a stream's definition decides how its records are decoded, by the path of the property, as JSON text. The topic's number of partitions,
 * the field that producers partition by and the rule for new versions decide nothing here, and neither does the order of fields or values.
 */
function decodingOf(document: StreamDocument): ReadonlyMap<string, string> {
  const { eventId, eventTime, dedupWindow, version, fields, previous } = document;
  const found = new Map<string, string>();
  const add = (path: string, value: unknown) => {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      if (value !== undefined) found.set(path, JSON.stringify(Array.isArray(value) ? value.toSorted() : value));
    } else for (const [name, inner] of Object.entries(value)) add(`${path}.${name}`, inner);
  };
  for (const [name, value] of Object.entries({ eventId, eventTime, dedupWindow, version })) add(name, value);
  add("fields", fields);
  for (const older of previous) add(`previous.${older.version}`, { fields: older.fields, upcast: older.upcast });
  return found;
}

/** What differs between two definitions of a stream that are to decode alike: a sentence per property, empty when nothing does. */
export function decodingChanges(before: StreamDocument, after: StreamDocument): string[] {
  const [was, is] = [decodingOf(before), decodingOf(after)];
  return [...new Set([...was.keys(), ...is.keys()])].flatMap((path) => {
    const [old, now] = [was.get(path), is.get(path)];
    if (old === now) return [];
    if (now === undefined) return [`${path} was ${old} and is gone`];
    return [old === undefined ? `${path} is new: ${now}` : `${path} was ${old} and is now ${now}`];
  });
}
