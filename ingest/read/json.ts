import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";

/** One value of a JSON text. */
export type JsonPiece = { readonly line: number; readonly json: Buffer } | JsonProblem;

interface JsonProblem {
  readonly line: number;
  readonly problem: string;
  /** How to correct it. */
  readonly advice?: string;
  /** Whether nothing after it can be read. */
  readonly isEnd: boolean;
}

/** Splits bytes into JSON values, without parsing them. */
export interface JsonSplitter {
  /** Adds bytes. `isLast`: no more bytes follow. */
  push(bytes: Buffer, isLast: boolean): void;
  /** Returns the next value; null if more bytes have to be added first. */
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

/** The bytes that are being split, while more arrive. */
class Unread {
  bytes: Buffer = NOTHING;
  /** Where the bytes begin that were not split yet. */
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

  /** Adds the arrived bytes to `bytes`. Returns false if they are too few to continue with. */
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

  /** Called when the value at `at` is not complete. Returns whether it is too long to wait for the rest. */
  isTooLong(): boolean {
    const left = this.bytes.length - this.at;
    // A long incomplete value is examined again only when twice as much of it has arrived, so that the work stays
    // linear.
    this.#enough = left > this.maxBytes / 16 ? Math.min(2 * left, this.maxBytes + 1) : 0;
    return left > this.maxBytes;
  }
}

/**
 * Returns each line as one value, byte for byte, and skips empty lines. A line that is not JSON does not affect the
 * next one.
 */
export class LineSplitter implements JsonSplitter {
  readonly #unread: Unread;
  #line = 0;
  /** Whether the rest of a refused line has not arrived yet. */
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
 * What may come next. top: a value or a list. In a list: its first value or its end (first), a value, or what follows a
 * value (behind). In an object: a member, or what follows a member (behind-member).
 */
type State = "top" | "first" | "value" | "behind" | "member" | "behind-member";

/**
 * Returns values one after the other, which may cover several lines, and the elements of lists. Ends where the
 * structure is broken. With a `path`, the values are the elements of the list at this path of each object.
 */
export class ValueSplitter implements JsonSplitter {
  readonly #unread: Unread;
  readonly #path: WirePath;
  #line = 1;
  #ended = false;
  #state: State = "top";
  /** How many steps of the path lead to the current object. */
  #depth = 0;
  /** Whether this object has a list at the path. */
  #hasList = false;

  /** `maxBytes`: the length of the longest value, also of a member that is skipped. */
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

  /**
   * Reads one byte of the objects around the list. Returns undefined if reading can continue, null if more bytes are
   * needed.
   */
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

  /** Reads a member's name, and what follows: the list, the object that leads to it, or a value, which is skipped. */
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

  /**
   * Called when the member that begins here is not complete: waits for more bytes, or refuses it if there are no more.
   */
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

/** Returns the text of a JSON string; null if it is not valid. */
function nameOf(json: Buffer): string | null {
  try {
    return JSON.parse(json.toString()) as string;
  } catch {
    return null;
  }
}

/** Returns the position behind the value that begins at `from`; null if the value is not complete. */
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
      // A scalar ends at the end of its list.
      if (depth === 0) return at;
      depth -= 1;
    } else if (depth > 0 || !(byte === COMMA || isBlank(byte))) continue;
    else return at;
    if (depth === 0) return at + 1;
  }
  return depth === 0 && isLast ? bytes.length : null;
}

/** Returns the position of the quote that ends a string; null if there is none. */
function textEnd(bytes: Buffer, from: number): number | null {
  for (let at = from; at < bytes.length; at++) {
    if (bytes[at] === BACKSLASH) at += 1;
    else if (bytes[at] === QUOTE) return at;
  }
  return null;
}

/** How to split a JSON text. */
interface Split {
  /** Whether `head` is the whole text, or enough of it to decide. */
  readonly isWhole: boolean;
  /** Whether each value is in a line of its own. */
  readonly linesOnly: boolean;
  /** The path of the list of values in each object; null if the object is the value. */
  readonly place: WirePath | null;
}

/**
 * Returns the splitter for a JSON text from its first bytes. It splits by lines, unless the text begins with a list, or
 * with a value that continues in the next line. If the first line is broken and the second begins a new object, the
 * values are lines, and only the first one is refused. Returns null if more bytes are needed to decide.
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

/** Whether the second line begins an object that is not a value of the first line's object. */
function secondLineBegins(head: Buffer, from: number, lineEnd: number): boolean {
  const line = head.toString("latin1", from, lineEnd).trimEnd();
  return !/[:,[]$/.test(line) && /^\s*\{/.test(head.toString("latin1", lineEnd, lineEnd + 1_024));
}

/**
 * Returns the members of a JSON object as written: the text of each value, by name. If a name comes twice, the last
 * value counts. `text` is the text of an object.
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
