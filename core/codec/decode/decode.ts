import type { z } from "zod";
import type { Field, JsonStructure } from "../../contract/field.ts";
import { bare } from "../../contract/fields.ts";
import { partValue, type RecordPlace } from "../../contract/record/record-part.ts";
import { WireError } from "../../contract/record/wire-error.ts";
import { quoteName, quoteText } from "../../contract/sql.ts";
import { type Fields, idFields, type Stream, type Version } from "../../contract/stream.ts";
import { hasPath, readWire, type Wire, withLongNumbersAsTexts, withoutPrototype } from "../../contract/wire.ts";
import { ROW_SEPARATOR, scannedValue } from "../text/column-text.ts";
import type { BodyScanner } from "./scan.ts";

/**
 * Decoding is defined twice, and both definitions have to agree (invariant 3):
 *
 *   zod      the contract. It decides which records are valid, and gives the reason of a reject. Of an event's versions
 *            the newest one that accepts the record counts.
 *   scan.ts  a fast decoder for nearly all records. For a record that it recognises, zod would return the same values.
 *            Any other record (with numbers such as 1e3, and everything invalid) is decoded by `decodeOne`, whose
 *            canonical text `canonicalSql` reads.
 *
 * Both are functions of the record alone. test/laws/decoding/scan.test.ts, decode.test.ts and contracts.test.ts compare
 * them. For the contract, an Avro record is the JSON text of its writer's fields (core/codec/avro/avro.ts), and from
 * there on a record like any other. The scanner reads nearly all Avro records without that text.
 */

/** Columns that every decoded event has in addition to the fields of its contract. */
export const META_COLUMNS = {
  partition: "_partition",
  offset: "_offset",
  timestamp: "_timestamp",
  id: "_id",
  duplicate: "_duplicate",
  reject: "_reject",
  /** The version of the record's event. The columns are those of the newest version. NULL for a reject. */
  version: "_version",
} as const;

/** The reason why a record is refused. The word before the colon is stable. */
export type Reject =
  `${"empty" | "too-large" | "not-utf8" | "not-json" | "contract" | "avro" | "schema-unknown"}${"" | `: ${string}`}`;

export type DecodedOne =
  | { readonly ok: true; readonly version: number; readonly canonical: string }
  | { readonly ok: false; readonly reject: Reject };

export type RecordText = { readonly ok: true; readonly text: string } | { readonly ok: false; readonly reject: Reject };

/** The schema of a writer. */
export interface AvroReader {
  /** Returns the body of a record as JSON text. Throws an error whose message says why there is none. */
  jsonOf(body: Uint8Array): string;
  /**
   * Returns a reader of bodies as events of a version, without JSON text in between. Null where that is not possible.
   */
  scannerOf(version: Version): BodyScanner | null;
}

/** The schemas of Avro records, by their ids; null for an id that the registry does not know. */
export type SchemaLookup = (id: number) => AvroReader | null;

/** Magic byte and schema id, Confluent's wire format. No JSON text begins with a zero byte. */
export const AVRO_HEADER_BYTES = 5;

