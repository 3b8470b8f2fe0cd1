import { at, type Cut, type Position, partitionsOf, position } from "../core/position.ts";
import { quoteName, quoteText } from "../core/sql.ts";
import type { Stream } from "../core/stream.ts";
import { decodeAnew } from "./decode-anew.ts";
import { Decoder } from "./decoder.ts";
import type { Duck } from "./duck.ts";
import { eventColumns } from "./events.ts";
import { logTruncated, topicRecreated } from "./log-errors.ts";
import { type ForeignSpan, foreignSpans } from "./originals.ts";
import { type DedupSources, warmDedup } from "./warm-dedup.ts";

/** A stream's records in this installation. */
export interface SpanSource {
  readonly stream: Stream;
  readonly topic: string;
  readonly topicId: string;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * SQL for the decoded events of `[from, to)`: from the archive as far as that goes, and beyond it from the log, decoded by the same decoder.
 * Null when the span is empty. The relation lasts as long as `duck` is used for nothing else that decodes.
 *
 * Throws ARCHIVE_DAMAGED, LOG_LOST, LOG_TRUNCATED, TOPIC_MISSING or TOPIC_RECREATED when the records are not there any more, and the
 * signal's reason when that is aborted.
 */
export async function spanEvents(
  sources: DedupSources,
  duck: Duck,
  source: SpanSource,
  from: Cut,
  to: Cut,
  signal: AbortSignal,
): Promise<string | null> {
  const { topic, topicId, stream } = source;
  const archived: string[] = [];
  const spans: string[] = [];
  const foreign: ForeignSpan[] = [];
  const tails: { partition: number; from: Position; to: Position }[] = [];
  for (const partition of partitionsOf(from, to)) {
    const [first, last] = [at(from, partition), at(to, partition)];
    if (first >= last) continue;
    const entries = await sources.archive.entries(topic, topicId, partition);
    const end = position(entries.at(-1)?.to ?? first);
    const seam = end < first ? first : end > last ? last : end;
    const covering = await sources.archive.covering(topic, topicId, partition, first, seam);
    foreign.push(...foreignSpans(covering, stream, partition, first, seam));
    const files = covering.flatMap(({ file, contract }) =>
      file === null || contract !== stream.revision ? [] : [sources.data.path(file)],
    );
    archived.push(...files);
    if (files.length > 0) spans.push(`(_partition = ${partition} AND _offset >= ${first} AND _offset < ${seam})`);
    if (seam < last) tails.push({ partition, from: seam, to: last });
  }
  const anew = "anew_in_span";
  await duck.run(`DROP TABLE IF EXISTS ${anew}`);
  if (foreign.length > 0) await decodeAnew(sources, duck, source, foreign, anew, signal);
  if (tails.length > 0) await readTails(sources, duck, source, tails, signal);
  const columns = [
    "_partition",
    "_offset",
    ...Object.keys(stream.fields).map(quoteName),
    "_id",
    "_duplicate",
    "_reject",
  ];
  const parts = [
    ...(archived.length === 0
      ? []
      : [`read_parquet([${archived.map(quoteText).join(", ")}]) WHERE ${spans.join(" OR ")}`]),
    ...(foreign.length === 0 ? [] : [anew]),
    ...(tails.length === 0 ? [] : ["tail"]),
  ].map((part) => `SELECT ${columns.join(", ")} FROM ${part}`);
  return parts.length === 0 ? null : `(${parts.join(" UNION ALL ")})`;
}

/** Reads what is not archived yet into the temporary table `tail`. */
async function readTails(
  sources: DedupSources,
  duck: Duck,
  { stream, topic, topicId }: SpanSource,
  tails: readonly { partition: number; from: Position; to: Position }[],
  signal: AbortSignal,
): Promise<void> {
  const { log } = sources;
  const { id } = await log.topic(topic);
  if (id !== topicId) throw topicRecreated(topic, topicId, id);
  const { stable } = await log.bounds(topic);
  await duck.run(`CREATE OR REPLACE TEMP TABLE tail (${eventColumns(stream)})`);
  for (const { partition, from, to } of tails) {
    if (at(stable, partition) < to) throw logTruncated(topic, partition, to, at(stable, partition));
    const decoder = await Decoder.open(duck, stream, sources.schemas);
    await warmDedup(sources, decoder, { stream, topic, topicId, partition, before: from });
    for await (const fetched of log.read(topic, partition, from, to, FETCH_BYTES, signal)) {
      if (fetched.offsets.length === 0) continue;
      await decoder.decode([fetched]);
      await duck.run("INSERT INTO tail BY NAME SELECT * FROM events");
    }
  }
}
