import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";

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
const COLON = 0x3a;

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
    // A long value that has no end yet is looked at again only when twice as much of it has arrived: the work stays
    // linear.
    this.#enough = left > this.maxBytes / 16 ? Math.min(2 * left, this.maxBytes + 1) : 0;
    return left > this.maxBytes;
  }
}

/**
 * One value for each line, byte for byte; empty lines are skipped. A line that is not JSON does not affect the next.
 */
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
      advice:
        "Write one object a line; a list of objects, or objects on several lines, are read " +
        "with --input json, the list that an object has with --rows NAME.",
    };
  }
}

/**
 * What may follow: a value or a list; in a list a value, its first value or its end, or what is behind a value; in an
 * object a member, or what is behind one.
 */
type State = "top" | "first" | "value" | "behind" | "member" | "behind-member";

/**
 * Values one after the other, also over several lines, and the elements of lists. Where the structure is broken it
 * ends. With a `path` the values are the elements of the list that each object has there.
 */
export class ValueSplitter implements JsonSplitter {
  readonly #unread: Unread;
  readonly #path: WirePath;
  #line = 1;
  #ended = false;
  #state: State = "top";
  /** How many steps of the path lead to the object that is read. */
  #depth = 0;
  /** Whether this object has a list at the path. */
  #hasList = false;

