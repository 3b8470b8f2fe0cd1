import { bare } from "../../core/contract/fields.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { jsonMembers } from "../read/json.ts";
import type { Refusal } from "./refusal.ts";
import { eventValue, isKeptByJson } from "./table-values.ts";
import type { ValueForms } from "./value-forms.ts";

/** Whether there is a number of sixteen digits or more: JSON parsers may round it. */
export function hasLongNumber(json: Buffer): boolean {
  return /[\d.]{17}/.test(json.toString("latin1"));
}

/** Returns a JSON event with the values of its fields in the contract's form. All other text stays the same. */
export function convertedJson(text: string, stream: Stream, forms: ValueForms): string | Refusal {
  const members = jsonMembers(text);
  const fields = Object.assign(
    {},
    ...stream.versions.toReversed().map((version) => version.fields),
  ) as Stream["fields"];
  for (const [name, field] of Object.entries(fields)) {
    const written = members.get(name);
    const cell = written === undefined ? null : cellOf(written, bare(field.spec));
    if (cell === null) continue;
    // A JSON number always has a decimal point, even if texts have a comma.
    const read = eventValue(field, cell, written?.startsWith('"') === true ? forms : { ...forms, decimalComma: false });
    if (!read.ok) return { column: name, ...read.refusal };
    if (read.value === undefined) members.delete(name);
    else if (!isSameNumber(written, read.value)) members.set(name, JSON.stringify(read.value));
  }
  return `{${[...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

/**
 * Returns the text of a value that is read like a table's value; null for a value that the contract checks as it is.
 */
function cellOf(written: string, spec: ReturnType<typeof bare>): string | null {
  if (written.startsWith('"')) {
    return JSON.parse(written) as string;
  }
  if (spec.type === "map" || spec.type === "entries") return written.startsWith("{") ? written : null;
  if (spec.type === "list" || spec.type === "values") return written.startsWith("[") ? written : null;
  return /^-?\d/.test(written) ? written : null;
}

/** Whether the value is the same number as the written one, which then keeps its text. */
function isSameNumber(written: string | undefined, value: unknown): boolean {
  return (
    typeof value === "number" &&
    written !== undefined &&
    /^-?\d/.test(written) &&
    Number(written) === value &&
    isKeptByJson(written)
  );
}
