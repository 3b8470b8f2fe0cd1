import type { z } from "zod";
import type { Field } from "./fields.ts";
import { quoteName, quoteText } from "./sql.ts";
import type { Stream } from "./stream.ts";

/**
 * Decoding is defined twice over, and the two may not disagree (invariant 3):
 *
 *   zod      the contract: decides what is valid, explains a reject
 *   decodeSql  vectorised, for nearly all records: `_ok` says that it recognised the record, and then zod would accept it with the same
 *              values. What it does not recognise (escapes, 1e3, extra fields, and everything invalid) goes to `decodeOne`, whose
 *              canonical text it reads right, whatever `_ok` says.
 *
 * Both are functions of the record alone. test/laws/decode.test.ts holds them together.
 */

/** Columns that every decoded event has beside the fields of its contract. */
export const META_COLUMNS = {
  partition: "_partition",
  offset: "_offset",
  timestamp: "_timestamp",
  id: "_id",
  duplicate: "_duplicate",
  reject: "_reject",
} as const;

/** Why a record is refused; the word before the colon is stable. */
export type Reject = `${"empty" | "not-utf8" | "not-json" | "contract"}${"" | `: ${string}`}`;

export type DecodedOne =
  | { readonly ok: true; readonly canonical: string }
  | { readonly ok: false; readonly reject: Reject };

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Decodes one record by the contract: the canonical JSON that `decodeSql` reads, or the reason why it is refused. */
export function decodeOne(stream: Stream, bytes: Uint8Array | null): DecodedOne {
  if (bytes === null || bytes.length === 0) return { ok: false, reject: "empty" };
  let json: unknown;
  try {
    json = JSON.parse(utf8.decode(bytes));
  } catch (error) {
    return { ok: false, reject: error instanceof SyntaxError ? "not-json" : "not-utf8" };
  }
  const parsed = stream.contract.safeParse(json);
  if (!parsed.success) return { ok: false, reject: `contract: ${explain(parsed.error)}` };
  const event: Record<string, unknown> = parsed.data;
  const canonical = Object.fromEntries(
    Object.keys(stream.fields).map((field) => [field, canonicalValue(event[field])]),
  );
  return { ok: true, canonical: JSON.stringify(canonical) };
}

/** Absent is null, and negative zero is zero: the column has only one of each. */
function canonicalValue(value: unknown): unknown {
  return value === undefined ? null : value === 0 ? 0 : value;
}

function explain(error: z.ZodError): string {
  const [first] = error.issues;
  const path = first?.path.join(".") ?? "";
  return `${path === "" ? "" : `${path}: `}${first?.message ?? "invalid"}`;
}

/**
 * SQL: a relation `source` with (_row, _partition, _offset, _value VARCHAR) -> (_row, _partition, _offset, one column per field of the
 * contract, _id VARCHAR, _ok BOOLEAN). Where `_ok` is false the contract's columns and the id mean nothing.
 */
export function decodeSql(stream: Stream, source: string): string {
  const fields = Object.entries(stream.fields);
  const structure = quoteText(JSON.stringify(Object.fromEntries(fields.map(([name, { read }]) => [name, read]))));
  const paths = fields.map(([name]) => quoteText(name)).join(", ");
  const read = fields.map(
    ([name, field]) => `_json.${quoteName(name)}${field.read === "JSON" ? "::VARCHAR" : ""} AS ${quoteName(name)}`,
  );
  const values = fields.map(([name, field]) => `${field.value(quoteName(name))} AS ${quoteName(name)}`);
  const recognised = fields.map(([name, field], index) =>
    recognisedSql(field, quoteName(name), `_types[${index + 1}]`),
  );
  const id = `CAST(${stream.fields[stream.eventId]?.value(quoteName(stream.eventId))} AS VARCHAR) AS ${META_COLUMNS.id}`;
  return [
    `SELECT ${WHERE_IT_LIES}, ${values.join(", ")}, ${id}, coalesce(_clean AND ${recognised.join(" AND ")}, false) AS _ok FROM (`,
    `SELECT ${WHERE_IT_LIES}, _types, ${read.join(", ")}, ${keysAreKnown(stream)} AND ${NO_TRAILING_COMMA} AS _clean FROM (`,
    `SELECT ${WHERE_IT_LIES}, _value, TRY(json_transform(_value, ${structure})) AS _json, TRY(json_keys(_value)) AS _keys,`,
    ` TRY(json_type(_value, [${paths}])) AS _types FROM ${source}))`,
  ].join("");
}

/** SQL: is this field's value one that the vectorised decode reads right? An absent one has the JSON type NULL or none. */
function recognisedSql({ types, guard, optional }: Field, read: string, type: string): string {
  const sound = `${type} IN (${types.map(quoteText).join(", ")}) AND ${guard(read)}`;
  return optional ? `(coalesce(${type}, 'NULL') = 'NULL' OR coalesce(${sound}, false))` : `${sound}`;
}

const WHERE_IT_LIES = "_row, _partition, _offset";

/**
 * DuckDB's JSON reader accepts a comma before the closing brace; JSON does not. Only text that ends in a brace right after something else than
 * white space or a comma is seen at a glance.
 */
const NO_TRAILING_COMMA =
  "CASE WHEN suffix(_value, '}') AND ascii(_value[-2:-2]) NOT IN (9, 10, 13, 32, 44) THEN true ELSE right(rtrim(_value, ' }' || chr(9) || chr(10) || chr(13)), 1) <> ',' END";

/** No unknown and no repeated key. Where every field is required, the guards see to the names and counting is enough. */
function keysAreKnown(stream: Stream): string {
  const fields = Object.entries(stream.fields);
  if (fields.every(([, field]) => !field.optional)) return `len(_keys) = ${fields.length}`;
  const known = fields.map(([name]) => quoteText(name)).join(", ");
  return `(len(list_distinct(_keys)) = len(_keys) AND list_has_all([${known}], _keys))`;
}

/**
 * SQL: the duplicates of a batch (invariant 4). `events` has (_partition, _offset, _id NULL for a reject, _hash of partition and id); `seen` has the same of
 * the offsets before them. A record is a duplicate if its id occurred within the last `dedupWindow` offsets, whether or not that
 * occurrence was itself a duplicate. The hash only narrows down what is compared: ids decide. Answers (_partition, _offset).
 */
export function duplicatesSql(stream: Stream, events: string, seen: string): string {
  const ids = "_partition, _offset, _id";
  const earlier = `SELECT ${ids}, false AS fresh FROM ${seen} SEMI JOIN ${events} USING (_hash)`;
  return [
    "SELECT _partition, _offset FROM (",
    "SELECT *, _offset - lag(_offset) OVER (PARTITION BY _partition, _id ORDER BY _offset) AS distance",
    ` FROM (SELECT ${ids}, true AS fresh FROM ${events} WHERE _id IS NOT NULL UNION ALL ${earlier}))`,
    ` WHERE fresh AND distance <= ${stream.dedupWindow}`,
  ].join("");
}

/** SQL: one boolean, whether a batch can have duplicates at all: nearly always no, and much cheaper to see. */
export function anyRepeatSql(events: string, seen: string): string {
  return [
    `SELECT (SELECT count(_hash) <> count(DISTINCT _hash) FROM ${events} WHERE _id IS NOT NULL)`,
    ` OR EXISTS (SELECT 1 FROM ${seen} SEMI JOIN ${events} USING (_hash))`,
  ].join("");
}
