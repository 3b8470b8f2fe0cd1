import { isUtf8 } from "node:buffer";
import { LAST_INSTANT } from "../../core/time.ts";
import type { ReadRecord } from "./record-reader.ts";

/** Bytes in JSON: text, or base64 where they are none; null for none. */
export type BytesJson = string | { readonly base64: string } | null;

/** A record as `tideline tail --format json` and `GET /streams/:name/records` show it. */
export interface RecordJson {
  /** `partition:offset`. */
  readonly position: string;
  /** The record's timestamp in Kafka, ISO 8601 in UTC; null when it is not a time. */
  readonly time: string | null;
  readonly key: BytesJson;
  readonly headers: readonly { readonly name: BytesJson; readonly value: BytesJson }[];
  readonly verdict: ReadRecord["verdict"];
  readonly fields: ReadRecord["fields"];
  readonly original: BytesJson;
}

export function recordJson({
  partition,
  offset,
  timestampMs,
  key,
  headers,
  verdict,
  fields,
  original,
}: ReadRecord): RecordJson {
  return {
    position: `${partition}:${offset}`,
    time: timeText(timestampMs),
    key: bytesJson(key),
    headers: headers.map(([name, value]) => ({ name: bytesJson(name), value: bytesJson(value) })),
    verdict,
    fields,
    original: bytesJson(original),
  };
}

export function bytesJson(bytes: Buffer | null): BytesJson {
  if (bytes === null) return null;
  return isText(bytes) ? bytes.toString() : { base64: bytes.toString("base64") };
}

/** Whether bytes are UTF-8. What begins with a zero byte is not: Avro does, and its bytes may be UTF-8 by chance. */
export function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && bytes[0] !== 0;
}

/** A producer may write any number as a timestamp; -1 is none. */
export function timeText(timeMs: number): string | null {
  return timeMs >= 0 && timeMs <= LAST_INSTANT ? new Date(timeMs).toISOString() : null;
}
