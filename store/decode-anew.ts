import type { ArchiveEntry } from "../core/documents.ts";
import { type Position, position } from "../core/position.ts";
import { quoteText } from "../core/sql.ts";
import type { Stream } from "../core/stream.ts";
import { Decoder } from "./decoder.ts";
import type { Duck } from "./duck.ts";
import { eventColumns } from "./events.ts";
import { archivedOriginals } from "./originals.ts";
import { type DedupSources, warmDedup } from "./warm-dedup.ts";

/** Archived records of a partition that another revision of the contract decoded: `[from, to)` of successive entries, whole or in part. */
export interface ForeignSpan {
  readonly partition: number;
  readonly from: Position;
  readonly to: Position;
  readonly files: readonly string[];
}

/** What of `[from, to)` the entries of another revision hold: a span for every run of successive ones. */
export function foreignSpans(
  entries: readonly ArchiveEntry[],
  { revision }: Stream,
  partition: number,
  from: Position,
  to: Position,
): ForeignSpan[] {
  const spans: { partition: number; from: Position; to: Position; files: string[] }[] = [];
  for (const entry of entries) {
    if (entry.contract === revision) continue;
    const [begins, ends] = [position(entry.from), position(entry.to)];
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

/**
 * Decodes the original bytes of archived records by today's contract into the new temporary table `table`, with the columns of
 * `eventColumns`. Duplicates are decided anew too: another contract may read another id.
 */
export async function decodeAnew(
  sources: DedupSources,
  duck: Duck,
  { stream, topic, topicId }: { readonly stream: Stream; readonly topic: string; readonly topicId: string },
  spans: readonly ForeignSpan[],
  table: string,
  signal?: AbortSignal,
): Promise<void> {
  await duck.run(`CREATE TEMP TABLE ${table} (${eventColumns(stream)})`);
  const decoder = await Decoder.open(duck, stream, sources.schemas);
  for (const { partition, from, to, files } of spans) {
    await decoder.forget([partition]);
    await warmDedup(sources, decoder, { stream, topic, topicId, partition, before: from });
    for await (const batch of archivedOriginals(duck, sources.data, files, { partition, from, to })) {
      signal?.throwIfAborted();
      await decoder.decode([batch]);
      await duck.run(`INSERT INTO ${table} BY NAME SELECT * FROM events`);
    }
  }
}

/** SQL: the rows of these archive files (absolute paths), also where an older one lacks a column that came later. */
export function archiveFiles(paths: readonly string[]): string {
  return `read_parquet([${paths.map(quoteText).join(", ")}], union_by_name = true)`;
}
