/** The place of a field's value in a record: the names of nested objects, from the record's own fields on. */
export type WirePath = readonly string[];

const STEP = /\.([^\s.[\]'"]+)|\['((?:[^'\\]|\\.)+)'\]/y;

/**
 * Returns the path of a text such as `$.payload.order.id` or `$['order.id'].amount`. Throws RangeError for any other
 * text. A path leads through objects, not through lists.
 */
export function parsePath(text: string): WirePath {
  const names: string[] = [];
  STEP.lastIndex = 1;
  while (text.startsWith("$") && STEP.lastIndex > 0 && STEP.lastIndex < text.length) {
    const step = STEP.exec(text);
    if (step === null) break;
    names.push(step[1] ?? (step[2] ?? "").replaceAll(/\\(.)/g, "$1"));
  }
  if (names.length === 0 || STEP.lastIndex !== text.length)
    throw new RangeError(
      `"${text}" is not a path of names such as $.payload.order.id or $['order.id'], and no part ` +
        "of a record: key, header:<name>, timestamp, partition, offset",
    );
  return names;
}

/** Returns a path as the text that `parsePath` reads. */
export function pathText(path: WirePath): string {
  const step = (name: string) =>
    /^[^\s.[\]'"]+$/.test(name) ? `.${name}` : `['${name.replaceAll(/(['\\])/g, "\\$1")}']`;
  return `$${path.map(step).join("")}`;
}
