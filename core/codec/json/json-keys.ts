import { utf8 } from "../text/utf8.ts";
import { CLOSE_BRACE, COLON, COMMA, type JsonInput, OPEN_BRACE, QUOTE, skipBlank, skipText } from "./json-input.ts";

/** The field of a key that the contract does not name. */
export const UNDECLARED = -2;
/** The field of the end of an object. */
export const ENDED = -3;

/** The most spellings of keys that are learned … */
const MOST_LEARNED = 256;
/** … and the most bytes that one of them may have. */
const MOST_LEARNED_BYTES = 64;

const WORD_BYTES = 4;

/**
 * The bytes between two values of an object, for instance `, "name": `. Before the first value they begin at the
 * object's brace.
 */
export interface Key {
  /** The index of its name among the declared ones, or UNDECLARED or ENDED. */
  readonly field: number;
  readonly length: number;
  /** Its bytes, four at a time, little endian. The last word begins four bytes before its end. */
  readonly words: Int32Array;
  /** The key that followed it the last time. */
  next: Key;
}

/**
 * Finds the fields of keys. A producer writes the same keys in the same order and with the same blanks in every record.
 * So each key predicts the next one, and a known spelling is compared four bytes at a time.
 */
export class JsonKeys {
  /** The state before the first key of an object. */
  readonly none: Key;
  /** The start of the value of the key that was found last. The position after the object if it ended. */
  value = 0;
  readonly #fields: ReadonlyMap<string, number>;
  readonly #declared: readonly Key[];
  readonly #other = unspelled(UNDECLARED);
  readonly #end = unspelled(ENDED);
  /** The known spellings, by length. */
  readonly #known = new Map<number, Key[]>();
  #learned = 0;

  constructor(declared: readonly string[]) {
    this.#fields = new Map(declared.map((name, field) => [name, field]));
    for (const [name, field] of this.#fields) this.#know(utf8(`{${JSON.stringify(name)}:`), field);
    this.#declared = declared.map((name, field) => this.#know(utf8(`,${JSON.stringify(name)}:`), field));
    for (const [field, key] of this.#declared.entries()) key.next = this.#declared[field + 1] ?? key;
    this.none = unspelled(UNDECLARED);
  }

  /**
   * Returns the key at `at`, and sets `value`. `at` is the end of the value of `before`, or the brace of the object.
   * Null if the key is not recognised.
   */
  find(input: JsonInput, at: number, before: Key): Key | null {
    const likely = before.next;
    if (standsAt(input, at, likely)) {
      this.value = at + likely.length;
      return likely;
    }
    const key = this.#search(input, at, before === this.none);
    if (key !== null && key !== this.#other && key !== this.#end) before.next = key;
    return key;
  }

  #search(input: JsonInput, at: number, isFirst: boolean): Key | null {
    const { bytes, end, escapes } = input;
    const separator = skipBlank(input, at);
    const quote = skipBlank(input, separator + 1);
    const isEnd = bytes[isFirst ? quote : separator] === CLOSE_BRACE;
    if (isEnd && (isFirst ? quote : separator) < end) {
      this.value = (isFirst ? quote : separator) + 1;
      return this.#end;
    }
    if (quote >= end || bytes[separator] !== (isFirst ? OPEN_BRACE : COMMA) || bytes[quote] !== QUOTE) return null;
    const after = skipText(input, quote + 1);
    const colon = after < 0 ? end : skipBlank(input, after);
    if (colon >= end || bytes[colon] !== COLON) return null;
    this.value = skipBlank(input, colon + 1);
    const length = this.value - at;
    for (const key of this.#known.get(length) ?? NO_KEYS) if (standsAt(input, at, key)) return key;
    // An unknown spelling may still be of a known name: with escapes, or with blanks.
    const isUsual = input.escapes === escapes && length === after - quote + 2;
    const field = isUsual ? UNDECLARED : this.#fieldOf(bytes, quote, after);
    if (this.#learned < MOST_LEARNED && length <= MOST_LEARNED_BYTES) {
      this.#learned += 1;
      return this.#know(bytes.slice(at, this.value), field);
    }
    return field === UNDECLARED ? this.#other : (this.#declared[field] ?? null);
  }

  #fieldOf(bytes: Uint8Array, from: number, to: number): number {
    const name = JSON.parse(decoder.decode(bytes.subarray(from, to))) as string;
    return this.#fields.get(name) ?? UNDECLARED;
  }

  #know(bytes: Uint8Array, field: number): Key {
    const key = keyOf(bytes, field);
    this.#known.set(key.length, [...(this.#known.get(key.length) ?? NO_KEYS), key]);
    return key;
  }
}

const NO_KEYS: readonly Key[] = [];
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The length of a key without a spelling. No record is that long. */
const NO_LENGTH = 0x3fff_ffff;

/** Returns a key without a spelling, so that no bytes of a record match it. */
function unspelled(field: number): Key {
  const key: Key = { field, length: NO_LENGTH, words: new Int32Array(0), next: undefined as unknown as Key };
  key.next = key;
  return key;
}

/**
 * The prediction after a key until a record has shown the next one. A key must not be predicted to follow itself: one
 * that begins with a brace never does.
 */
const UNKNOWN = unspelled(UNDECLARED);

function keyOf(bytes: Uint8Array, field: number): Key {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = Int32Array.from({ length: Math.ceil(bytes.length / WORD_BYTES) }, (_, index) =>
    view.getInt32(Math.min(index * WORD_BYTES, bytes.length - WORD_BYTES), true),
  );
  return { field, length: bytes.length, words, next: UNKNOWN };
}

function standsAt({ view, end }: JsonInput, at: number, { words, length }: Key): boolean {
  const last = at + length - WORD_BYTES;
  if (last + WORD_BYTES > end) return false;
  let word = 0;
  for (let from = at; from < last; from += WORD_BYTES) if (view.getInt32(from, true) !== words[word++]) return false;
  return view.getInt32(last, true) === words[word];
}
