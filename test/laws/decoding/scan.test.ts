import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import { RecordScanner } from "../../../core/codec/decode/scan.ts";
import type { Field } from "../../../core/contract/field.ts";
import {
  bare,
  decimal,
  flag,
  instant,
  integer,
  list,
  oneOf,
  optional,
  text,
  withDefault,
} from "../../../core/contract/fields.ts";
import { type Stream, stream, type Version } from "../../../core/contract/stream.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import {
  anyValue,
  type Bytes,
  bufferOf,
  bytesOf,
  joined,
  member,
  mutilated,
  NO_VALUES,
  spelledText,
  VALUES,
} from "./json-bytes.ts";

const time = instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" });

/** Fields of every kind, of two versions. */
const visit = stream("visit", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  version: 2,
  fields: {
    id: text({ max: 12 }),
    at: time,
    pages: integer({ min: -5, max: 1_000 }),
    price: decimal({ scale: 2, min: -100, max: 1_000_000 }),
    kind: oneOf("a", "caf\u00e9", 'q"uote', "\ud800"),
    on: optional(flag()),
    note: withDefault(text({ max: 5 }), "none"),
    items: optional(list({ sku: text({ max: 6 }), count: optional(integer({ min: 0, max: 9 })) }, { max: 3 })),
  },
  previous: [{ version: 1, fields: { id: text({ max: 12 }), at: time, count: integer({ min: 0, max: 9 }) } }],
});
const NAMES = ["id", "at", "pages", "price", "kind", "on", "note", "items", "count", "sku"];

const characters = fc.oneof(
  { weight: 20, arbitrary: fc.string({ unit: "grapheme", maxLength: 4 }) },
  { weight: 1, arbitrary: anyText({ maxLength: 12 }) },
  {
    weight: 1,
    arbitrary: fc.constantFrom(
      "\ud800",
      "\u0000",
      "a\u001eb",
      "\u001f",
      "\n\t",
      "\u00e9".repeat(12),
      "\ud83d\ude00".repeat(6),
    ),
  },
);
const texts = characters.chain(spelledText);
const wrong = anyValue(NAMES);
const named = (name: string, value: fc.Arbitrary<Bytes>) =>
  member(
    fc.oneof({ weight: 9, arbitrary: fc.constant(`"${name}"`) }, { weight: 1, arbitrary: spelledText(name) }),
    fc.oneof({ weight: 100, arbitrary: value }, { weight: 1, arbitrary: wrong }),
  );
const undeclared = member(
  fc
    .oneof(
      fc.constantFrom("a", "extra", "ids", "i", "Id", "__proto__", "constructor", "", "gr\u00f6\u00dfe"),
      anyText({ maxLength: 9 }),
    )
    .filter((name) => !NAMES.includes(name))
    .chain(spelledText),
  wrong,
);
const sometimes = <T>(arbitrary: fc.Arbitrary<T>, weight: number) =>
  fc.oneof({ weight, arbitrary: arbitrary.map((one) => [one]) }, { weight: 1, arbitrary: fc.constant<T[]>([]) });

/** The members of an object in any order, with undeclared ones between them, and seldom with one of them twice. */
const objectOf = (members: readonly fc.Arbitrary<Bytes>[], optionals: readonly fc.Arbitrary<Bytes>[]) => {
  const given = fc.tuple(
    ...members.map((one) => sometimes(one, 150)),
    ...optionals.map((one) => sometimes(one, 2)),
    ...members.map((one) =>
      fc.oneof({ weight: 150, arbitrary: fc.constant<Bytes[]>([]) }, { weight: 1, arbitrary: one.map((is) => [is]) }),
    ),
    fc.array(undeclared, { maxLength: 4 }),
  );
  return joined(
    "{",
    given.chain((lists) => {
      const all = lists.flat();
      return fc.shuffledSubarray(all, { minLength: all.length });
    }),
    "}",
  );
};

