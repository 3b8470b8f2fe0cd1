import { isUtf8 } from "node:buffer";
import { DuckDBBlobValue } from "@duckdb/node-api";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { Records } from "../../store/kafka/read/records.ts";

/** The original bytes of records on their way into DuckDB: one text for each column, which SQL splits into rows. */
export interface OriginalTexts {
  readonly columns: readonly {
    readonly name: string;
    /** Null: every row has the value that `read` returns. */
    readonly text: Buffer | null;
    readonly read: (part: string) => string;
  }[];
}

/**
 * Returns times, keys, values and headers of records as texts. Needs no database, so it can be done while earlier
 * records are still being processed.
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

/** Creates the temporary table `originals` (_timestamp, _key, _value, _headers), in the order of the records. */
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

/** The byte between two rows. */
const SEPARATOR_BYTE = 0x1e;
const SEPARATOR = String.fromCharCode(SEPARATOR_BYTE);
const NULL = "-";

/**
 * Returns the column of keys or values. Bytes that are all text are passed as they are, which is seven times as fast as
 * passing them as hexadecimal digits.
 */
function bytesColumn(records: Records, part: "key" | "value") {
  const joined = records.joined(part, SEPARATOR_BYTE);
  if (joined !== null && isUtf8(joined)) return { text: joined, read: (text: string) => `encode(${text})` };
  const bytes = part === "key" ? records.keys : records.values;
  const digits = bytes.map((one) => one?.toString("hex") ?? NULL).join(SEPARATOR);
  return { text: Buffer.from(digits), read: (text: string) => `unhex(nullif(${text}, '${NULL}'))` };
}

/**
 * A record without headers gets no bytes. Null means that the headers are not known: files of earlier releases have
 * null.
 */
function headersColumn(records: Records) {
  const bytes = Array.from({ length: records.length }, (_, index) => records.headerBytes(index));
  if (bytes.every((one) => one === null)) return { text: null, read: () => "''::BLOB" };
  const digits = bytes.map((one) => one?.toString("hex") ?? "").join(SEPARATOR);
  return { text: Buffer.from(digits), read: (text: string) => `unhex(${text})` };
}
