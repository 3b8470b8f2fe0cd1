import zlib from "node:zlib";
import { Decompress } from "fzstd";
import { VarintInput } from "../../../core/codec/varint.ts";
import { TidelineError } from "../../../core/errors.ts";
import { compressionsAlgorithms } from "../client/client.ts";

/**
 * Expands the records of a compressed batch, up to a limit of bytes: a batch of ten megabytes may expand to gigabytes.
 * The client's own decompression has no limit, and cannot read Java's framing of snappy.
 */

/** A codec of Kafka's. Returns the expanded bytes, or null when there are more than `mostBytes`. */
type Expand = (bytes: Buffer, mostBytes: number) => Buffer | null;

/** By the lowest three bits of a batch's attributes. */
const CODECS: readonly (Expand | undefined)[] = [undefined, expandGzip, expandSnappy, expandLz4, expandZstd];

/** Expands bytes. Throws CODEC_MISSING for a codec that is not in `CODECS`. */
export function expand(codec: number, bytes: Buffer, mostBytes: number): Buffer | null {
  const found = CODECS[codec];
  if (found === undefined) throw codecMissing(`codec ${codec}`);
  return found(bytes, mostBytes);
}

function expandGzip(bytes: Buffer, mostBytes: number): Buffer | null {
  return bounded(() => zlib.gunzipSync(bytes, { maxOutputLength: mostBytes }));
}

/** Node has zstd since 22.15, several times as fast as code in JavaScript. The types used here are older. */
function expandZstd(bytes: Buffer, mostBytes: number): Buffer | null {
  const { zstdDecompressSync } = zlib as { zstdDecompressSync?: typeof zlib.gunzipSync };
  if (zstdDecompressSync !== undefined) return bounded(() => zstdDecompressSync(bytes, { maxOutputLength: mostBytes }));
  const parts: Uint8Array[] = [];
  let length = 0;
  const stream = new Decompress((part) => {
    length += part.length;
    if (length > mostBytes) throw TOO_MUCH;
    parts.push(part.slice());
  });
  try {
    stream.push(bytes, true);
  } catch (error) {
    if (error === TOO_MUCH) return null;
    throw error;
  }
  return Buffer.concat(parts);
}

const TOO_MUCH = new RangeError("more than it may be");

function bounded(expanded: () => Buffer): Buffer | null {
  try {
    return expanded();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ERR_BUFFER_TOO_LARGE") return null;
    throw error;
  }
}

/**
 * The header of snappy-java (SnappyCodec): this magic, then two version numbers. After it each block has its length
 * before it.
 */
const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0]);
const XERIAL_HEADER_BYTES = 16;

/** Expands blocks framed by Java, or a single block without a frame, as librdkafka writes it. */
function expandSnappy(bytes: Buffer, mostBytes: number): Buffer | null {
  const blocks = bytes.subarray(0, XERIAL.length).equals(XERIAL) ? xerialBlocks(bytes) : [bytes];
  if (blocks.reduce((sum, block) => sum + snappyLength(block), 0) > mostBytes) return null;
  return Buffer.concat(blocks.map((block) => compressionsAlgorithms.snappy.decompressSync(block)));
}

function xerialBlocks(bytes: Buffer): Buffer[] {
  const blocks: Buffer[] = [];
  for (let at = XERIAL_HEADER_BYTES; at < bytes.length; ) {
    const end = at + 4 + bytes.readUInt32BE(at);
    blocks.push(bytes.subarray(at + 4, end));
    at = end;
  }
  return blocks;
}

/** Returns the expanded length of a block, which is at its beginning. */
function snappyLength(block: Buffer): number {
  return new VarintInput(block, 0, block.length).unsigned();
}

function expandLz4(bytes: Buffer, mostBytes: number): Buffer | null {
  return lz4Length(bytes) > mostBytes ? null : compressionsAlgorithms.lz4.decompressSync(bytes);
}

const LZ4_STORED = 0x80000000;

/** Returns the expanded length of an LZ4 frame (LZ4 Frame Format 1.6), from its blocks, without expanding them. */
function lz4Length(frame: Buffer): number {
  const flags = frame[4] ?? 0;
  const [checksums, size, dictionary] = [flags & 0x10, flags & 0x08, flags & 0x01];
  let length = 0;
  for (let at = 7 + (size > 0 ? 8 : 0) + (dictionary > 0 ? 4 : 0); at + 4 <= frame.length; ) {
    const word = frame.readUInt32LE(at);
    if (word === 0) break;
    const bytes = word % LZ4_STORED;
    const block = frame.subarray(at + 4, at + 4 + bytes);
    length += word >= LZ4_STORED ? bytes : lz4BlockLength(block);
    at += 4 + bytes + (checksums > 0 ? 4 : 0);
  }
  return length;
}

/**
 * Returns the expanded length of a block. A block is a sequence of: a token with two lengths, literals, and a match
 * with two bytes of distance. The last sequence has only literals.
 */
function lz4BlockLength(block: Buffer): number {
  let length = 0;
  for (let at = 0; at < block.length; ) {
    const token = block[at++] ?? 0;
    const read = (nibble: number) => {
      let count = nibble;
      for (let more = nibble === 15 ? 255 : 0; more === 255; count += more) more = block[at++] ?? 0;
      return count;
    };
    const literals = read(token >> 4);
    at += literals;
    length += literals;
    if (at >= block.length) break;
    at += 2;
    length += read(token & 15) + 4;
  }
  return length;
}

function codecMissing(codec: string): TidelineError {
  return new TidelineError(
    "CODEC_MISSING",
    `Kafka has a batch that is compressed with ${codec}, which Tideline does not know`,
    "Have producers, or the topic's compression.type, use gzip, snappy, lz4 or zstd.",
  );
}
