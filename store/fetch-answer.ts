import { createAPI, fetchV17, type Reader, ResponseError } from "@platformatic/kafka";
import { tooLarge } from "../core/decode.ts";
import { expand } from "./expand.ts";
import { type RecordsPart, withinLimit } from "./records.ts";

/**
 * Kafka's answer to a Fetch request, with batches read under a bound. A fetch is limited in bytes as they lie in the log; what they expand to is
 * not, so the client's own reading of an answer could take all memory. It would also make a dozen objects of every record.
 */

/** What one partition answers; the records are read by `batchesOf`. */
export interface FetchedBytes {
  readonly partitionIndex: number;
  readonly lastStableOffset: bigint;
  readonly logStartOffset: bigint;
  readonly abortedTransactions: { readonly producerId: bigint; readonly firstOffset: bigint }[];
  readonly batches: Buffer;
}

type FetchArguments = Parameters<typeof fetchV17.api.async> extends [unknown, ...infer Rest] ? Rest : never;

const FETCH_KEY = 1;
const FETCH_VERSION = 17;

/** Fetch (API key 1, version 17). Throws the client's ResponseError when the broker answers one. */
export const fetchApi = createAPI<FetchArguments, FetchedBytes[]>(
  FETCH_KEY,
  FETCH_VERSION,
  fetchV17.createRequest,
  (_correlationId, apiKey, apiVersion, reader) => {
    reader.readInt32(); // how long it was throttled
    const errors: [string, [number, null]][] = [];
    const note = (path: string, code: number) => {
      if (code !== 0) errors.push([path, [code, null]]);
    };
    note("", reader.readInt16());
    reader.readInt32(); // the session
    const answers = reader.readArray((topic, i) => {
      topic.readUUID();
      return topic.readArray((part, j) => readPartition(part, (code) => note(`/responses/${i}/partitions/${j}`, code)));
    });
    if (errors.length > 0) throw new ResponseError(apiKey, apiVersion, Object.fromEntries(errors), answers);
    return answers.flat();
  },
);

function readPartition(reader: Reader, onError: (code: number) => void): FetchedBytes {
  const partitionIndex = reader.readInt32();
  onError(reader.readInt16());
  reader.readInt64(); // the high watermark
  const lastStableOffset = reader.readInt64();
  const logStartOffset = reader.readInt64();
  const abortedTransactions = reader.readArray((one) => ({
    producerId: one.readInt64(),
    firstOffset: one.readInt64(),
  }));
  reader.readInt32(); // a preferred replica
  const sizeBytes = Math.max(reader.readUnsignedVarInt() - 1, 0);
  const batches = reader.buffer.slice(reader.position, reader.position + sizeBytes);
  reader.skip(sizeBytes);
  return { partitionIndex, lastStableOffset, logStartOffset, abortedTransactions, batches };
}

export interface ExpandLimits {
  /** After so many expanded bytes no further record is read; the next fetch goes on there. */
  readonly answerBytes: number;
  /** A record with more is read as `tooLarge`: no batch of the decoder holds it. */
  readonly recordBytes: number;
  /** Of a compressed batch that expands to more, every record is `tooLarge`. */
  readonly batchBytes: number;
}

const MIB = 1024 * 1024;
/** Both are more than a topic takes uncompressed (store/topics.ts). */
const RECORD_BYTES = 16 * MIB;
const BATCH_BYTES = 128 * MIB;
/** So many times what was asked for may come of it at once. */
const EXPANSION = 4;

/** What may be read of an answer to a fetch of `fetchBytes`. */
export function expandLimits(fetchBytes: number): ExpandLimits {
  return { answerBytes: fetchBytes * EXPANSION, recordBytes: RECORD_BYTES, batchBytes: BATCH_BYTES };
}

/** A batch (RecordBatch, magic 2) as far as it was read. */
export interface FetchedBatch {
  readonly firstOffset: bigint;
  readonly lastOffsetDelta: number;
  readonly leaderEpoch: number;
  readonly attributes: number;
  readonly producerId: bigint;
  readonly records: RecordsPart;
}

/** Where the fields of a batch lie in its bytes. */
const FIELD = {
  firstOffset: 0,
  length: 8,
  leaderEpoch: 12,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  producerId: 43,
  count: 57,
  records: 61,
} as const;
/** First offset and length: what the length does not count. */
const HEAD_BYTES = 12;
const CODEC = 0b111;

/**
 * The batches of a partition that lie at or after `from`, as far as the limit goes: at least one record. The last batch may be cut; it then ends where
 * its last record does. What was not received whole is left out, as the broker cuts an answer anywhere.
 */
export function batchesOf(bytes: Buffer, from: bigint, limits: ExpandLimits): FetchedBatch[] {
  const batches: FetchedBatch[] = [];
  let left = limits.answerBytes;
  for (let at = 0; at + FIELD.records <= bytes.length && left > 0; ) {
    const end = at + HEAD_BYTES + bytes.readInt32BE(at + FIELD.length);
    if (end > bytes.length) break;
    const batch = readBatch(bytes, at, end, from, left, limits);
    if (batch.records.bytes !== null) left -= batch.records.end - batch.records.begin;
    batches.push(batch);
    at = end;
  }
  return batches;
}

/** The batch at `at`, of which at most `left` bytes of records are read. */
function readBatch(
  bytes: Buffer,
  at: number,
  end: number,
  from: bigint,
  left: number,
  limits: ExpandLimits,
): FetchedBatch {
  const count = bytes.readInt32BE(at + FIELD.count);
  const place = {
    baseOffset: Number(bytes.readBigInt64BE(at + FIELD.firstOffset)),
    baseTimestampMs: Number(bytes.readBigInt64BE(at + FIELD.firstTimestamp)),
  };
  const head = {
    firstOffset: bytes.readBigInt64BE(at + FIELD.firstOffset),
    lastOffsetDelta: bytes.readInt32BE(at + FIELD.lastOffsetDelta),
    leaderEpoch: bytes.readInt32BE(at + FIELD.leaderEpoch),
    attributes: bytes.readInt16BE(at + FIELD.attributes),
    producerId: bytes.readBigInt64BE(at + FIELD.producerId),
  };
  const codec = head.attributes & CODEC;
  const begin = at + FIELD.records;
  const expanded = codec === 0 ? bytes : expand(codec, bytes.subarray(begin, end), limits.batchBytes);
  if (expanded === null) {
    // Without compaction their offsets are dense; with it, the last ones are named.
    const value = tooLarge("its batch", limits.batchBytes);
    return { ...head, records: { ...place, count, bytes: null, value, firstDelta: head.lastOffsetDelta + 1 - count } };
  }
  const unread = tooLarge("it", limits.recordBytes);
  const tooMany = { bytes: limits.recordBytes, value: unread };
  const within = codec === 0 ? { begin, end } : { begin: 0, end: expanded.length };
  const part = { ...place, ...within, count, bytes: expanded, tooLarge: tooMany };
  const { part: records, lastDelta } = withinLimit(part, Number(from), left);
  return { ...head, lastOffsetDelta: lastDelta ?? head.lastOffsetDelta, records };
}
