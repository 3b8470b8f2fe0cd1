import { crc32c } from "@node-rs/crc32";
import { tooLarge } from "../../../core/codec/decode/decode.ts";
import { TidelineError } from "../../../core/errors.ts";
import { type Position, position } from "../../../core/log/position.ts";
import { expand } from "./expand.ts";
import { Records, type RecordsPart, withinLimit } from "./records.ts";

/**
 * Reads the record batches (RecordBatch, magic 2) in a broker's answer. They are checked first, then read up to a
 * limit.
 */

export interface ExpandLimits {
  /** After this many expanded bytes no further record is read. The next fetch continues there. */
  readonly answerBytes: number;
  /** A larger record is read as `tooLarge`, because it does not fit into the decoder's batches. */
  readonly recordBytes: number;
  /** If a compressed batch expands to more, every record in it is `tooLarge`. */
  readonly batchBytes: number;
}

const MIB = 1024 * 1024;
/** Both are larger than a topic accepts uncompressed (store/kafka/cluster/topics.ts). */
const RECORD_BYTES = 16 * MIB;
const BATCH_BYTES = 128 * MIB;
/** An answer may expand to this many times the bytes that were asked for. */
const EXPANSION = 4;

/** Returns the limits for an answer to a fetch of `fetchBytes`. */
export function expandLimits(fetchBytes: number): ExpandLimits {
  return { answerBytes: fetchBytes * EXPANSION, recordBytes: RECORD_BYTES, batchBytes: BATCH_BYTES };
}

/** The part of a batch (RecordBatch, magic 2) that was read. */
export interface FetchedBatch {
  readonly firstOffset: bigint;
  readonly lastOffsetDelta: number;
  readonly leaderEpoch: number;
  readonly attributes: number;
  readonly producerId: bigint;
  readonly records: RecordsPart;
}

/** The places of the fields in a batch's bytes. */
const FIELD = {
  firstOffset: 0,
  length: 8,
  leaderEpoch: 12,
  magic: 16,
  checksum: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  firstTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  count: 57,
  records: 61,
} as const;
/** The bytes of first offset and length, which the length does not include. */
const HEAD_BYTES = 12;
const MAGIC = 2;
const CODEC = 0b111;
/** The broker wrote the time of all records when it appended the batch (`message.timestamp.type=LogAppendTime`). */
const LOG_APPEND_TIME = 0b1000;

/**
 * Returns the batches of a partition at or after `from`, up to the limit: at least one record. The last batch may be
 * cut; it then ends after its last record that was read. A batch that was not received whole is left out, because the
 * broker may cut an answer anywhere after the first batch.
 *
 * Each batch's checksum is compared before anything in it is read. A damaged batch ends the result, so that the batches
 * before it are read. Throws BATCH_CORRUPT when it is the first one; `place` names the partition in the message.
 */
export function batchesOf(bytes: Buffer, from: bigint, limits: ExpandLimits, place = "a batch"): FetchedBatch[] {
  const batches: FetchedBatch[] = [];
  const answer = { bytes, from, limits };
  let left = limits.answerBytes;
  for (let at = 0; at < bytes.length && left > 0; ) {
    const damage = damageOf(bytes, at);
    if (damage !== null) {
      if (batches.length === 0) throw batchCorrupt(place, from, damage);
      break;
    }
    const end = endOf(bytes, at);
    const batch = readBatch(answer, at, left);
    if (batch.records.bytes !== null) left -= batch.records.end - batch.records.begin;
    batches.push(batch);
    at = end;
  }
  return batches;
}

function endOf(bytes: Buffer, at: number): number {
  return at + HEAD_BYTES + bytes.readInt32BE(at + FIELD.length);
}

/**
 * Returns the damage of the batch at `at`. Null when there is none. A batch that was not received whole counts as
 * damaged.
 */
function damageOf(bytes: Buffer, at: number): string | null {
  if (at + FIELD.records > bytes.length) return "it is cut short";
  const end = endOf(bytes, at);
  if (end < at + FIELD.records) return "its length is impossible";
  if (end > bytes.length) return "it is cut short";
  const magic = bytes[at + FIELD.magic];
  if (magic !== MAGIC) return `its message format is ${magic}, not ${MAGIC}`;
  const checksum = crc32c(bytes.subarray(at + FIELD.attributes, end));
  return checksum === bytes.readUInt32BE(at + FIELD.checksum) ? null : "its bytes do not match its checksum";
}

