import type { z } from "zod";
import { type Field, isRequired, mayRepeatKeys } from "./fields.ts";
import { quoteName, quoteText } from "./sql.ts";
import type { Fields, Stream, Version } from "./stream.ts";

/**
 * Decoding is defined twice over, and the two may not disagree (invariant 3):
 *
 *   zod      the contract: decides what is valid, explains a reject; of an event's versions the newest that accepts a record
 *   decodeSql  vectorised, for nearly all records: `_ok` says that it recognised the record, and then zod would accept it with the same
 *              values. What it does not recognise (escapes, 1e3, extra fields, and everything invalid) goes to `decodeOne`, whose
 *              canonical text it reads right, whatever `_ok` says.
 *
 * Both are functions of the record alone. test/laws/decode.test.ts and contracts.test.ts hold them together. An Avro record is first turned into
 * the JSON text of its writer's fields (core/avro.ts), and is then a record like any other.
 */

/** Columns that every decoded event has beside the fields of its contract. */
export const META_COLUMNS = {
  partition: "_partition",
  offset: "_offset",
  timestamp: "_timestamp",
  id: "_id",
  duplicate: "_duplicate",
  reject: "_reject",
  /** Which version of the event the record is; its columns are those of the newest. NULL for a reject. */
  version: "_version",
} as const;

/** Why a record is refused; the word before the colon is stable. */
export type Reject =
  `${"empty" | "not-utf8" | "not-json" | "contract" | "avro" | "schema-unknown"}${"" | `: ${string}`}`;

export type DecodedOne =
  | { readonly ok: true; readonly version: number; readonly canonical: string }
  | { readonly ok: false; readonly reject: Reject };

export type RecordText = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reject: Reject };

/** Turns the body of an Avro record into JSON text; what it throws says why that cannot be. */
export interface AvroReader {
  jsonOf(body: Uint8Array): string;
}

/** The schemas of Avro records, by their ids; null for an id that the registry does not know. */
export type SchemaLookup = (id: number) => AvroReader | null;

/** Magic byte and schema id: Confluent's wire format. No JSON begins with a zero byte. */
const AVRO_HEADER_BYTES = 5;

/** The schema id of an Avro record, null for any other. */
export function avroSchemaId(bytes: Uint8Array | null): number | null {
  if (bytes === null || bytes[0] !== 0 || bytes.length < AVRO_HEADER_BYTES) return null;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The JSON text of a record, or the reason why it has none. */
export function recordText(bytes: Uint8Array | null, schemas: SchemaLookup): RecordText {
  if (bytes === null || bytes.length === 0) return { ok: false, reject: "empty" };
  if (bytes[0] === 0) return avroText(bytes, schemas);
  try {
    return { ok: true, text: utf8.decode(bytes) };
  } catch {
    return { ok: false, reject: "not-utf8" };
  }
}

function avroText(bytes: Uint8Array, schemas: SchemaLookup): RecordText {
  const id = avroSchemaId(bytes);
  if (id === null) return { ok: false, reject: "avro: shorter than its header" };
  const reader = schemas(id);
  if (reader === null) return { ok: false, reject: `schema-unknown: ${id}` };
  try {
    return { ok: true, text: reader.jsonOf(bytes.subarray(AVRO_HEADER_BYTES)) };
  } catch (error) {
    return { ok: false, reject: `avro: ${(error as Error).message}` };
  }
}

/**
 * Decodes one record by the contract: the canonical JSON that `decodeSql` reads, or the reason why it is refused. Whether an upcast keeps the
 * newest contract only SQL can tell.
 */
export function decodeOne(stream: Stream, bytes: Uint8Array | null, schemas: SchemaLookup = () => null): DecodedOne {
  const record = recordText(bytes, schemas);
  return record.ok ? decodeText(stream, record.text) : record;
}

/** As `decodeOne`, of a record's text. */
export function decodeText(stream: Stream, text: string): DecodedOne {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return { ok: false, reject: "not-json" };
  }
  let newest: z.ZodError | null = null;
  for (const { version, fields, contract, foreign } of stream.tried) {
    if (foreign.size > 0 && hasAny(json, foreign)) continue;
    const parsed = contract.safeParse(json);
    if (parsed.success) return { ok: true, version, canonical: JSON.stringify(canonicalEvent(fields, parsed.data)) };
    newest ??= parsed.error;
  }
  return { ok: false, reject: `contract: ${newest === null ? "no version" : explain(newest)}` };
}

