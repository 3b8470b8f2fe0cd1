import { sequenceLength } from "../text/utf8.ts";
import { VarintInput } from "../varint.ts";

/**
 * Where a record is being read. What ends beyond it is found when its length is compared, or when the record is over.
 */
export class AvroInput extends VarintInput {
  /** The same bytes, to be read four at a time. */
  view: DataView;

  constructor() {
    super(new Uint8Array(0), 0, 0);
    this.view = new DataView(this.bytes.buffer);
  }

  /** Points the input to a record. */
  set(bytes: Uint8Array, from: number, end: number): void {
    this.at = from;
    this.end = end;
    // Records lie in large buffers, many in each.
    if (bytes === this.bytes) return;
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** -1 at the end. */
  byte(): number {
    return this.at < this.end ? (this.bytes[this.at++] as number) : -1;
  }

  /** A zig-zag number of variable length; NaN beyond 2^52, where a double does not tell all of them apart. */
  long(): number {
    const value = this.signed();
    return value < 2 ** 52 ? value : Number.NaN;
  }

  /** How many bytes follow that belong to a value; -1 when the record does not have them. */
  length(): number {
    const length = this.long();
    return length >= 0 && length <= this.end - this.at ? length : -1;
  }

  /** An IEEE number of four or eight bytes; NaN when the record does not have them. */
  float(size: 4 | 8): number {
    if (this.end - this.at < size) return Number.NaN;
    const from = this.at;
    this.at += size;
    return size === 4 ? this.view.getFloat32(from, true) : this.view.getFloat64(from, true);
  }
}

/** How many elements the next block has; 0 ends a list, NaN is more than the record has bytes. */
export function blockSize(input: AvroInput): number {
  const size = input.long();
  if (size < 0 && Number.isNaN(input.long())) return Number.NaN;
  return Math.abs(size) <= input.end - input.at ? Math.abs(size) : Number.NaN;
}

const HIGH_BITS = 0x80808080 | 0;

/** How many of the bytes in `[at, end)` are ASCII before the first one that is not, in steps of four. */
export function asciiSteps({ view }: AvroInput, at: number, end: number): number {
  let next = at;
  while (next + 4 <= end && (view.getInt32(next, true) & HIGH_BITS) === 0) next += 4;
  return next - at;
}

/** As `sequenceLength`, and 0 for U+FFFD: it is what a reader makes of bytes that are not UTF-8. */
export function plainSequence(bytes: Uint8Array, at: number, end: number): number {
  const isReplacement = bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd;
  return isReplacement ? 0 : sequenceLength(bytes, at, end);
}
