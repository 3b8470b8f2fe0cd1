import { createAPI, type Reader, ResponseError, Writer } from "../client/client.ts";

/**
 * Kafka's Produce (API key 0, version 11) with one finished batch, to be stored by all replicas. The client's own
 * request would encode each record again.
 */

export interface ProduceRequest {
  readonly topic: string;
  readonly partition: number;
  /** A record batch, sealed. */
  readonly batch: Buffer;
  readonly timeoutMs: number;
}

interface PartitionAnswer {
  readonly code: number;
  readonly message: string | null;
  readonly firstOffset: bigint;
}

const PRODUCE_KEY = 0;
const PRODUCE_VERSION = 11;
const ALL_REPLICAS = -1;

/** Returns the offset of the batch's first record. Throws the client's ResponseError for the broker's error. */
export const produceApi = createAPI<[ProduceRequest], bigint>(
  PRODUCE_KEY,
  PRODUCE_VERSION,
  ({ topic, partition, batch, timeoutMs }) =>
    Writer.create()
      .appendString(null)
      .appendInt16(ALL_REPLICAS)
      .appendInt32(timeoutMs)
      .appendArray([topic], (topics, name) => {
        topics.appendString(name).appendArray([batch], (parts, records) => {
          parts
            .appendInt32(partition)
            .appendUnsignedVarInt(records.length + 1)
            .append(records);
        });
      })
      .appendTaggedFields(),
  (_correlationId, apiKey, apiVersion, reader) => {
    const [[answer] = []] = reader.readArray((topic) => {
      topic.readString();
      return topic.readArray(readPartition);
    });
    const { code = -1, message = null, firstOffset = -1n } = answer ?? {};
    if (code !== 0) throw new ResponseError(apiKey, apiVersion, { "/responses/0": [code, message] }, answer);
    return firstOffset;
  },
);

function readPartition(reader: Reader): PartitionAnswer {
  reader.readInt32(); // the partition
  const code = reader.readInt16();
  const firstOffset = reader.readInt64();
  reader.readInt64(); // the broker's time
  reader.readInt64(); // the start of the log
  const wrong = reader.readArray((record) => {
    record.readInt32();
    return record.readNullableString();
  });
  const message = reader.readNullableString();
  return { code, firstOffset, message: message ?? wrong.find((one) => one !== null) ?? null };
}