function hasAny(json: unknown, names: ReadonlySet<string>): boolean {
  return typeof json === "object" && json !== null && Object.keys(json).some((name) => names.has(name));
}

function canonicalEvent(fields: Fields, event: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.keys(fields).map((field) => [field, canonicalValue(event[field])]));
}

/** Absent is null, and negative zero is zero: the column has only one of each. */
function canonicalValue(value: unknown): unknown {
  if (Array.isArray(value))
    return value.map((element: Readonly<Record<string, unknown>>) =>
      Object.fromEntries(Object.entries(element).map(([name, inner]) => [name, canonicalValue(inner)])),
    );
  return value === undefined ? null : value === 0 ? 0 : value;
}

function explain(error: z.ZodError): string {
  const [first] = error.issues;
  const path = first?.path.join(".") ?? "";
  return `${path === "" ? "" : `${path}: `}${first?.message ?? "invalid"}`;
}

/**
 * SQL: a relation `source` with (_row, _partition, _offset, _value VARCHAR) -> (_row, _partition, _offset, one column per field of the newest
 * version, _id VARCHAR, _version INTEGER, _ok BOOLEAN), decoded as `version`, by default the newest. Where `_ok` is false the contract's
 * columns and the id mean nothing.
 *
 * Of an older version there is also `_misfit VARCHAR`, the first column for which its upcast gives what the newest contract does not allow.
 */
export function decodeSql(stream: Stream, source: string, version: Version | undefined = stream.tried[0]): string {
  const newest = stream.tried[0];
  if (newest === undefined || version === undefined) throw new RangeError("a stream without a version");
  const newer = stream.tried.slice(0, stream.tried.indexOf(version));
  const rows = recognisedRows(version, newer, source);
  const columns = Object.keys(newest.fields).map(quoteName).join(", ");
  const id = `CAST(${quoteName(stream.eventId)} AS VARCHAR) AS ${META_COLUMNS.id}`;
  const result = `${WHERE_IT_LIES}, ${columns}, ${id}, ${version.version}::INTEGER AS _version`;
  if (newer.length === 0) return `SELECT ${result}, _ok FROM (${rows})`;
  const upcast = `SELECT ${WHERE_IT_LIES}, ${upcastColumns(newest, version).join(", ")}, _ok FROM (${rows})`;
  const checked = `SELECT *, ${misfit(newest, version)} AS _misfit FROM (${upcast})`;
  return `SELECT ${result}, _ok AND _misfit IS NULL AS _ok, _misfit FROM (${checked})`;
}

const WHERE_IT_LIES = "_row, _partition, _offset";

/** SQL: the version's columns, each under the name of its field, and whether the record is an event of it and of none of the newer ones. */
function recognisedRows({ fields }: Version, newer: readonly Version[], source: string): string {
  const entries = Object.entries(fields);
  const required = newer.map((version) => Object.keys(version.fields).filter((name) => isNeeded(version, name)));
  const names = [...new Set([...Object.keys(fields), ...required.flat()])];
  const structure = quoteText(JSON.stringify(Object.fromEntries(entries.map(([name, { read }]) => [name, read]))));
  const type = (name: string) => `_types[${names.indexOf(name) + 1}]`;
  const absent = (name: string) => `coalesce(${type(name)}, 'NULL') = 'NULL'`;
  const read = entries.map(
    ([name, field]) => `_json.${quoteName(name)}${field.read === "JSON" ? "::VARCHAR" : ""} AS ${quoteName(name)}`,
  );
  const values = entries.map(([name, field]) => `${field.value(quoteName(name))} AS ${quoteName(name)}`);
  const conditions = [
    "_clean",
    ...entries.map(([name, field]) => recognisedSql(name, field, type(name))),
    ...required.map((needed) => (needed.length === 0 ? "false" : `(${needed.map(absent).join(" OR ")})`)),
  ];
  return [
    `SELECT ${WHERE_IT_LIES}, ${values.join(", ")}, coalesce(${conditions.join(" AND ")}, false) AS _ok FROM (`,
    `SELECT ${WHERE_IT_LIES}, _value, _types, ${read.join(", ")}, ${keysAreKnown(entries)} AND ${NO_TRAILING_COMMA} AS _clean FROM (`,
    `SELECT ${WHERE_IT_LIES}, _value, TRY(json_transform(_value, ${structure})) AS _json, TRY(json_keys(_value)) AS _keys,`,
    ` TRY(json_type(_value, [${names.map(quoteText).join(", ")}])) AS _types FROM ${source}))`,
  ].join("");
}

