import { crc32c } from "@node-rs/crc32";
import { varintLength, writeVarint } from "../../../core/codec/varint.ts";

/**
 * Writes record batches (RecordBatch, magic 2) in Kafka's format. Each record is written as bytes when it is added. The
 * client's own batches have about ten objects a record, which cost more than all other work of a producer.
 */

/** A record as it is sent. */
export interface WrittenRecord {
  readonly key: string | Buffer | null;
  readonly value: string | Buffer | null;
  readonly headers?: Readonly<Record<string, string | Buffer>>;
}

/** The numbers by which a broker recognises a batch that it already has (KIP-98). */
export interface BatchIdentity {
  readonly producerId: bigint;
  readonly producerEpoch: number;
  /** The number of the batch's first record in its partition. */
  readonly sequence: number;
}

/** The places of the fields in a batch's bytes. */
const LENGTH = 8;
const LEADER_EPOCH = 12;
const MAGIC = 16;
const CHECKSUM = 17;
const ATTRIBUTES = 21;
const LAST_OFFSET_DELTA = 23;
const FIRST_TIMESTAMP = 27;
const MAX_TIMESTAMP = 35;
const PRODUCER_ID = 43;
const PRODUCER_EPOCH = 51;
const SEQUENCE = 53;
const COUNT = 57;
const RECORDS = 61;
/** The bytes of first offset and length, which the length does not include. */
const HEAD_BYTES = 12;

const FIRST_BYTES = 64 * 1024;
const LONGEST_VARINT = 5;
const NOTHING = Buffer.alloc(0);

/** One batch, to which records are added until it is sealed. */
export class BatchWriter {
  #bytes: Buffer = NOTHING;
  #end = RECORDS;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Adds a record, unless a batch with records would exceed a limit. Returns whether it was added. */
  add({ key, value, headers }: WrittenRecord, limit: { readonly records: number; readonly bytes: number }): boolean {
    const keyBytes = lengthOf(key);
    const valueBytes = lengthOf(value);
    const headerList = headers === undefined ? [] : Object.entries(headers);
    const headerBytes = headersLength(headerList);
    // Attributes, time difference to the batch (always none), index in the batch, and the rest.
    const length =
      2 +
      varintLength(this.#count) +
      varintLength(keyBytes) +
      varintLength(valueBytes) +
      Math.max(keyBytes, 0) +
      Math.max(valueBytes, 0) +
      headerBytes;
    const size = length + LONGEST_VARINT;
    if (this.#count > 0 && (this.#count >= limit.records || this.#end + size > limit.bytes)) return false;
    this.#reserve(size);
    this.#varint(length);
    this.#bytes[this.#end++] = 0;
    this.#bytes[this.#end++] = 0;
    this.#varint(this.#count);
    this.#field(key, keyBytes);
    this.#field(value, valueBytes);
    this.#varint(headerList.length);
    for (const [name, header] of headerList) {
      this.#field(name, lengthOf(name));
      this.#field(header, lengthOf(header));
    }
    this.#count += 1;
    return true;
  }

  /**
   * Returns the batch's bytes, with the same time for all its records and its identity. No record may be added
   * afterwards.
   */
  seal({ producerId, producerEpoch, sequence }: BatchIdentity, timestampMs: number): Buffer {
    const bytes = this.#bytes.subarray(0, this.#end);
    bytes.writeBigInt64BE(0n, 0);
    bytes.writeInt32BE(this.#end - HEAD_BYTES, LENGTH);
    bytes.writeInt32BE(-1, LEADER_EPOCH);
    bytes.writeInt8(2, MAGIC);
    bytes.writeInt16BE(0, ATTRIBUTES);
    bytes.writeInt32BE(this.#count - 1, LAST_OFFSET_DELTA);
    bytes.writeBigInt64BE(BigInt(timestampMs), FIRST_TIMESTAMP);
    bytes.writeBigInt64BE(BigInt(timestampMs), MAX_TIMESTAMP);
    bytes.writeBigInt64BE(producerId, PRODUCER_ID);
    bytes.writeInt16BE(producerEpoch, PRODUCER_EPOCH);
    bytes.writeInt32BE(sequence, SEQUENCE);
    bytes.writeInt32BE(this.#count, COUNT);
    bytes.writeUInt32BE(crc32c(bytes.subarray(ATTRIBUTES)), CHECKSUM);
    return bytes;
  }

  #reserve(more: number): void {
    const needed = this.#end + more;
    if (needed <= this.#bytes.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(FIRST_BYTES, needed, this.#bytes.length * 2));
    this.#bytes.copy(larger, 0, 0, this.#end);
    this.#bytes = larger;
  }

  #field(value: string | Buffer | null, length: number): void {
    this.#varint(length);
    if (length <= 0 || value === null) return;
    if (typeof value === "string") this.#bytes.write(value, this.#end, length, "utf8");
    else value.copy(this.#bytes, this.#end);
    this.#end += length;
  }

  #varint(value: number): void {
    this.#end = writeVarint(this.#bytes, this.#end, value);
  }
}

/** Returns the length of a value. -1 if it is absent. */
function lengthOf(value: string | Buffer | null): number {
  return value === null ? -1 : typeof value === "string" ? Buffer.byteLength(value) : value.length;
}

function headersLength(headers: readonly (readonly [string, string | Buffer])[]): number {
  return headers.reduce((sum, [name, value]) => {
    const [nameBytes, valueBytes] = [lengthOf(name), lengthOf(value)];
    return sum + varintLength(nameBytes) + nameBytes + varintLength(valueBytes) + valueBytes;
  }, varintLength(headers.length));
}
