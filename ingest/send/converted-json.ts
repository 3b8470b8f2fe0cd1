import { bare } from "../../core/contract/fields.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { jsonMembers } from "../read/json.ts";
import type { Refusal } from "./refusal.ts";
import { eventValue, isKeptByJson } from "./table-values.ts";
import type { ValueForms } from "./value-forms.ts";

/** Sixteen digits or more: a reader of JSON may round them. */
export function hasLongNumber(json: Buffer): boolean {
  return /[\d.]{17}/.test(json.toString("latin1"));
}

/** A JSON event with the values of its fields as the contract wants them; the text of everything else stays. */
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
    // A number of JSON has a point whatever texts have.
    const read = eventValue(field, cell, written?.startsWith('"') === true ? forms : { ...forms, decimalComma: false });
    if (!read.ok) return { column: name, ...read.refusal };
    if (read.value === undefined) members.delete(name);
    else if (!isSameNumber(written, read.value)) members.set(name, JSON.stringify(read.value));
  }
  return `{${[...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`;
}

/** The text of a value that is to be read as a table's; null for one that the contract judges as it is. */
function cellOf(written: string, spec: ReturnType<typeof bare>): string | null {
  if (written.startsWith('"')) {
    return JSON.parse(written) as string;
  }
  if (spec.type === "map" || spec.type === "entries") return written.startsWith("{") ? written : null;
  if (spec.type === "list" || spec.type === "values") return written.startsWith("[") ? written : null;
  return /^-?\d/.test(written) ? written : null;
}

/** A number stays as it is written. */
function isSameNumber(written: string | undefined, value: unknown): boolean {
  return (
    typeof value === "number" &&
    written !== undefined &&
    /^-?\d/.test(written) &&
    Number(written) === value &&
    isKeptByJson(written)
  );
}
