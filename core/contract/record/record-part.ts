import { WireError } from "./wire-error.ts";

/** The parts of a record other than its value, as `from` names them. */
export type RecordPart = "key" | "timestamp" | "partition" | "offset" | `header:${string}`;

/** Whether a text names a part of a record: `key`, `header:<name>`, `timestamp`, `partition`, `offset`. */
export function isRecordPart(text: string): text is RecordPart {
  return /^(?:key|timestamp|partition|offset|header:.+)$/s.test(text);
}

/** A record without its value. */
export interface RecordPlace {
  readonly partition: number;
  /** Below 2^53. */
  readonly offset: number;
  /** Epoch milliseconds. -1 for a record without a timestamp. */
  readonly timestampMs: number;
  readonly key: Uint8Array | null;
  /** Returns the last header with this name. Null if there is none, or it has no value. */
  header(name: string): Uint8Array | null;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Returns a part as a JSON value: keys and headers are texts, the others numbers. Undefined if the record does not have
 * the part. Throws WireError.
 */
export function partValue(place: RecordPlace, part: RecordPart, field: string): string | number | undefined {
  if (part === "timestamp") return place.timestampMs;
  if (part === "partition" || part === "offset") return place[part];
  const bytes = part === "key" ? place.key : place.header(part.slice("header:".length));
  if (bytes === null) return undefined;
  try {
    return utf8.decode(bytes);
  } catch {
    throw new WireError(`${field}: the record's ${part} is not UTF-8`);
  }
}
