import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AvroSchema, avroSchemaText } from "../../../core/codec/avro/avro.ts";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import { RecordScanner } from "../../../core/codec/decode/scan.ts";
import type { Field } from "../../../core/contract/field.ts";
import {
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
import { sql } from "../../../core/contract/sql.ts";
import { checkStream, stream, type Version } from "../../../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../../../core/contract/stream-document.ts";
import { view } from "../../../core/definition/view.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { contractProblem } from "../../../ingest/send/contract-words.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { checkViewSql } from "../../../store/definitions/check-view.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Lists of values: scanner, SQL and zod keep the same, or refuse the same. */

type Kept = bigint | string | boolean;

const MAX = 4;
const of = (fields: Readonly<Record<string, Field>>) =>
  streamFrom(
    streamDocument(
      stream("lists", {
        ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
        fields: { id: text(), at: instant({}), ...fields },
      }),
    ),
  );

/** The integer of 10^-scale units that a number or a text of one says; null for what is none, or has more places. */
function unitsOf(written: unknown, scale: number): bigint | null {
  const [, minus, whole, part = ""] = /^(-?)(\d+)(?:\.(\d+))?$/.exec(String(written)) ?? [];
  if (whole === undefined || part.replace(/0+$/, "").length > scale) return null;
  return BigInt(`${minus}${whole}${part.slice(0, scale).padEnd(scale, "0")}`);
}

const within = (value: bigint | null, most: bigint) => (value === null || value < 0n || value > most ? null : value);
const strange = 'é\u0000\u001e\u001f\\"𝕏';
const any = fc.constantFrom<unknown>(null, true, [], {}, "", "x", -1, 7, 0.5, 1e3, "7", strange, "B");

const kinds: Readonly<
  Record<string, { of: Field; values: fc.Arbitrary<unknown>; kept: (value: unknown) => Kept | null }>
> = {
  texts: {
    of: text({ max: 6 }),
    values: anyText({ maxLength: 4 }),
    kept: (value) => (typeof value === "string" && [...value].length <= 6 ? value : null),
  },
  "one of some": {
    of: oneOf("a", "B", "é"),
    values: fc.constantFrom("a", "B", "é"),
    kept: (value) => (["a", "B", "é"].includes(value as string) ? (value as string) : null),
  },
  "one of some in any case": {
    of: oneOf("paid", "NEW", "Größe", { as: "any-case" }),
    values: fc.constantFrom("paid", "PAID", "Paid", "new", "NEW", "größe", "Größe", "GRÖSSE", "ＮＥＷ", "paıd", "nEw "),
    kept: (value) =>
      typeof value === "string" ? (["paid", "NEW", "Größe"].find((one) => isSameLetters(one, value)) ?? null) : null,
  },
  integers: {
    of: integer({ min: 0, max: 99 }),
    values: fc.nat(105),
    kept: (value) => within(typeof value === "number" ? unitsOf(value, 0) : null, 99n),
  },
  "integers as texts": {
    of: integer({ min: 0, max: 99, as: "text" }),
    values: fc.oneof(
      fc.nat(105),
      fc.nat(105).map(String),
      fc.nat(99).map((one) => `${one}.0`),
    ),
    kept: (value) => within(["number", "string"].includes(typeof value) ? unitsOf(value, 0) : null, 99n),
  },
  decimals: {
    of: decimal({ scale: 2, min: 0, max: 9 }),
    values: fc.nat(1_000).map((one) => one / 100),
    kept: (value) => within(typeof value === "number" ? unitsOf(value, 2) : null, 900n),
  },
  "decimals as texts": {
    of: decimal({ scale: 2, min: 0, max: 9, as: "text" }),
    values: fc.nat(1_000).map((one) => (one / 100).toFixed(2)),
    kept: (value) => within(["number", "string"].includes(typeof value) ? unitsOf(value, 2) : null, 900n),
  },
  instants: {
    of: instant({}),
    values: fc.integer({ min: 0, max: 2 }).map((one) => 1_700_000_000_000 + one),
    kept: (value) => (typeof value === "number" && value >= 1e12 ? BigInt(value) : null),
  },
  "instants as ISO 8601": {
    of: instant({ as: "iso", zone: "Europe/Berlin" }),
    values: fc.constantFrom("2024-07-15T14:30:00", "2024-07-15T14:30:00Z", "2024-03-31T02:30:00", "2024-07-15"),
    kept: (value) => {
      const kept = { "2024-07-15T14:30:00": 12.5, "2024-07-15T14:30:00Z": 14.5, "2024-07-15": -2 };
      const hours = typeof value === "string" ? kept[value as keyof typeof kept] : undefined;
      return hours === undefined ? null : BigInt(Date.parse("2024-07-15") + hours * 3_600_000);
    },
  },
  "instants in nanoseconds": {
    of: instant({ as: "ns" }),
    values: fc.integer({ min: 0, max: 9_999 }).map((one) => `17000000001${String(one).padStart(4, "0")}6789`),
    kept: (value) => (typeof value === "string" && value.length === 19 ? BigInt(value) / 1_000_000n : null),
  },
  flags: {
    of: flag(),
    values: fc.boolean(),
    kept: (value) => (typeof value === "boolean" ? value : null),
  },
};

describe("lists of values", () => {
  const duck = duckForTests();

  test.each(Object.entries(kinds))("%s: at the top and further in", async (_, { of: field, values, kept }) => {
    const lists = fc.array(fc.oneof({ weight: 12, arbitrary: values }, any), { maxLength: MAX + 1 });
    const definition = of({
      x: list(field, { max: MAX }),
      first: optional(field),
      y: optional(list(field, { max: MAX, from: "$.deep.Y" })),
    });
    expect(checkStream(definition)).toEqual([]);
    const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
    const scanner = new RecordScanner(definition.versions[0] as Version);
    let [good, bad] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(lists, { minLength: 40, maxLength: 40 }), async (some) => {
        const records = some.map((x, index) =>
          JSON.stringify({
            id: String(index),
            at: 1_700_000_000_000,
            x,
            ...(index % 2 === 0 ? { deep: { Y: x }, first: x[0] } : {}),
          }),
        );
        const bytes = records.map((record) => Buffer.from(record));
        const wanted = some.map((x) => {
          const all = x.map(kept);
          return all.length > MAX || all.includes(null) ? null : all;
        });
        const { relation } = await decoder.decode([fetchedOf(0, 0n, bytes)]);
        const rows = await rowsOf(duck(), `SELECT x, y, first, _reject FROM ${relation} ORDER BY _offset`);
        for (const [index, [x, y, first, reject]] of rows.entries()) {
          const want = wanted[index] ?? null;
          expect(itemsOf(x), records[index]).toEqual(want);
          expect(itemsOf(y), records[index]).toEqual(index % 2 === 0 ? want : null);
          expect(first, records[index]).toEqual((index % 2 === 0 ? want?.[0] : null) ?? null);
          expect(decodeOne(definition, bytes[index] ?? null).ok, records[index]).toBe(want !== null);
          if (want === null) expect(reject).toMatch(/^contract: x/);
        }
        for (const one of bytes) scanner.scan(one, 0, one.length);
        good += wanted.filter((one) => one !== null).length;
        bad += wanted.filter((one) => one === null).length;
      }),
      { numRuns: 5 },
    );
    // The law says nothing where all are kept, or none; and the quick way is for nearly all.
    expect(Math.min(good, bad)).toBeGreaterThan(0);
    expect(scanner.rows - scanner.failed).toBeGreaterThan(good / 2);
  });

  test("Avro arrays are read as they are", () => {
    const fields = {
      ...{ texts: list(text({ max: 6 })), kinds: list(oneOf("a", "B")), whole: list(integer({ min: 0, max: 99 })) },
      ...{ none: list(flag()), money: list(decimal({ scale: 2, min: 0, max: 9 })), flags: list(flag()) },
    };
    const definition = of(fields);
    const [version] = definition.versions as [Version];
    const reader = new AvroSchema(avroSchemaText(definition, version));
    const event = {
      texts: ['é"\\', ""],
      kinds: ["B"],
      whole: [1, 99],
      none: [],
      money: [1.25, 2],
      flags: [true, false],
    };
    const record = reader.encode(7, { id: "1", at: 1_700_000_000_000, ...event });
    const decoded = decodeOne(definition, record, () => reader);
    expect(decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject).toMatchObject(event);
    const scanner = new RecordScanner(version);
    scanner.scan(record, 5, record.length, reader.scannerOf(version) ?? undefined);
    expect(scanner.failed).toBe(0);
    const columns = scanner.texts(true).map((bytes) => JSON.parse(Buffer.from(bytes).toString()));
    expect(columns.slice(2)).toEqual(Object.values(event));
  });

  test("SQL asks what is in them, how long they are, and takes each value as a line", async () => {
    const definition = of({ tags: list(text()), prices: withDefault(list(decimal({ scale: 2, min: 0, max: 9 })), []) });
    const whole = view("whole", {
      stream: definition,
      where: sql`contains(tags, 'a') AND len(tags) > 1`,
      by: { prices: sql`length(prices)` },
      every: "1 hour",
      measures: { events: count({ where: sql`list_contains(tags, 'b')` }) },
    });
    expect(await checkViewSql(duck(), whole)).toEqual([]);
    const lines = view("lines", {
      stream: definition,
      each: "prices",
      every: "1 hour",
      measures: { sum: sum(sql`item`) },
    });
    expect(await checkViewSql(duck(), lines)).toEqual([]);
    expect(lines.measures.sum).toMatchObject({ scale: 2 });
  });
});

