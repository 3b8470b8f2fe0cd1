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
  map,
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
import { AT, expectMapsKept, MOST_ENTRIES, mapStream } from "../../fixtures/oracles/map-law.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Objects with free names whose values are objects: scanner, SQL and zod keep the same entries, or refuse the same. */

const stock = {
  sold: integer({ min: 0, max: 99 }),
  price: optional(decimal({ scale: 2, min: 0, max: 99, as: "text", from: "$.unit.Price" })),
  is_open: withDefault(flag({ as: "text", from: "$.isOpen" }), false),
  name: text({ max: 4 }),
};

/** What a record has in an object, and what the column has for it; undefined: the record is refused. */
interface Written {
  readonly json: string;
  readonly kept: Readonly<Record<string, bigint | boolean | string | null>> | undefined;
}

const sold = fc.oneof({ weight: 12, arbitrary: fc.nat(99).map(String) }, fc.constantFrom("100", "1e1", "null", ""));
const price = fc.oneof(fc.nat(9_900), fc.constantFrom(null, undefined, 9_901));
const isOpen = fc.constantFrom("true", '"True"', "0", undefined, undefined, "true");
const name = anyText({ maxLength: 4 });
const objects = fc.tuple(sold, price, isOpen, name, fc.boolean()).map(([sold, units, open, name, isText]): Written => {
  const unit = units === undefined || units === null ? null : (units / 100).toFixed(2);
  const members = [
    ...(isText ? [`"more":[{"sold":${JSON.stringify(name)}}]`] : []),
    ...(sold === "" ? [] : [`"sold" : ${sold}`]),
    ...(units === undefined ? [] : [`"unit":{"Price":${unit === null || isText ? JSON.stringify(unit) : unit}}`]),
    ...(open === undefined ? [] : [`"isOpen":${open}`]),
    `"name":${JSON.stringify(name)}`,
  ];
  const isKept = /^(\d\d?|1e1)$/.test(sold) && (units ?? 0) <= 9_900 && name.isWellFormed() && [...name].length <= 4;
  const kept = {
    ...{
      sold: isKept ? BigInt(Number(sold)) : null,
      price: units === undefined || units === null ? null : BigInt(units),
    },
    ...{ is_open: open === "true" || open === '"True"', name },
  };
  return { json: `{ ${members.join(" , ")}}`, kept: isKept ? kept : undefined };
});
const keys = fc.oneof(
  { weight: 6, arbitrary: fc.string({ unit: fc.constantFrom(..."abcXYZ"), minLength: 1, maxLength: 3 }) },
  { weight: 2, arbitrary: fc.constantFrom("", "10", "9", "__proto__", "constructor", "key", "é", '"', "\\", "\u001e") },
  anyText({ maxLength: 3 }),
);

describe("maps of objects", () => {
  const duck = duckForTests();

  test("keep the same at the top and further in, or are refused", async () => {
    const entry = fc.tuple(keys, objects).map(([name, one]) => ({ name, written: JSON.stringify(name), ...one }));
    await expectMapsKept(duck(), (options) => map(stock, options), entry, {
      numRuns: 10,
      longest: MOST_ENTRIES,
      least: 20,
    });
  });

  test("are recognised whatever the lengths of names, a thousand entries of them", () => {
    const long = (name: string) => `${name}_${"x".repeat(60)}`;
    const whole = (from: string) => integer({ min: 0, max: 9, from });
    const wide = {
      [long("s")]: whole("$.s"),
      [long("t")]: whole("$.t"),
      [long("u")]: whole("$.u"),
      b: optional(flag()),
    };
    const definition = mapStream({ x: map(wide, { max: 1_000 }) });
    const record =
      `{"id":"a","at":${AT},"x":{` + `${Array.from({ length: 1_000 }, (_, at) => `"${at}":{"s":1,"t":2,"u":3}`)}}}`;
    const scanner = new RecordScanner(definition.versions[0] as Version);
    scanner.scan(Buffer.from(record), 0, record.length);
    expect(scanner.failed).toBe(0);
    const [, , x] = scanner.texts(true);
    const canonical = decodeOne(definition, Buffer.from(record));
    const wanted = canonical.ok ? (JSON.parse(canonical.canonical) as { x: object[] }).x : [];
    expect(JSON.parse(Buffer.from(x ?? []).toString())).toEqual(
      wanted.map((one) => Object.fromEntries(Object.entries(one).filter(([, value]) => value !== null))),
    );
  });

  test("add up to what DuckDB reads of the same JSON", async () => {
    const definition = mapStream({
      x: map({ sold: integer({ min: 0, max: 1e6 }), price: decimal({ scale: 2, min: 0, max: 1e6 }) }),
    });
    const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
    const records = Array.from({ length: 500 }, (_, index) => {
      const shop = (nth: number) => `"shop-${(index * 7 + nth) % 23}":{"sold":${index},"price":${nth}.25,"tags":["a"]}`;
      return `{"id":"${index}","at":${AT},"x":{${Array.from({ length: index % 5 }, (_, nth) => shop(nth)).join(",")}}}`;
    });
    const { relation } = await decoder.decode([
      fetchedOf(
        0,
        0n,
        records.map((record) => Buffer.from(record)),
      ),
    ]);
    const sums = "sum(e.sold)::BIGINT AS sold, sum(e.price)::BIGINT AS cents, count(*) AS entries";
    const ours = await rowsOf(
      duck(),
      `SELECT e.key, ${sums} FROM (SELECT unnest(x) AS e FROM ${relation}) GROUP BY ALL ORDER BY 1`,
    );
    const raw = `SELECT unnest([${records.map((record) => `'${record}'`).join(",")}])::JSON AS j`;
    const theirs = await rowsOf(
      duck(),
      `SELECT e.key, sum((e.value->>'sold')::BIGINT)::BIGINT,
          sum((e.value->>'price')::DECIMAL(18, 2) * 100)::BIGINT, count(*)
        FROM (${raw}), json_each(j, '$.x') e GROUP BY ALL ORDER BY 1`,
    );
    expect(ours.length).toBe(23);
    expect(ours).toEqual(theirs);
  });

  test("are the lines of a view with `each`, whose decimals keep their places", async () => {
    const definition = mapStream({ x: map(stock) });
    const lines = view("lines", {
      ...{ stream: definition, each: "x", every: "1 hour", by: { shop: sql`item.key` } },
      measures: { sold: sum(sql`item.sold`), worth: sum(sql`item.price`) },
    });
    expect(await checkViewSql(duck(), lines)).toEqual([]);
    expect(lines.measures).toMatchObject({ sold: { scale: 0 }, worth: { scale: 2 } });
  });
});

