import { epochMs, isoMs, type WrittenAs } from "../../contract/record-time.ts";
import type { ColumnText } from "../text/column-text.ts";
import { type JsonInput, NOT_RECOGNISED, QUOTE } from "./json-input.ts";
import type { ValueScanner } from "./scan-values.ts";

/** Longer than any instant that is recognised. */
const MOST_BYTES = 40;
/** A JSON number of so many digits is what its text says, whoever reads it. */
const MOST_DIGITS = 15;

/** An instant that records write otherwise than as a number of milliseconds; its column has milliseconds. */
export class WrittenInstant implements ValueScanner {
  readonly #as: WrittenAs;
  readonly #zone: string | null;
  readonly #min: number;
  readonly #max: number;

  constructor({ as, zone, min, max }: { as: WrittenAs; zone: string | null; min: number; max: number }) {
    this.#as = as;
    this.#zone = zone;
    this.#min = min;
    this.#max = max;
  }

  scan({ bytes, end }: JsonInput, from: number, out: ColumnText): number {
    const isText = bytes[from] === QUOTE;
    const first = isText ? from + 1 : from;
    let text = "";
    let at = first;
    for (; at < end && at < first + MOST_BYTES; at++) {
      const byte = bytes[at] as number;
      if (isText ? byte === QUOTE : !isNumberByte(byte)) break;
      if (byte < 0x20 || byte > 0x7e || byte === BACKSLASH) return NOT_RECOGNISED;
      text += String.fromCharCode(byte);
    }
    if (isText && bytes[at] !== QUOTE) return NOT_RECOGNISED;
    const ms = this.#read(text, isText);
    if (ms === null || ms < this.#min || ms > this.#max) return NOT_RECOGNISED;
    out.writeWhole(ms);
    return isText ? at + 1 : at;
  }

  #read(text: string, isText: boolean): number | null {
    if (this.#as === "iso") return isText ? isoMs(text, this.#zone) : null;
    const isExact = isText || text.length <= MOST_DIGITS || (this.#isLong && !text.includes("."));
    return isExact ? epochMs(text, this.#as) : null;
  }

  /** Whole numbers of these units are read from their text by everybody (core/wire.ts). */
  get #isLong(): boolean {
    return this.#as === "ns" || this.#as === "us";
  }
}

const BACKSLASH = 0x5c;

/** A digit, a minus sign or a point. */
function isNumberByte(byte: number): boolean {
  return (byte >= 0x30 && byte <= 0x39) || byte === 0x2d || byte === 0x2e;
}
