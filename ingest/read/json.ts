/** One value of a JSON text. */
export type JsonPiece =
  | { readonly line: number; readonly json: Buffer }
  | { readonly line: number; readonly problem: string };

/** Splits bytes into JSON values, without reading them. */
export interface JsonSplitter {
  /** Adds bytes, the last of them with `isLast`. */
  push(bytes: Buffer, isLast: boolean): void;
  /** The next value; null when there is none until more bytes are added. */
  next(): JsonPiece | null;
}

const LINE_FEED = 0x0a;
const QUOTE = 0x22;
const COMMA = 0x2c;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN = 0x7b;
const CLOSE = 0x7d;
const RETURN = 0x0d;

/** A value longer than this has no end. */
const MAX_VALUE_BYTES = 16 * 1024 * 1024;

const NOTHING = Buffer.alloc(0);

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === LINE_FEED || byte === RETURN || byte === 0x09;
}

/** A value a line, byte for byte; empty lines are none. A line that is no JSON does not disturb the next one. */
export class LineSplitter implements JsonSplitter {
  #bytes: Buffer = NOTHING;
  #at = 0;
  #isLast = false;
  #line = 0;

  push(bytes: Buffer, isLast: boolean): void {
    this.#bytes = this.#at === this.#bytes.length ? bytes : Buffer.concat([this.#bytes.subarray(this.#at), bytes]);
    this.#at = 0;
    this.#isLast = isLast;
  }

  next(): JsonPiece | null {
    for (;;) {
      const from = this.#at;
      if (from >= this.#bytes.length) return null;
      const found = this.#bytes.indexOf(LINE_FEED, from);
      if (found < 0 && !this.#isLast) return null;
      const end = found < 0 ? this.#bytes.length : found;
      this.#at = found < 0 ? end : end + 1;
      this.#line += 1;
      let [first, last] = [from, end];
      while (first < last && isBlank(this.#bytes[first])) first += 1;
      while (last > first && isBlank(this.#bytes[last - 1])) last -= 1;
      if (last > first)
        return { line: this.#line, json: this.#bytes.subarray(from, this.#bytes[end - 1] === RETURN ? end - 1 : end) };
    }
  }
}

/** Values one after the other, also over several lines, and the elements of lists. Where the structure is broken it ends. */
export class ValueSplitter implements JsonSplitter {
  #bytes: Buffer = NOTHING;
  #at = 0;
  #isLast = false;
  #line = 1;
  #ended = false;
  /** What may follow: a value or a list; in a list a value, its first value or its end, or what is behind a value. */
  #state: "top" | "first" | "value" | "behind" = "top";

  push(bytes: Buffer, isLast: boolean): void {
    this.#bytes = this.#at === this.#bytes.length ? bytes : Buffer.concat([this.#bytes.subarray(this.#at), bytes]);
    this.#at = 0;
    this.#isLast = isLast;
  }

  next(): JsonPiece | null {
    for (;;) {
      if (this.#ended) return null;
      for (; isBlank(this.#bytes[this.#at]); this.#at++) if (this.#bytes[this.#at] === LINE_FEED) this.#line += 1;
      const byte = this.#bytes[this.#at];
      if (byte === undefined) {
        if (!this.#isLast || this.#state === "top") return null;
        return this.#broken("the text ends inside its list: it may be cut off");
      }
      if (this.#state === "top" && byte === OPEN_LIST) this.#step("first");
      else if (this.#state === "behind" && byte === COMMA) this.#step("value");
      else if ((this.#state === "behind" || this.#state === "first") && byte === CLOSE_LIST) this.#step("top");
      else if (this.#state === "behind")
        return this.#broken("a comma or the end of the list should follow the value before");
      else return this.#value();
    }
  }

  #step(state: "top" | "first" | "value"): void {
    this.#state = state;
    this.#at += 1;
  }

  #broken(problem: string): JsonPiece {
    this.#ended = true;
    return { line: this.#line, problem };
  }

  #value(): JsonPiece | null {
    const from = this.#at;
    const end = valueEnd(this.#bytes, from, this.#isLast);
    if (end === null) {
      if (this.#isLast || this.#bytes.length - from > MAX_VALUE_BYTES)
        return this.#broken("the value that begins here has no end");
      return null;
    }
    if (end === from)
      return this.#broken(
        `there should be a value, not ${JSON.stringify(String.fromCharCode(this.#bytes[from] as number))}`,
      );
    const line = this.#line;
    for (let at = from; at < end; at++) if (this.#bytes[at] === LINE_FEED) this.#line += 1;
    this.#at = end;
    if (this.#state !== "top") this.#state = "behind";
    return { line, json: this.#bytes.subarray(from, end) };
  }
}

/** Behind the value that begins at `from`; null when it has no end yet. */
function valueEnd(bytes: Buffer, from: number, isLast: boolean): number | null {
  let depth = 0;
  for (let at = from; at < bytes.length; at++) {
    const byte = bytes[at];
    if (byte === QUOTE) {
      const close = textEnd(bytes, at + 1);
      if (close === null) return null;
      at = close;
    } else if (byte === OPEN || byte === OPEN_LIST) depth += 1;
    else if (byte === CLOSE || byte === CLOSE_LIST) {
      // The end of the list that a scalar stands in.
      if (depth === 0) return at;
      depth -= 1;
    } else if (depth > 0 || !(byte === COMMA || isBlank(byte))) continue;
    else return at;
    if (depth === 0) return at + 1;
  }
  return depth === 0 && isLast ? bytes.length : null;
}

/** The place of the quote that ends a text; null when there is none. */
function textEnd(bytes: Buffer, from: number): number | null {
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at += 1;
    else if (bytes[at] === QUOTE) return at;
  }
  return null;
}

/** How the first bytes of a JSON text have to be split: by lines, unless it begins with a list or with a value that goes on in the next line. */
export function jsonSplitter(head: Buffer, linesOnly: boolean): JsonSplitter {
  const first = head.findIndex((byte) => !isBlank(byte));
  if (head[first] === OPEN_LIST) return new ValueSplitter();
  const end = head.indexOf(LINE_FEED, first);
  const line = head.subarray(Math.max(first, 0), end < 0 ? head.length : end);
  return linesOnly || end < 0 || valueEnd(line, 0, true) !== null ? new LineSplitter() : new ValueSplitter();
}

/** The members of a JSON object as they are written, name -> text of the value; of a name that comes twice the last. `text` is the text of an object. */
export function jsonMembers(text: string): Map<string, string> {
  const bytes = Buffer.from(text);
  const members = new Map<string, string>();
  let at = bytes.indexOf(OPEN) + 1;
  for (;;) {
    while (isBlank(bytes[at]) || bytes[at] === COMMA) at += 1;
    if (at >= bytes.length || bytes[at] === CLOSE) return members;
    const nameEnd = (textEnd(bytes, at + 1) ?? bytes.length) + 1;
    const name = JSON.parse(bytes.toString("utf8", at, nameEnd)) as string;
    at = nameEnd;
    while (isBlank(bytes[at]) || bytes[at] === 0x3a) at += 1;
    const end = valueEnd(bytes, at, true) ?? bytes.length;
    members.set(name, bytes.toString("utf8", at, end));
    at = end;
  }
}