function isNeeded({ fields }: Version, name: string): boolean {
  const field = fields[name];
  return field !== undefined && isRequired(field);
}

/** SQL: is this field's value one that the vectorised decode reads right? An absent one has the JSON type NULL or none. */
function recognisedSql(name: string, field: Field, type: string): string {
  const sound = [
    `${type} IN (${field.types.map(quoteText).join(", ")})`,
    field.guard(quoteName(name)),
    ...listIsSound(name, field),
  ].join(" AND ");
  if (field.optional) return `(coalesce(${type}, 'NULL') = 'NULL' OR coalesce(${sound}, false))`;
  return field.hasDefault ? `(${type} IS NULL OR coalesce(${sound}, false))` : sound;
}

/**
 * SQL: a list's elements are seen in the text itself. Its name in quotes followed by a colon and a bracket stands nowhere but at its key: inside a
 * text the quotes would be escaped, and no other key is known that could hold it.
 */
function listIsSound(name: string, field: Field): string[] {
  if (!field.types.includes("ARRAY")) return [];
  const inText = `regexp_matches(_value, ${quoteText(`"${name}"[ \\t\\r\\n]*:[ \\t\\r\\n]*${field.pattern}`)})`;
  if (!mayRepeatKeys(field)) return [inText];
  const keys = `TRY(json_keys(_value, '$.${name}[*]'))`;
  return [
    inText,
    `coalesce(list_bool_and(list_transform(${keys}, lambda _keys: len(list_distinct(_keys)) = len(_keys))), true)`,
  ];
}

/** SQL: the columns of the newest version over those of an older one. */
function upcastColumns(newest: Version, older: Version): string[] {
  return Object.entries(newest.fields).map(([name, field]) => {
    const column = quoteName(name);
    const upcast = Object.hasOwn(older.upcast, name) ? older.upcast[name] : undefined;
    const same = Object.hasOwn(older.fields, name);
    const value =
      upcast !== undefined ? `TRY(CAST((${upcast.text}) AS ${field.column}))` : same ? column : `NULL::${field.column}`;
    return `${defaultSql(field, value)} AS ${column}`;
  });
}

function defaultSql({ spec, literal }: Field, value: string): string {
  return spec.type === "default" ? `coalesce(${value}, ${literal(spec.value)})` : value;
}

/** SQL: the first column for which what came of an older version breaks the newest contract, else NULL. */
function misfit(newest: Version, older: Version): string {
  const cases = Object.entries(newest.fields).flatMap(([name, field]) => {
    const same = Object.hasOwn(older.fields, name) ? older.fields[name] : undefined;
    const given = Object.hasOwn(older.upcast, name);
    if (!given && (same === undefined || JSON.stringify(same.spec) === JSON.stringify(field.spec))) return [];
    const column = quoteName(name);
    const fits = field.optional
      ? `(${column} IS NULL OR ${field.fits(column)})`
      : `(${column} IS NOT NULL AND ${field.fits(column)})`;
    return [`WHEN NOT ${fits} THEN ${quoteText(name)}`];
  });
  return cases.length === 0 ? "NULL" : `CASE ${cases.join(" ")} END`;
}

/**
 * DuckDB's JSON reader accepts a comma before the closing brace; JSON does not. Only text that ends in a brace right after something else than
 * white space or a comma is seen at a glance. (Lists are looked at as text.)
 */
const NO_TRAILING_COMMA =
  "CASE WHEN suffix(_value, '}') AND ascii(_value[-2:-2]) NOT IN (9, 10, 13, 32, 44) THEN true ELSE right(rtrim(_value, ' }' || chr(9) || chr(10) || chr(13)), 1) <> ',' END";

/** No unknown and no repeated key. Where every field is required, the guards see to the names and counting is enough. */
function keysAreKnown(fields: readonly (readonly [string, Field])[]): string {
  if (fields.every(([, field]) => isRequired(field))) return `len(_keys) = ${fields.length}`;
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
