import type { Stream } from "../../core/contract/stream.ts";
import { entriesWithin } from "../../core/log/archive-tiles.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { at, type Cut, type PartitionSpan, type Position, position } from "../../core/log/position.ts";
import type { Archive } from "../archive/archive.ts";
import { parquetRows } from "../duckdb/parquet.ts";
import type { DataDirectory } from "../files/files.ts";
import type { FetchedPartition, LogSource } from "../kafka/read/log.ts";
import type { Schemas } from "../registry/registry-schemas.ts";
import type { Decoder } from "./decoder.ts";
import { archivedOriginals, foreignSpans } from "./originals.ts";

const FETCH_BYTES = 4 * 1024 * 1024;

export interface DedupSources {
  readonly archive: Archive;
  readonly data: DataDirectory;
  readonly log: LogSource;
  readonly schemas: Schemas;
}

/** The stream whose ids are read. */
interface DedupStream {
  /** Its contract decides the length of the window, and what an id is. */
  readonly stream: Stream;
  readonly topic: string;
  readonly topicId: string;
}

export interface DedupWindow extends DedupStream {
  readonly partition: number;
  /** The position at which decoding will begin. */
  readonly before: Position;
}

export interface DedupWindows extends DedupStream {
  /** The position at which decoding will begin, by partition. */
  readonly before: Cut;
}

/** The parts of a partition's window: those in the archive, and those to read from the log. */
interface WindowParts {
  readonly archived: PartitionSpan & { readonly entries: readonly ArchiveEntry[] };
  readonly logged: readonly PartitionSpan[];
}

/** The most partitions that are read at once. Each takes a part of a statement, or a fetch of up to FETCH_BYTES. */
const PARTITIONS_AT_ONCE = 8;

/** The same as `warmDedups`, for one partition. */
export function warmDedup(sources: DedupSources, decoder: Decoder, window: DedupWindow): Promise<void> {
  const { partition, before } = window;
  return warmDedups(sources, decoder, { ...window, before: new Map([[partition, before]]) });
}

/**
 * Loads the ids of the dedup window before a position of each partition into a decoder (invariant 4). Ids in the
 * archive are read from there, which is fast, and the others from the log, before or after the archive. Records in
 * neither are from before the beginning of both. Records archived under another revision of the contract are decoded
 * again from their original bytes, because their ids may be different. Partitions are read together, because a topic
 * may have hundreds of them.
 */
export async function warmDedups(sources: DedupSources, decoder: Decoder, windows: DedupWindows): Promise<void> {
  const { stream, topic } = windows;
  const logged: PartitionSpan[] = [];
  for (const some of chunksOf([...windows.before], PARTITIONS_AT_ONCE)) {
    const parts = await Promise.all(
      some.map(([partition, before]) => partsOf(sources.archive, windows, partition, before)),
    );
    for (const { archived } of parts) await sources.data.requireIntact(archived.entries);
    const relations = parts.flatMap(({ archived }) => relationOf(sources.data, stream, archived));
    if (relations.length > 0) await decoder.remember(`(${relations.join(" UNION ALL ")})`);
    for (const { archived } of parts) await decodeForeign(sources.data, decoder, stream, archived);
    logged.push(...parts.flatMap((one) => one.logged));
  }
  if (logged.length === 0) return;
  const { start } = await sources.log.bounds(topic, [...new Set(logged.map(({ partition }) => partition))]);
  const left = logged.flatMap((span) => {
    const from = later(span.from, at(start, span.partition));
    return from < span.to ? [{ ...span, from }] : [];
  });
  await decodeAll(decoder, piecesOf(sources.log, topic, left));
}

async function partsOf(
  archive: Archive,
  { stream, topic, topicId }: DedupStream,
  partition: number,
  before: Position,
): Promise<WindowParts> {
  const width = BigInt(stream.dedupWindow);
  const begin = position(before > width ? before - width : 0n);
  const clip = (offset: Position) => (offset < begin ? begin : offset > before ? before : offset);
  const entries = await archive.entries(topic, topicId, partition);
  const from = clip(entries[0]?.from ?? before);
  const to = clip(entries.at(-1)?.to ?? before);
  const logged = [
    { partition, from: begin, to: from },
    { partition, from: to, to: before },
  ].filter((span) => span.from < span.to);
  return { archived: { partition, from, to, entries: entriesWithin(entries, from, to) }, logged };
}

/** SQL: the ids of a span in files of this revision. Empty when there are none. */
function relationOf(
  data: DataDirectory,
  { revision }: Stream,
  { entries, from, to }: WindowParts["archived"],
): string[] {
  const files = entries.flatMap(({ file, contract }) => (file === null || contract !== revision ? [] : [file]));
  if (files.length === 0) return [];
  const source = parquetRows(files.map((file) => data.path(file)));
  return [`SELECT _partition, _offset, _id FROM ${source} WHERE _offset >= ${from} AND _offset < ${to}`];
}

async function decodeForeign(
  data: DataDirectory,
  decoder: Decoder,
  stream: Stream,
  { partition, from, to, entries }: WindowParts["archived"],
): Promise<void> {
  for (const span of foreignSpans(entries, stream, { partition, from, to }))
    for await (const batch of archivedOriginals(decoder.duck, data, span, { stream })) await decoder.decode([batch]);
}

/** Decodes pieces in order. The next piece is read and scanned while the database works on the one before. */
async function decodeAll(decoder: Decoder, pieces: AsyncGenerator<readonly FetchedPartition[]>): Promise<void> {
  const scan = async () => {
    const { done, value } = await pieces.next();
    return done === true ? null : { piece: value, scanned: await decoder.scan(value) };
  };
  let ahead = scan();
  try {
    for (let next = await ahead; next !== null; next = await ahead) {
      ahead = scan();
      // It is awaited below, or in `finally` when decoding fails.
      ahead.catch(() => undefined);
      await decoder.decode(next.piece, next.scanned);
    }
  } finally {
    await ahead.catch(() => undefined);
    await pieces.return(undefined);
  }
}

/** Yields spans of the log, some partitions together, a part of each at a time. */
async function* piecesOf(
  log: LogSource,
  topic: string,
  spans: readonly PartitionSpan[],
): AsyncGenerator<readonly FetchedPartition[]> {
  for (const some of chunksOf(spans, PARTITIONS_AT_ONCE)) {
    const reads = some.map((span) => log.read(topic, span, { maxBytes: FETCH_BYTES }));
    try {
      for (;;) {
        const results = await Promise.all(reads.map((read) => read.next()));
        const piece = results.flatMap(({ done, value }) => (done === true ? [] : [value as FetchedPartition]));
        if (piece.length === 0) break;
        yield piece;
      }
    } finally {
      for (const read of reads) await read.return(undefined);
    }
  }
}

function later(a: Position, b: Position): Position {
  return a > b ? a : b;
}

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}
