import { bare } from "../../core/contract/fields.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { bytesJson, isText, recordJson, timeText } from "../../store/records/record-json.ts";
import type { ReadRecord } from "../../store/records/record-reader.ts";
import { printable, printableLines } from "../terminal/printable.ts";

/** At most this many characters of a value are shown in a line; `--format json` shows all. */
const MOST = 200;
const INDENT = "  ";

/** Returns a record as one line of JSON. Control characters are escaped as in JSON. */
export function jsonLine(record: ReadRecord): string {
  return printableLines(`${JSON.stringify(recordJson(record))}\n`);
}

/**
 * Returns a record for people: position, time, verdict, key and fields in one line. Further lines say why a record is
 * refused, and show its original and its headers. `stream` is the stream whose fields they are; null for a topic
 * without a contract.
 */
export function recordLines(record: ReadRecord, stream: Stream | null): string {
  const { partition, offset, timestampMs, key, verdict, fields } = record;
  const word = verdict === null ? [] : [verdict.accepted ? "accepted" : "refused "];
  const values = fields === null ? [] : Object.entries(fields).map(([name, value]) => fieldText(name, value, stream));
  const head = [
    `${partition}:${offset}`.padEnd(12),
    (timeText(timestampMs) ?? "no time").padEnd(24),
    ...word,
    `key ${bytesText(key)}`,
    ...values,
  ];
  const why = verdict?.accepted === false ? [`${INDENT}why       ${cut(verdict.reason)}`] : [];
  const original = fields === null ? [`${INDENT}original  ${originalText(record)}`] : [];
  const headers = record.headers.map(([name, value]) => `${cut(name?.toString() ?? "")}=${bytesText(value)}`);
  const below = headers.length === 0 ? [] : [`${INDENT}headers   ${headers.join("  ")}`];
  return [head.join("  "), ...why, ...original, ...below].map((line) => `${printable(line)}\n`).join("");
}

function originalText({ original, verdict }: ReadRecord): string {
  if (original !== null) return isText(original) ? cut(original.toString()) : bytesText(original);
  return verdict?.accepted === false && verdict.code === "too-large" ? "too large to be shown" : "none";
}

/** Shows an instant as a time; in SQL it is epoch milliseconds. */
function fieldText(name: string, value: unknown, stream: Stream | null): string {
  const field = stream === null || !Object.hasOwn(stream.fields, name) ? undefined : stream.fields[name];
  const isInstant = field !== undefined && bare(field.spec).type === "instant";
  // A contract's bounds are between the years 1 and 9999.
  const shown = isInstant && typeof value === "number" ? new Date(value).toISOString() : JSON.stringify(value);
  return `${name}=${cut(shown)}`;
}

function bytesText(bytes: Buffer | null): string {
  const json = bytesJson(bytes);
  if (json === null || typeof json === "string") return cut(JSON.stringify(json));
  return `0x${cut(bytes?.toString("hex") ?? "")}`;
}

function cut(text: string): string {
  return text.length > MOST ? `${text.slice(0, MOST)}… (${text.length} characters)` : text;
}