describe("the length of a text is its code points", () => {
  const duck = duckForTests();

  test("for the contract, and for what an upcast gives", async () => {
    const field = text({ max: 3 });
    for (const [value, fits] of [
      ["𐀀𐀀𐀀", true],
      ["𐀀𐀀𐀀𐀀", false],
      ["a𐀀é", true],
      ["abcd", false],
      ["e\u0301e\u0301", false],
    ] as const) {
      expect(field.zod.safeParse(value).success, value).toBe(fits);
      expect(await rowsOf(duck(), `SELECT ${field.fits(field.literal(value))}`), value).toEqual([[fits]]);
      const definition = of({ x: field });
      const record = Buffer.from(JSON.stringify({ id: "1", at: 1_700_000_000_000, x: value }));
      expect(decodeOne(definition, record).ok, value).toBe(fits);
      const problem = contractProblem(definition.fields, { id: "1", at: 1_700_000_000_000, x: value });
      expect(problem === null, value).toBe(fits);
    }
  });
});

test("what a list of values cannot have is named with the field", () => {
  const says =
    "the values of a list are text, oneOf, integer, decimal, instant or flag, without optional, default and from";
  const wrong: Field[] = [optional(text()), text({ from: "$.x" }), list(text()), withDefault(flag(), true)];
  for (const one of wrong) expect(list(one).problem).toBe(says);
  expect(list(text({ max: -1 })).problem).toMatch(/^the length of a text/);
});

/** Whether two texts have the same bytes, those of A to Z in either case. */
function isSameLetters(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)];
  const isLetter = (byte: number) => (byte >= 65 && byte <= 90) || (byte >= 97 && byte <= 122);
  const isSame = (byte: number, at: number) => byte === b[at] || (isLetter(byte) && (byte ^ (b[at] ?? 0)) === 32);
  return a.length === b.length && a.every(isSame);
}

/** What a column of lists has, as JavaScript has it. */
function itemsOf(value: unknown): Kept[] | null {
  return value === null ? null : [...(value as { readonly items: Kept[] }).items];
}
