import { VarintInput } from "../../../core/codec/varint.ts";
import { type Position, position } from "../../../core/log/position.ts";

/** A record's headers as pairs of name and value. */
export type RecordHeaders = readonly (readonly [Buffer | null, Buffer | null])[];

/** A record in which each part is an object of its own. */
export interface PlainRecord {
  readonly offset: Position;
  readonly timestampMs?: number;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
  /** The headers, as `headerBytes` returns them. */
  readonly headers?: Buffer | null;
}

const NONE = -1;
/** In place of a value's position: the value was not read. A map has the text that replaces it. */
const UNREAD = -2;

/**
 * Records of a partition in the order of their offsets, left in the bytes that Kafka sent. A million of them are a few
 * arrays of numbers and no objects. The getters make objects only when they are called.
 */
export class Records {
  /** The bytes with keys, values and headers. */
  #bytes: Buffer;
  #length = 0;
  /** Offsets and times are below 2^53. */
  readonly #offsets: Float64Array;
  readonly #timestampsMs: Float64Array;
  /**
   * For each record: start and end of the key, start and end of the value, start of the headers. NONE for a part that
   * is null or not kept.
   */
  readonly #places: Int32Array;
  #unread: Map<number, Buffer> | null = null;

  private constructor(capacity: number, bytes: Buffer) {
    this.#bytes = bytes;
    this.#offsets = new Float64Array(capacity);
    this.#timestampsMs = new Float64Array(capacity);
    this.#places = new Int32Array(capacity * 5);
  }

  static readonly none = new Records(0, Buffer.alloc(0));

  static of(records: readonly PlainRecord[]): Records {
    const parts = records.flatMap(({ key, value, headers }) =>
      [key, value, headers].map((part) => part ?? Buffer.alloc(0)),
    );
    const made = new Records(records.length, Buffer.concat(parts));
    let end = 0;
    for (const [index, { offset, timestampMs = 0, key, value, headers = null }] of records.entries()) {
      made.#offsets[index] = Number(offset);
      made.#timestampsMs[index] = timestampMs;
      for (const [place, part] of [key, value].entries()) {
        made.#places[index * 5 + place * 2] = part === null ? NONE : end;
        end += part?.length ?? 0;
        made.#places[index * 5 + place * 2 + 1] = end;
      }
      made.#places[index * 5 + 4] = headers === null || headers.length === 0 ? NONE : end;
      end += headers?.length ?? 0;
    }
    made.#length = records.length;
    return made;
  }

  /** Returns the records of some batches from `from` on. */
  static parse(parts: readonly RecordsPart[], from: Position): Records {
    const pieces = [...new Set(parts.flatMap(({ bytes }) => (bytes === null ? [] : [bytes])))];
    const [only] = pieces;
    const made = new Records(
      parts.reduce((sum, { count }) => sum + count, 0),
      pieces.length === 1 && only !== undefined ? only : Buffer.concat(pieces),
    );
    const begins = new Map<Buffer, number>();
    let end = 0;
    for (const piece of pieces) {
      begins.set(piece, end);
      end += piece.length;
    }
    for (const part of parts) {
      if (part.bytes === null) made.#leaveOut(part, Number(from));
      else made.#parse(part, (begins.get(part.bytes) ?? 0) + part.begin, Number(from));
    }
    return made;
  }

  get length(): number {
    return this.#length;
  }

  get offsets(): Position[] {
    return this.#map((index) => this.offset(index));
  }

  get timestampsMs(): number[] {
    return this.#map((index) => this.#timestampsMs[index] ?? Number.NaN);
  }

  get keys(): (Buffer | null)[] {
    return this.#map((index) => this.key(index));
  }

  get values(): (Buffer | null)[] {
    return this.#map((index) => this.value(index));
  }

  get headers(): RecordHeaders[] {
    return this.#map((index) => this.#headers(index));
  }

