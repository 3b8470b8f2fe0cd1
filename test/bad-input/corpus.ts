import avsc from "avsc";
import fc from "fast-check";
import type { AvroSchema } from "../../core/codec/avro/avro.ts";
import { anyText } from "../fixtures/events/any-text.ts";
import type { Line, Reading } from "./judge.ts";

/** A record that a careless or hostile producer sends. */
export interface Bad {
  /** What is wrong with it, for people. */
  readonly what: string;
  /** The word that its letter begins with; null for what is an event in spite of everything. */
  readonly reject: string | null;
  readonly value: Buffer | null;
  readonly key?: Buffer | null;
  readonly headers?: Readonly<Record<string, Buffer>>;
}

const AT = Date.UTC(2026, 0, 1);

/** A good event; all that it says follows from `index`. */
export function good(index: number): Reading & { readonly lines: readonly Line[] } {
  return {
    id: `good-${index}`,
    at: AT + (index % 50) * 600_000,
    place: ["harbour", "mole", "Øresund", 'q"uote'][index % 4] ?? "",
    amount: ((index * 7_919) % 2_000) - 1_000,
    note: index % 3 === 0 ? null : `n${index % 11}`,
    good: index % 10 !== 0,
    lines: Array.from({ length: index % 3 }, (_, line) => ({ sku: `s${line}`, units: (index + line) % 9 })),
  };
}

const bytesOf = (event: unknown): Buffer => Buffer.from(JSON.stringify(event));
const FIVE_MB = 5 * 1024 * 1024;

/** One event of the corpus: a good one under an id that says what is done to it. */
const base = (what: string): Reading => ({ ...good(1), id: what.slice(0, 60) });
const text = (what: string, reject: string | null, value: string): Bad => ({ what, reject, value: Buffer.from(value) });
const changed = (what: string, reject: string | null, change: object): Bad => ({
  what,
  reject,
  value: bytesOf({ ...base(what), ...change }),
});
/** A record whose amount is this token, which JSON.stringify would not write. */
const token = (reject: string | null, amount: string): Bad =>
  text(
    `amount ${amount}`,
    reject,
    JSON.stringify({ ...base(`amount ${amount}`), amount: 4_711 }).replace("4711", amount),
  );
const without = (field: string): Bad => {
  const what = `without ${field}`;
  const { [field as "note"]: _, ...rest } = base(what);
  return { what, reject: ["note", "good", "lines"].includes(field) ? null : "contract", value: bytesOf(rest) };
};
const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
const withExtra = (what: string, extra: string, reject: string | null = null): Bad =>
  text(what, reject, JSON.stringify(base(what)).replace("{", `{${extra},`));

