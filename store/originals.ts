import type { DuckDBBlobValue } from "@duckdb/node-api";
import { type Position, position } from "../core/position.ts";
import { quoteText } from "../core/sql.ts";
import type { RecordBatch } from "./decoder.ts";
import { type Duck, rowsOf } from "./duck.ts";
import type { DataDirectory } from "./files.ts";

/** What is decoded at once: the bound of memory. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** What a record takes beside its value. */
const RECORD_BYTES = 64;

/** The records of a partition's span as they were produced, from the archive's files, in order and in bounded pieces. */
export async function* archivedOriginals(
  duck: Duck,
  data: DataDirectory,
  files: readonly string[],
  { partition, from, to }: { readonly partition: number; readonly from: Position; readonly to: Position },
): AsyncGenerator<RecordBatch> {
  if (files.length === 0 || from >= to) return;
  const source = `read_parquet([${files.map((file) => quoteText(data.path(file))).join(", ")}], union_by_name = true)`;
  const within = (first: unknown, last: unknown) =>
    `${source} WHERE _partition = ${partition} AND _offset BETWEEN ${first} AND ${last}`;
  const sizes = `SELECT _offset, sum(coalesce(octet_length(_value), 0) + ${RECORD_BYTES}) OVER (ORDER BY _offset) // ${PIECE_BYTES} AS piece FROM ${within(from, to - 1n)}`;
  const pieces = await rowsOf(duck, `SELECT min(_offset), max(_offset) FROM (${sizes}) GROUP BY piece ORDER BY piece`);
  for (const [first, last] of pieces) {
    const rows = await rowsOf(duck, `SELECT _offset, _key, _value FROM ${within(first, last)} ORDER BY _offset`);
    yield {
      partition,
      offsets: rows.map(([offset]) => position(offset as bigint)),
      keys: rows.map(([, key]) => bytesOf(key)),
      values: rows.map(([, , value]) => bytesOf(value)),
    };
  }
}

function bytesOf(value: unknown): Buffer | null {
  return value === null ? null : Buffer.from((value as DuckDBBlobValue).bytes);
}
