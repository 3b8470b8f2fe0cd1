import { sequenceLength } from "../text/utf8.ts";
import { VarintInput } from "../varint.ts";

/**
 * The read position in a record. Methods may read beyond the end of the record; the caller finds that when it compares
 * a length, or when the record is over.
 */
export class AvroInput extends VarintInput {
  /** A view of the same bytes, for reading four at a time. */
  view: DataView;

  constructor() {
    super(new Uint8Array(0), 0, 0);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Points the input to a record. */
  set(bytes: Uint8Array, from: number, end: number): void {
    this.at = from;
    this.end = end;
    // Many records lie in one large buffer, so the view is seldom made again.
    if (bytes === this.bytes) return;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** Reads a byte. -1 at the end. */
  byte(): number {
    return this.at < this.end ? (this.bytes[this.at++] as number) : -1;
  }

  /** Reads a zig-zag number of variable length. NaN beyond 2^52, where a double is not exact. */
  long(): number {
    const value = this.signed();
    return value < 2 ** 52 ? value : Number.NaN;
  }

  /** Reads the length of a value. -1 when the record does not have that many bytes. */
  length(): number {
    const length = this.long();
    return length >= 0 && length <= this.end - this.at ? length : -1;
  }

  /** Reads an IEEE number of four or eight bytes. NaN when the record does not have them. */
  float(size: 4 | 8): number {
    if (this.end - this.at < size) return Number.NaN;
    const from = this.at;
    this.at += size;
    return size === 4 ? this.view.getFloat32(from, true) : this.view.getFloat64(from, true);
  }
}

/** Reads the number of elements in the next block. 0 ends a list. NaN is more than the record has bytes. */
export function blockSize(input: AvroInput): number {
  const size = input.long();
  if (size < 0 && Number.isNaN(input.long())) return Number.NaN;
  return Math.abs(size) <= input.end - input.at ? Math.abs(size) : Number.NaN;
}

const HIGH_BITS = 0x80808080 | 0;

/** Returns how many bytes in `[at, end)` are ASCII before the first other byte, in steps of four. */
export function asciiSteps({ view }: AvroInput, at: number, end: number): number {
  let next = at;
  while (next + 4 <= end && (view.getInt32(next, true) & HIGH_BITS) === 0) next += 4;
  return next - at;
}

/** Returns the same as `sequenceLength`, but 0 for U+FFFD, because readers make it of bytes that are not UTF-8. */
export function plainSequence(bytes: Uint8Array, at: number, end: number): number {
  const isReplacement = bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd;
  return isReplacement ? 0 : sequenceLength(bytes, at, end);
}
