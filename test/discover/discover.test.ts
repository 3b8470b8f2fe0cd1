import { mkdir, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { execa } from "execa";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { checkFiles, filesOf } from "../../cli/discover/definition-files.ts";
import { decodeOne } from "../../core/codec/decode/decode.ts";
import { checkStream, type Stream } from "../../core/contract/stream.ts";
import { streamDocument } from "../../core/contract/stream-document.ts";
import * as builders from "../../core/definition/builders.ts";
import { view } from "../../core/definition/view.ts";
import { position } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { type Discovery, discover } from "../../discover/discover.ts";
import { fieldNames, snakeCase, streamName } from "../../discover/fields/names.ts";
import { planSample } from "../../discover/sample/plan.ts";
import type { SampleRecord } from "../../discover/sample/sample.ts";
import { column } from "../../discover/text/literals.ts";
import { checkViewSql } from "../../store/definitions/check-view.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { anyText } from "../fixtures/events/any-text.ts";
import { duckForTests } from "../fixtures/oracles/duck.ts";
import { NOW, numbersFrom, recordsOf, TOPICS, type Topic, uuid } from "./samples.ts";

const folder = join(process.cwd(), ".tideline", `discover-${process.pid}`);
beforeAll(() => mkdir(folder, { recursive: true }));
afterAll(() => rm(folder, { recursive: true, force: true }));

function found({ topic, records, schemas = new Map() }: Topic, name = streamName(topic)): Discovery {
  return discover({ topic, name, partitions: 2, records, taken: "all records", schemas, revision: 1 });
}

const of = (values: readonly unknown[], topic = "events") => found({ topic, records: recordsOf(values) });
const fields = ({ stream }: Discovery) => streamDocument(stream).fields;

describe("ten topics in the shapes of real producers", () => {
  const all = TOPICS.map((topic) => ({ ...topic, found: found(topic) }));
  const named = (name: string) => {
    const one = all.find(({ topic }) => topic === name);
    if (one === undefined) throw new RangeError(name);
    return one.found;
  };
  let loaded: ReadonlyMap<string, Stream>;

  beforeAll(async () => {
    for (const { found } of all) {
      const files = filesOf(found, { schemas: join(folder, "schemas"), views: join(folder, "views"), system: null });
      for (const [path, text] of files.texts) {
        await mkdir(dirname(path), { recursive: true });
        await writeFile(path, text);
      }
    }
    ({ streams: loaded } = await loadDefinitions({
      schemas: [join(folder, "schemas")],
      views: [join(folder, "views")],
    }));
  });

  test("the files load, with their views, as the streams that were measured", () => {
    expect(loaded.size).toBe(10);
    for (const { found } of all) {
      const stream = loaded.get(found.stream.name);
      expect(stream === undefined ? null : streamDocument(stream)).toEqual(streamDocument(found.stream));
    }
  });

  test("the files are TypeScript without a mistake", async () => {
    const config = {
      extends: join(process.cwd(), "tsconfig.json"),
      compilerOptions: { noEmit: true, paths: { tideline: [join(process.cwd(), "core/definition/builders.ts")] } },
      include: ["schemas", "views"],
      exclude: [],
    };
    await writeFile(join(folder, "tsconfig.json"), JSON.stringify(config));
    const { stdout } = await execa("npx", ["tsc", "-p", folder, "--singleThreaded"], { reject: false });
    expect(stdout).toBe("");
  });

  test.each(all.map((one) => [one.topic, one] as const))("%s: the contract accepts what the file says", (_, one) => {
    const refused = one.records.filter((record) => !accepts(one.found.stream, record, one.schemas));
    expect(one.found.accepted).toBe(one.records.length - (one.schemas === undefined ? 0 : 3));
    expect(one.schemas === undefined ? refused : []).toEqual([]);
    const [accepted, all] = [one.found.accepted, one.records.length].map((count) => count.toLocaleString("en"));
    const share = `This contract accepts ${accepted} of the ${all} records`;
    expect(one.found.text).toContain(share);
  });

  test("each field has the type that its records have", () => {
    expect(fields(named("prod.Orders_v1"))).toMatchObject({
      order_id: { type: "text", as: "uuid", path: "$.orderId" },
      customer_id: { type: "integer", min: 0 },
      order_status: { type: "oneOf", values: ["NEW", "PAID", "SHIPPED"] },
      order_date: { type: "instant", as: "iso" },
      total_amount: { type: "decimal", scale: 2 },
      shipping_address_zip_code: { type: "text", path: "$.shippingAddress.zipCode" },
      coupon_code: { type: "optional", of: { type: "text" } },
      gift_wrap: { type: "flag" },
      order_items: { type: "list", of: { product_sku: { type: "text" }, unit_price: { type: "decimal" } } },
    });
    expect(fields(named("readings.v2"))).toMatchObject({
      taken_at: { type: "instant", as: "iso" },
      last_seen_at: { type: "instant", from: "0001-01-01T00:00:00Z" },
      temperature_c: { type: "decimal", scale: 2, min: -10_000 },
      http_status: { type: "integer" },
    });
    expect(fields(named("gtfs_stop_times"))).toMatchObject({
      trip_id: { type: "text" },
      arrival_time: { type: "text" },
      stop_sequence: { type: "integer", as: "text" },
      shape_dist_traveled: { type: "decimal", as: "text", scale: 2 },
    });
    expect(fields(named("export_2026"))).toMatchObject({
      transaction_no: { type: "text", path: "$['Transaction No']" },
      booked_on: { type: "instant", as: "iso", zone: "Z" },
      amount: { type: "decimal", as: "text", min: -10_000 },
      is_paid: { type: "flag", as: "text" },
    });
    expect(fields(named("sensors-avro"))).toMatchObject({
      reading_id: { type: "text", as: "uuid" },
      taken_at: { type: "instant", as: "us" },
      day: { type: "instant", as: "days" },
      level: { type: "oneOf", values: ["LOW", "HIGH", "NEVER_SEEN"] },
      value: { type: "decimal", round: "half-even" },
      note: { type: "optional" },
      place_station_code: { path: "$.place.stationCode" },
    });
    expect(fields(named("user-events"))).toMatchObject({
      timestamp: { type: "instant", as: "s" },
      total: { type: "optional" },
      user_id: { type: "integer", path: "$.data.user_id" },
    });
    expect(fields(named("orders"))).toMatchObject({ timestamp: { type: "instant", as: "iso", zone: "Z" } });
  });

  test.each([
    ["github-events", { eventTime: "created_at", eventId: "id", key: "id", dedupWindow: 10_000 }],
    ["usgs.earthquakes", { eventTime: "time", eventId: "id", key: "id", dedupWindow: 10_000 }],
    [
      "gtfs_stop_times",
      { eventTime: "recorded_at", eventId: ["trip_id", "stop_sequence"], key: "trip_id", dedupWindow: 10_000 },
    ],
    [
      "dbserver1.inventory.customers",
      { eventTime: "source_ts_ms", eventId: "record_offset", key: "id", dedupWindow: 0 },
    ],
    ["prod.Orders_v1", { eventTime: "order_date", eventId: "order_id", key: "order_id", dedupWindow: 10_000 }],
    ["user-events", { eventTime: "timestamp", eventId: "record_key", key: "record_key", dedupWindow: 10_000 }],
  ] as const)("%s: event time, event id and key", (topic, roles) => {
    expect(named(topic).stream).toMatchObject(roles);
  });

  test("repeats of the event id, kinds of records and what is left out are said", () => {
    expect(named("prod.Orders_v1").notes).toContain(
      "Event id: order_id, 500 different in the sample, 5 records repeated as they were",
    );
    expect(named("github-events").notes[0]).toMatch(/^Mixed: .* 3 kinds, which \$\.type tells apart: PushEvent/);
    expect(named("user-events").notes[0]).toMatch(/user_created 75 %, order_paid 25 %/);
    expect(named("sensors-avro").text).toContain("3 (1 %) are refused: schema-unknown: 78");
    expect(named("sensors-avro").text).toContain("//   $.raw: bytes");
    expect(named("prod.Orders_v1").notes.join()).not.toContain("Mixed");
  });

  test("the view counts, sums amounts and groups by what has few values", () => {
    expect(named("prod.Orders_v1").view).toEqual({
      by: { name: "order_status", field: "order_status" },
      every: "5 minutes",
      measures: [
        { name: "events", builder: "count", field: null },
        { name: "total_amount_sum", builder: "sum", field: "total_amount" },
        { name: "total_amount_avg", builder: "avg", field: "total_amount" },
        { name: "customer_id_distinct", builder: "distinct", field: "customer_id" },
      ],
    });
    expect(named("usgs.earthquakes").view).toMatchObject({ by: { field: "mag_type" }, every: "1 hour" });
    expect(named("github-events").view.by).toEqual({ name: "type", field: "type" });
    expect(named("gtfs_stop_times").view.by).toEqual({ name: "pickup_type", field: "pickup_type" });
  });
});

function accepts(stream: Stream, record: SampleRecord, schemas: Topic["schemas"]): boolean {
  return schemas !== undefined || decodeOne(stream, record.value, () => null, record).ok;
}

describe("hostile samples", () => {
  const word = fc.constantFrom(
    "id",
    "at",
    "order",
    "userId",
    "user_id",
    "item",
    "a.b",
    "$",
    "",
    "é",
    "__proto__",
    "x".repeat(90),
  );
  const name = fc.oneof({ weight: 3, arbitrary: word }, anyText({ maxLength: 12 }));
  const scalar = fc.oneof(
    anyText({ maxLength: 8 }),
    fc.constantFrom(
      "*/",
      "`$" + "{1}`",
      "\u2028\u202e",
      "2024-01-15",
      "2024-01-15T14:30:00Z",
      "12",
      "12.50",
      "true",
      "",
    ),
    fc.double({ noNaN: true, noDefaultInfinity: true }),
    fc.integer(),
    fc.constantFrom(null, true, false, 0, 1, 1.7e9, 1.7e12, 1.7e18, -0, 1e300),
  );
  const { object } = fc.letrec<{ object: object; value: unknown }>((tie) => ({
    object: fc.dictionary(name, tie("value"), { maxKeys: 5, noNullPrototype: false }),
    value: fc.oneof(
      { depthSize: "small", maxDepth: 3 },
      scalar,
      tie("object"),
      fc.array(tie("value"), { maxLength: 3 }),
    ),
  }));

  test("whatever JSON has, the contract is sound and its file makes the stream that was measured", () => {
    fc.assert(
      fc.property(fc.array(object, { minLength: 1, maxLength: 12 }), (objects) => {
        const discovery = of(objects.flatMap((one) => [one, one]));
        expect(checkStream(discovery.stream)).toEqual([]);
        // Of fewer than a hundred records all have to fit each field.
        expect(discovery.accepted).toBe(objects.length * 2);
        expect(streamDocument(evaluated(discovery.text))).toEqual(streamDocument(discovery.stream));
        expect(discovery.text).not.toMatch(/[\p{Cs}\u2028\u2029\u202e\0]/u);
      }),
      { numRuns: 200 },
    );
  });
});

/** The stream of a file, without TypeScript's types, of which it has none. */
function evaluated(text: string): Stream {
  const body = text.replace(/^import .*$/m, "").replace(/^export const \w+ = /m, "return ");
  return new Function(...Object.keys(builders), body)(...Object.values(builders)) as Stream;
}

describe("names", () => {
  test.each([
    ["orderId", "order_id"],
    ["OrderID", "order_id"],
    ["HTTPStatus", "http_status"],
    ["Ride No.", "ride_no"],
    ["Größe", "grosse"],
    ["2fa", "field_2fa"],
    ["名前", "field"],
    ["_id", "id"],
  ])("%s is called %s", (given, name) => expect(snakeCase(given)).toBe(name));

  test("fields whose names collide get different ones, outer objects the plain ones", () => {
    const paths = [["data", "userId"], ["user_id"], ["userId"], ["data", "order", "id"]];
    expect([...fieldNames(paths).values()].sort()).toEqual(["data_user_id", "order_id", "user_id", "user_id_2"]);
    const two = of([{ userId: 1, user_id: "a", id: "x" }]);
    expect(two.accepted).toBe(1);
    expect(fields(two)).toMatchObject({
      user_id: { type: "text" },
      user_id_2: { type: "integer", path: "$.userId" },
    });
  });

  test.each([
    ["prod.Orders_v1", "prod-orders-v1"],
    ["2024.clicks", "topic-2024-clicks"],
    ["__internal", "internal"],
  ])("a stream of topic %s is called %s", (topic, name) => expect(streamName(topic)).toBe(name));

  test("topics and fields that are called like words of TypeScript or Tideline make files that load", async () => {
    for (const topic of ["class", "stream", "count", "view"])
      await checkFiles(of([{ id: "a", amount: 1.5, type: "x", delete: 2 }], topic));
  });

  describe("in SQL", () => {
    const duck = duckForTests();

    test("a field may be called like any word of DuckDB's", async () => {
      const words = (await rowsOf(duck(), "SELECT DISTINCT keyword_name FROM duckdb_keywords()"))
        .map(([word]) => String(word))
        .filter((word) => /^[a-z][a-z0-9_]*$/.test(word));
      expect(words.length).toBeGreaterThan(400);
      for (let first = 0; first < words.length; first += 90) {
        const { stream } = of([Object.fromEntries(words.slice(first, first + 90).map((word) => [word, 1.5]))]);
        const by = Object.fromEntries(
          Object.keys(stream.fields).map((name, index) => [`d${index}`, { text: column(name) }]),
        );
        const measured = view("words", { stream, by, every: "1 hour", measures: { n: count() } });
        expect(await checkViewSql(duck(), measured)).toEqual([]);
      }
    });
  });
});

test("lists of values are fields, and words that differ in their case only are one", () => {
  const values = Array.from({ length: 200 }, (_, id) => ({
    ...{ id, at: NOW, tags: ["new", "sale"].slice(0, id % 3), scores: [1.5, 2], when: ["2026-03-01"] },
    ...{ status: ["NEW", "new", "Paid", "paid"][id % 4], matrix: [[1]], gaps: [1, null] },
  }));
  const made = of(values);
  expect(made.accepted).toBe(200);
  expect(fields(made)).toMatchObject({
    tags: { type: "values", of: { type: "text" } },
    scores: { type: "values", of: { type: "decimal", scale: 2 } },
    when: { type: "values", of: { type: "instant", as: "iso" } },
    status: { type: "oneOf", values: ["NEW", "Paid"], as: "any-case" },
  });
  expect(made.text).toContain("tags: list(text()),");
  expect(streamDocument(evaluated(made.text))).toEqual(streamDocument(made.stream));
  expect(made.text).toContain("//   $.matrix: a list of lists");
  expect(made.text).toContain("//   $.gaps: a list of which some values are null");
});

describe("event ids", () => {
  const random = numbersFrom(3);
  const orders = Array.from({ length: 200 }, (_, index) => ({ order_id: uuid(random), state: index % 2, at: NOW }));

  test("an id that different records share is none", () => {
    const changed = orders.flatMap((order) => [order, { ...order, state: 7 }]);
    expect(of(changed).stream.eventId).toBe("record_offset");
    const sentTwice = orders.flatMap((order) => [order, order]);
    expect(of(sentTwice).stream.eventId).toBe("order_id");
  });

  test("a few that share one are counted and named", () => {
    const many = [...orders, ...Array.from({ length: 800 }, () => ({ order_id: uuid(random), state: 1, at: NOW }))];
    const { stream, notes } = of([...many, { ...many[0], state: 9 }]);
    expect(stream.eventId).toBe("order_id");
    expect(notes.join("\n")).toContain("1 record with the id of a different record, which count as its duplicates");
  });

  test("repeats in another partition are said to count twice", () => {
    const values = orders.flatMap((order) => [order, order]);
    const { notes } = found({ topic: "split", records: recordsOf(values, { partitions: 2 }) });
    expect(notes.join("\n")).toContain("200 values of order_id occur in two partitions");
  });
});

describe("what cannot be read says so", () => {
  test("an empty topic", () => {
    expect(() => of([])).toThrow(expect.objectContaining({ code: "TOPIC_UNREADABLE" }));
  });

  test("a topic of something else", () => {
    const lines = Array.from({ length: 50 }, (_, index) => Buffer.from(index % 5 === 0 ? "[1]" : `a,b,${index}`));
    expect(() => of(lines)).toThrow(/40 \(80 %\) are refused: not-json; .*begins with a,b,1/s);
    expect(() => of(lines)).toThrow(/10 \(20 %\) are refused: JSON, but a list/);
  });

  test("Avro whose registry is not known", () => {
    const avro = Array.from({ length: 9 }, () => Buffer.from([0, 0, 0, 0, 12, 2, 4]));
    expect(() => of(avro)).toThrow(
      expect.objectContaining({ hint: expect.stringContaining("TIDELINE_SCHEMA_REGISTRY") }),
    );
  });

  test("a topic of which a part can be read: the rest is counted by its reasons", () => {
    const values = [
      ...Array.from({ length: 90 }, (_, id) => ({ id, at: NOW })),
      ...Array(10).fill(Buffer.from("oops")),
    ];
    const { accepted, refused, text } = of(values);
    expect([accepted, refused.map(({ count, reason }) => [count, reason])]).toEqual([90, [[10, "not-json"]]]);
    expect(text).toContain("10 (10 %) are refused: not-json; the first is partition 0, offset 45");
  });

  test("records without a field in common", () => {
    const { notes } = of([...Array(60).fill({ a: 1 }), ...Array(40).fill({ b: "x" })]);
    expect(notes[0]).toMatch(/^Mixed: the records have no field in common/);
  });

  test("a field of several kinds, numbers that JSON rounds, and a map of lists are left out", () => {
    const values = Array.from({ length: 100 }, (_, id) => ({
      id,
      odd: id % 2 === 0 ? "text" : { deep: 1 },
      huge: 1e200 * (id + 1),
      counts: { [`key-${id}`]: [id] },
    }));
    const { text, accepted } = of(values);
    expect(accepted).toBe(100);
    expect(text).toContain("$.odd: values of several kinds: text in 50 %, object in 50 %");
    expect(text).toContain("$.huge: numbers with more digits than a JSON number keeps");
    expect(text).toContain("$.counts: an object whose names differ from record to record: 100 were seen");
  });
});

describe("which records are read", () => {
  const cut = (ends: readonly number[]) => new Map(ends.map((end, partition) => [partition, position(end)]));
  const spans = (...given: Parameters<typeof planSample>) =>
    planSample(...given).map(({ partition, from, to }) => [partition, Number(from), Number(to)]);

  test("the same number of every partition, of its beginning and its end; small ones whole", () => {
    expect(spans(cut([0, 100, 0]), cut([1_000, 1_100, 10]), 210, false)).toEqual([
      [2, 0, 10],
      [0, 0, 50],
      [0, 950, 1_000],
      [1, 100, 150],
      [1, 1_050, 1_100],
    ]);
    expect(spans(cut([5]), cut([1_000]), 20, true)).toEqual([[0, 5, 25]]);
    expect(spans(cut([0, 0]), cut([3, 0]), 10_000, false)).toEqual([[0, 0, 3]]);
  });
});