  /** `maxBytes`: the length of the longest value, or member that is skipped. */
  constructor(maxBytes = MAX_VALUE_BYTES, path: WirePath = []) {
    this.#unread = new Unread(maxBytes);
    this.#path = path;
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
        return this.#broken(`the text ends inside its ${this.#inObject() ? "object" : "list"}: it may be cut off`);
      }
      if (this.#inObject() || (this.#state === "top" && this.#path.length > 0)) {
        const piece = this.#structure(byte);
        if (piece !== undefined) return piece;
      } else if (this.#state === "top" && byte === OPEN_LIST) this.#step("first");
      else if (this.#state === "behind" && byte === COMMA) this.#step("value");
      else if ((this.#state === "behind" || this.#state === "first") && byte === CLOSE_LIST)
        this.#step(this.#path.length === 0 ? "top" : "behind-member");
      else if (this.#state === "behind")
        return this.#broken("a comma or the end of the list should follow the value before");
      else return this.#value();
    }
  }

  #inObject(): boolean {
    return this.#state === "member" || this.#state === "behind-member";
  }

  /** A step through the objects around the list; undefined when reading continues, null when more bytes are needed. */
  #structure(byte: number): JsonPiece | null | undefined {
    if (this.#state === "top") return this.#open(byte, "the document");
    if (byte === CLOSE) {
      this.#depth -= 1;
      const isDone = this.#depth === 0;
      this.#step(isDone ? "top" : "behind-member");
      if (isDone && !this.#hasList) return this.#broken(`it has no list at ${pathText(this.#path)}`, ROWS_ADVICE);
      return undefined;
    }
    if (this.#state === "behind-member") {
      if (byte !== COMMA) return this.#broken("a comma or the end of the object should follow the member before");
      this.#step("member");
      return undefined;
    }
    return this.#member(byte);
  }

  #open(byte: number, what: string): JsonPiece | undefined {
    if (byte !== OPEN)
      return this.#broken(`${what} is not an object, so it has no list at ${pathText(this.#path)}`, ROWS_ADVICE);
    this.#depth += 1;
    if (this.#depth === 1) this.#hasList = false;
    this.#step("member");
    return undefined;
  }

  /** A member's name, and what follows it: the list, the object that leads to it, or a value that is skipped. */
  #member(byte: number): JsonPiece | null | undefined {
    const unread = this.#unread;
    const { bytes, isLast } = unread;
    if (byte !== QUOTE) return this.#broken("a member's name in quotes should follow");
    const from = unread.at;
    const close = textEnd(bytes, from + 1);
    let at = (close ?? bytes.length) + 1;
    while (isBlank(bytes[at])) at += 1;
    const isNamed = close !== null && at < bytes.length;
    if (isNamed && bytes[at] !== COLON) return this.#broken("a colon should follow the member's name");
    do at += 1;
    while (isBlank(bytes[at]));
    if (!isNamed || at >= bytes.length) return this.#incomplete();
    if (nameOf(bytes.subarray(from, close + 1)) === this.#path[this.#depth - 1]) {
      this.#moveTo(at);
      const value = bytes[at] ?? 0;
      if (this.#depth < this.#path.length) return this.#open(value, pathText(this.#path.slice(0, this.#depth)));
      if (value !== OPEN_LIST) return this.#broken(`${pathText(this.#path)} is not a list`, ROWS_ADVICE);
      this.#hasList = true;
      this.#step("first");
      return undefined;
    }
    const end = valueEnd(bytes, at, isLast);
    if (end === null) return this.#incomplete();
    if (end === at) return this.#broken("a value should follow the member's name");
    this.#moveTo(end);
    this.#state = "behind-member";
    return undefined;
  }

  /** What begins here has no end yet: it is waited for, or there is none. */
  #incomplete(): JsonPiece | null {
    if (this.#unread.isTooLong()) return this.#tooLong();
    return this.#unread.isLast ? this.#broken("the member that begins here has no end") : null;
  }

  #step(state: State): void {
    this.#state = state;
    this.#unread.at += 1;
  }

  #moveTo(at: number): void {
    const { bytes } = this.#unread;
    for (let place = this.#unread.at; place < at; place++) if (bytes[place] === LINE_FEED) this.#line += 1;
    this.#unread.at = at;
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
    this.#moveTo(end);
    if (this.#state !== "top") this.#state = "behind";
    return { line, json: bytes.subarray(from, end) };
  }

  #tooLong(): JsonPiece {
    const advice =
      "Look for a quote or brace that is never closed; one object a line is read with " +
      "--input ndjson, the list that an object has with --rows NAME.";
    return this.#broken(`the value that begins here ${TOO_LONG}`, advice);
  }
}

const ROWS_ADVICE = "Say with --rows where the document has its rows: --rows NAME, or --rows '$.outer.inner'.";

/** The text that a JSON string says; null for none. */
function nameOf(json: Buffer): string | null {
  try {
    return JSON.parse(json.toString()) as string;
  } catch {
    return null;
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

/** How a JSON text is split. */
interface Split {
  /** Whether `head` is all that is looked at: the whole text, or enough of it. */
  readonly isWhole: boolean;
  /** Each value stands in a line of its own. */
  readonly linesOnly: boolean;
  /** Where each object has the list of values; null when it is the value. */
  readonly place: WirePath | null;
}

/**
 * How the first bytes of a JSON text have to be split: by lines, unless it begins with a list or with a value that goes
 * on in the next line. When the first line is broken and the second begins an object of its own, the values are lines,
 * and only the first one is refused. Null when more bytes are needed to tell.
 */
export function jsonSplitter(head: Buffer, { isWhole, linesOnly, place }: Split): JsonSplitter | null {
  if (place !== null) return new ValueSplitter(MAX_VALUE_BYTES, place);
  const first = head.findIndex((byte) => !isBlank(byte));
  if (head[first] === OPEN_LIST) return new ValueSplitter();
  if (linesOnly) return first < 0 && !isWhole ? null : new LineSplitter();
  const end = head.indexOf(LINE_FEED, Math.max(first, 0));
  if (first < 0 || end < 0) return isWhole ? new LineSplitter() : null;
  if (valueEnd(head.subarray(first, end), 0, true) !== null) return new LineSplitter();
  if (head[first] !== OPEN) return new ValueSplitter();
  if (!isWhole && head.subarray(end).every(isBlank)) return null;
  return secondLineBegins(head, first, end) ? new LineSplitter() : new ValueSplitter();
}

/** Whether an object begins in the second line, and is not a value that the first line says is to follow. */
function secondLineBegins(head: Buffer, from: number, lineEnd: number): boolean {
  const line = head.toString("latin1", from, lineEnd).trimEnd();
  return !/[:,[]$/.test(line) && /^\s*\{/.test(head.toString("latin1", lineEnd, lineEnd + 1_024));
}

/**
 * The members of a JSON object as they are written, name -> text of the value; of a name that comes twice the last.
 * `text` is the text of an object.
 */
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
    while (isBlank(bytes[at]) || bytes[at] === COLON) at += 1;
    const end = valueEnd(bytes, at, true) ?? bytes.length;
    members.set(name, bytes.toString("utf8", at, end));
    at = end;
  }
}
