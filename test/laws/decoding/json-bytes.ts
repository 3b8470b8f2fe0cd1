import fc from "fast-check";
import { anyText } from "../../fixtures/events/any-text.ts";

/**
 * JSON documents as bytes, spelled in every way that JSON allows, and in some that it does not. Bytes are strings with
 * a character for each (latin1), because a document may not be UTF-8.
 */
export type Bytes = string;

export const bytesOf = (text: string): Bytes => Buffer.from(text).toString("latin1");
export const bufferOf = (bytes: Bytes): Buffer => Buffer.from(bytes, "latin1");

/** Text in which every character may be written as itself or as an escape. */
export function spelledText(value: string): fc.Arbitrary<Bytes> {
  return fc.array(fc.nat(9), { minLength: 3, maxLength: 12 }).map((choices) => {
    const units = [...value].map((character, index) => {
      const choice = choices[index % choices.length] ?? 0;
      const plain = JSON.stringify(character).slice(1, -1);
      if (choice > 2) return bytesOf(plain);
      if (character === "/") return "\\/";
      return [...Array(character.length).keys()]
        .map((unit) => character.charCodeAt(unit).toString(16).padStart(4, "0"))
        .map((digits) => `\\u${choice === 0 ? digits.toUpperCase() : digits}`)
        .join("");
    });
    return `"${units.join("")}"`;
  });
}

const blank = fc.oneof(
  { weight: 12, arbitrary: fc.constant("") },
  { weight: 1, arbitrary: fc.constantFrom(" ", "\n", "\t", "\r\n", "  ") },
);

const CHARACTERS = [
  "\u2028",
  "\u2029",
  "\ufeff",
  "\ufffd",
  "\u007f",
  "\u0000",
  "\u001e",
  "\u001f",
  "}",
  "]",
  '"',
  "\\",
];
const spelledAnyhow = fc
  .oneof(anyText({ maxLength: 9 }), fc.constantFrom(...CHARACTERS, '{"id":"x"}', '\\"}', "//", "/*"))
  .chain(spelledText);

/** Valid, although some readers refuse them. */
export const VALUES: readonly Bytes[] = [
  ...["0", "-0", "-0.0", "1.50", "1e400", "-1E+400", "1e-400", "0e0", "9007199254740993", "1".repeat(400)],
  ...['"\\ud800"', '"\\udc00\\ud800"', '"\\u0000"', '"\\/\\b\\f"', bytesOf('"\u2028"'), '"\\uD83D\\uDE00"'],
  ...[
    "true",
    "false",
    "null",
    '""',
    "[]",
    "{}",
    "[ ]",
    "{ }",
    "[[],{}]",
    '{"a":{},"a":[]}',
    '{"id":"x","__proto__":{"id":1}}',
  ],
  ...['"}"', '"]"', '"\\""', '"\\\\"', '["{"]', '{"}":"{"}', '"//"', '"\u007f"', bytesOf('"\u{1f600}\ufeff\ufffd"')],
];

/** What `JSON.parse` refuses, or what is not UTF-8. */
export const NO_VALUES: readonly Bytes[] = [
  ...[
    "",
    "01",
    "-",
    "-01",
    "+1",
    ".5",
    "1.",
    "1.e1",
    "1e",
    "1e+",
    "0x1",
    "NaN",
    "Infinity",
    "1_0",
    "1,",
    ",1",
    "00",
    "--1",
    "1 2",
  ],
  ...[
    "tru",
    "True",
    "nul",
    "nulll",
    "falsy",
    "undefined",
    "'a'",
    "`a`",
    '"a',
    'a"',
    '"\\x"',
    '"\\u12g4"',
    '"\\u12"',
    '"\\"',
    '"a"b',
  ],
  ...[
    '"a\nb"',
    '"a\tb"',
    '"\u0000"',
    '"\u001f"',
    "\u0000",
    "[",
    "]",
    "{",
    "}",
    "[}",
    "{]",
    "[1,]",
    "[,1]",
    "[1 2]",
    '{"a"}',
    '{"a":}',
  ],
  ...[
    '{"a":1,}',
    "{,}",
    "{a:1}",
    '{"a":1 "b":2}',
    "{1:2}",
    '{"a":[1}]',
    "[[]",
    "[]]",
    "{}{}",
    "1//x",
    "[/*x*/]",
    bytesOf("\ufeff1"),
  ],
  ...["\xff", "\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", "\x80", "\xf0\x80\x80\x80", "\xc3"].map(
    (raw) => `"${raw}"`,
  ),
  ...['["\xff"]', '{"\xe2\x82":1}', "\xff", '"\xf0\x9f\x98'],
];

const scalar = fc.oneof(
  spelledAnyhow,
  fc.constantFrom(...VALUES),
  fc.integer().map(String),
  fc.double({ noNaN: true, noDefaultInfinity: true }).map(String),
);

/** Valid JSON of any kind; `__proto__`, names of the contract and repeated names among its keys. */
export function anyValue(names: readonly string[]): fc.Arbitrary<Bytes> {
  const { value } = fc.letrec<{ value: Bytes }>((tie) => ({
    value: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      scalar,
      joined("[", fc.array(tie("value"), { maxLength: 4 }), "]"),
      joined("{", fc.array(member(fc.oneof(anyKey(names), spelledAnyhow), tie("value")), { maxLength: 4 }), "}"),
    ),
  }));
  return value;
}

function anyKey(names: readonly string[]): fc.Arbitrary<Bytes> {
  return fc.constantFrom(...names, "__proto__", "constructor", "toString", "").chain(spelledText);
}

export function member(key: fc.Arbitrary<Bytes>, value: fc.Arbitrary<Bytes>): fc.Arbitrary<Bytes> {
  return fc.tuple(key, blank, blank, value).map(([name, before, after, is]) => `${name}${before}:${after}${is}`);
}

export function joined(open: string, parts: fc.Arbitrary<readonly Bytes[]>, close: string): fc.Arbitrary<Bytes> {
  return fc
    .tuple(parts, blank, blank)
    .map(([all, before, after]) => `${open}${before}${all.join(`${after},${before}`)}${after}${close}`);
}

/** The same document with a byte more, less or changed, or with its end cut off. */
export function mutilated(document: Bytes): fc.Arbitrary<Bytes> {
  const place = fc.nat(document.length);
  const piece = fc.constantFrom(
    ...'{}[]",:\\019-.eEtfn/ ',
    "\u0000",
    "\u001e",
    "\x80",
    "\xff",
    "\xe2",
    '"id":',
    "\\u0069",
  );
  return fc.oneof(
    fc.tuple(place, piece).map(([at, is]) => document.slice(0, at) + is + document.slice(at)),
    fc.tuple(place, piece).map(([at, is]) => document.slice(0, at) + is + document.slice(at + 1)),
    fc
      .tuple(place, fc.integer({ min: 1, max: 4 }))
      .map(([at, size]) => document.slice(0, at) + document.slice(at + size)),
    place.map((at) => document.slice(0, at)),
    piece.map((is) => document + is),
  );
}