test("an Avro map of records is read as JSON is", () => {
  const definition = mapStream({
    x: map({ sold: integer({ min: 0, max: 99 }), price: decimal({ scale: 2, min: 0, max: 9 }) }),
  });
  const own = new AvroSchema(avroSchemaText(definition, definition.versions[0] as Version));
  const event = { id: "1", at: AT, x: { b: { sold: 2, price: "1.50" }, a: { sold: 1, price: "0.25" } } };
  const decoded = decodeOne(definition, own.encode(7, event), () => own);
  expect(decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject).toMatchObject({
    x: [
      { key: "a", sold: 1, price: 0.25 },
      { key: "b", sold: 2, price: 1.5 },
    ],
  });
});

test("a table's cell of JSON is sent as it is, and what is wrong is named", () => {
  const seen = { first: instant({ as: "us", from: "$.F" }), sold: integer({ min: 0, max: 9 }) };
  const maker = (fields: Readonly<Record<string, Field>>) =>
    new EventMaker({ stream: mapStream(fields), forms: PLAIN_FORMS }, ["id", "at", ...Object.keys(fields)]);
  const made = maker({ x: map(seen) }).ofCells(["i", "2024-01-15", `{"a":{"first":${AT},"sold":1}}`]);
  if (isRefusal(made)) expect.fail(JSON.stringify(made));
  expect(JSON.parse(String(made.value))).toMatchObject({ x: { a: { F: AT * 1_000, sold: 1 } } });
  const plain = maker({ x: map({ sold: integer({ min: 0, max: 9 }) }) });
  expect(plain.ofCells(["i", "2024-01-15", '{"a":{"sold":10}}'])).toMatchObject({ column: "x.a.sold" });
  expect(plain.ofCells(["i", "2024-01-15", '{"a":{"sold":12345678901234567890}}'])).toMatchObject({ column: "x" });
  expect(plain.ofCells(["i", "2024-01-15", '{"a":1}'])).toMatchObject({ column: "x.a", reason: "is not an object" });
  expect(plain.ofCells(["i", "2024-01-15", "[]"])).toMatchObject({ column: "x", reason: "is not an object" });
});

test("a table's row shows them as records have them", () => {
  const kept = `{"x":[{"key":"a","sold":3,"price":1234,"is_open":true,"name":"n"}]}`;
  expect(showRecord({ x: map(stock) }, kept)).toEqual({
    x: { a: { sold: 3, price: 12.34, is_open: true, name: "n" } },
  });
});

test("what such a map cannot have is named", () => {
  expect(map({ key: text() }).problem).toBe(
    'key is the name of an entry: call the field otherwise, and say from: "$.key"',
  );
  expect(map({}).problem).toMatch(/^the objects of a list or a map hold scalar/);
  expect(map({ a: list(text()) }).problem).toMatch(/^the objects of a list or a map hold scalar/);
  expect(checkStream(mapStream({ x: map({ a: text(), b: text({ from: "$.a" }) }) }))).toEqual([
    "fields.x.b: it is read from $.a, as fields.x.a",
  ]);
  expect(checkStream(mapStream({ x: map({ a: text({ from: "key" }) }) }))).toEqual([
    "fields.x.a: elements are read from the record's value only",
  ]);
});