function batchCorrupt(place: string, from: bigint, damage: string): TidelineError {
  return new TidelineError(
    "BATCH_CORRUPT",
    `${place}: the batch with offset ${from} is damaged: ${damage}`,
    "It was fetched three times. Look at the broker's disk, memory and " +
      "network; a healthy replica may become the leader.",
  );
}

/** The bytes of a broker's answer for a partition, and the part to read. */
interface AnswerBytes {
  readonly bytes: Buffer;
  readonly from: bigint;
  readonly limits: ExpandLimits;
}

/** Reads the batch at `at`, with at most `left` bytes of records. */
function readBatch({ bytes, from, limits }: AnswerBytes, at: number, left: number): FetchedBatch {
  const end = endOf(bytes, at);
  const count = bytes.readInt32BE(at + FIELD.count);
  const head = {
    firstOffset: bytes.readBigInt64BE(at + FIELD.firstOffset),
    lastOffsetDelta: bytes.readInt32BE(at + FIELD.lastOffsetDelta),
    leaderEpoch: bytes.readInt32BE(at + FIELD.leaderEpoch),
    attributes: bytes.readInt16BE(at + FIELD.attributes),
    producerId: bytes.readBigInt64BE(at + FIELD.producerId),
  };
  const isAppendTime = (head.attributes & LOG_APPEND_TIME) !== 0;
  const baseOffset = Number(head.firstOffset);
  const baseTimestampMs = Number(bytes.readBigInt64BE(at + FIELD.firstTimestamp));
  const appendedAtMs = isAppendTime ? Number(bytes.readBigInt64BE(at + FIELD.maxTimestamp)) : null;
  const codec = head.attributes & CODEC;
  const begin = at + FIELD.records;
  const expanded = codec === 0 ? bytes : expand(codec, bytes.subarray(begin, end), limits.batchBytes);
  if (expanded === null) {
    // Without compaction the offsets are dense. With it, they are the last ones of the batch.
    const value = tooLarge("its batch", limits.batchBytes);
    const firstDelta = head.lastOffsetDelta + 1 - count;
    return { ...head, records: { baseOffset, baseTimestampMs, appendedAtMs, count, bytes: null, value, firstDelta } };
  }
  const unread = tooLarge("it", limits.recordBytes);
  const tooMany = { bytes: limits.recordBytes, value: unread };
  const [first, last] = codec === 0 ? [begin, end] : [0, expanded.length];
  // Set field by field: copying an object that contains a double took three quarters of the time for a batch of two
  // records.
  const part = {
    baseOffset,
    baseTimestampMs,
    appendedAtMs,
    begin: first,
    end: last,
    count,
    bytes: expanded,
    tooLarge: tooMany,
  };
  const { part: records, lastDelta } = withinLimit(part, Number(from), left);
  return { ...head, lastOffsetDelta: lastDelta ?? head.lastOffsetDelta, records };
}

const CONTROL_BATCH = 0x20;
const TRANSACTIONAL_BATCH = 0x10;
const ABORT_MARKER = 0;

/**
 * Splits batches into committed data and control batches. Kafka lists each aborted transaction by the offset at which
 * it began. The transaction continues to that producer's abort marker, which may be after this answer (as in the Java
 * client's CompletedFetch).
 */
export function committedBatches(
  batches: readonly FetchedBatch[],
  aborted: readonly { producerId: bigint; firstOffset: bigint }[],
) {
  const pending = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset));
  const open = new Set<bigint>();
  const committed: FetchedBatch[] = [];
  const control: FetchedBatch[] = [];
  for (const batch of batches) {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    while (pending[0] !== undefined && pending[0].firstOffset <= last) open.add(pending.shift()?.producerId ?? -1n);
    if ((batch.attributes & CONTROL_BATCH) !== 0) {
      control.push(batch);
      if (Records.parse([batch.records], position(0)).key(0)?.readInt16BE(2) === ABORT_MARKER)
        open.delete(batch.producerId);
    } else if ((batch.attributes & TRANSACTIONAL_BATCH) === 0 || !open.has(batch.producerId)) {
      committed.push(batch);
    }
  }
  return { committed, control };
}

/** Returns the position after the last batch, also when all its records were filtered or compacted away. */
export function nextPosition(batches: readonly FetchedBatch[], from: Position): Position {
  const last = batches.at(-1);
  if (last === undefined) return from;
  const next = last.firstOffset + BigInt(last.lastOffsetDelta) + 1n;
  return position(next > from ? next : from);
}
