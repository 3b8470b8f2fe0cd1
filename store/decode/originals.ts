import type { DuckDBBlobValue } from "@duckdb/node-api";
import type { Stream } from "../../core/contract/stream.ts";
import { partOf } from "../../core/contract/wire.ts";
import { TidelineError } from "../../core/errors.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { type PartitionSpan, type Position, position } from "../../core/log/position.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";
import { parquetColumns, parquetRows } from "../duckdb/parquet.ts";
import type { DataDirectory } from "../files/files.ts";
import { Records } from "../kafka/read/records.ts";
import type { RecordBatch } from "./batch-rows.ts";

/** Archived records of a partition to decode again: `[from, to)` of successive entries, whole or in part. */
export interface ForeignSpan extends PartitionSpan {
  readonly files: readonly string[];
}

/**
 * Returns the parts of `[from, to)` in entries of other revisions, or of all entries if the revision is null: one span
 * for each run of successive entries.
 */
export function foreignSpans(
  entries: readonly ArchiveEntry[],
  { revision }: { readonly revision: number | null },
  { partition, from, to }: PartitionSpan,
): ForeignSpan[] {
  const spans: { partition: number; from: Position; to: Position; files: string[] }[] = [];
  for (const entry of entries) {
    if (entry.contract === revision) continue;
    const { from: begins, to: ends } = entry;
    const last = spans.at(-1);
    const files = entry.file === null ? [] : [entry.file];
    if (last !== undefined && last.to === begins) {
      last.to = ends;
      last.files.push(...files);
    } else spans.push({ partition, from: begins, to: ends, files });
  }
  return spans.map((span) => ({
    ...span,
    from: span.from < from ? from : span.from,
    to: span.to > to ? to : span.to,
  }));
}

/** The default for the bytes that are decoded at once. It bounds the memory. */
const PIECE_BYTES = 4 * 1024 * 1024;
/** The bytes of a record in addition to its value. */
const RECORD_BYTES = 64;

/** Some of these records, and SQL of the archive's rows that they come from. */
export type Originals = RecordBatch & { readonly relation: string };

/**
 * Yields the records of a partition's span as they were produced, from the archive's files, in order and in bounded
 * pieces. Throws DEFINITION_INVALID when the stream reads headers, and an earlier release archived records without
 * them.
 */
export async function* archivedOriginals(
  duck: Duck,
  data: DataDirectory,
  { partition, from, to, files }: ForeignSpan,
  { stream, pieceBytes = PIECE_BYTES }: { readonly stream: Stream; readonly pieceBytes?: number | undefined },
): AsyncGenerator<Originals> {
  if (files.length === 0 || from >= to) return;
  const paths = files.map((file) => data.path(file));
  const source = parquetRows(paths, { mayLackColumns: true });
  const within = (first: unknown, last: unknown) =>
    `${source} WHERE _partition = ${partition} AND _offset BETWEEN ${first} AND ${last}`;
  const readsHeaders = stream.tried.some(({ fields }) =>
    Object.values(fields).some(({ spec }) => partOf(spec)?.startsWith("header:")),
  );
  if (readsHeaders) await requireHeaders(duck, stream, paths, source);
  const sizes =
    `SELECT _offset, sum(coalesce(octet_length(_value), 0) + ${RECORD_BYTES}) OVER (ORDER BY ` +
    `_offset) // ${pieceBytes} AS piece FROM ${within(from, to - 1n)}`;
  const pieces = await rowsOf(duck, `SELECT min(_offset), max(_offset) FROM (${sizes}) GROUP BY piece ORDER BY piece`);
  for (const [first, last] of pieces) {
    const rows = await rowsOf(
      duck,
      "SELECT _offset, _key, _value, _timestamp" +
        `${readsHeaders ? ", _headers" : ""} FROM ${within(first, last)} ORDER BY ` +
        "_offset",
    );
    yield {
      relation: `(SELECT * FROM ${within(first, last)})`,
      partition,
      records: Records.of(
        rows.map(([offset, key, value, timestamp, headers = null]) => ({
          offset: position(offset as bigint),
          key: bytesOf(key),
          value: bytesOf(value),
          timestampMs: Number(timestamp),
          headers: bytesOf(headers),
        })),
      ),
    };
  }
}

async function requireHeaders(duck: Duck, { name }: Stream, paths: readonly string[], source: string): Promise<void> {
  const named = `SELECT count(*) FROM ${parquetColumns(paths)} WHERE name = '_headers'`;
  const [[found] = []] = await rowsOf(duck, named);
  // A file that was compacted with a later one has nulls for the columns of older files.
  const [[isUnknown] = []] =
    Number(found) < paths.length ? [[true]] : await rowsOf(duck, `SELECT bool_or(_headers IS NULL) FROM ${source}`);
  if (isUnknown === true)
    throw new TidelineError(
      "DEFINITION_INVALID",
      `stream ${name} reads headers, and records of it were archived by a release that did not keep headers`,
      "Leave the fields from headers out, or give the stream another name: that reads what Kafka still has.",
    );
}

/** Returns the bytes of a BLOB from DuckDB. */
export function bytesOf(value: unknown): Buffer | null {
  return value === null ? null : Buffer.from((value as DuckDBBlobValue).bytes);
}
