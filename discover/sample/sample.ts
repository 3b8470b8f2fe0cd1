import { recordText, type SchemaLookup } from "../../core/codec/decode/decode.ts";
import type { RecordPlace } from "../../core/contract/record/record-part.ts";

/** A record of a topic, as it is in the log. */
export interface SampleRecord extends RecordPlace {
  readonly value: Uint8Array | null;
  /** The names of its headers. */
  readonly headers?: readonly string[];
}

export type JsonObject = Readonly<Record<string, unknown>>;

/** A record whose value was read: a JSON object, or an Avro record as an object. */
export interface ReadRecord {
  readonly record: SampleRecord;
  readonly object: JsonObject;
}

/** A reason that several records share. `first` is the earliest of them in the sample. */
export interface Reason {
  readonly reason: string;
  readonly count: number;
  readonly first: SampleRecord;
}

/** Counts records by reason. */
export class Reasons {
  readonly #counted = new Map<string, { count: number; readonly first: SampleRecord }>();

  add(reason: string, record: SampleRecord): void {
    const held = this.#counted.get(reason);
    if (held === undefined) this.#counted.set(reason, { count: 1, first: record });
    else held.count += 1;
  }

  /** Returns the reasons, the most frequent first. */
  list(): Reason[] {
    const all = [...this.#counted].map(([reason, counted]) => ({ reason, ...counted }));
    return all.sort((a, b) => b.count - a.count || (a.reason < b.reason ? -1 : 1));
  }
}

/** Returns the records of a sample that are JSON objects or Avro, and the reasons for the others. */
export function readRecords(
  records: readonly SampleRecord[],
  schemas: SchemaLookup,
): { readonly read: ReadRecord[]; readonly unread: Reason[] } {
  const read: ReadRecord[] = [];
  const unread = new Reasons();
  for (const record of records) {
    const text = recordText(record.value, schemas);
    const object = text.ok ? objectOf(text.text) : text.reject;
    if (typeof object === "string") unread.add(object, record);
    else read.push({ record, object });
  }
  return { read, unread: unread.list() };
}

/** The reason for a record that is a list. */
export const A_LIST = "JSON, but a list";

function objectOf(text: string): JsonObject | string {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return "not-json";
  }
  return isObject(value) ? value : Array.isArray(value) ? A_LIST : "JSON, but no object";
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