/** Bad input as JSON, and what only looks like it. */
export function jsonCorpus(): Bad[] {
  const whole = JSON.stringify(good(2));
  return [
    { what: "a tombstone", reject: "empty", value: null },
    { what: "no bytes", reject: "empty", value: Buffer.alloc(0) },
    { what: "a tombstone without a key", reject: "empty", value: null, key: null },
    ...[
      "{",
      "null",
      "true",
      "7",
      '"text"',
      "[]",
      "{}",
      " ",
      "\ufeff",
      "[",
      "}",
      "{]",
      "\\",
      "\x1b[2J\x07",
      "\x1e",
      "\x00x",
    ].map((value) =>
      text(
        `only ${JSON.stringify(value)}`,
        /^(null|true|7|"text"|\[\]|\{\})$/.test(value) ? "contract" : value[0] === "\x00" ? "avro" : "not-json",
        value,
      ),
    ),
    ...[1, 10, whole.length - 1].map((length) => text(`cut at ${length}`, "not-json", whole.slice(0, length))),
    text("a BOM", "not-json", `\ufeff${JSON.stringify(base("a BOM"))}`),
    text("two events", "not-json", whole + whole),
    text("an event in a list", "contract", `[${whole}]`),
    text("a trailing comma", "not-json", whole.replace(/}$/, ",}")),
    text("a comment", "not-json", whole.replace("{", "{/*x*/")),
    text("single quotes", "not-json", "{'id':'x'}"),
    text("white space around", null, ` \t\r\n${JSON.stringify(base("white space around"))}\n `),
    {
      what: "bad UTF-8",
      reject: "not-utf8",
      value: Buffer.concat([Buffer.from('{"id":"'), Buffer.from([0xc3, 0x28]), Buffer.from('"}')]),
    },
    { what: "an overlong slash", reject: "not-utf8", value: Buffer.from([0x22, 0xc0, 0xaf, 0x22]) },
    { what: "a surrogate in UTF-8", reject: "not-utf8", value: Buffer.from([0x22, 0xed, 0xa0, 0x80, 0x22]) },
    {
      what: "UTF-16",
      reject: "not-utf8",
      value: Buffer.concat([Buffer.from([0xff, 0xfe]), Buffer.from(whole, "utf16le")]),
    },
    { what: "a raw separator", reject: "not-json", value: Buffer.from(whole.replace("good-2", "a\x1eb")) },
    text("a raw separator between two events", "not-json", `${whole}\x1e${whole}`),
    changed("an escaped separator", null, { note: "a\x1eb\x00c\x1b[31m\u202e" }),
    text("a lone surrogate", "contract", whole.replace("good-2", "\\ud800")),
    changed("an emoji", null, { place: "⚓🌊" }),
    text("an escaped key", null, JSON.stringify(base("an escaped key")).replace('"id"', '"\\u0069d"')),
    ...["id", "at", "place", "amount", "note", "good", "lines"].map(without),
    ...["id", "at", "place", "amount", "good", "lines"].map((field) =>
      changed(`${field} null`, "contract", { [field]: null }),
    ),
    ...["at", "amount", "good"].map((field) => changed(`${field} a text`, "contract", { [field]: "1" })),
    ...["id", "place", "note", "lines"].map((field) => changed(`${field} a number`, "contract", { [field]: 1 })),
    ...["id", "at", "place", "good"].map((field) => changed(`${field} an object`, "contract", { [field]: {} })),
    changed("lines of null", "contract", { lines: [null] }),
    changed("lines of lists", "contract", { lines: [[]] }),
    changed("a line too little", "contract", { lines: [{ sku: "x" }] }),
    changed("a line with more", null, { lines: [{ sku: "x", units: 1, colour: "red" }] }),
    changed("two hundred lines", null, { lines: Array.from({ length: 200 }, () => ({ sku: "x", units: 1 })) }),
    changed("100,000 lines", "contract", { lines: Array.from({ length: 100_000 }, () => ({ sku: "x", units: 1 })) }),
    ...["NaN", "Infinity", "-Infinity", "nan", "01", "+1", ".5", "1.", "0x10", "1e", "1_000", "undefined"].map((one) =>
      token("not-json", one),
    ),
    ...[
      "1e400",
      "-1e400",
      "9007199254740993",
      "9223372036854775808",
      "18446744073709551616",
      "1.5",
      "1e-2",
      "9".repeat(400),
    ].map((one) => token("contract", one)),
    ...["-0", "-0.0", "1.0", "1e3", "1E+2", "10e-1", "1000000000"].map((one) => token(null, one)),
    ...(
      [
        ["year 1", -62_135_596_800_000],
        ["year 9999", 253_402_300_799_999],
        ["below its bounds", Date.UTC(2020, 0) - 1],
        ["beyond its bounds", Date.UTC(2100, 0) + 1],
        ["in seconds", AT / 1_000],
        ["beyond dates", 8.64e15 + 1],
      ] as const
    ).map(([name, at]) => changed(`a time of ${name}`, "contract", { at })),
    changed("a time at its lower bound", null, { at: Date.UTC(2020, 0) }),
    changed("a time at its upper bound", null, { at: Date.UTC(2100, 0) }),
    withExtra("an extra __proto__", '"__proto__":{"id":"polluted"}'),
    withExtra("an extra constructor", '"constructor":{"prototype":{"at":1}},"toString":1'),
    withExtra("an id twice", '"id":"the first is not read"'),
    withExtra("an extra, nested 100,000 deep", `"deep":${nested(100_000)}`),
    withExtra("an extra object, nested", `"deep":${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`),
    text("100,000 open brackets", "not-json", "[".repeat(100_000)),
    text("100,000 brackets", "contract", nested(100_000)),
    text(
      "a note nested 100,000 deep",
      "contract",
      JSON.stringify({ ...base("deep note"), note: 7 }).replace(":7", `:${nested(100_000)}`),
    ),
    changed("5 MB of note", "contract", { note: "x".repeat(FIVE_MB) }),
    { what: "5 MB of nothing", reject: "schema-unknown", value: Buffer.alloc(FIVE_MB) },
    withExtra("an extra of 1 MB", `"more":"${"é".repeat(500_000)}"`),
    { ...changed("a key of 64 KB", null, {}), key: Buffer.alloc(65_536, "k") },
    { ...changed("a reject with a key of 64 KB", "contract", { at: 0 }), key: Buffer.alloc(65_536, 0x1b) },
    { ...changed("no key", null, {}), key: null },
    { ...changed("an empty key", null, {}), key: Buffer.alloc(0) },
    {
      ...changed("huge headers", null, {}),
      headers: { big: Buffer.alloc(500_000, 1), "": Buffer.alloc(0), reason: Buffer.from("not-json") },
    },
    // More rejects with long keys than one batch of letters may hold.
    ...Array.from(
      { length: 200 },
      (_, index): Bad => ({
        what: `long key ${index}`,
        reject: "not-json",
        value: Buffer.from("{"),
        key: Buffer.alloc(65_536, index),
      }),
    ),
  ];
}