/** Returns the schema id of an Avro record. Null for any other record. */
export function avroSchemaId(bytes: Uint8Array | null): number | null {
  if (bytes === null || bytes[0] !== 0 || bytes.length < AVRO_HEADER_BYTES) return null;
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(1);
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Returns the text that replaces a value that the log reader did not read, because the value, or its compressed batch,
 * has too many bytes. No JSON text begins like it.
 */
export function tooLarge(what: "it" | "its batch", mostBytes: number): string {
  return `\x1etoo-large: ${what} has more than ${mostBytes} bytes`;
}

const TOO_LARGE = /^too-large: (?:it|its batch) has more than \d{1,10} bytes$/;

/** Returns the JSON text of a record, or the reason why it has none. */
export function recordText(bytes: Uint8Array | null, schemas: SchemaLookup): RecordText {
  if (bytes === null || bytes.length === 0) return { ok: false, reject: "empty" };
  if (bytes[0] === 0) return avroText(bytes, schemas);
  try {
    const text = utf8.decode(bytes);
    const isUnread = bytes[0] === 0x1e && TOO_LARGE.test(text.slice(1));
    return isUnread ? { ok: false, reject: text.slice(1) as Reject } : { ok: true, text };
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
 * Decodes one record by the contract. Returns the canonical JSON that `canonicalSql` reads, or the reason why the
 * record is refused. Whether the result of an upcast keeps the newest contract is decided later, in SQL. `place`: the
 * rest of the record, null if it is not known.
 */
export function decodeOne(
  stream: Stream,
  bytes: Uint8Array | null,
  schemas: SchemaLookup = () => null,
  place: RecordPlace | null = null,
): DecodedOne {
  if (bytes === null && stream.tombstones === "delete") return decodeTombstone(stream, place);
  const record = recordText(bytes, schemas);
  return record.ok ? decodeText(stream, record.text, place) : record;
}

/**
 * Decodes a record without a value, of a stream where it deletes its key. Returns the canonical JSON of an event with
 * the key and nothing else. It has no event id, and every other event has one: `TOMBSTONE` in
 * core/definition/counted.ts.
 */
function decodeTombstone({ key, tried }: Stream, place: RecordPlace | null): DecodedOne {
  const [newest] = tried;
  const field = newest?.fields[key];
  if (newest === undefined || field === undefined || place === null || place.key === null)
    return { ok: false, reject: "empty" };
  try {
    const text = String(partValue(place, "key", key));
    const isNumber = bare(field.spec).type === "integer" && /^-?\d{1,16}$/.test(text);
    const parsed = field.zod.safeParse(isNumber ? Number(text) : text);
    if (!parsed.success) return { ok: false, reject: `contract: ${key}: ${explain(parsed.error)}` };
    const canonical = JSON.stringify({ [key]: canonicalValue(parsed.data) });
    return { ok: true, version: newest.version, canonical };
  } catch (error) {
    if (error instanceof WireError) return { ok: false, reject: `contract: ${error.message}` };
    throw error;
  }
}

/** Decodes the text of a record, as `decodeOne` does. */
export function decodeText(stream: Stream, text: string, place: RecordPlace | null = null): DecodedOne {
  let json: unknown;
  try {
    json = withoutPrototypes(JSON.parse(text));
  } catch {
    return { ok: false, reject: "not-json" };
  }
  const exact = stream.tried.some(({ wire }) => wire !== null) ? JSON.parse(withLongNumbersAsTexts(text)) : null;
  let newest: string | null = null;
  for (const { version, fields, contract, foreign, wire } of stream.tried) {
    if (foreign.some((path) => hasPath(json, path))) continue;
    const read = readFields(json, wire, exact, place);
    if (read instanceof WireError) {
      newest ??= read.message;
      continue;
    }
    const parsed = contract.safeParse(read);
    if (parsed.success) return { ok: true, version, canonical: JSON.stringify(canonicalEvent(fields, parsed.data)) };
    newest ??= explain(parsed.error);
  }
  return { ok: false, reject: `contract: ${newest ?? "no version"}` };
}

function readFields(json: unknown, wire: Wire, exact: unknown, place: RecordPlace | null): unknown {
  try {
    return readWire(json, wire, exact, place);
  } catch (error) {
    if (error instanceof WireError) return error;
    throw error;
  }
}

/** Removes the inherited properties of an object and of the elements of its lists. */
function withoutPrototypes(json: unknown): unknown {
  if (typeof json !== "object" || json === null || Array.isArray(json)) return json;
  for (const list of Object.values(json)) if (Array.isArray(list)) for (const one of list) withoutPrototype(one);
  return withoutPrototype(json);
}

function canonicalEvent(fields: Fields, event: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(fields).map((field) => [field, canonicalValue(Object.hasOwn(event, field) ? event[field] : null)]),
  );
}

/**
 * Returns the value that a column stores. Absent becomes null and negative zero becomes zero, because the column has
 * only one of each.
 */
function canonicalValue(value: unknown): unknown {
  if (Array.isArray(value))
    return value.map((element: unknown) =>
      typeof element === "object" && element !== null
        ? Object.fromEntries(Object.entries(element).map(([name, inner]) => [name, canonicalValue(inner)]))
        : canonicalValue(element),
    );
  return value === undefined ? null : value === 0 ? 0 : value;
}

function explain(error: z.ZodError): string {
  const [first] = error.issues;
  const path = first?.path.join(".") ?? "";
  return `${path === "" ? "" : `${path}: `}${first?.message ?? "invalid"}`;
}

/**
 * The column with a field's scanned texts, by the field's index in its version. One more column says which rows were
 * recognised.
 */
export const scannedColumn = (index: number): string => `_text${index}`;

/**
 * SQL: the texts of a `RecordScanner`, each a blob parameter from $1 on, unfolded side by side into the columns
 * `_text0`, `_text1` … Unless all rows were recognised, one more column says which were.
 */
export function scannedTexts({ fields }: Version, allOk: boolean): string {
  const columns = Array.from({ length: Object.keys(fields).length + (allOk ? 0 : 1) }, (_, index) => {
    const text = `string_split(decode($${index + 1}), chr(${ROW_SEPARATOR}))`;
    return `unnest(${text}) AS ${scannedColumn(index)}`;
  });
  return columns.join(", ");
}

/**
 * SQL: turns a relation `source` with (_row, _partition, _offset) and the columns of `scannedTexts` into (_row,
 * _partition, _offset, one column per field of the newest version, _id VARCHAR, _version INTEGER, _ok BOOLEAN). Where
 * `_ok` is false, the contract's columns and the id mean nothing. `allOk`: it is never false. For an older version
 * there is also `_misfit VARCHAR`: the first column for which its upcast breaks the newest contract.
 */
export function scannedSql(stream: Stream, version: Version, source: string, allOk: boolean): string {
  const fields = Object.entries(version.fields);
  const values = fields.map(([name, field], index) => {
    const text = scannedValue(field, scannedColumn(index), !allOk);
    const value = Array.isArray(field.read) ? field.value(`json_transform(${text}, ${structure(field.read)})`) : text;
    return `${value} AS ${quoteName(name)}`;
  });
  const ok = allOk ? "true" : `${scannedColumn(fields.length)} = '1'`;
  return eventSql(stream, version, `SELECT ${WHERE_IT_LIES}, ${values.join(", ")}, ${ok} AS _ok FROM ${source}`);
}

/**
 * SQL: the same as `scannedSql`, for a relation with (_row, _partition, _offset, _value VARCHAR), where `_value` is the
 * canonical text of `decodeOne`.
 */
export function canonicalSql(stream: Stream, version: Version, source: string): string {
  const fields = Object.entries(version.fields);
  const whole = structure(Object.fromEntries(fields.map(([name, { read }]) => [name, read])));
  const values = fields.map(([name, field]) => {
    const read = `_json.${quoteName(name)}${field.read === "JSON" ? "::VARCHAR" : ""}`;
    return `${field.value(read)} AS ${quoteName(name)}`;
  });
  const json = `SELECT ${WHERE_IT_LIES}, json_transform(_value, ${whole}) AS _json FROM ${source}`;
  return eventSql(stream, version, `SELECT ${WHERE_IT_LIES}, ${values.join(", ")}, true AS _ok FROM (${json})`);
}

const WHERE_IT_LIES = "_row, _partition, _offset";

function structure(read: JsonStructure | Readonly<Record<string, JsonStructure>>): string {
  return quoteText(JSON.stringify(read));
}

/** SQL: rows of a version's columns as events of the newest. */
function eventSql(stream: Stream, version: Version, rows: string): string {
  const newest = stream.tried[0];
  if (newest === undefined) throw new RangeError("a stream without a version");
  const columns = Object.keys(newest.fields).map(quoteName).join(", ");
  const id = `${idSql(stream)} AS ${META_COLUMNS.id}`;
  const result = `${WHERE_IT_LIES}, ${columns}, ${id}, ${version.version}::INTEGER AS _version`;
  if (version === newest) return `SELECT ${result}, _ok FROM (${rows})`;
  const upcast = `SELECT ${WHERE_IT_LIES}, ${upcastColumns(newest, version).join(", ")}, _ok FROM (${rows})`;
  const checked = `SELECT *, ${misfit(newest, version)} AS _misfit FROM (${upcast})`;
  return `SELECT ${result}, _ok AND _misfit IS NULL AS _ok, _misfit FROM (${checked})`;
}

/**
 * SQL: the event id as text. The texts of several fields have "/" between them; a slash or a backslash in a text gets a
 * backslash before it, so that different values never make the same id. NULL where a part is NULL.
 */
function idSql(stream: Stream): string {
  const fields = idFields(stream);
  const text = (name: string) => `CAST(${quoteName(name)} AS VARCHAR)`;
  if (fields.length === 1) return fields.map(text).join();
  const part = (name: string) =>
    stream.fields[name]?.column === "VARCHAR"
      ? `replace(replace(${quoteName(name)}, '\\', '\\\\'), '/', '\\/')`
      : text(name);
  return `(${fields.map(part).join(" || '/' || ")})`;
}

/** SQL: the columns of the newest version, from those of an older one. */
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

/** SQL: the name of the first column for which the upcast of an older version breaks the newest contract, else NULL. */
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
 * SQL: the duplicates of a batch (invariant 4), as (_partition, _offset). `events` has (_partition, _offset, _id NULL
 * for a reject, _hash of partition and id); `seen` has the same columns of the offsets before them. A record is a
 * duplicate if its id occurred within the last `dedupWindow` offsets, whether or not that occurrence was itself a
 * duplicate. The hash only narrows the search: ids decide.
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

/** SQL: one boolean, whether a batch may have duplicates. It nearly always has none, and this check is much cheaper. */
export function anyRepeatSql(events: string, seen: string): string {
  return [
    `SELECT (SELECT count(_hash) <> count(DISTINCT _hash) FROM ${events} WHERE _id IS NOT NULL)`,
    ` OR EXISTS (SELECT 1 FROM ${seen} SEMI JOIN ${events} USING (_hash))`,
  ].join("");
}
