/**
 * Whole numbers of variable length, as in Kafka's records, Avro and snappy: seven bits a byte, the lowest first, and
 * the highest bit set in every byte but the last. Signed ones are zig-zag encoded: 0, -1, 1, -2 … are 0, 1, 2, 3 ….
 */

/** A position in bytes from which numbers are read, up to `end`. */
export class VarintInput {
  bytes: Uint8Array;
  at: number;
  end: number;

  constructor(bytes: Uint8Array, at: number, end: number) {
    this.bytes = bytes;
    this.at = at;
    this.end = end;
  }

  /**
   * Reads an unsigned number. Beyond 2^28 it is a double, which is exact up to 2^53. NaN when the bytes end before the
   * number does.
   */
  unsigned(): number {
    const { bytes, end } = this;
    let value = 0;
    for (let shift = 0; shift < 28 && this.at < end; shift += 7) {
      const byte = bytes[this.at++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
    let large = value;
    for (let scale = 2 ** 28; this.at < end; scale *= 128) {
      const byte = bytes[this.at++] as number;
      large += (byte & 0x7f) * scale;
      if (byte < 0x80) return large;
    }
    return Number.NaN;
  }

  /** Reads a zig-zag number. It is exact from -2^52 to below 2^52. */
  signed(): number {
    const { bytes, at, end } = this;
    let value = 0;
    // Does not call `unsigned`: most numbers are short, and a call would cost as much as the rest.
    for (let shift = 0; shift < 28 && this.at < end; shift += 7) {
      const byte = bytes[this.at++] as number;
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return (value >>> 1) ^ -(value & 1);
    }
    this.at = at;
    const large = this.unsigned();
    return large % 2 === 0 ? large / 2 : -(large + 1) / 2;
  }
}

/** Returns the zig-zag form of a whole number of 32 bits. */
function zigZag(value: number): number {
  return ((value << 1) ^ (value >> 31)) >>> 0;
}

/** Returns how many bytes `writeVarint` writes for a number of 32 bits: at most five. */
export function varintLength(value: number): number {
  const rest = zigZag(value);
  return rest < 0x80 ? 1 : rest < 0x4000 ? 2 : rest < 0x200000 ? 3 : rest < 0x10000000 ? 4 : 5;
}

/** Writes a number of 32 bits, zig-zag encoded. Returns its end. */
export function writeVarint(bytes: Uint8Array, at: number, value: number): number {
  let end = at;
  let rest = zigZag(value);
  for (; rest >= 0x80; rest >>>= 7) bytes[end++] = (rest & 0x7f) | 0x80;
  bytes[end++] = rest;
  return end;
}
