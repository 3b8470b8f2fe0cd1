import type { FieldSpec } from "../../contract/field.ts";
import { isRequired } from "../../contract/fields.ts";
import { partValue, type RecordPart, type RecordPlace } from "../../contract/record/record-part.ts";
import { WireError } from "../../contract/record/wire-error.ts";
import type { Version } from "../../contract/stream.ts";
import { partOf } from "../../contract/wire.ts";
import { ObjectScanner } from "../json/scan-json.ts";
import { absentText, ColumnText, NOTHING, ROW_SEPARATOR, SPARE } from "../text/column-text.ts";

/**
 * The fast decoder. It reads nearly every record that producers send, a few bytes at a time and without making
 * JavaScript values, and writes its fields as the texts of columns, which DuckDB splits and casts. Fields that the
 * contract does not name are skipped. Records that it does not recognise (with numbers such as 1e3, repeated fields,
 * control characters that separate rows, everything invalid) go to zod. It may recognise less than zod accepts, but
 * never more, and never with another value. JSON is read by core/codec/json/scan-json.ts, the body of an Avro record by
 * a scanner made from its writer's schema (core/codec/avro/scan-avro.ts).
 */

/** The fields of a version, in their order. */
export function specsOf({ fields }: Version): [string, FieldSpec][] {
  return Object.entries(fields).map(([name, { spec }]) => [name, spec]);
}

/** Reads the body of an Avro record by its writer's schema, as an event of one version. */
export interface BodyScanner {
  /** Writes the body in `[from, end)` to the columns, one a field. Returns whether it was recognised. */
  scan(bytes: Uint8Array, from: number, end: number, columns: readonly ColumnText[]): boolean;
  /** Whether its records have this field. */
  has(field: number): boolean;
  /** Whether its records have all fields. */
  readonly hasAll: boolean;
}

interface PartField {
  /** The index of the field. */
  readonly field: number;
  readonly name: string;
  readonly part: RecordPart;
  readonly isNeeded: boolean;
}

function partFields(specs: readonly [string, FieldSpec][]): PartField[] {
  return specs.flatMap(([name, spec], field) => {
    const part = partOf(spec);
    const isNeeded = spec.type !== "optional" && spec.type !== "default";
    return part === null ? [] : [{ field, name, part, isNeeded }];
  });
}

const utf8 = new TextEncoder();

/** Returns a part of a record as JSON. Null if the record does not have the part. */
function partJson(place: RecordPlace | null, part: RecordPart, name: string): Uint8Array | null | "invalid" {
  if (place === null) return null;
  try {
    const value = partValue(place, part, name);
    return value === undefined ? null : utf8.encode(JSON.stringify(value));
  } catch (error) {
    if (error instanceof WireError) return "invalid";
    throw error;
  }
}

/** Turns records, one after the other, into the column texts of one version. */
export class RecordScanner {
  readonly #json: ObjectScanner;
  readonly #columns: readonly ColumnText[];
  readonly #absent: readonly Uint8Array[];
  /** Fields whose default cannot be written as a column's text. A record without such a field is not recognised. */
  readonly #unsayable: readonly number[];
  /** For each newer version, the indexes of its required fields. A record with all of them may be of that version. */
  readonly #newer: readonly (readonly number[])[];
  /** The fields that are read from other parts of the record than its value. */
  readonly #parts: readonly PartField[];
  /** The rest of the record that is scanned next. Set it if `needsPlace`. */
  place: RecordPlace | null = null;
  readonly #recognised = new ColumnText(1_024);
  #rows = 0;
  #failed = 0;

  /** `newer` are the versions that are tried before this one. */
  constructor(version: Version, newer: readonly Version[] = []) {
    const specs = specsOf(version);
    this.#json = new ObjectScanner(Object.fromEntries(specs), version.foreign);
    this.#columns = this.#json.columns;
    const absent = specs.map(([, spec]) => absentText(spec));
    this.#absent = absent.map((text) => text ?? NOTHING);
    this.#unsayable = absent.flatMap((text, index) => (text === null ? [index] : []));
    this.#parts = partFields(specs);
    const names = specs.map(([name]) => name);
    this.#newer = newer.map(({ fields }) => {
      // Every record may have the parts other than its value.
      const needed = Object.entries(fields).flatMap(([name, field]) =>
        isRequired(field) && partOf(field.spec) === null ? [name] : [],
      );
      return needed.map((name) => names.indexOf(name));
    });
  }

  /** Whether `place` is to be set before each record. */
  get needsPlace(): boolean {
    return this.#parts.length > 0;
  }

  /** Forgets the scanned records. */
  clear(): void {
    for (const column of [...this.#columns, this.#recognised]) column.end = 0;
    this.#rows = 0;
    this.#failed = 0;
  }

  get rows(): number {
    return this.#rows;
  }

  /** The number of records that were not recognised. */
  get failed(): number {
    return this.#failed;
  }

  /**
   * Returns the texts of the columns, in the order of the fields. Unless `allOk`, adds a column with `1` for each
   * recognised record.
   */
  texts(allOk: boolean): Uint8Array[] {
    return (allOk ? this.#columns : [...this.#columns, this.#recognised]).map(({ bytes, end }) =>
      bytes.subarray(0, end),
    );
  }

  /** Scans one more record in `[from, end)`: JSON text, or the body of an Avro record and its reader. */
  scan(bytes: Uint8Array, from: number, end: number, body?: BodyScanner): void {
    const columns = this.#columns;
    const first = this.#rows === 0;
    for (let index = 0; index < columns.length; index++) {
      const column = columns[index] as ColumnText;
      column.reserve(end - from + SPARE);
      if (!first) column.bytes[column.end++] = ROW_SEPARATOR;
      column.row = column.end;
    }
    const recognised =
      body === undefined
        ? this.#json.scanWhole(bytes, from, end) && this.#scanParts() && this.#isOurs(this.#json)
        : this.#isOurs(body) && body.scan(bytes, from, end, columns);
    const read = body ?? this.#json;
    if (!recognised || !read.hasAll) this.#fillIn(recognised ? read : null);
    this.#recognised.reserve(2);
    if (!first) this.#recognised.bytes[this.#recognised.end++] = ROW_SEPARATOR;
    this.#recognised.bytes[this.#recognised.end++] = recognised ? 0x31 : 0x30;
    this.#rows += 1;
  }

  #scanParts(): boolean {
    for (const { field, name, part, isNeeded } of this.#parts) {
      const json = partJson(this.place, part, name);
      if (json === null ? isNeeded : json === "invalid" || !this.#json.scanPart(field, json)) return false;
    }
    return true;
  }

  /** Writes the texts of the fields that a record does not have. Null is a record that was not recognised. */
  #fillIn(record: Pick<BodyScanner, "has"> | null): void {
    if (record === null) this.#failed += 1;
    for (const [index, column] of this.#columns.entries()) {
      if (record?.has(index) === true) continue;
      column.end = column.row;
      column.write(record === null ? NOTHING : (this.#absent[index] as Uint8Array));
    }
  }

  /** Whether the record's fields can be written as texts, and the record is not an event of a newer version. */
  #isOurs(record: Pick<BodyScanner, "has">): boolean {
    for (const field of this.#unsayable) if (!record.has(field)) return false;
    for (const needed of this.#newer) {
      let all = true;
      for (const field of needed) if (field < 0 || !record.has(field)) all = false;
      if (all) return false;
    }
    return true;
  }
}
