import { sequenceLength } from "./utf8.ts";

/** Where a record is being read. What ends beyond it is found when its length is compared, or when the record is over. */
export class AvroInput {
  bytes: Uint8Array = new Uint8Array(0);
  at = 0;
  end = 0;

  /** -1 at the end. */
  byte(): number {
    return this.at < this.end ? (this.bytes[this.at++] as number) : -1;
  }

  /** A zig-zag number of variable length; NaN beyond 2^52, where a double does not tell all of them apart. */
  long(): number {
    const { bytes, end } = this;
    let value = 0;
    for (let shift = 0; shift < 28 && this.at < end; shift += 7) {
      const byte = bytes[this.at++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    let large = value;
    for (let scale = 2 ** 28; scale < 2 ** 63 && this.at < end; scale *= 128) {
      const byte = bytes[this.at++] as number;
      large += (byte & 0x7f) * scale;
      if (byte >= 0x80) continue;
      return large > Number.MAX_SAFE_INTEGER ? Number.NaN : large % 2 === 0 ? large / 2 : -(large + 1) / 2;
    }
    return Number.NaN;
  }

  /** How many bytes follow that belong to a value; -1 when the record does not have them. */
  length(): number {
    const length = this.long();
    return length >= 0 && length <= this.end - this.at ? length : -1;
  }

  /** An IEEE number of four or eight bytes; NaN when the record does not have them. */
  float(size: 4 | 8): number {
    if (this.end - this.at < size) return Number.NaN;
    for (let index = 0; index < size; index++) SCRATCH.setUint8(index, this.bytes[this.at++] as number);
    return size === 4 ? SCRATCH.getFloat32(0, true) : SCRATCH.getFloat64(0, true);
  }
}

const SCRATCH = new DataView(new ArrayBuffer(8));

/** How many elements the next block has; 0 ends a list, NaN is more than the record has bytes. */
export function blockSize(input: AvroInput): number {
  const size = input.long();
  if (size < 0 && Number.isNaN(input.long())) return Number.NaN;
  return Math.abs(size) <= input.end - input.at ? Math.abs(size) : Number.NaN;
}

/** As `sequenceLength`, and 0 for U+FFFD: it is what a reader makes of bytes that are no UTF-8. */
export function plainSequence(bytes: Uint8Array, at: number, end: number): number {
  const isReplacement = bytes[at] === 0xef && bytes[at + 1] === 0xbf && bytes[at + 2] === 0xbd;
  return isReplacement ? 0 : sequenceLength(bytes, at, end);
}