const id = named("id", texts);
const at = named("at", fc.integer({ min: 946_684_800_000, max: 2_524_608_000_000 }).map(String));
const count = named("count", fc.integer({ min: -1, max: 9 }).map(String));
const item = objectOf([named("sku", texts)], [count]);
const newest = objectOf(
  [
    id,
    at,
    named("pages", fc.integer({ min: -6, max: 1_001 }).map(String)),
    named(
      "price",
      fc.oneof(
        fc.integer({ min: -10_001, max: 100_000_001 }).map((cents) => String(cents / 100)),
        fc.constantFrom("1.50", "-0", "1e2", "0.001"),
      ),
    ),
    named(
      "kind",
      fc.oneof(
        fc.constantFrom("a", "caf\u00e9", 'q"uote').chain(spelledText),
        fc.constantFrom('"\\ud800"', bytesOf('"\ufffd"')),
      ),
    ),
  ],
  [
    named("on", fc.constantFrom("true", "false", "null")),
    named("note", texts),
    named("items", joined("[", fc.array(item, { maxLength: 4 }), "]")),
  ],
);
const documents = fc.oneof(
  { weight: 4, arbitrary: newest },
  { weight: 1, arbitrary: objectOf([id, at, count], [undeclared]) },
);

/** Fields in objects further in, instants of every writing, in lists, too; of two versions. */
const placed = stream("placed", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  version: 2,
  fields: {
    id: text({ max: 12, from: "$.data.id" }),
    at: instant({ from: "$.data.meta.time", as: "iso", zone: "-03:30" }),
    paid: instant({ min: "1960-01-01", as: "s" }),
    seen: optional(instant({ from: "$['a.b']", as: "ns" })),
    sent: withDefault(instant({ from: "$.data.us", min: "1960-01-01", as: "us" }), 5),
    kind: oneOf("a", "b", { from: "$.Kind" }),
    on: optional(flag({ from: "$.data.meta.on" })),
    items: optional(
      list(
        {
          sku: text({ max: 6, from: "$.S" }),
          count: optional(integer({ min: 0, max: 9, from: "$.n.count" })),
          packed: optional(instant({ from: "$.n.at", as: "s" })),
        },
        { max: 3, from: "$.data.lines" },
      ),
    ),
  },
  previous: [
    {
      version: 1,
      fields: {
        id: text({ max: 12, from: "$.id" }),
        at: instant({ from: "$.data.meta.time", as: "iso", zone: "-03:30" }),
        paid: instant({ min: "1960-01-01", as: "s" }),
        kind: oneOf("a", "b", { from: "$.Kind" }),
      },
    },
  ],
});
/** Nearly always the first of these. */
const nearly = <T>(usual: fc.Arbitrary<T>, ...others: readonly fc.Arbitrary<T>[]) =>
  fc.oneof({ weight: 12, arbitrary: usual }, ...others.map((arbitrary) => ({ weight: 1, arbitrary })));
const digitText = (least: number, most: number) =>
  fc.string({ unit: fc.constantFrom(..."0159"), minLength: least, maxLength: most });
const written = (number: string) =>
  nearly(
    fc.constantFrom(number, `"${number}"`),
    fc.constantFrom(`"${number} "`, `${number}e0`, `0${number}`, `-${number}`, `"${number}x"`, `${number}.`),
  );
const seconds = fc
  .tuple(fc.integer({ min: -300_000_000, max: 2_000_000_000 }), nearly(digitText(0, 6), digitText(7, 20)))
  .chain(([whole, rest]) => written(rest === "" ? `${whole}` : `${whole}.${rest}`));
const micros = fc
  .tuple(fc.integer({ min: -3e14, max: 3e15 }), digitText(0, 1))
  .chain(([whole, rest]) => written(rest === "" ? `${whole}` : `${whole}.${rest}`));
