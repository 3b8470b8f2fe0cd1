import type { Stream } from "../../core/contract/stream.ts";
import type { Duck } from "../duckdb/duck.ts";
import { Decoder } from "./decoder.ts";
import { eventColumns } from "./events.ts";
import { archivedOriginals, type ForeignSpan } from "./originals.ts";
import { type DedupSources, warmDedup } from "./warm-dedup.ts";

/** The archived records to decode, and the table for the result. */
export interface OriginalsToDecode {
  readonly stream: Stream;
  readonly topic: string;
  readonly topicId: string;
  readonly spans: readonly ForeignSpan[];
  /** The name of the temporary table for the events. */
  readonly table: string;
}

export interface DecodingOptions {
  readonly signal?: AbortSignal;
  readonly onRecords?: (records: number) => void;
  /** The number of bytes that are decoded at once. */
  readonly pieceBytes?: number | undefined;
}

/**
 * Decodes the original bytes of archived records by the present contract, into the new temporary table `table`. It has
 * the columns of `eventColumns` and the record's `_timestamp`. Duplicates are decided again, because another contract
 * may read another id.
 */
export async function decodeOriginals(
  sources: DedupSources,
  duck: Duck,
  { stream, topic, topicId, spans, table }: OriginalsToDecode,
  { signal, onRecords, pieceBytes }: DecodingOptions = {},
): Promise<void> {
  await duck.run(`CREATE TEMP TABLE ${table} (${eventColumns(stream)}, _timestamp BIGINT)`);
  const decoder = await Decoder.open(duck, stream, sources.schemas);
  for (const span of spans) {
    await decoder.forget([span.partition]);
    const window = { stream, topic, topicId, partition: span.partition, before: span.from };
    await warmDedup(sources, decoder, window);
    for await (const batch of archivedOriginals(duck, sources.data, span, { stream, pieceBytes })) {
      signal?.throwIfAborted();
      const { relation } = await decoder.decode([batch]);
      await duck.run(
        `INSERT INTO ${table} BY NAME SELECT ${relation}.*, _timestamp FROM ${relation} JOIN (SELECT _partition, ` +
          `_offset, _timestamp FROM ${batch.relation}) USING (_partition, _offset)`,
      );
      onRecords?.(batch.records.length);
    }
  }
}
