import { COLON, type JsonInput, NOT_RECOGNISED, QUOTE, skipBlank, skipText } from "./json-input.ts";
import { utf8 } from "./utf8.ts";

/** The field of a key that the contract does not name. */
export const UNDECLARED = -2;

/** Spellings of keys are learned as they come: at most this many … */
const MOST_LEARNED = 64;
/** … with at most this many bytes, quotes and colon included. */
const MOST_LEARNED_BYTES = 64;

/** A spelling of a key, from its quote to its colon. */
export interface Key {
  /** Its field; UNDECLARED, or NOT_RECOGNISED for one that objects must not have. */
  readonly field: number;
  readonly length: number;
  /** Its bytes, four at a time, little endian. The last word begins four bytes before its end. */
  readonly words: Int32Array;
  /** The key that followed the last time. */
  next: Key;
}

/**
 * Finds the field of a key. Producers write the same keys in the same order again and again, so each key predicts the next, and a known spelling is
 * compared four bytes at a time.
 */
export class JsonKeys {
  /** What stands before the first key of an object. */
  readonly none: Key;
  /** Where the value of the key that was found last begins. */
  value = 0;
  readonly #fields: ReadonlyMap<string, number>;
  readonly #declared: readonly Key[];
  readonly #other: Key;
  /** Spellings by their lengths. */
  readonly #known = new Map<number, Key[]>();
  #learned = 0;

  /** Objects that have a key with one of the `foreign` names are not recognised. */
  constructor(declared: readonly string[], foreign: Iterable<string>) {
    this.none = keyOf(new Uint8Array(4), UNDECLARED);
    this.#other = keyOf(new Uint8Array(4), UNDECLARED);
    this.#fields = new Map([
      ...[...foreign].map((name): [string, number] => [name, NOT_RECOGNISED]),
      ...declared.map((name, field): [string, number] => [name, field]),
    ]);
    const known = [...this.#fields].map(([name, field]) => this.#know(utf8(`${JSON.stringify(name)}:`), field));
    this.#declared = known.filter(({ field }) => field >= 0).toSorted((a, b) => a.field - b.field);
    for (const [index, key] of [this.none, ...this.#declared].entries()) key.next = this.#declared[index] ?? key;
  }

  /** The key that stands at `at` behind the key `before`; null if it is not recognised. Sets `value`. */
  find(input: JsonInput, at: number, before: Key): Key | null {
    const likely = before.next;
    if (standsAt(input, at, likely)) {
      this.value = skipBlank(input, at + likely.length);
      return likely;
    }
    const key = this.#search(input, at);
    if (key !== null && key !== this.#other) before.next = key;
    return key;
  }

  #search(input: JsonInput, at: number): Key | null {
    const { bytes, end, escapes } = input;
    const after = at < end && bytes[at] === QUOTE ? skipText(input, at + 1) : NOT_RECOGNISED;
    if (after < 0) return null;
    const colon = skipBlank(input, after);
    if (colon >= end || bytes[colon] !== COLON) return null;
    this.value = skipBlank(input, colon + 1);
    const length = colon + 1 - at;
    for (const key of this.#known.get(length) ?? NO_KEYS) if (standsAt(input, at, key)) return key;
    // An unknown spelling may still be that of a known name: with escapes, or with blanks before its colon.
    const isUsual = colon === after && input.escapes === escapes;
    const field = isUsual ? UNDECLARED : this.#fieldOf(bytes, at, after);
    if (this.#learned < MOST_LEARNED && length <= MOST_LEARNED_BYTES && length >= WORD_BYTES) {
      this.#learned += 1;
      return this.#know(bytes.slice(at, colon + 1), field);
    }
    return field === NOT_RECOGNISED ? null : field === UNDECLARED ? this.#other : (this.#declared[field] ?? null);
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
const WORD_BYTES = 4;
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** A key that follows itself until it is known what does. */
function keyOf(bytes: Uint8Array, field: number): Key {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const words = Int32Array.from({ length: Math.ceil(bytes.length / WORD_BYTES) }, (_, index) =>
    view.getInt32(Math.min(index * WORD_BYTES, bytes.length - WORD_BYTES), true),
  );
  const key: Key = { field, length: bytes.length, words, next: undefined as unknown as Key };
  key.next = key;
  return key;
}

function standsAt({ view, end }: JsonInput, at: number, { words, length }: Key): boolean {
  const last = at + length - WORD_BYTES;
  if (last + WORD_BYTES > end) return false;
  let word = 0;
  for (let from = at; from < last; from += WORD_BYTES) if (view.getInt32(from, true) !== words[word++]) return false;
  return view.getInt32(last, true) === words[word];
}
