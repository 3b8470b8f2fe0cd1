/** One value of a JSON text. */
export type JsonPiece = { readonly line: number; readonly json: Buffer } | JsonProblem;

interface JsonProblem {
  readonly line: number;
  readonly problem: string;
  /** What would be right. */
  readonly advice?: string;
  /** Nothing behind it can be read. */
  readonly isEnd: boolean;
}

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

/** Longer values are refused: they have no end, or no line breaks between them. */
const MAX_VALUE_BYTES = 16 * 1024 * 1024;

const TOO_LONG = "has no end within 16 MB";

const NOTHING = Buffer.alloc(0);

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || byte === LINE_FEED || byte === RETURN || byte === 0x09;
}

/** Bytes that are split while more of them arrive. */
class Unread {
  bytes: Buffer = NOTHING;
  /** Where what was not split yet begins. */
  at = 0;
  isLast = false;
  #arrived: Buffer[] = [];
  #arrivedBytes = 0;
  #enough = 0;
  readonly maxBytes: number;

  constructor(maxBytes: number) {
    this.maxBytes = maxBytes;
  }

  push(bytes: Buffer, isLast: boolean): void {
    this.#arrived.push(bytes);
    this.#arrivedBytes += bytes.length;
    this.isLast = isLast;
  }

  /** Adds what has arrived to `bytes`; false while that is too little to be worth it. */
  take(): boolean {
    const left = this.bytes.length - this.at;
    if (!this.isLast && left + this.#arrivedBytes < this.#enough) return false;
    if (this.#arrived.length === 0) return true;
    const [first = NOTHING] = this.#arrived;
    this.bytes =
      left === 0 && this.#arrived.length === 1
        ? first
        : Buffer.concat([this.bytes.subarray(this.at), ...this.#arrived]);
    this.at = 0;
    this.#arrived = [];
    this.#arrivedBytes = 0;
    this.#enough = 0;
    return true;
  }

  /** What begins at `at` has no end yet. Returns whether it is too long to wait for more of it. */
  isTooLong(): boolean {
    const left = this.bytes.length - this.at;
    // A long value that has no end yet is looked at again only when twice as much of it has arrived: the work stays linear.
    this.#enough = left > this.maxBytes / 16 ? Math.min(2 * left, this.maxBytes + 1) : 0;
    return left > this.maxBytes;
  }
}

/** A value a line, byte for byte; empty lines are none. A line that is no JSON does not disturb the next one. */
export class LineSplitter implements JsonSplitter {
  readonly #unread: Unread;
  #line = 0;
  /** Whether the rest of a refused line is still to come. */
  #skipsLine = false;

  /** `maxBytes`: the length of the longest line. */
  constructor(maxBytes = MAX_VALUE_BYTES) {
    this.#unread = new Unread(maxBytes);
  }

  push(bytes: Buffer, isLast: boolean): void {
    this.#unread.push(bytes, isLast);
  }

  next(): JsonPiece | null {
    const unread = this.#unread;
    if (!unread.take()) return null;
    const { bytes } = unread;
    while (unread.at < bytes.length) {
      const from = unread.at;
      const found = bytes.indexOf(LINE_FEED, from);
      const end = found < 0 ? bytes.length : found;
      const behind = found < 0 ? end : end + 1;
      if (this.#skipsLine) {
        this.#skipsLine = found < 0;
        unread.at = behind;
        continue;
      }
      const isOpen = found < 0 && !unread.isLast;
      if (isOpen && !unread.isTooLong()) return null;
      unread.at = behind;
      this.#line += 1;
      this.#skipsLine = isOpen;
      if (end - from > unread.maxBytes) return this.#tooLong();
      let [first, last] = [from, end];
      while (first < last && isBlank(bytes[first])) first += 1;
      while (last > first && isBlank(bytes[last - 1])) last -= 1;
      if (last > first)
        return { line: this.#line, json: bytes.subarray(from, bytes[end - 1] === RETURN ? end - 1 : end) };
    }
    return null;
  }

  #tooLong(): JsonPiece {
    return {
      ...{ line: this.#line, problem: `the line ${TOO_LONG}`, isEnd: false },
      advice: "Write one object a line; a list of objects, or objects on several lines, are read with --input json.",
    };
  }
}

/** Values one after the other, also over several lines, and the elements of lists. Where the structure is broken it ends. */
export class ValueSplitter implements JsonSplitter {
  readonly #unread: Unread;
  #line = 1;
  #ended = false;
  /** What may follow: a value or a list; in a list a value, its first value or its end, or what is behind a value. */
  #state: "top" | "first" | "value" | "behind" = "top";

  /** `maxBytes`: the length of the longest value. */
  constructor(maxBytes = MAX_VALUE_BYTES) {
    this.#unread = new Unread(maxBytes);
  }

  push(bytes: Buffer, isLast: boolean): void {
    this.#unread.push(bytes, isLast);
  }

  next(): JsonPiece | null {
    const unread = this.#unread;
    if (this.#ended || !unread.take()) return null;
    const { bytes } = unread;
    for (;;) {
      for (; isBlank(bytes[unread.at]); unread.at++) if (bytes[unread.at] === LINE_FEED) this.#line += 1;
      const byte = bytes[unread.at];
      if (byte === undefined) {
        if (!unread.isLast || this.#state === "top") return null;
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
    this.#unread.at += 1;
  }

  #broken(problem: string, advice?: string): JsonPiece {
    this.#ended = true;
    return { line: this.#line, problem, isEnd: true, ...(advice === undefined ? {} : { advice }) };
  }

  #value(): JsonPiece | null {
    const { bytes, at: from, isLast, maxBytes } = this.#unread;
    const end = valueEnd(bytes, from, isLast);
    if (end === null) {
      if (this.#unread.isTooLong()) return this.#tooLong();
      return isLast ? this.#broken("the value that begins here has no end") : null;
    }
    if (end - from > maxBytes) return this.#tooLong();
    if (end === from)
      return this.#broken(`there should be a value, not ${JSON.stringify(String.fromCharCode(bytes[from] as number))}`);
    const line = this.#line;
    for (let at = from; at < end; at++) if (bytes[at] === LINE_FEED) this.#line += 1;
    this.#unread.at = end;
    if (this.#state !== "top") this.#state = "behind";
    return { line, json: bytes.subarray(from, end) };
  }

  #tooLong(): JsonPiece {
    const advice = "Look for a quote or brace that is never closed; one object a line is read with --input ndjson.";
    return this.#broken(`the value that begins here ${TOO_LONG}`, advice);
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

/**
 * How the first bytes of a JSON text have to be split: by lines, unless it begins with a list or with a value that goes on in the next line. When the
 * first line is broken and the second begins an object of its own, the values are lines, and only the first one is refused.
 */
export function jsonSplitter(head: Buffer, linesOnly: boolean): JsonSplitter {
  const first = Math.max(
    head.findIndex((byte) => !isBlank(byte)),
    0,
  );
  if (head[first] === OPEN_LIST) return new ValueSplitter();
  const end = head.indexOf(LINE_FEED, first);
  if (linesOnly || end < 0 || valueEnd(head.subarray(first, end), 0, true) !== null) return new LineSplitter();
  return head[first] === OPEN && secondLineBegins(head, first, end) ? new LineSplitter() : new ValueSplitter();
}

/** Whether an object begins in the second line, and is not a value that the first line says is to follow. */
function secondLineBegins(head: Buffer, from: number, lineEnd: number): boolean {
  const line = head.toString("latin1", from, lineEnd).trimEnd();
  return !/[:,[]$/.test(line) && /^\s*\{/.test(head.toString("latin1", lineEnd, lineEnd + 1_024));
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
