import { base64Units } from "../../core/contract/record/record-value.ts";
import { OPERATIONS } from "../sample/changes.ts";
import type { FoundField } from "./layout.ts";

/**
 * Returns a field of a change stream's envelope in the form that any later change may have. Rows are absent in deletes,
 * inserts and truncations, and the sample need not have all operations.
 */
export function ofChange(field: FoundField): FoundField {
  const path = inEnvelope(field);
  if (path === "op")
    return { ...field, spec: { ...placeOf(field), type: "oneOf", values: OPERATIONS }, isRequired: true };
  const isRequired = path === "source.ts_ms" && field.isRequired;
  // Positions of the database's log only grow, so their bound is as large as possible.
  if (path.startsWith("source.") && field.spec.type === "integer")
    return { ...field, spec: { ...field.spec, max: Number.MAX_SAFE_INTEGER }, isRequired };
  return { ...field, isRequired };
}

function looksLikeBase64({ spec, seen: { texts } }: FoundField): boolean {
  return (
    spec.type === "text" && texts.every((one) => base64Units(one) !== null) && texts.some((one) => one.endsWith("="))
  );
}

function inEnvelope({ path }: FoundField): string {
  return (path[0] === "payload" ? path.slice(1) : path).join(".");
}

function placeOf({ spec }: FoundField): { readonly path?: string } {
  return "path" in spec && spec.path !== undefined ? { path: spec.path } : {};
}

/** Returns notes for the reader about a change stream, a sentence each. */
export function changeNotes(fields: readonly FoundField[]): string[] {
  const [after] = fields.filter((field) => inEnvelope(field).startsWith("after."));
  const before = fields.find((field) => inEnvelope(field) === inEnvelope(after ?? field).replace("after.", "before."));
  const row =
    after === undefined || before === undefined || after === before
      ? ""
      : `: coalesce(${after.name}, ${before.name}) takes the one that is there`;
  const unread = fields.filter((field) => !inEnvelope(field).startsWith("before.") && looksLikeBase64(field));
  const base64 = `perhaps decimals without their schema: ${unread.map(({ name }) => name).join(", ")}`;
  return [
    "Changes of a database's rows, as Debezium writes them: op is c (insert), u (update), d (delete) or r (snapshot)",
    `The row after a change is absent in a delete, the row before it in an insert${row}`,
    ...(unread.length === 0 ? [] : [`Texts that look like base64, ${base64}. If so, as: "base64" reads them`]),
  ];
}