/** Bad input in Avro's wire format, of a schema that the registry knows as `id`, and of one that it does not. */
export function avroCorpus(schema: AvroSchema, id: number, unknownId: number): Bad[] {
  const avro = (what: string, change: object = {}) => schema.encode(id, { ...base(what), ...change });
  const body = avro("whole");
  const header = (schemaId: number) => {
    const bytes = Buffer.alloc(5);
    bytes.writeUInt32BE(schemaId, 1);
    return bytes;
  };
  const damaged = (at: number, byte: number) => {
    const bytes = Buffer.from(body);
    bytes[at] = byte;
    return bytes;
  };
  return [
    { what: "an event", reject: null, value: avro("an event") },
    {
      what: "an unknown schema",
      reject: "schema-unknown",
      value: Buffer.concat([header(unknownId), body.subarray(5)]),
    },
    { what: "the largest id", reject: "schema-unknown", value: Buffer.concat([header(0xffff_ffff), body.subarray(5)]) },
    ...[1, 2, 4].map((length) => ({ what: `a header of ${length}`, reject: "avro", value: body.subarray(0, length) })),
    { what: "no body", reject: "avro", value: body.subarray(0, 5) },
    ...[6, 20, body.length - 1].map((length) => ({
      what: `cut at ${length}`,
      reject: "avro",
      value: body.subarray(0, length),
    })),
    { what: "a byte too many", reject: "avro", value: Buffer.concat([body, Buffer.alloc(1)]) },
    { what: "a negative length", reject: "avro", value: damaged(5, 0x01) },
    { what: "a length beyond the end", reject: "avro", value: damaged(5, 0x7e) },
    { what: "bad UTF-8", reject: "avro", value: damaged(6, 0xff) },
    { what: "a time of year 1", reject: "contract", value: avro("year 1", { at: -62_135_596_800_000 }) },
    { what: "an amount beyond its bounds", reject: "contract", value: avro("beyond", { amount: 2 ** 52 }) },
    { what: "a long beyond 2^53", reject: "avro", value: longAmount(schema, id) },
    { what: "an amount of negative zero", reject: null, value: avro("negative zero", { amount: -0 }) },
    { what: "control characters", reject: null, value: avro("control", { note: "\x00\x1b[2J\x1e" }) },
    { what: "5 MB of note", reject: "contract", value: avro("5 MB", { note: "x".repeat(FIVE_MB) }) },
    {
      what: "100,000 lines",
      reject: "contract",
      value: avro("lines", { lines: Array.from({ length: 100_000 }, () => ({ sku: "x", units: 1 })) }),
    },
    { what: "JSON among Avro", reject: null, value: bytesOf(base("JSON among Avro")) },
    { what: "a tombstone", reject: "empty", value: null },
  ];
}

/** An event whose amount has all 64 bits: the places of its bytes are found by an amount that stands out. */
function longAmount(schema: AvroSchema, id: number): Buffer {
  const standsOut = 0x1_2345_6789;
  const bytes = schema.encode(id, { ...base("a long"), amount: standsOut });
  const amount = avsc.Type.forSchema("long").toBuffer(standsOut);
  const at = bytes.indexOf(amount);
  if (at < 0) throw new Error("the amount is not where it was thought to be");
  const wide = Buffer.from([0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]);
  return Buffer.concat([bytes.subarray(0, at), wide, bytes.subarray(at + amount.length)]);
}

/** Spoilt records, the same for the same seed; what becomes of each is for the judge to say. */
export function generated(seed: number, count: number, encode: (event: Reading) => Buffer): Buffer[] {
  const value = fc.oneof(
    fc.constantFrom<unknown>(
      1.5,
      true,
      "5",
      -0,
      2 ** 53,
      null,
      [],
      {},
      "",
      1e21,
      "\ud800",
      "a\u001eb",
      "é".repeat(300),
    ),
    fc.jsonValue(),
    anyText({ maxLength: 40 }),
    fc.integer(),
  );
  const field = fc.constantFrom("id", "at", "place", "amount", "note", "good", "lines", "__proto__", "extra");
  const event = fc.record({ index: fc.nat(100_000), changes: fc.array(fc.tuple(field, value), { maxLength: 2 }) });
  const spoil = fc.oneof(
    { weight: 4, arbitrary: fc.constant((bytes: Buffer) => bytes) },
    fc.nat().map((at) => (bytes: Buffer) => bytes.subarray(0, at % bytes.length)),
    fc.array(fc.tuple(fc.nat(), fc.nat(255)), { minLength: 1, maxLength: 3 }).map((changes) => (bytes: Buffer) => {
      const damaged = Buffer.from(bytes);
      for (const [at, byte] of changes) damaged[at % damaged.length] = byte;
      return damaged;
    }),
  );
  const record = fc.oneof(
    {
      weight: 6,
      arbitrary: fc
        .tuple(event, spoil)
        .map(([{ index, changes }, change]) =>
          change(bytesOf({ ...good(index), id: `made-${index}`, ...Object.fromEntries(changes) })),
        ),
    },
    {
      weight: 2,
      arbitrary: fc
        .tuple(event, spoil)
        .map(([{ index }, change]) => change(encode({ ...good(index), id: `made-${index}` }))),
    },
    { weight: 1, arbitrary: fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)) },
  );
  return fc.sample(record, { seed, numRuns: count });
}
