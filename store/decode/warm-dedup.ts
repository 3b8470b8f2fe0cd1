import { quoteText } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { entriesWithin } from "../../core/log/archive-tiles.ts";
import { at, type Position, position } from "../../core/log/position.ts";
import type { Archive } from "../archive/archive.ts";
import type { DataDirectory } from "../files/files.ts";
import type { LogSource } from "../kafka/read/log.ts";
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

export interface DedupWindow {
  /** Whose contract says how far back, and what an id is. */
  readonly stream: Stream;
  readonly topic: string;
  readonly topicId: string;
  readonly partition: number;
  /** Where decoding is about to begin. */
  readonly before: Position;
}

/**
 * Tells a decoder the ids of the dedup window before a position (invariant 4): from the archive what it has, which is
 * quick, and from the log what was not archived, before or after it. What is in neither lies before the beginning of
 * everything. What another revision of the contract archived is decoded anew from its original bytes: the id may be
 * another.
 */
export async function warmDedup(
  { archive, log, data }: DedupSources,
  decoder: Decoder,
  window: DedupWindow,
): Promise<void> {
  const { stream, topic, topicId, partition, before } = window;
  const width = BigInt(stream.dedupWindow);
  const begin = position(before > width ? before - width : 0n);
  const clip = (offset: Position) => (offset < begin ? begin : offset > before ? before : offset);
  const entries = await archive.entries(topic, topicId, partition);
  const from = clip(position(entries[0]?.from ?? before));
  const to = clip(position(entries.at(-1)?.to ?? before));

  const held = entriesWithin(entries, from, to);
  await data.requireIntact(held);
  const files = held.flatMap(({ file, contract }) => (file === null || contract !== stream.revision ? [] : [file]));
  if (files.length > 0) {
    const relation = `read_parquet([${files.map((file) => quoteText(data.path(file))).join(", ")}])`;
    await decoder.remember(
      `(SELECT _partition, _offset, _id FROM ${relation} WHERE _offset >= ${from} AND _offset < ${to})`,
    );
  }
  for (const span of foreignSpans(held, stream, partition, from, to))
    for await (const batch of archivedOriginals(decoder.duck, data, span, { stream })) await decoder.decode([batch]);
  const logged = [
    { from: begin, to: from },
    { from: to, to: before },
  ].filter((span) => span.from < span.to);
  if (logged.length === 0) return;
  const start = at((await log.bounds(topic, [partition])).start, partition);
  for (const span of logged) {
    const first = span.from < start ? start : span.from;
    if (first >= span.to) continue;
    for await (const fetched of log.read(topic, partition, first, span.to, FETCH_BYTES))
      await decoder.decode([fetched]);
  }
}
