/**
 * Whole numbers as bits, for texts that have to be short. In a list, each number is written by its distance from the
 * least one: all with the width of the widest, or as exponential Golomb codes of an order k (Teuhola, "A compression
 * method for clustered bit-vectors", 1978), whichever is shorter. Such a code of a number below 2^k has k + 1 bits, and
 * each doubling beyond that costs two more.
 */

const MOST_BITS = 64;
const HALF = 2 ** 32;
/** The number of bits of a width or an order. */
const WIDTH_BITS = 7;
const LEAST_ORDER = 8;
/** A step of this many bits fits 32 bits together with up to seven bits that wait for their byte. */
const STEP_BITS = 24;

export class BitWriter {
  readonly #bytes: number[] = [];
  #held = 0;
  #heldBits = 0;

  flag(value: boolean): void {
    this.#push(value ? 1 : 0, 1);
  }

  /** Writes a number that has at most `width` bits. */
  fixed(value: bigint, width: number): void {
    const high = width > 32 ? Number(value >> 32n) : 0;
    const low = value < HALF ? Number(value) : Number(value & 0xffffffffn);
    if (width > 32) this.#half(high, width - 32);
    this.#half(low, Math.min(width, 32));
  }

  /** Writes a number that is not negative as a code of this order. */
  number(value: bigint, order: number): void {
    const high = (value >> BigInt(order)) + 1n;
    const bits = bitsOf(high);
    this.fixed(0n, bits - 1);
    this.fixed(high, bits);
    this.fixed(value - ((high - 1n) << BigInt(order)), order);
  }

  /** Writes numbers of any sign, each with at least one bit. Their count is not written. */
  list(values: readonly bigint[]): void {
    const least = values.reduce((least, value) => (value < least ? value : least), values[0] ?? 0n);
    this.flag(least < 0n);
    this.number(least < 0n ? -least : least, LEAST_ORDER);
    const distances = values.map((value) => value - least);
    const { isFixed, width } = bestCode(distances);
    this.flag(isFixed);
    this.fixed(BigInt(width), WIDTH_BITS);
    for (const distance of distances) {
      if (isFixed) this.fixed(distance, width);
      else this.number(distance, width);
    }
  }

  text(value: string): void {
    const bytes = Buffer.from(value);
    this.number(BigInt(bytes.length), LEAST_ORDER - 2);
    for (const byte of bytes) this.#push(byte, 8);
  }

  /** Returns all written bits, filled up with zeros to a whole byte. */
  bytes(): Buffer {
    const rest = this.#heldBits === 0 ? [] : [(this.#held << (8 - this.#heldBits)) & 0xff];
    return Buffer.from([...this.#bytes, ...rest]);
  }

  #half(value: number, width: number): void {
    if (width > STEP_BITS) this.#push(value >>> STEP_BITS, width - STEP_BITS);
    this.#push(value & 0xffffff, Math.min(width, STEP_BITS));
  }

  #push(value: number, width: number): void {
    this.#held = (this.#held << width) | value;
    this.#heldBits += width;
    while (this.#heldBits >= 8) {
      this.#heldBits -= 8;
      this.#bytes.push((this.#held >>> this.#heldBits) & 0xff);
    }
    this.#held &= (1 << this.#heldBits) - 1;
  }
}

/** Reads numbers written by `BitWriter`. Throws RangeError where the bits end too early or are not a code. */
export class BitReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** The number of bits left. */
  get left(): number {
    return this.#bytes.length * 8 - this.#at;
  }

  flag(): boolean {
    return this.#bit() === 1;
  }

  fixed(width: number): bigint {
    let [high, low] = [0, 0];
    for (let left = width; left > 0; left--) {
      if (left > 32) high = high * 2 + this.#bit();
      else low = low * 2 + this.#bit();
    }
    return high === 0 ? BigInt(low) : BigInt(high) * BigInt(HALF) + BigInt(low);
  }

  number(order: number): bigint {
    let zeros = 0;
    while (this.#bit() === 0) if (++zeros > MOST_BITS) throw new RangeError("no code of a number");
    const high = (1n << BigInt(zeros)) + this.fixed(zeros) - 1n;
    return (high << BigInt(order)) + this.fixed(order);
  }

  /** Reads this many numbers. Each has at least one bit, so a text cannot give more numbers than it has bits. */
  list(length: number): bigint[] {
    if (length > this.left) throw new RangeError("more numbers than bits");
    const isNegative = this.flag();
    const least = this.number(LEAST_ORDER);
    const isFixed = this.flag();
    const width = Number(this.fixed(WIDTH_BITS));
    if (width > MOST_BITS || (isFixed && width === 0)) throw new RangeError("no width of a number");
    const from = isNegative ? -least : least;
    return Array.from({ length }, () => from + (isFixed ? this.fixed(width) : this.number(width)));
  }

  text(): string {
    const length = Number(this.number(LEAST_ORDER - 2));
    if (length > this.#bytes.length) throw new RangeError("a text is cut off");
    return Buffer.from(Array.from({ length }, () => Number(this.fixed(8)))).toString();
  }

  /** Whether only the zeros that fill up the last byte are left. */
  isAtEnd(): boolean {
    if (this.#bytes.length !== Math.ceil(this.#at / 8)) return false;
    while (this.#at < this.#bytes.length * 8) if (this.#bit() === 1) return false;
    return true;
  }

  #bit(): number {
    const byte = this.#bytes[this.#at >> 3];
    if (byte === undefined) throw new RangeError("the bits are cut off");
    const bit = (byte >> (7 - (this.#at & 7))) & 1;
    this.#at += 1;
    return bit;
  }
}

/**
 * Returns the shortest way to write these numbers: a fixed width, or the order of codes that suits their median or
 * their mean.
 */
function bestCode(values: readonly bigint[]): { readonly isFixed: boolean; readonly width: number } {
  const most = values.reduce((most, value) => (value > most ? value : most), 0n);
  let best = { isFixed: true, width: Math.max(1, bitsOf(most)) };
  let bestBits = best.width * values.length;
  const numbers = values.map(Number);
  const mean = numbers.reduce((sum, value) => sum + value, 0) / Math.max(1, numbers.length);
  const median = numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)] ?? 0;
  const [least, last] = [Math.min(mean, median), mean].map((value) => Math.floor(Math.log2(value + 1)));
  for (let order = Math.max(0, (least ?? 0) - 2); order <= (last ?? 0); order++) {
    const unit = 2 ** order;
    let bits = 0;
    for (const value of numbers) bits += 2 * Math.floor(Math.log2(Math.floor(value / unit) + 1)) + 1 + order;
    if (bits < bestBits) [best, bestBits] = [{ isFixed: false, width: order }, bits];
  }
  return best;
}

/** Returns the number of bits of a number that is not negative. 0 for 0. */
function bitsOf(value: bigint): number {
  if (value < HALF) return 32 - Math.clz32(Number(value));
  return 64 - Math.clz32(Number(value >> 32n)) + (value >> 64n === 0n ? 0 : 1);
}
