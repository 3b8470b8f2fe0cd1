import { isUtf8 } from "node:buffer";
import { z } from "zod";
import { list, time } from "../../core/json-parts.ts";
import { LAST_INSTANT } from "../../core/time.ts";
import { type ReadRecord, Verdict } from "./record-reader.ts";

/** Bytes in JSON: text, or base64 for bytes that are not text. Null for no bytes. */
const BytesJson = z
  .union([z.string(), z.object({ base64: z.string() }), z.null()])
  .describe("text where it is UTF-8, else base64");
export type BytesJson = z.infer<typeof BytesJson>;

/** A record as `tideline tail --format json` and `GET /streams/:name/records` show it. */
export const RecordJson = z.object({
  position: z.string().describe("partition:offset"),
  time: time.nullable().describe("Kafka's time of the record; null when it is not a time"),
  key: BytesJson,
  headers: list(z.object({ name: BytesJson, value: BytesJson })),
  verdict: Verdict.nullable().describe("null when the topic has no contract"),
  fields: z
    .record(z.string(), z.unknown())
    .nullable()
    .describe(
      "as a view's SQL sees them: instants are epoch milliseconds, a decimal its digits without the point; " +
        "null when refused",
    ),
  original: BytesJson,
});
export type RecordJson = z.infer<typeof RecordJson>;

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

/**
 * Whether bytes are text: UTF-8 that does not begin with a zero byte. Avro begins with one, and its bytes may be UTF-8
 * by chance.
 */
export function isText(bytes: Buffer): boolean {
  return isUtf8(bytes) && bytes[0] !== 0;
}

/**
 * Returns a record's timestamp as text. Null for -1, which means none, and for other numbers that are not a time: a
 * producer may write any number.
 */
export function timeText(timeMs: number): string | null {
  return timeMs >= 0 && timeMs <= LAST_INSTANT ? new Date(timeMs).toISOString() : null;
}