const nanos = fc
  .tuple(fc.integer({ min: 950_000_000, max: 4_000_000_000 }), digitText(9, 9))
  .chain(([whole, rest]) => written(`${whole}${rest}`));
const part = (min: number, max: number) =>
  fc.integer({ min, max }).map((one) => String(one).padStart(String(max).length, "0"));
const isoTexts = fc
  .tuple(
    fc.tuple(nearly(part(2000, 2099), part(1899, 2101)), part(1, 12), nearly(part(1, 28), part(0, 32))),
    fc.constantFrom("T", "T", "t", " ", ""),
    fc.tuple(nearly(part(0, 23), part(24, 25)), nearly(part(0, 59), part(60, 61))),
    nearly(fc.constantFrom("", ":00", ":59", ":07.5", ":59.999999999", ":01,25"), fc.constantFrom(":60", ":1", ":01.")),
    nearly(fc.constantFrom("", "Z", "z", "+02", "-0330", "+14:00"), fc.constantFrom("+24:00", " Z", "+2", "UTC")),
  )
  .map(([date, separator, clock, rest, zone]) => {
    const day = date.join("-");
    return `"${separator === "" ? day : `${day}${separator}${clock.join(":")}${rest}${zone}`}"`;
  });
const orNull = (value: fc.Arbitrary<Bytes>) => nearly(value, fc.constantFrom<Bytes>("null", "[]", "1", '"x"'));
const line = objectOf(
  [named("S", texts)],
  [
    named(
      "n",
      orNull(objectOf([], [named("count", fc.integer({ min: -1, max: 9 }).map(String)), named("at", seconds)])),
    ),
  ],
);
const meta = named("meta", orNull(objectOf([named("time", isoTexts)], [named("on", fc.constantFrom("true", "null"))])));
const nestedRecords = objectOf(
  [
    named(
      "data",
      orNull(
        objectOf(
          [named("id", texts), meta],
          [named("us", micros), named("lines", joined("[", fc.array(line, { maxLength: 4 }), "]"))],
        ),
      ),
    ),
    named("paid", seconds),
    named("Kind", fc.constantFrom('"a"', '"b"')),
  ],
  [named("a.b", nanos), undeclared],
);
const olderNested = objectOf(
  [named("id", texts), named("data", objectOf([meta], [])), named("paid", seconds), named("Kind", fc.constant('"a"'))],
  [undeclared],
);

type Json = string | number | boolean | null;

/** The value that DuckDB makes of a column's text, and the one that zod's value is stored as. */
function asStored({ spec }: Field, column: string | Json): string | bigint | null {
  const is = bare(spec);
  if (column === null || column === "\u001f") return null;
  if (is.type === "text" || is.type === "oneOf" || is.type === "flag") return String(column);
  const isScaled = is.type === "decimal" && typeof column === "number";
  return BigInt(isScaled ? Math.round(column * 10 ** is.scale) : column);
}

interface Scanned {
  readonly version: Version;
  /** The texts of its columns. */
  readonly columns: readonly string[];
}

/**
 * Which version recognises each of some records, read one after the other, and its columns; null for one that is left
 * to zod.
 */
