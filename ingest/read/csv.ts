/** The separator of values: one character, or runs of spaces and tabs. */
export type Delimiter = "," | ";" | "\t" | "|" | "whitespace" | (string & {});

/** One row of a delimited text. */
export interface CsvRow {
  /** The line in which the row begins, from 1. */
  readonly line: number;
  /** The number of values in the row. */
  readonly width: number;
  /** The wanted values, in the wanted order; null for an empty value. */
  readonly cells: readonly (string | null)[];
  /** Why the row cannot be split. It then has no values, and the next row begins in the next line. */
  readonly problem?: RowProblem;
}

interface RowProblem {
  /** The index of the wrong value, from 0; absent if the whole row is wrong. */
  readonly column?: number;
  readonly reason: string;
  /** How to correct it. */
  readonly advice: string;
}

/** Longer rows are refused: a quote was never closed, or the text has no line breaks. In UTF-16 code units. */
export const MAX_ROW_UNITS = 8 * 1024 * 1024;

const TOO_LONG: RowProblem = {
  reason: "it has no end within 8 million characters",
  advice:
    "Rows end with line breaks: if the file is a table, give it some, and close " +
    "its quotes; otherwise name its kind with --input.",
};
const QUOTE_ADVICE = 'A value that begins with a quote ends with one, and has its quotes doubled: "5"" pipe".';

const QUOTE = 0x22;
const LINE_FEED = 0x0a;
const RETURN = 0x0d;

/**
 * Splits a text into rows by RFC 4180. A value that begins with a double quote also ends with one, and may contain
 * delimiters, line breaks and doubled quotes. In other values a quote is an ordinary character. Nothing else is
 * special. Lines end with CRLF, LF or CR, also mixed; empty lines are not rows.
 */
export class CsvSplitter {
  readonly #delimiter: number;
  readonly #blanks: boolean;
  readonly #maxUnits: number;
  #wanted: readonly number[] | null = null;
  #places: Int32Array = new Int32Array(0);
  #text = "";
  #isLast = false;
  #line = 1;
  #from = 0;
  /** The position where the next row begins. */
  #next = 0;
  /** The length that the text must have before an unfinished row is split again. */
  #enough = 0;
  /** Whether the rest of a refused line has not arrived yet. */
  #skipsLine = false;

  /** `maxUnits`: the length of the longest row, in UTF-16 code units. */
  constructor(delimiter: Delimiter, maxUnits = MAX_ROW_UNITS) {
    this.#maxUnits = maxUnits;
    this.#blanks = delimiter === "whitespace";
    this.#delimiter = this.#blanks ? -1 : delimiter.charCodeAt(0);
  }

  /** From now on reads only the values with these indexes; before this call all are read. */
  want(columns: readonly number[]): void {
    this.#wanted = columns;
    this.#places = new Int32Array(Math.max(0, ...columns.map((column) => column + 1))).fill(-1);
    for (const [place, column] of columns.entries()) this.#places[column] = place;
  }

  /** Adds text. `isLast`: no more text follows. */
  push(text: string, isLast: boolean): void {
    this.#text = this.#text.slice(this.#next) + text;
    this.#next = 0;
    this.#isLast = isLast;
  }

