import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AvroSchema, avroSchemaText } from "../../../core/codec/avro/avro.ts";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import type { Field } from "../../../core/contract/field.ts";
import {
  decimal,
  flag,
  instant,
  integer,
  list,
  map,
  oneOf,
  optional,
  text,
  withDefault,
} from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { checkStream, type Version } from "../../../core/contract/stream.ts";
import { view } from "../../../core/definition/view.ts";
import { showRecord } from "../../../core/measures/kinds/latest.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { EventMaker, isRefusal } from "../../../ingest/send/event-maker.ts";
import { PLAIN_FORMS } from "../../../ingest/send/value-forms.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { checkViewSql } from "../../../store/definitions/check-view.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { AT, entriesOf, expectMapsKept, MOST_ENTRIES, mapStream } from "../../fixtures/oracles/map-law.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Objects with free names: scanner, SQL and zod keep the same entries in the same order, or refuse the same. */

type Kept = bigint | string | boolean | null;

/** `undefined`: the map is refused. */
const kinds: Readonly<
  Record<string, { of: Field; values: fc.Arbitrary<string>; kept: (json: string) => Kept | undefined }>
> = {
  "integers, some null": {
    of: optional(integer({ min: 0, max: 99 })),
    values: fc.oneof({ weight: 9, arbitrary: fc.nat(99).map(String) }, fc.constantFrom("null", "100", "-1", "1.5")),
    kept: (json) => (json === "null" ? null : /^\d\d?$/.test(json) ? BigInt(json) : undefined),
  },
  texts: {
    of: text({ max: 3 }),
    values: anyText({ maxLength: 3 }).map((one) => JSON.stringify(one)),
    kept: (json) => {
      const value = JSON.parse(json) as string;
      return value.isWellFormed() && [...value].length <= 3 ? value : undefined;
    },
  },
  "decimals as texts": {
    of: decimal({ scale: 2, min: 0, max: 9, as: "text" }),
    values: fc.nat(999).map((units) => JSON.stringify((units / 100).toFixed(2))),
    kept: (json) => {
      const units = Math.round(Number(JSON.parse(json)) * 100);
      return units <= 900 ? BigInt(units) : undefined;
    },
  },
  "one of some in any case": {
    of: oneOf("On", "off", { as: "any-case" }),
    values: fc.constantFrom('"on"', '"ON"', '"off"', '"no"'),
    kept: (json) => ({ '"on"': "On", '"ON"': "On", '"off"': "off" })[json],
  },
  "texts, numbers and booleans": {
    of: text({ max: 25, as: "scalar" }),
    values: fc.constantFrom("12", "-0.5", "true", '"a\\"b"', "12345678901234567890", '"\\u000b"'),
    kept: (json) => (json.startsWith('"') ? (JSON.parse(json) as string) : json),
  },
  "instants in microseconds": {
    of: instant({ as: "us" }),
    values: fc.nat(9_999).map((one) => `1700000000${String(one).padStart(4, "0")}99`),
    kept: (json) => BigInt(json) / 1_000n,
  },
  flags: {
    of: flag(),
    values: fc.constantFrom("true", "false"),
    kept: (json) => json === "true",
  },
};

/** Names that JavaScript, JSON or columns do something of their own with. */
const hostile = [
  "",
  "1",
  "0",
  "10",
  "__proto__",
  "constructor",
  "key",
  "é",
  "\u{1d54f}",
  "\uffee",
  '"',
  "\\",
  "\n",
  "\u001e",
  "\u0000",
];
const names = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: fc.constantFrom(..."abcXYZ"), minLength: 1, maxLength: 3 }) },
  { weight: 2, arbitrary: fc.constantFrom(...hostile) },
  anyText({ maxLength: 3 }),
);

/** Some write a name as it is, some with escapes. */
const written = (name: string, escaped: boolean) =>
  escaped
    ? `"${[...name]
        .flatMap((one) => one.split(""))
        .map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`)
        .join("")}"`
    : JSON.stringify(name);

