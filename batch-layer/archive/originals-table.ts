import { isUtf8 } from "node:buffer";
import { DuckDBBlobValue } from "@duckdb/node-api";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { Records } from "../../store/kafka/read/records.ts";

/** What the archive keeps beside the events, on its way into DuckDB: a text a column, which SQL takes apart. */
export interface OriginalTexts {
  readonly columns: readonly {
    readonly name: string;
    /** null: every row has the value that `read` returns. */
    readonly text: Buffer | null;
    readonly read: (part: string) => string;
  }[];
}

/**
 * Times, keys, values and headers of records. Needs no database: it may be done while the records before are still
 * worked on.
 */
export function originalTexts(records: Records): OriginalTexts {
  const times = { text: Buffer.from(records.timestampsMs.join(SEPARATOR)), read: (part: string) => `${part}::BIGINT` };
  return {
    columns: [
      { name: "_timestamp", ...times },
      { name: "_key", ...bytesColumn(records, "key") },
      { name: "_value", ...bytesColumn(records, "value") },
      { name: "_headers", ...headersColumn(records) },
    ],
  };
}

/**
 * Puts them into the temporary table `originals`: (_timestamp, _key, _value, _headers), in the order of the records.
 */
export async function createOriginals(duck: Duck, { columns }: OriginalTexts): Promise<void> {
  const given = columns.flatMap(({ name, text }) => (text === null ? [] : [{ name, text }]));
  const parts = given.map(
    ({ name }, index) => `unnest(string_split(decode($${index + 1}), chr(${SEPARATOR_BYTE}))) AS ${name}`,
  );
  await duck.run(
    "CREATE OR REPLACE TEMP TABLE originals AS SELECT " +
      `${columns.map(({ name, read }) => `${read(name)} AS ${name}`).join(", ")} FROM (SELECT ` +
      `${parts.join(", ")})`,
    given.map(({ text }) => new DuckDBBlobValue(text)),
  );
}

/** Between two rows. */
const SEPARATOR_BYTE = 0x1e;
const SEPARATOR = String.fromCharCode(SEPARATOR_BYTE);
const NULL = "-";

/**
 * Bytes that are all text cross as they are, which is seven times as quick as the hexadecimal digits that any others
 * cross as.
 */
function bytesColumn(records: Records, part: "key" | "value") {
  const joined = records.joined(part, SEPARATOR_BYTE);
  if (joined !== null && isUtf8(joined)) return { text: joined, read: (text: string) => `encode(${text})` };
  const bytes = part === "key" ? records.keys : records.values;
  const digits = bytes.map((one) => one?.toString("hex") ?? NULL).join(SEPARATOR);
  return { text: Buffer.from(digits), read: (text: string) => `unhex(nullif(${text}, '${NULL}'))` };
}

/**
 * No bytes for a record without headers: null is what files of earlier releases have, of whose records they are not
 * known.
 */
function headersColumn(records: Records) {
  const bytes = Array.from({ length: records.length }, (_, index) => records.headerBytes(index));
  if (bytes.every((one) => one === null)) return { text: null, read: () => "''::BLOB" };
  const digits = bytes.map((one) => one?.toString("hex") ?? "").join(SEPARATOR);
  return { text: Buffer.from(digits), read: (text: string) => `unhex(${text})` };
}