  /** Returns the next row; null if more text has to be added first. */
  next(): CsvRow | null {
    if (!this.#isLast && this.#text.length - this.#next < this.#enough) return null;
    if (this.#skipsLine && !this.#skipLine()) return null;
    if (!this.#skipEmptyLines()) return null;
    const from = this.#next;
    this.#from = from;
    const row = this.#blanks ? this.#blankSeparated(from) : this.#row(from);
    const units = row === null ? this.#text.length - this.#next : this.#next - this.#from;
    if (units <= this.#maxUnits || row?.problem !== undefined) {
      // A long unfinished row is split again only when twice as much of it has arrived, so that the work stays linear.
      const isLong = row === null && units > this.#maxUnits / 8;
      this.#enough = isLong ? Math.min(2 * units, this.#maxUnits + 1) : 0;
      return row;
    }
    if (row !== null) this.#line = row.line;
    return this.#badRow(this.#from, TOO_LONG);
  }

  /** Returns the first 200 UTF-16 code units, at most, of the row that `next` returned last. */
  rowText(): string {
    return this.#text.slice(this.#from, Math.min(this.#next, this.#from + 200)).trimEnd();
  }

  /** Skips to the end of a refused line; returns false if the end has not arrived yet. */
  #skipLine(): boolean {
    const { end } = this.#lineEnd(this.#next);
    this.#next = end;
    this.#skipsLine = end === this.#text.length && !this.#isLast;
    return !this.#skipsLine;
  }

  /** Skips empty lines. Returns whether a row follows. */
  #skipEmptyLines(): boolean {
    for (; this.#next < this.#text.length; this.#next++) {
      const unit = this.#text.charCodeAt(this.#next);
      if (unit === LINE_FEED) this.#line += 1;
      else if (unit !== RETURN) return true;
      else if (this.#text.charCodeAt(this.#next + 1) !== LINE_FEED) {
        // The line feed that belongs to this return may be the first character of the next text.
        if (this.#next + 1 === this.#text.length && !this.#isLast) return false;
        this.#line += 1;
      }
    }
    return false;
  }

  #row(from: number): CsvRow | null {
    const text = this.#text;
    const { length } = text;
    const cells: (string | null)[] =
      this.#wanted === null ? [] : new Array<string | null>(this.#wanted.length).fill(null);
    let column = 0;
    let breaks = 0;
    for (let at = from; ; ) {
      let value: string | null = null;
      let end = at;
      if (text.charCodeAt(at) === QUOTE) {
        const close = closingQuote(text, at + 1);
        if (close < 0 || close - from > this.#maxUnits) {
          if (!this.#isLast && length - from <= this.#maxUnits) return null;
          return this.#badRow(from, {
            ...{ column, reason: "the quote that opens it is never closed", advice: QUOTE_ADVICE },
          });
        }
        end = close + 1;
        const after = text.charCodeAt(end);
        if (end < length && after !== this.#delimiter && after !== LINE_FEED && after !== RETURN) {
          const reason = `its closing quote is followed by ${JSON.stringify(text[end])}`;
          return this.#badRow(from, { column, reason, advice: QUOTE_ADVICE });
        }
        if (this.#isWanted(column)) value = unquoted(text.slice(at + 1, close));
        breaks += lineBreaks(text, at + 1, close);
      } else {
        for (; end < length; end++) {
          const unit = text.charCodeAt(end);
          if (unit === this.#delimiter || unit === LINE_FEED || unit === RETURN) break;
        }
        if (end - from > this.#maxUnits) return this.#badRow(from, TOO_LONG);
        if (end > at && this.#isWanted(column)) value = text.slice(at, end);
      }
      if (value !== null) cells[this.#wanted === null ? column : (this.#places[column] as number)] = value;
      else if (this.#wanted === null) cells[column] = null;
      column += 1;
      const unit = text.charCodeAt(end);
      if (unit === this.#delimiter) {
        at = end + 1;
        continue;
      }
      const next = this.#rowEnd(end);
      if (next < 0) return null;
      const line = this.#line;
      this.#line += breaks + (next > end ? 1 : 0);
      this.#next = next;
      return { line, width: column, cells };
    }
  }

  #isWanted(column: number): boolean {
    return this.#wanted === null || (column < this.#places.length && (this.#places[column] as number) >= 0);
  }

  /**
   * Returns the position behind the line break at `end`, which may be the end of the text; -1 if more text may follow.
   */
  #rowEnd(end: number): number {
    const { length } = this.#text;
    if (end === length) return this.#isLast ? end : -1;
    if (this.#text.charCodeAt(end) === LINE_FEED) return end + 1;
    if (end + 1 === length && !this.#isLast) return -1;
    return this.#text.charCodeAt(end + 1) === LINE_FEED ? end + 2 : end + 1;
  }

  /** Refuses the line that begins at `from`. The part of it that has not arrived yet will be skipped. */
  #badRow(from: number, problem: RowProblem): CsvRow {
    const line = this.#line;
    const { end, next } = this.#lineEnd(from);
    this.#skipsLine = next < 0;
    this.#next = next < 0 ? end : next;
    this.#line += next < 0 ? 0 : 1;
    this.#enough = 0;
    return { line, width: 0, cells: [], problem };
  }

  #lineEnd(from: number): { readonly end: number; readonly next: number } {
    let end = from;
    for (; end < this.#text.length; end++) {
      const unit = this.#text.charCodeAt(end);
      if (unit === LINE_FEED || unit === RETURN) break;
    }
    return { end, next: this.#rowEnd(end) };
  }

  /** Returns the next line that has values; null if more text has to be added first. */
  #blankSeparated(from: number): CsvRow | null {
    for (let begin = from; ; begin = this.#next) {
      this.#from = begin;
      const { end, next } = this.#lineEnd(begin);
      if (next < 0) return null;
      const values = this.#text.slice(begin, end).match(/[^ \t]+/g) ?? [];
      const line = this.#line;
      this.#line += 1;
      this.#next = next;
      if (values.length === 0) {
        if (next >= this.#text.length) return null;
        continue;
      }
      const cells = this.#wanted === null ? values : this.#wanted.map((column) => values[column] ?? null);
      return { line, width: values.length, cells };
    }
  }
}

/** Returns the position of the quote that ends the value beginning at `from`; -1 if there is none. */
function closingQuote(text: string, from: number): number {
  for (let at = text.indexOf('"', from); at >= 0; at = text.indexOf('"', at + 2))
    if (text.charCodeAt(at + 1) !== QUOTE) return at;
  return -1;
}

function unquoted(text: string): string | null {
  if (text === "") return null;
  return text.includes('"') ? text.replaceAll('""', '"') : text;
}

function lineBreaks(text: string, from: number, to: number): number {
  let breaks = 0;
  for (let at = from; at < to; at++) {
    const unit = text.charCodeAt(at);
    if (unit === LINE_FEED || (unit === RETURN && text.charCodeAt(at + 1) !== LINE_FEED)) breaks += 1;
  }
  return breaks;
}
