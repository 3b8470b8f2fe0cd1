import { isUtf8 } from "node:buffer";
import { sequenceLength } from "../../core/codec/text/utf8.ts";
import { TidelineError } from "../../core/errors.ts";

/** The name of an encoding, as TextDecoder knows it. */
export type Encoding = string;

/** Returns the encoding that an option names. Throws BAD_REQUEST for an unknown encoding. */
export function encodingNamed(name: string): Encoding {
  try {
    return new TextDecoder(/^(cp|win)[-_]?1252$/i.test(name) ? "windows-1252" : name).encoding;
  } catch {
    throw new TidelineError(
      "BAD_REQUEST",
      `"${name}" is not a known encoding`,
      "Give utf-8, utf-16le, utf-16be, windows-1252, or another name of the WHATWG Encoding Standard.",
    );
  }
}

/**
 * Returns the encoding that the first bytes of a text show: UTF-16, by its byte order mark or by its zero bytes,
 * otherwise UTF-8. The bytes cannot show that a text is Windows-1252, so the user has to say that.
 */
export function encodingOf(head: Buffer): Encoding {
  if (head[0] === 0xff && head[1] === 0xfe) return "utf-16le";
  if (head[0] === 0xfe && head[1] === 0xff) return "utf-16be";
  const sample = head.subarray(0, 4_096 - (head.length % 2));
  const zeros = [0, 0];
  for (const [index, byte] of sample.entries()) if (byte === 0) zeros[index % 2] = (zeros[index % 2] ?? 0) + 1;
  const [even = 0, odd = 0] = zeros;
  if (odd > sample.length / 4 && even === 0) return "utf-16le";
  return even > sample.length / 4 && odd === 0 ? "utf-16be" : "utf-8";
}

/**
 * Yields the text of `chunks` in pieces, without a byte order mark. Bytes that are not UTF-8 become lone surrogates,
 * U+DC00 + byte, which no valid text has; `strayBytes` finds them. Other encodings throw BAD_REQUEST for bytes that are
 * not valid.
 */
export async function* decoded(chunks: AsyncIterable<Buffer>, encoding: Encoding): AsyncIterable<string> {
  const decode = encoding === "utf-8" ? utf8Decoder() : encoding === "windows-1252" ? windows1252 : other(encoding);
  let isFirst = true;
  for await (const chunk of chunks) {
    const text = decode(chunk, false);
    if (text === "") continue;
    yield isFirst ? withoutMark(text) : text;
    isFirst = false;
  }
  const rest = decode(Buffer.alloc(0), true);
  if (rest !== "") yield isFirst ? withoutMark(rest) : rest;
}

type Decode = (chunk: Buffer, isLast: boolean) => string;

function withoutMark(text: string): string {
  return text.startsWith("\ufeff") ? text.slice(1) : text;
}

function utf8Decoder(): Decode {
  let held: Buffer = Buffer.alloc(0);
  return (chunk, isLast) => {
    const bytes = held.length === 0 ? chunk : Buffer.concat([held, chunk]);
    const end = isLast ? bytes.length : wholeCharacters(bytes);
    held = bytes.subarray(end);
    const whole = bytes.subarray(0, end);
    return isUtf8(whole) ? whole.toString() : withStrayBytes(whole);
  };
}

/** Returns how many bytes make whole characters: all except a last character that continues in the next chunk. */
function wholeCharacters(bytes: Buffer): number {
  for (let back = 1; back <= 3 && back <= bytes.length; back++) {
    const byte = bytes[bytes.length - back] as number;
    if (byte < 0x80) break;
    if (byte >= 0xc0) {
      const length = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : 2;
      return length > back ? bytes.length - back : bytes.length;
    }
  }
  return bytes.length;
}

const STRAY = 0xdc00;

function withStrayBytes(bytes: Buffer): string {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < bytes.length; ) {
    const byte = bytes[at] as number;
    const length = byte < 0x80 ? 1 : sequenceLength(bytes, at, bytes.length);
    if (length === 0) {
      parts.push(bytes.toString("utf8", from, at), String.fromCharCode(STRAY + byte));
      from = at + 1;
    }
    at += length === 0 ? 1 : length;
  }
  parts.push(bytes.toString("utf8", from));
  return parts.join("");
}

/** Describes the first byte of a text that is not UTF-8; null if there is none. */
export function strayBytes(text: string): { readonly byte: number; readonly asWindows1252: string } | null {
  const found = /[\udc80-\udcff]/u.exec(text);
  if (found === null) return null;
  const byte = found[0].charCodeAt(0) - STRAY;
  const asWindows1252 = text.replaceAll(/[\udc80-\udcff]/gu, (one) =>
    c1(String.fromCharCode(one.charCodeAt(0) - STRAY)),
  );
  return { byte, asWindows1252 };
}

/** The characters of Windows-1252 from 0x80 to 0x9F. Some releases of Node.js decode these as ISO 8859-1. */
const C1 = "€\u0081‚ƒ„…†‡ˆ‰Š‹Œ\u008dŽ\u008f\u0090‘’“”•–—˜™š›œ\u009džŸ";

function windows1252(chunk: Buffer): string {
  return c1(chunk.toString("latin1"));
}

function c1(latin1: string): string {
  return latin1.replaceAll(/[\x80-\x9f]/g, (one) => C1[one.charCodeAt(0) - 0x80] as string);
}

function other(encoding: Encoding): Decode {
  const decoder = new TextDecoder(encoding, { fatal: true, ignoreBOM: true });
  return (chunk, isLast) => {
    try {
      return decoder.decode(chunk, { stream: !isLast });
    } catch (cause) {
      throw new TidelineError(
        "BAD_REQUEST",
        `the file has bytes that are not ${encoding}`,
        "Name its encoding with --encoding.",
        { cause },
      );
    }
  };
}