function scanned(definition: Stream, records: readonly Buffer[]): (Scanned | null)[] {
  const found: (Scanned | null)[] = records.map(() => null);
  for (const [index, version] of definition.tried.entries()) {
    const scanner = new RecordScanner(version, definition.tried.slice(0, index));
    for (const record of records) {
      // Something before it and behind it, as in a fetch.
      const bytes = Buffer.concat([Buffer.from('{"'), record, Buffer.from('}"1')]);
      scanner.scan(bytes, 2, 2 + record.length);
    }
    const columns = scanner.texts(false).map((bytes) => utf8.decode(bytes).split("\u001e"));
    for (const row of records.keys()) {
      const [recognised, ...rest] = columns.map((rows) => rows[row] as string).reverse();
      if (recognised === "1") found[row] ??= { version, columns: rest.reverse() };
    }
  }
  return found;
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whatever is recognised, zod accepts as the same version and with the same values. Returns how many are. */
function expectSound(definition: Stream, records: readonly Buffer[]): number {
  const found = scanned(definition, records);
  for (const [row, one] of found.entries()) {
    if (one === null) continue;
    const { version, columns } = one;
    const record = records[row] as Buffer;
    const expected = decodeOne(definition, record);
    if (!expected.ok) expect.fail(`recognised, and refused by zod (${expected.reject}): ${record}`);
    expect(version.version, String(record)).toBe(expected.version);
    const event = JSON.parse(expected.canonical) as Record<string, Json>;
    for (const [index, [name, field]] of Object.entries(version.fields).entries()) {
      const column = columns[index] as string;
      const value = event[name] as Json;
      const message = `${name} of ${record}`;
      if (bare(field.spec).type !== "list" || value === null)
        expect(asStored(field, column), message).toBe(asStored(field, value));
      else expect(itemsOf(JSON.parse(column)), message).toEqual(itemsOf(value));
    }
  }
  return found.filter((one) => one !== null).length;
}

function itemsOf(list: unknown): unknown[] {
  return (list as Record<string, Json>[]).map(({ sku, count = null, packed = null }) => ({ sku, count, packed }));
}

const sound = { id: "a", at: 1e12, pages: 1, price: 1, kind: "a", items: [{ sku: "s" }] };
/** The sound record with a member more in its place. */
const withMember = (more: Bytes, place: "first" | "last" | "inItem"): Buffer => {
  const json = JSON.stringify(sound);
  if (place === "first") return bufferOf(json.replace("{", `{${more},`));
  return bufferOf(place === "last" ? json.replace(/\}$/, `,${more}}`) : json.replace('"s"}', `"s",${more}}`));
};
const PLACES = ["first", "last", "inItem"] as const;
const nested = (levels: number, open: string, close: string) => `${open.repeat(levels)}1${close.repeat(levels)}`;

