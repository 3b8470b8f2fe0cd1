import { createAPI, fetchV17, type Reader, ResponseError } from "../client/client.ts";

/**
 * Kafka's Fetch (API key 1, version 17), with records left as bytes. The limit of a fetch counts bytes in the log, not
 * expanded ones, so the client's own reading of an answer could use all memory. It would also make a dozen objects of
 * every record.
 */

/** The answer for one partition. `batchesOf` reads the records. */
export interface FetchedBytes {
  readonly partitionIndex: number;
  /** Kafka's error code; 0 when there is none. */
  readonly errorCode: number;
  readonly lastStableOffset: bigint;
  readonly logStartOffset: bigint;
  readonly abortedTransactions: { readonly producerId: bigint; readonly firstOffset: bigint }[];
  readonly batches: Buffer;
}

export interface FetchAnswer {
  /**
   * How long the broker wants us to wait before the next request, because a quota was used up. The answer may be empty
   * because of it.
   */
  readonly throttledMs: number;
  /** 0 unless the broker keeps a fetch session for us. */
  readonly sessionId: number;
  readonly partitions: readonly FetchedBytes[];
}

type FetchArguments = Parameters<typeof fetchV17.api.async> extends [unknown, ...infer Rest] ? Rest : never;

const FETCH_KEY = 1;
const FETCH_VERSION = 17;
const READ_COMMITTED = 1;
const NO_SESSION = 0;
/** Asks for a full answer without a fetch session: a broker has only 1,000 sessions for all its clients. */
const FINAL_EPOCH = -1;

/** A request to one broker. The broker looks at partitions in this order. */
export interface FetchQuestion {
  readonly topicId: string;
  readonly partitions: readonly { readonly partition: number; readonly fetchOffset: bigint }[];
  readonly maxWaitMs: number;
  readonly maxBytes: number;
  readonly partitionMaxBytes: number;
}

/** Returns the arguments of `fetchApi` for a request. */
export function fetchRequest(question: FetchQuestion): FetchArguments {
  const { topicId, maxWaitMs, maxBytes, partitionMaxBytes } = question;
  const partitions = question.partitions.map(({ partition, fetchOffset }) => ({
    partition,
    currentLeaderEpoch: -1,
    fetchOffset,
    lastFetchedEpoch: -1,
    partitionMaxBytes,
  }));
  return [maxWaitMs, 1, maxBytes, READ_COMMITTED, NO_SESSION, FINAL_EPOCH, [{ topicId, partitions }], [], ""];
}

/**
 * Throws the client's ResponseError when the broker refuses the whole request. The error of one partition is in the
 * answer.
 */
export const fetchApi = createAPI<FetchArguments, FetchAnswer>(
  FETCH_KEY,
  FETCH_VERSION,
  fetchV17.createRequest,
  (_correlationId, apiKey, apiVersion, reader) => {
    const throttledMs = reader.readInt32();
    const errorCode = reader.readInt16();
    const sessionId = reader.readInt32();
    const topics = reader.readArray((topic) => {
      topic.readUUID();
      return topic.readArray(readPartition);
    });
    if (errorCode !== 0) throw new ResponseError(apiKey, apiVersion, { "": [errorCode, null] }, topics);
    return { throttledMs, sessionId, partitions: topics.flat() };
  },
);

/** Returns the client's error for a partition's error code. */
export function partitionError({ partitionIndex, errorCode }: FetchedBytes): Error {
  return new ResponseError(FETCH_KEY, FETCH_VERSION, { [`/partitions/${partitionIndex}`]: [errorCode, null] }, null);
}

function readPartition(reader: Reader): FetchedBytes {
  const partitionIndex = reader.readInt32();
  const errorCode = reader.readInt16();
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
  return { partitionIndex, errorCode, lastStableOffset, logStartOffset, abortedTransactions, batches };
}
