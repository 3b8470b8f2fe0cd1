/**
 * HyperLogLog with the parameters of Redis (16,384 registers of 6 bits), so that a sketch can move between Redis,
 * Parquet and this process. Sources: Redis `hyperloglog.c` for the hash, register choice and string layout; Ertl, "New
 * cardinality estimation algorithms for HyperLogLog sketches", arXiv:1702.01284, algorithm 6, for the estimate;
 * MurmurHash64A by Appleby for the hash.
 */
const REGISTER_BITS = 14;
export const REGISTER_COUNT = 1 << REGISTER_BITS;
const RANK_BITS = 64 - REGISTER_BITS;
const ALPHA_INFINITY = 0.7213475204444817;

/** One relative standard error: 1.04 / sqrt(16384). */
export const REGISTER_ERROR = 0.0081;

const MASK = (1n << 64n) - 1n;
const MULTIPLIER = 0xc6a4a7935bd1e995n;
const SEED = 0xadc83b19n;

function murmur64OfEightBytes(value: bigint): bigint {
  let k = (value * MULTIPLIER) & MASK;
  k ^= k >> 47n;
  k = (k * MULTIPLIER) & MASK;
  let h = SEED ^ ((8n * MULTIPLIER) & MASK);
  h = ((h ^ k) * MULTIPLIER) & MASK;
  h ^= h >> 47n;
  h = (h * MULTIPLIER) & MASK;
  return h ^ (h >> 47n);
}

/**
 * Returns the register that PFADD of `hash` (as 8 little-endian bytes) sets, and the rank. `registerSql` is the same in
 * SQL.
 */
export function registerOf(hash: bigint): { register: number; rank: number } {
  const mixed = murmur64OfEightBytes(hash);
  let bits = (mixed >> BigInt(REGISTER_BITS)) | (1n << BigInt(RANK_BITS));
  let rank = 1;
  while ((bits & 1n) === 0n) {
    bits >>= 1n;
    rank += 1;
  }
  return { register: Number(mixed & BigInt(REGISTER_COUNT - 1)), rank };
}

/**
 * SQL: the 64-bit hash that represents a text in a sketch. It is DuckDB's MD5, so both layers and any later version
 * agree on it.
 */
export function hashSql(text: string): string {
  return `md5_number_lower(${text})`;
}

const LOW = "4294967295::UBIGINT";

/**
 * SQL: column `x` times the constant, modulo 2^64, from 32-bit halves, so that no product or sum exceeds 64 bits.
 * (128-bit integers take a hundred times as long.)
 */
function timesMultiplier(x: string): string {
  const [high, low] = [`${MULTIPLIER >> 32n}::UBIGINT`, `${MULTIPLIER & 0xffffffffn}::UBIGINT`];
  const lowest = `((${x} & ${LOW}) * ${low})`;
  const cross = `((((${x} >> 32) * ${low}) & ${LOW}) + (((${x} & ${LOW}) * ${high}) & ${LOW}) + (${lowest} >> 32))`;
  return `(((${cross} & ${LOW}) << 32) | (${lowest} & ${LOW}))`;
}

/**
 * SQL: turns a table expression `source` with a UBIGINT column `hash` into the same rows with `register` (INTEGER) and
 * `rank` (TINYINT). Each step of MurmurHash64A is a sub-query, so that nothing is computed twice.
 */
export function registerSql(source: string): string {
  const start = `${SEED ^ ((8n * MULTIPLIER) & MASK)}::UBIGINT`;
  const steps = [
    timesMultiplier("x"),
    "xor(x, x >> 47)",
    timesMultiplier("x"),
    `xor(${start}, x)`,
    timesMultiplier("x"),
    "xor(x, x >> 47)",
    timesMultiplier("x"),
    "xor(x, x >> 47)",
  ];
  const mixed = steps.reduce(
    (from, step) => `(SELECT * REPLACE (${step} AS x) FROM ${from})`,
    `(SELECT *, hash AS x FROM ${source})`,
  );
  const bits = `(SELECT *, (x >> ${REGISTER_BITS}) | (1::UBIGINT << ${RANK_BITS}) AS bits FROM ${mixed})`;
  const rank = "bit_count(xor(bits, bits - 1)::BIGINT)::TINYINT";
  return `SELECT * EXCLUDE (x, bits), (x & ${REGISTER_COUNT - 1})::INTEGER AS register, ${rank} AS rank FROM ${bits}`;
}

const NO_REGISTERS = new Uint8Array();

/**
 * A sketch's registers: sparse while few are set, then 16 KiB. Mutable; `offer` and `merge` are the MAX of the
 * protocol.
 */
export class Registers {
  #sparse: Map<number, number> | null = new Map();
  #dense: Uint8Array | null = null;

