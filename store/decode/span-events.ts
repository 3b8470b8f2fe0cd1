import { quoteName } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { at, type PartitionSpan, partitionsOf } from "../../core/log/position.ts";
import type { Span } from "../../core/log/spans.ts";
import type { Duck } from "../duckdb/duck.ts";
import { parquetRows } from "../duckdb/parquet.ts";
import { logTruncated, topicRecreated } from "../kafka/cluster/log-errors.ts";
import { requireReached } from "../kafka/read/log-check.ts";
import { decodeOriginals } from "./decode-originals.ts";
import { Decoder } from "./decoder.ts";
import { eventColumns } from "./events.ts";
import { type ForeignSpan, foreignSpans } from "./originals.ts";
import { type DedupSources, warmDedup } from "./warm-dedup.ts";

/** A stream's records in this installation. */
export interface SpanSource {
  readonly stream: Stream;
  readonly topic: string;
  readonly topicId: string;
}

/** A stream's records in `[from, to)`. */
export interface StreamSpan extends SpanSource, Span {}

const FETCH_BYTES = 4 * 1024 * 1024;
const DECODED = "decoded_in_span";
const TAIL = "tail";

export interface SpanReading {
  readonly signal: AbortSignal;
  /** Whether archived records are decoded again from their original bytes. Otherwise the archived columns are read. */
  readonly decodeAgain?: boolean;
  /** Called with the number of records that were just decoded. */
  readonly onRecords?: (records: number) => void;
  /** The number of bytes that are decoded at once, 4 MiB by default. The event loop is blocked for that time. */
  readonly pieceBytes?: number;
}

/**
 * The decoded events of a span: rows of archive files, as SQL, and temporary tables. All have the columns of
 * `spanColumns`.
 */
export interface SpanParts {
  readonly archived: string | null;
  readonly tables: readonly string[];
}

/**
 * Returns SQL of the decoded events of `[from, to)`. Null when the span is empty. The relation is valid until `duck`
 * decodes anything else. Throws as `spanParts`.
 */
export async function spanEvents(
  sources: DedupSources,
  duck: Duck,
  span: StreamSpan,
  reading: SpanReading,
): Promise<string | null> {
  const { archived, tables } = await spanParts(sources, duck, span, reading);
  const columns = spanColumns(span.stream);
  const parts = [...(archived === null ? [] : [archived]), ...tables.map((table) => `SELECT ${columns} FROM ${table}`)];
  return parts.length === 0 ? null : `(${parts.join(" UNION ALL ")})`;
}

/** Returns the columns of a span's events, as a list in SQL. */
export function spanColumns({ fields }: Stream): string {
  return ["_partition", "_offset", ...Object.keys(fields).map(quoteName), "_id", "_duplicate", "_reject"].join(", ");
}

/**
 * Returns the decoded events of `[from, to)`: from the archive up to its end, and after that from the log, by the same
 * decoder. Throws ARCHIVE_DAMAGED, LOG_LOST, LOG_TRUNCATED, TOPIC_MISSING or TOPIC_RECREATED when the records do not
 * exist any more, and the signal's reason when it is aborted.
 */
export async function spanParts(
  sources: DedupSources,
  duck: Duck,
  span: StreamSpan,
  reading: SpanReading,
): Promise<SpanParts> {
  const { topic, topicId, stream, from, to } = span;
  const ours = { revision: reading.decodeAgain ? null : stream.revision };
  const archived: string[] = [];
  const spans: string[] = [];
  const foreign: ForeignSpan[] = [];
  const tails: PartitionSpan[] = [];
  for (const partition of partitionsOf(from, to)) {
    const [first, last] = [at(from, partition), at(to, partition)];
    if (first >= last) continue;
    const entries = await sources.archive.entries(topic, topicId, partition);
    const end = entries.at(-1)?.to ?? first;
    const seam = end < first ? first : end > last ? last : end;
    const archivedSpan = { partition, from: first, to: seam };
    const covering = await sources.archive.covering(topic, topicId, archivedSpan);
    await sources.data.requireIntact(covering);
    foreign.push(...foreignSpans(covering, ours, archivedSpan));
    const files = covering.flatMap(({ file, contract }) =>
      file === null || contract !== ours.revision ? [] : [sources.data.path(file)],
    );
    archived.push(...files);
    if (files.length > 0) spans.push(`(_partition = ${partition} AND _offset >= ${first} AND _offset < ${seam})`);
    if (seam < last) tails.push({ partition, from: seam, to: last });
  }
  await duck.run(`DROP TABLE IF EXISTS ${DECODED}`);
  if (foreign.length > 0) await decodeOriginals(sources, duck, { ...span, spans: foreign, table: DECODED }, reading);
  if (tails.length > 0) await readTails(sources, duck, { ...span, tails }, reading);
  return {
    archived:
      archived.length === 0
        ? null
        : `SELECT ${spanColumns(stream)} FROM ${parquetRows(archived)} WHERE ${spans.join(" OR ")}`,
    tables: [...(foreign.length === 0 ? [] : [DECODED]), ...(tails.length === 0 ? [] : [TAIL])],
  };
}

/** Reads the records that are not archived yet into a temporary table. */
async function readTails(
  sources: DedupSources,
  duck: Duck,
  { stream, topic, topicId, tails }: SpanSource & { readonly tails: readonly PartitionSpan[] },
  { signal, onRecords, pieceBytes = FETCH_BYTES }: SpanReading,
): Promise<void> {
  const { log } = sources;
  const { id } = await log.topic(topic);
  if (id !== topicId) throw topicRecreated(topic, topicId, id);
  const read = new Set(tails.map(({ partition }) => partition));
  const bounds = await log.bounds(topic, [...read]);
  const { stable } = bounds;
  const archived = [...(await sources.archive.tails(topic, topicId))].filter(([partition]) => read.has(partition));
  await requireReached({ log, topic, topicId, bounds }, archived);
  await duck.run(`CREATE OR REPLACE TEMP TABLE ${TAIL} (${eventColumns(stream)})`);
  for (const span of tails) {
    const { partition, from, to } = span;
    if (at(stable, partition) < to) throw logTruncated(topic, partition, to, at(stable, partition));
    const decoder = await Decoder.open(duck, stream, sources.schemas);
    await warmDedup(sources, decoder, { stream, topic, topicId, partition, before: from });
    for await (const fetched of log.read(topic, span, { maxBytes: pieceBytes, signal })) {
      if (fetched.records.length === 0) continue;
      const { relation } = await decoder.decode([fetched]);
      await duck.run(`INSERT INTO ${TAIL} BY NAME SELECT * FROM ${relation}`);
      onRecords?.(fetched.records.length);
    }
  }
}
