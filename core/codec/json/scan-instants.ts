import { epochMs, isoMs, type WrittenAs } from "../../contract/record/record-time.ts";
import type { ColumnText } from "../text/column-text.ts";
import { BACKSLASH, DOT, type JsonInput, MINUS, NOT_RECOGNISED, QUOTE, ZERO } from "./json-input.ts";
import type { ValueScanner } from "./scan-values.ts";

/** The most bytes of an instant that is recognised. Every valid one is shorter. */
const MOST_BYTES = 40;
/** The most digits of a JSON number that every reader reads exactly as written. */
const MOST_DIGITS = 15;

/** Reads an instant that records write in another form than a number of milliseconds. Its column has milliseconds. */
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
    if (this.#as === "iso" && bytes[from] === QUOTE) {
      const after = usualEnd(bytes, from + 1, end);
      const ms = after < 0 ? Number.NaN : usualMs(bytes, from + 1, after);
      if (ms >= this.#min && ms <= this.#max) {
        out.writeWhole(ms);
        return after + 1;
      }
    }
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

  /**
   * Whether whole numbers are read from their text, because they may have more digits than a double
   * (core/contract/wire.ts).
   */
  get #isLong(): boolean {
    return this.#as === "ns" || this.#as === "us";
  }
}

const LETTER_Z = 0x5a;

/** The form of most instants, with zeros for digits: `0000-00-00T00:00:00`, then perhaps `.000`, then `Z`. */
const USUAL = Buffer.from("0000-00-00T00:00:00");

/** Returns the end of such a text, the position of its quote. Negative for any other text. */
function usualEnd(bytes: Uint8Array, from: number, end: number): number {
  if (from + USUAL.length + 2 > end) return NOT_RECOGNISED;
  for (let at = 0; at < USUAL.length; at++) {
    const [wanted, byte] = [USUAL[at] as number, bytes[from + at] as number];
    if (wanted === ZERO ? byte < ZERO || byte > ZERO + 9 : byte !== wanted) return NOT_RECOGNISED;
  }
  let at = from + USUAL.length;
  if (bytes[at] === DOT) {
    for (let place = 1; place <= 3; place++) if (!isDigit(bytes[at + place])) return NOT_RECOGNISED;
    at += 4;
  }
  return at + 1 < end && bytes[at] === LETTER_Z && bytes[at + 1] === QUOTE ? at + 1 : NOT_RECOGNISED;
}

/** Returns epoch milliseconds of such a text. NaN for a day or a time of day that does not exist. */
function usualMs(bytes: Uint8Array, from: number, to: number): number {
  const two = (at: number) => (bytes[from + at] as number) * 10 + (bytes[from + at + 1] as number) - 11 * ZERO;
  const [year, month, day] = [two(0) * 100 + two(2), two(5), two(8)];
  const [hours, minutes, seconds] = [two(11), two(14), two(17)];
  const isLeap = year % 4 === 0 && (year % 100 !== 0 || year % 400 === 0);
  const days = month === 2 && isLeap ? 29 : (DAYS[month - 1] ?? 0);
  if (day < 1 || day > days || hours > 23 || minutes > 59 || seconds > 59) return Number.NaN;
  const fraction = bytes[from + USUAL.length] === DOT ? two(20) * 10 + (bytes[to - 2] as number) - ZERO : 0;
  return (
    daysBefore(year, month) * DAY_MS + (day - 1) * DAY_MS + ((hours * 60 + minutes) * 60 + seconds) * 1_000 + fraction
  );
}

const DAY_MS = 86_400_000;
const DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];

/** Returns the days from 1970 to the first of a month. */
function daysBefore(year: number, month: number): number {
  // Years begin in March here, so that a leap day is the last of its year.
  const [march, months] = month > 2 ? [year, month - 3] : [year - 1, month + 9];
  const leaps = Math.floor(march / 4) - Math.floor(march / 100) + Math.floor(march / 400);
  return march * 365 + leaps + Math.floor((months * 153 + 2) / 5) - 719_468;
}

function isDigit(byte: number | undefined): boolean {
  return byte !== undefined && byte >= ZERO && byte <= ZERO + 9;
}

/** A digit, a minus sign or a point. */
function isNumberByte(byte: number): boolean {
  return isDigit(byte) || byte === MINUS || byte === DOT;
}