  offer(register: number, rank: number): void {
    if (this.#dense) {
      if (rank > (this.#dense[register] ?? 0)) this.#dense[register] = rank;
      return;
    }
    const sparse = this.#sparse ?? new Map<number, number>();
    if (rank > (sparse.get(register) ?? 0)) sparse.set(register, rank);
    if (sparse.size > 1_024) this.#densify(sparse);
  }

  /** The approximate size in memory. */
  get sizeBytes(): number {
    return this.#dense?.length ?? 40 * (this.#sparse?.size ?? 0);
  }

  /** The number of registers that a merge reads: those that are set or, for a dense sketch, all. */
  get size(): number {
    return this.#dense?.length ?? this.#sparse?.size ?? 0;
  }

  copy(): Registers {
    const copy = new Registers();
    copy.#sparse = this.#sparse === null ? null : new Map(this.#sparse);
    copy.#dense = this.#dense?.slice() ?? null;
    return copy;
  }

  merge(other: Registers): this {
    if (other.#sparse) for (const [register, rank] of other.#sparse) this.offer(register, rank);
    if (other.#dense) this.#mergeDense(other.#dense);
    return this;
  }

  /** Returns the set registers, ascending: the state rows (item, integer) of the protocol. */
  entries(): [register: number, rank: number][] {
    if (this.#sparse) return [...this.#sparse].sort((a, b) => a[0] - b[0]);
    return [...(this.#dense ?? [])].flatMap((rank, register): [number, number][] =>
      rank > 0 ? [[register, rank]] : [],
    );
  }

  /** Returns the estimated number of distinct values, the same as PFCOUNT. */
  estimate(): number {
    const histogram = this.#histogram();
    let z = REGISTER_COUNT * tau((REGISTER_COUNT - (histogram[RANK_BITS + 1] ?? 0)) / REGISTER_COUNT);
    for (let rank = RANK_BITS; rank >= 1; rank--) z = 0.5 * (z + (histogram[rank] ?? 0));
    z += REGISTER_COUNT * sigma((histogram[0] ?? 0) / REGISTER_COUNT);
    return Math.round((ALPHA_INFINITY * REGISTER_COUNT * REGISTER_COUNT) / z);
  }

  /** Returns the number of registers with each rank. */
  #histogram(): Uint32Array {
    const histogram = new Uint32Array(64);
    const dense = this.#dense ?? NO_REGISTERS;
    // A loop by index: a loop that works for both kinds of registers takes four times as long.
    for (let register = 0; register < dense.length; register++) {
      const rank = dense[register] ?? 0;
      histogram[rank] = (histogram[rank] ?? 0) + 1;
    }
    for (const rank of this.#sparse?.values() ?? []) histogram[rank] = (histogram[rank] ?? 0) + 1;
    if (this.#sparse) histogram[0] = REGISTER_COUNT - this.#sparse.size;
    return histogram;
  }

  #mergeDense(other: Uint8Array): void {
    const dense = this.#dense ?? this.#densify(this.#sparse ?? new Map());
    for (let register = 0; register < REGISTER_COUNT; register++) {
      const rank = other[register] ?? 0;
      if (rank > (dense[register] ?? 0)) dense[register] = rank;
    }
  }

  #densify(sparse: Map<number, number>): Uint8Array {
    const dense = new Uint8Array(REGISTER_COUNT);
    for (const [register, rank] of sparse) dense[register] = rank;
    this.#dense = dense;
    this.#sparse = null;
    return dense;
  }
}

function tau(start: number): number {
  if (start === 0 || start === 1) return 0;
  let x = start;
  let y = 1;
  let z = 1 - x;
  for (let previous = Number.NaN; z !== previous; ) {
    x = Math.sqrt(x);
    previous = z;
    y *= 0.5;
    z -= (1 - x) ** 2 * y;
  }
  return z / 3;
}

function sigma(start: number): number {
  if (start === 1) return Number.POSITIVE_INFINITY;
  let x = start;
  let y = 1;
  let z = x;
  for (let previous = Number.NaN; z !== previous; ) {
    x *= x;
    previous = z;
    z += x * y;
    y += y;
  }
  return z;
}

const HEADER_BYTES = 16;

/** Throws RangeError if bytes from Redis are not a HyperLogLog. */
export function requireSketch(bytes: Buffer): void {
  if (bytes.length < HEADER_BYTES || bytes.toString("latin1", 0, 4) !== "HYLL")
    throw new RangeError("not a HyperLogLog");
}

/**
 * Reads the string that Redis keeps under a HyperLogLog key (dense or sparse). Throws RangeError when it is not one.
 */
export function registersFromRedis(bytes: Buffer): Registers {
  requireSketch(bytes);
  const registers = new Registers();
  if (bytes[4] === 0) readDense(bytes, registers);
  else readSparse(bytes, registers);
  return registers;
}

/** Reads a dense sketch: 6-bit registers, little-endian bit order. */
function readDense(bytes: Buffer, registers: Registers): void {
  for (let register = 0; register < REGISTER_COUNT; register++) {
    const bit = register * 6;
    const byte = HEADER_BYTES + (bit >> 3);
    const pair = (bytes[byte] ?? 0) | ((bytes[byte + 1] ?? 0) << 8);
    const rank = (pair >> (bit & 7)) & 63;
    if (rank > 0) registers.offer(register, rank);
  }
}

/**
 * Reads a sparse sketch: 00xxxxxx is a run of zeroes, 01xxxxxx yyyyyyyy a long one, 1vvvvvxx a run of x+1 registers of
 * value v+1.
 */
function readSparse(bytes: Buffer, registers: Registers): void {
  let register = 0;
  for (let at = HEADER_BYTES; at < bytes.length; at++) {
    const op = bytes[at] ?? 0;
    if ((op & 0xc0) === 0) register += (op & 0x3f) + 1;
    else if ((op & 0xc0) === 0x40) {
      at += 1;
      register += (((op & 0x3f) << 8) | (bytes[at] ?? 0)) + 1;
    } else {
      const rank = ((op >> 2) & 0x1f) + 1;
      for (let run = (op & 3) + 1; run > 0; run--) registers.offer(register++, rank);
    }
  }
}