describe("invariant 3, for the scanner of JSON alone", () => {
  test("what it recognises zod accepts with the same values: undeclared fields, every spelling, mutilated records", () => {
    let recognised = 0;
    let all = 0;
    const records = fc.array(fc.oneof(documents, documents.chain(mutilated)), { minLength: 1, maxLength: 4 });
    const isSound = fc.property(records, (some) => {
      all += some.length;
      recognised += expectSound(visit, some.map(bufferOf));
    });
    fc.assert(isSound, { numRuns: 1_000 });
    // A scanner that recognised nothing would be sound too.
    expect(recognised).toBeGreaterThan(all / 8);
  });

  test("so it is with fields further in, and with instants as producers write them", () => {
    let recognised = 0;
    let all = 0;
    const some = fc.oneof(nestedRecords, nestedRecords, olderNested, nestedRecords.chain(mutilated));
    const isSound = fc.property(fc.array(some, { minLength: 1, maxLength: 4 }), (records) => {
      all += records.length;
      recognised += expectSound(placed, records.map(bufferOf));
    });
    fc.assert(isSound, { numRuns: 500 });
    expect(recognised).toBeGreaterThan(all / 20);
  });

  test("the ISO 8601 that most producers write is read as zod reads it, on every day of some centuries", () => {
    const dated = stream("dated", {
      ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
      fields: { id: text(), at: instant({ as: "iso", min: "0001-01-01", max: "9999-12-31" }) },
    });
    const record = (at: string) => Buffer.from(JSON.stringify({ id: "a", at }));
    for (const first of [1, 1899, 1969, 1999, 2099, 2399, 9997]) {
      const days = Array.from({ length: 900 }, (_, day) => {
        const date = new Date(0);
        date.setUTCFullYear(first, 0, day + 1);
        date.setUTCHours(23, day % 60, 59, day);
        return record(date.toISOString());
      });
      expect(expectSound(dated, days)).toBe(900);
    }
    const none = ["2026-02-29", "2024-02-30", "2100-02-29", "2026-13-01", "2026-00-01", "2026-04-31", "2026-01-00"];
    for (const date of none) expect(expectSound(dated, [record(`${date}T00:00:00Z`)]), date).toBe(0);
    for (const clock of ["24:00:00Z", "23:60:00Z", "23:59:60Z", "00:00:00.12xZ", "00:00:00.1/0Z", "00:00:0:Z"])
      expect(expectSound(dated, [record(`2026-01-01T${clock}`)]), clock).toBe(0);
  });

  test("an undeclared value that JSON.parse accepts is skipped, wherever it is", () => {
    const values = [...VALUES, nested(31, "[", "]"), nested(31, '{"a":', "}"), `[${"1,".repeat(5_000)}1]`];
    for (const place of PLACES)
      for (const value of values)
        expect(expectSound(visit, [withMember(`"extra":${value}`, place)]), `${place} ${value}`).toBe(1);
    const keys = ['""', '"__proto__"', '"constructor"', '"\\u0061"', '"\\ud800"', bytesOf('"\u2028"'), '"Id"', '"ids"'];
    for (const place of PLACES)
      for (const key of keys) expect(expectSound(visit, [withMember(`${key}:1`, place)]), `${place} ${key}`).toBe(1);
  });

  test("a record with anything else in the place of an undeclared value is left to zod, and so is what is nested deeply", () => {
    for (const place of PLACES)
      for (const value of NO_VALUES) {
        const record = withMember(`"extra":${value}`, place);
        expect(decodeOne(visit, record).ok, `${place} ${value}`).toBe(false);
        expect(scanned(visit, [record]), `${place} ${value}`).toEqual([null]);
      }
    for (const levels of [32, 33, 64, 65, 100_000])
      for (const [open, close] of [["[", "]"] as const, ['{"a":', "}"] as const]) {
        const record = withMember(`"extra":${nested(levels, open, close)}`, "last");
        expect(decodeOne(visit, record).ok).toBe(true);
        expect(scanned(visit, [record])).toEqual([null]);
      }
  });

  test("a declared key is known in every spelling, and counts once", () => {
    const json = JSON.stringify(sound);
    const spelled = json.replace('"id":"a"', '"\\u0069d" : "\\u0061"').replace('"sku"', '"\\u0073\\u006Bu"');
    expect(expectSound(visit, [Buffer.from(spelled), Buffer.from(spelled)])).toBe(2);
    for (const more of ['"id":"b"', '"\\u0069d":"b"', '"id" :"b"', '"id":7', '"id":null'])
      for (const place of ["first", "last"] as const) {
        const records = [Buffer.from(json), Buffer.from(json), withMember(`"x":1,${more},"y":2`, place)];
        expect(scanned(visit, records)[2], more).toBe(null);
      }
  });

  test("a record that has a field of a newer version only is not recognised as an older one, in any spelling", () => {
    const older = (more: Bytes) => Buffer.from(`{"id":"a","at":1000000000000,"count":3${more}}`);
    expect(scanned(visit, [older("")])[0]?.version.version).toBe(1);
    expect(scanned(visit, [older(',"x":1')])[0]?.version.version).toBe(1);
    for (const key of ['"kind"', '"k\\u0069nd"', '"kind" ', '"note"'])
      expect(scanned(visit, [older(`,${key}:1`)])[0], key).toBe(null);
  });

  test("what no column can hold is left to zod; every other character is decoded", () => {
    const withNote = (note: string) => Buffer.from(JSON.stringify({ ...sound, note: "-" }).replace('"-"', note));
    for (const hostile of ["\\u0000", "\\u001e", "\\u001F", "\\ud800", "\\udc00", "\\ud800\\ud800"])
      expect(scanned(visit, [withNote(`"${hostile}"`)])[0], hostile).toBe(null);
    const notes = [
      '"\\n\\t\\"\\\\\\/"',
      '"\\u00e9\\u00E9"',
      '"\\ud83d\\ude00\\u20ac"',
      '"\u{1f600}\u20ac"',
      '"\u00e9\u00e9\u00e9\u00e9\u00e9"',
    ];
    for (const note of notes) expect(expectSound(visit, [withNote(note)]), note).toBe(1);
    for (const note of ['"\u{1f600}\u{1f600}\u{1f600}"', '"\\u00e9\\u00e9\\u00e9\\u00e9\\u00e9x"', '"abcdef"'])
      expect(scanned(visit, [withNote(note)])[0], note).toBe(null);
  });

  test("a field named constructor is absent where a record does not have it", () => {
    const { fields } = stream("built", {
      ...visit,
      version: 1,
      previous: [],
      fields: {
        ...visit.fields,
        constructor: optional(text()) as Field,
        items: list({ sku: text(), constructor: optional(text()) }) as Field,
      },
    });
    const built = stream("built", { ...visit, version: 1, previous: [], fields });
    const json = JSON.stringify(sound);
    const records = [json, json.replace('"s"', '"s","constructor":"x"'), json.replace("{", '{"constructor":null,')];
    expect(
      expectSound(
        built,
        records.map((record) => Buffer.from(record)),
      ),
    ).toBe(3);
  });

  test("between two values only a comma and a key are recognised, whatever was learned before", () => {
    const long = `"${"k".repeat(70)}":1`;
    const json = '{"id":"a","at":1000000000000,"pages":1,"price":1,"kind":"a"}';
    const withPages = (more: Bytes) => bufferOf(json.replace('"pages"', `${more},"pages"`));
    // More undeclared keys than are learned, so that later ones are all alike to the scanner; then long ones, which it
    // never learns.
    const many = Array.from({ length: 300 }, (_, index) => withPages(`"key${index}":${index}`));
    const sound = [...many, withPages(long), withPages(`${long},${long.replace("k", "l")}`), withPages('"x":1')];
    for (const warm of [[], sound])
      for (const between of ["\0".repeat(4), `${"\0".repeat(4)} `, ` ${"\0".repeat(4)}`, "\0", "\0".repeat(8), ""])
        for (const key of [long, '"x":1', '"new":1', '"key1":1', '"key299":1', '"pages":1'])
          for (const broken of [withPages(`${key}${between}2`), bufferOf(json.replace("{", `{${between}2,${key},`))]) {
            if (decodeOne(visit, broken).ok) continue;
            expect(scanned(visit, [...warm, broken]).at(-1), JSON.stringify(String(broken))).toBe(null);
          }
    expect(expectSound(visit, sound)).toBe(sound.length);
  });

  test("a key is not followed by an object's brace", () => {
    const rest = '"at":1000000000000,"pages":1,"price":1,"kind":"a"}';
    for (const first of ['"x":1', `"${"k".repeat(70)}":1`, '"id":"a"', '"on":true'])
      for (const repeated of [first, '"y":1']) {
        const record = Buffer.from(`{${first}{${repeated},${first.startsWith('"id"') ? "" : '"id":"a",'}${rest}`);
        const whole = Buffer.from(`{${first},${first.startsWith('"id"') ? "" : '"id":"a",'}${rest}`);
        expect(scanned(visit, [record])[0], String(record)).toBe(null);
        expect(scanned(visit, [whole, record, record])[1], String(record)).toBe(null);
      }
  });

  test("keys are still found when a producer sends others in every record", () => {
    const records = Array.from({ length: 300 }, (_, index) =>
      withMember(`"key${index}":${index},"\\u0061${index}" :{}`, index % 2 === 0 ? "first" : "inItem"),
    );
    expect(expectSound(visit, records)).toBe(300);
  });
});