describe("maps", () => {
  const duck = duckForTests();

  test.each(Object.entries(kinds))("of %s: at the top and further in", async (_, { of, values, kept }) => {
    const entry = fc.tuple(names, values, fc.boolean()).map(([name, json, escaped]) => {
      const value = kept(json);
      return { name, written: written(name, escaped), json, kept: value === undefined ? undefined : { value } };
    });
    await expectMapsKept(duck(), (options) => map(of, options), entry, {
      numRuns: 5,
      longest: MOST_ENTRIES + 1,
      least: 0,
    });
  });

  test("of a name that comes twice the last value counts, whatever the names and their escapes", async () => {
    const definition = mapStream({ x: map(integer({ min: 0, max: 99 }), { max: MOST_ENTRIES }) });
    const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
    const records = ['{"b":1,"a":2,"b":3}', '{"__proto__":4,"10":5,"9":6}', '{"\\u0061":7,"a":8}', '{"a":9,"a":100}'];
    const bytes = records.map((x) => Buffer.from(`{"id":"1","at":${AT},"x":${x}}`));
    const { relation } = await decoder.decode([fetchedOf(0, 0n, bytes)]);
    const rows = await rowsOf(duck(), `SELECT x FROM ${relation} ORDER BY _offset`);
    expect(rows.map(([x]) => entriesOf(x)?.map(({ key, value }) => `${key}=${value}`) ?? null)).toEqual([
      ["a=2", "b=3"],
      ["10=5", "9=6", "__proto__=4"],
      ["a=8"],
      null,
    ]);
  });

  test("ten times as many names as usual are read in their order, and one too many is refused", async () => {
    const definition = mapStream({ x: map(integer({ min: 0, max: 1e6 }), { max: 10_000 }) });
    const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
    const record = (count: number) =>
      Buffer.from(
        `{"id":"a","at":${AT},"x":{` +
          `${Array.from({ length: count }, (_, at) => `"n${(at * 7_919) % 20_011}":${at}`).join(",")}}}`,
      );
    const { relation } = await decoder.decode([fetchedOf(0, 0n, [record(10_000), record(10_001)])]);
    const ordered = "list_transform(x, lambda _e: _e.key)";
    const rows = await rowsOf(
      duck(),
      `SELECT len(x), ${ordered} = list_sort(${ordered}), _reject FROM ${relation} ORDER BY _offset`,
    );
    expect(rows).toEqual([
      [10_000n, true, null],
      [null, null, "contract: x: Too big: expected an object with at most 10000 names"],
    ]);
  });

  test("SQL takes each entry as a line, and sums of decimals keep their places", async () => {
    const definition = mapStream({ prices: withDefault(map(decimal({ scale: 2, min: 0, max: 9 })), []) });
    const lines = view("lines", {
      ...{ stream: definition, each: "prices", every: "1 hour", by: { name: sql`item.key` } },
      measures: { sum: sum(sql`item.value`) },
    });
    expect(await checkViewSql(duck(), lines)).toEqual([]);
    expect(lines.measures.sum).toMatchObject({ scale: 2 });
  });

  test("Avro maps and unions are read as JSON's are", () => {
    const definition = mapStream({
      counts: map(optional(integer({ min: 0, max: 99 }))),
      either: optional(text({ as: "scalar" })),
    });
    const [version] = definition.versions as [Version];
    const own = new AvroSchema(avroSchemaText(definition, version));
    const event = { id: "1", at: AT, counts: { b: 2, a: null }, either: null };
    const schema = JSON.parse(avroSchemaText(definition, version)) as { fields: { name: string; type: unknown }[] };
    const union = (...branches: string[]) =>
      new AvroSchema(
        JSON.stringify({
          ...schema,
          fields: schema.fields.map((one) => (one.name === "either" ? { ...one, type: ["null", ...branches] } : one)),
        }),
      );
    const read = (reader: AvroSchema, value: unknown) => {
      const decoded = decodeOne(definition, reader.encode(7, value), () => reader);
      return decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject;
    };
    const counts = [
      { key: "a", value: null },
      { key: "b", value: 2 },
    ];
    expect(read(own, event)).toMatchObject({ counts });
    for (const [either, number, kept] of [
      [7, "long", "7"],
      ["x", "long", "x"],
      [0.5, "double", "0.5"],
      [7, "double", "7"],
      [true, "boolean", "true"],
      [null, "long", null],
    ] as const)
      expect(read(union(number, "string"), { ...event, either })).toMatchObject({ counts, either: kept });
  });

  test("a table's cell of JSON is sent as an object, with its instants as the contract writes them", () => {
    const definition = mapStream({
      seen: map(instant({ as: "us" })),
      counts: optional(map(integer({ min: 0, max: 9 }))),
    });
    const maker = new EventMaker({ stream: definition, forms: PLAIN_FORMS }, ["id", "at", "seen", "counts"]);
    const made = maker.ofCells(["x", "2024-01-15", `{"a":${AT}}`, '{"b":1}']);
    if (isRefusal(made)) expect.fail(JSON.stringify(made));
    expect(JSON.parse(String(made.value))).toMatchObject({ seen: { a: AT * 1_000 }, counts: { b: 1 } });
    expect(decodeOne(definition, Buffer.from(String(made.value))).ok).toBe(true);
    const plain = new EventMaker(
      { stream: mapStream({ counts: map(integer({ min: 0, max: 9 })) }), forms: PLAIN_FORMS },
      ["id", "at", "counts"],
    );
    expect(plain.ofCells(["x", "2024-01-15", '{"b":10}'])).toMatchObject({ column: "counts.b" });
    expect(plain.ofCells(["x", "2024-01-15", "[1]"])).toMatchObject({ column: "counts", reason: "is not an object" });
  });

  test("a table's row shows maps and lists of values as records have them", () => {
    const price = decimal({ scale: 2, min: 0, max: 99 });
    const fields = { prices: map(optional(price)), list: list(price), seen: list(instant()) };
    const kept = `{"prices":[{"key":"a","value":1234},{"key":"b","value":null}],"list":[150],"seen":[${AT}]}`;
    expect(showRecord(fields, kept)).toEqual({
      prices: { a: 12.34, b: null },
      list: [1.5],
      seen: [new Date(AT).toISOString()],
    });
  });

  test("what a map cannot have is named", () => {
    for (const one of [list(text()), text({ from: "$.x" }), withDefault(flag(), true), map(text())] as Field[])
      expect(map(one).problem).toMatch(/^the values of a map are text, oneOf, integer/);
    expect(map(text({ max: -1 })).problem).toMatch(/^the length of a text/);
    const roles = mapStream({ x: map(text()) });
    expect(checkStream({ ...roles, key: "x" })).toEqual(['key: field "x" is a list']);
  });
});