  /** The bytes of all keys and values. */
  get sizeBytes(): number {
    let size = 0;
    for (let index = 0; index < this.#length; index++) {
      const at = index * 5;
      for (const place of [at, at + 2]) {
        const [begin = NONE, end = NONE] = [this.#places[place], this.#places[place + 1]];
        if (begin >= 0) size += end - begin;
      }
    }
    return size;
  }

  offset(index: number): Position {
    return position(BigInt(this.#offsets[index] ?? Number.NaN));
  }

  key(index: number): Buffer | null {
    return this.#part(index * 5);
  }

  value(index: number): Buffer | null {
    return this.#unread?.get(index) ?? this.#part(index * 5 + 2);
  }

  timestampMs(index: number): number {
    return this.#timestampsMs[index] ?? Number.NaN;
  }

  /** Returns the names of a record's headers, in order. */
  headerNames(index: number): string[] {
    return this.#headers(index).map(([name]) => name?.toString() ?? "");
  }

  /** Returns the value of the last header with this name. Null if there is none. */
  header(index: number, name: string): Buffer | null {
    return this.#headers(index).findLast(([found]) => found?.toString() === name)?.[1] ?? null;
  }

  /** Returns a record's headers as bytes of the batch. Null if it has none. */
  headerBytes(index: number): Buffer | null {
    const at = this.#places[index * 5 + 4] ?? NONE;
    if (at < 0 || this.#bytes[at] === 0) return null;
    const cursor = new Cursor(this.#bytes, at);
    for (let left = 2 * cursor.signed(); left > 0; left--) cursor.part();
    return this.#bytes.subarray(at, cursor.at);
  }

  /**
   * Calls `visit(bytes, begin, end)` with the place of each value, of all or some records, in order. `begin` and `end`
   * are equal for a null or empty value.
   */
  eachValue(
    visit: (bytes: Buffer, begin: number, end: number, index: number) => void,
    { from = 0, to = this.#length }: { readonly from?: number; readonly to?: number } = {},
  ): void {
    const places = this.#places;
    const last = Math.min(to, this.#length);
    for (let index = from; index < last; index++) {
      const begin = places[index * 5 + 2] as number;
      if (begin < 0) {
        const unread = this.#unread?.get(index);
        visit(unread ?? this.#bytes, 0, unread?.length ?? 0, index);
      } else visit(this.#bytes, begin, places[index * 5 + 3] as number, index);
    }
  }

  /**
   * Returns all keys, or all values, one after the other with `separator` between them. Null when one is null or
   * contains the separator.
   */
  joined(part: "key" | "value", separator: number): Buffer | null {
    const first = part === "key" ? 0 : 2;
    const [source, places] = [this.#bytes, this.#places];
    const joined = Buffer.allocUnsafe(this.#bytes.length + this.#length);
    let at = 0;
    for (let index = 0; index < this.#length; index++) {
      const begin = places[index * 5 + first] as number;
      if (begin < 0) return null;
      const end = places[index * 5 + first + 1] as number;
      if (index > 0) joined[at++] = separator;
      // Records are short, so copying byte by byte costs less than a call for each.
      for (let from = begin; from < end; from++) {
        const byte = source[from] as number;
        if (byte === separator) return null;
        joined[at++] = byte;
      }
    }
    return joined.subarray(0, at);
  }

  /** Returns maximal runs `[from, to)` of successive offsets. */
  runs(): { from: bigint; to: bigint }[] {
    const runs: { from: bigint; to: bigint }[] = [];
    const offsets = this.#offsets;
    for (let first = 0; first < this.#length; ) {
      let next = first + 1;
      while (next < this.#length && offsets[next] === (offsets[next - 1] as number) + 1) next += 1;
      runs.push({ from: this.offset(first), to: this.offset(next - 1) + 1n });
      first = next;
    }
    return runs;
  }

  /** Returns the records below `to`. */
  below(to: Position): Records {
    const end = Number(to);
    let length = this.#length;
    while (length > 0 && (this.#offsets[length - 1] as number) >= end) length -= 1;
    return length === this.#length ? this : this.#slice(length);
  }

  #slice(length: number): Records {
    const made = new Records(length, this.#bytes);
    made.#offsets.set(this.#offsets.subarray(0, length));
    made.#timestampsMs.set(this.#timestampsMs.subarray(0, length));
    made.#places.set(this.#places.subarray(0, length * 5));
    made.#length = length;
    made.#unread = this.#unread;
    return made;
  }

  #map<T>(of: (index: number) => T): T[] {
    return Array.from({ length: this.#length }, (_, index) => of(index));
  }

  #part(place: number): Buffer | null {
    const begin = this.#places[place] ?? NONE;
    return begin < 0 ? null : this.#bytes.subarray(begin, this.#places[place + 1]);
  }

  #headers(index: number): RecordHeaders {
    const at = this.#places[index * 5 + 4] ?? NONE;
    if (at < 0) return [];
    const cursor = new Cursor(this.#bytes, at);
    return Array.from({ length: cursor.signed() }, () => [cursor.part(), cursor.part()] as const);
  }

  /** Parses one batch's records: varints, lengths and deltas of the record format's version 2. */
  #parse(part: ReadPart, begin: number, from: number): void {
    const { count, baseOffset, baseTimestampMs, appendedAtMs, tooLarge } = part;
    const cursor = new Cursor(this.#bytes, begin);
    const places = this.#places;
    for (let left = count; left > 0; left--) {
      const size = cursor.signed();
      const next = cursor.at + size;
      cursor.at += 1;
      const createdAtMs = baseTimestampMs + cursor.signed();
      const timestampMs = appendedAtMs ?? createdAtMs;
      const offset = baseOffset + cursor.signed();
      if (offset >= from && size > tooLarge.bytes) this.#add(offset, timestampMs, tooLarge.value);
      else if (offset >= from) {
        const place = this.#length * 5;
        this.#offsets[this.#length] = offset;
        this.#timestampsMs[this.#length] = timestampMs;
        const key = cursor.signed();
        places[place] = key < 0 ? NONE : cursor.at;
        if (key > 0) cursor.at += key;
        places[place + 1] = cursor.at;
        const value = cursor.signed();
        places[place + 2] = value < 0 ? NONE : cursor.at;
        if (value > 0) cursor.at += value;
        places[place + 3] = cursor.at;
        places[place + 4] = cursor.at;
        this.#length += 1;
      }
      cursor.at = next;
    }
  }

  #leaveOut(part: UnreadPart, from: number): void {
    const { count, baseOffset, baseTimestampMs, appendedAtMs, firstDelta, value } = part;
    for (let index = 0; index < count; index++) {
      const offset = baseOffset + firstDelta + index;
      if (offset >= from) this.#add(offset, appendedAtMs ?? baseTimestampMs, value);
    }
  }

  /** Adds a record that was not read, with the text that replaces its value. */
  #add(offset: number, timestampMs: number, value: string): void {
    const index = this.#length;
    this.#offsets[index] = offset;
    this.#timestampsMs[index] = timestampMs;
    this.#places.fill(NONE, index * 5, index * 5 + 5);
    this.#places[index * 5 + 2] = UNREAD;
    this.#unread ??= new Map();
    this.#unread.set(index, Buffer.from(value));
    this.#length += 1;
  }
}

interface PartPlace {
  readonly count: number;
  readonly baseOffset: number;
  readonly baseTimestampMs: number;
  /**
   * The time of every record, if the broker wrote it. Else null, and each record has its own time, relative to the
   * base.
   */
  readonly appendedAtMs: number | null;
}

/**
 * Records of one batch, uncompressed, in `[begin, end)` of `bytes`. A record with more than `tooLarge.bytes` is not
 * read.
 */
export interface ReadPart extends PartPlace {
  readonly bytes: Buffer;
  readonly begin: number;
  readonly end: number;
  readonly tooLarge: { readonly bytes: number; readonly value: string };
}

/** Records of a batch that was not expanded, with the text that replaces their values. */
export interface UnreadPart extends PartPlace {
  readonly bytes: null;
  readonly firstDelta: number;
  readonly value: string;
}

export type RecordsPart = ReadPart | UnreadPart;

/**
 * Returns as many records of a batch as fit in `limitBytes`, at least one at or after `from`; and the place of the last
 * one in the batch, when some are left out. Records that are left out are not kept in memory.
 */
export function withinLimit(
  part: ReadPart,
  from: number,
  limitBytes: number,
): { part: ReadPart; lastDelta: number | null } {
  if (part.end - part.begin <= limitBytes) return { part, lastDelta: null };
  const cursor = new Cursor(part.bytes, part.begin);
  let left = limitBytes;
  for (let count = 1; count < part.count; count++) {
    const size = cursor.signed();
    const next = cursor.at + size;
    cursor.at += 1;
    cursor.signed();
    const delta = cursor.signed();
    cursor.at = next;
    if (part.baseOffset + delta < from || size > part.tooLarge.bytes) continue;
    left -= size;
    if (left > 0) continue;
    const bytes = Buffer.from(part.bytes.subarray(part.begin, next));
    return { part: { ...part, count, bytes, begin: 0, end: bytes.length }, lastDelta: delta };
  }
  return { part, lastDelta: null };
}

class Cursor extends VarintInput {
  readonly #buffer: Buffer;

  constructor(bytes: Buffer, at: number) {
    super(bytes, at, bytes.length);
    this.#buffer = bytes;
  }

  part(): Buffer | null {
    const length = this.signed();
    if (length < 0) return null;
    this.at += length;
    return this.#buffer.subarray(this.at - length, this.at);
  }
}
