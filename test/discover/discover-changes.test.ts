import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { AvroSchema } from "../../core/codec/avro/avro.ts";
import { decodeOne } from "../../core/codec/decode/decode.ts";
import { checkStream, type Stream } from "../../core/contract/stream.ts";
import { streamDocument } from "../../core/contract/stream-document.ts";
import * as builders from "../../core/definition/builders.ts";
import { checkViewShape, type View } from "../../core/definition/view.ts";
import { position } from "../../core/log/position.ts";
import { type Discovery, discover } from "../../discover/discover.ts";
import type { SampleRecord } from "../../discover/sample/sample.ts";
import { Decoder } from "../../store/decode/decoder.ts";
import { checkViewSql } from "../../store/definitions/check-view.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { Records } from "../../store/kafka/read/records.ts";
import { duckForTests } from "../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../fixtures/servers/fetched.ts";
import { NOW, numbersFrom, recordsOf } from "./samples.ts";

/**
 * Changes of a database's rows as Debezium writes them, and the contracts that discover and the documents have for
 * them.
 */

interface Row {
  readonly id: number;
  readonly name: string;
  readonly balance: number;
  readonly born: number;
  readonly seen_at: number;
  readonly level: string;
}
type Json = Readonly<Record<string, unknown>>;

/** An integer as the base64 of Java's BigInteger. */
function base64(value: number): string {
  for (let size = 1; ; size++) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigInt64BE(BigInt(value));
    const least = bytes.subarray(8 - size);
    if (BigInt.asIntN(size * 8, BigInt(value)) === BigInt(value)) return least.toString("base64");
  }
}

const written = (row: Row | null) => (row === null ? null : { ...row, balance: base64(row.balance) });

/** Inserts, updates and deletes of a table, and what it has in the end. */
function history(count: number, operations: string): { changes: Json[]; keys: number[]; rows: Map<number, Row> } {
  const random = numbersFrom(11);
  const rows = new Map<number, Row>();
  const keys: number[] = [];
  const changes = Array.from({ length: count }, (_, index): Json => {
    const held = [...rows.values()];
    const before = held[Math.floor(random() * held.length)] ?? null;
    const op = before === null ? "c" : (operations[Math.floor(random() * operations.length)] ?? "c");
    const id = op === "c" ? 1_000 + index : (before?.id ?? 0);
    const after: Row = {
      ...{ id, name: `n${index}`, balance: Math.floor(random() * 400_000) - 100_000, born: 3_650 + index },
      ...{ seen_at: NOW * 1_000 + index, level: "LOW" },
    };
    keys.push(id);
    if (op === "d") rows.delete(id);
    else rows.set(id, after);
    return {
      before: op === "c" ? null : written(before),
      after: op === "d" ? null : written(after),
      source: {
        ...{
          version: "2.5.0.Final",
          connector: "postgresql",
          name: "dbserver1",
          ts_ms: NOW + index,
          snapshot: "false",
        },
        ...{
          db: "inventory",
          sequence: '["1","2"]',
          schema: "public",
          table: "customers",
          txId: index,
          lsn: 900 + index,
        },
      },
      ...{ op, ts_ms: NOW + index + 3, transaction: null },
    };
  });
  return { changes, keys, rows };
}

const column = (type: string, field: string, more: object = {}) => ({ type, field, optional: false, ...more });
const ROW = [
  column("int32", "id"),
  column("string", "name"),
  column("bytes", "balance", { name: "org.apache.kafka.connect.data.Decimal", parameters: { scale: "2" } }),
  column("int32", "born", { name: "io.debezium.time.Date" }),
  column("int64", "seen_at", { name: "io.debezium.time.MicroTimestamp" }),
  column("string", "level", { name: "io.debezium.data.Enum", parameters: { allowed: "LOW,HIGH" } }),
];
const CONNECT = {
  ...{ type: "struct", name: "dbserver1.public.customers.Envelope", optional: false },
  fields: ["before", "after"].map((field) => ({ type: "struct", optional: true, field, fields: ROW })),
};
const wrapped = (payload: Json | null) => (payload === null ? null : { schema: CONNECT, payload });

function found(records: readonly SampleRecord[], schemas: ReadonlyMap<number, string> = new Map()): Discovery {
  const topic = "dbserver1.public.customers";
  return discover({ topic, name: "customers", partitions: 2, records, taken: "all", schemas, revision: 1 });
}

function evaluated(text: string): Stream {
  const body = text
    .replaceAll(/^import .*$/gm, "")
    .replaceAll(" as const", "")
    .replace(/^export const \w+ = /m, "return ");
  return new Function(...Object.keys(builders), body)(...Object.values(builders)) as Stream;
}

const fieldsOf = ({ stream }: Discovery) => streamDocument(stream).fields;

describe("discover", () => {
  const { changes, keys } = history(400, "cuud");
  const keyed = (values: readonly unknown[]) => recordsOf(values, { keys: (index) => `{"id":${keys[index]}}` });

  test.each([
    ["with Kafka Connect's schema", wrapped, "$.payload."],
    ["without it", (one: Json | null) => one, "$."],
  ])("an envelope %s: its operation, the row after and the row before", (_, wrap, place) => {
    const made = found(keyed(changes.map(wrap)));
    expect(made.stream).toMatchObject({ key: "record_key", eventId: "record_offset", eventTime: "source_ts_ms" });
    expect(made.accepted).toBe(400);
    expect(checkStream(made.stream)).toEqual([]);
    expect(streamDocument(evaluated(made.text))).toEqual(streamDocument(made.stream));
    const fields = fieldsOf(made);
    expect(fields).toMatchObject({
      op: { type: "oneOf", values: ["c", "u", "d", "r", "t", "m"] },
      id: { type: "optional", of: { type: "integer", path: `${place}after.id` } },
      before_id: { type: "optional", of: { type: "integer", path: `${place}before.id` } },
      seen_at: { type: "optional", of: { type: "instant", as: "us" } },
      source_ts_ms: { type: "instant", path: `${place}source.ts_ms` },
      source_lsn: { type: "optional", of: { type: "integer", max: Number.MAX_SAFE_INTEGER } },
    });
    expect(Object.keys(fields)).not.toContain("source_snapshot");
    expect(made.notes[0]).toContain("as Debezium writes them");
    expect(made.notes[1]).toContain("coalesce(id, before_id)");
    expect(made.view).toMatchObject({ by: { field: "op" }, measures: [{ builder: "count" }] });
  });

  test("Debezium's types come from the schema that a record brings", () => {
    const types = {
      balance: { of: { type: "decimal", scale: 2, as: "base64" } },
      born: { of: { type: "instant", as: "days" } },
      level: { of: { type: "oneOf", values: ["LOW", "HIGH"] } },
      before_balance: { of: { type: "decimal", scale: 2, as: "base64" } },
    };
    expect(fieldsOf(found(keyed(changes.map(wrapped))))).toMatchObject(types);
    const bare = found(keyed(changes));
    expect(fieldsOf(bare)).toMatchObject({ balance: { of: { type: "text" } }, born: { of: { type: "integer" } } });
    expect(bare.notes.join("\n")).toContain(
      "Texts that look like base64, perhaps decimals without their schema: balance",
    );
  });

  test("a decimal of more places than a field can have is left out, with what to do", () => {
    const ofTen = ROW.map((one) => (one.field === "balance" ? { ...one, parameters: { scale: "10" } } : one));
    const schema = { ...CONNECT, fields: CONNECT.fields.map((one) => ({ ...one, fields: ofTen })) };
    const made = found(keyed(changes.map((payload) => ({ schema, payload }))));
    expect(fieldsOf(made)).not.toHaveProperty("balance");
    expect(made.text).toContain("set decimal.handling.mode to string");
  });

  test("a sample of inserts makes a contract for the updates, deletes and truncations that come later", () => {
    const inserts = history(300, "c");
    const made = found(recordsOf(inserts.changes, { keys: (index) => `{"id":${inserts.keys[index]}}` }));
    expect(made.stream.eventId).toBe("record_offset");
    const [last] = recordsOf([{ ...inserts.changes[0], before: null, after: null, op: "t" }], { keys: () => "{}" });
    for (const record of [...keyed(changes), last as SampleRecord])
      expect(decodeOne(made.stream, record.value, () => null, record)).toMatchObject({ ok: true });
  });

  test("rows that were unwrapped are not events of their ids", () => {
    const rows = Array.from({ length: 200 }, (_, id) => ({ id, amount: id * 1.5, at: NOW, __deleted: "false" }));
    const made = found(recordsOf(rows, { keys: (index) => String(index) }));
    expect(made.stream).toMatchObject({ eventId: "record_offset", dedupWindow: 0 });
    expect(made.view.measures.map(({ builder }) => builder)).toEqual(["count"]);
    expect(fieldsOf(made)).toMatchObject({ deleted: { type: "flag", as: "text", path: "$.__deleted" } });
  });

  test("records without a value are tombstones where their keys say a row's, and refused where they do not", () => {
    const both = changes.flatMap((change, index) =>
      change.op === "d"
        ? [
            { change, key: index },
            { change: null, key: index },
          ]
        : [{ change, key: index }],
    );
    const values = both.map(({ change }) => change);
    const deletes = changes.filter(({ op }) => op === "d").length;
    const made = found(recordsOf(values, { keys: (index) => `{"id":${keys[both[index]?.key ?? 0]}}` }));
    expect(made.stream.tombstones).toBe("delete");
    expect(made.accepted).toBe(400 + deletes);
    expect(made.notes.join("\n")).toContain("Records without a value are tombstones");
    expect(streamDocument(evaluated(made.text))).toEqual(streamDocument(made.stream));
    const unkeyed = found(recordsOf(values));
    expect(unkeyed.stream.tombstones).toBe(null);
    expect(unkeyed.refused).toMatchObject([{ reason: "empty", count: deletes }]);
  });

  test("of Avro the types are those of the registered schema", () => {
    const value = {
      ...{ type: "record", name: "Value", namespace: "dbserver1.customers" },
      fields: [
        { name: "id", type: "int" },
        { name: "balance", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 2 } },
        { name: "born", type: { type: "int", "connect.version": 1, "connect.name": "io.debezium.time.Date" } },
        { name: "seen_at", type: { type: "long", "connect.name": "io.debezium.time.MicroTimestamp" } },
      ],
    };
    const source = { type: "record", name: "Source", fields: [{ name: "ts_ms", type: "long" }] };
    const schema = JSON.stringify({
      ...{ type: "record", name: "Envelope" },
      fields: [
        { name: "before", type: ["null", value], default: null },
        { name: "after", type: ["null", "dbserver1.customers.Value"], default: null },
        { name: "source", type: source },
        { name: "op", type: "string" },
        { name: "ts_ms", type: ["null", "long"], default: null },
      ],
    });
    const writer = new AvroSchema(schema);
    const row = (id: number) => ({ id, balance: id / 4, born: 3_650 + id, seen_at: (NOW + id) * 1_000 });
    const records = Array.from({ length: 200 }, (_, id) =>
      writer.encode(5, { before: null, after: row(id), source: { ts_ms: NOW + id }, op: "c", ts_ms: NOW }),
    );
    const made = found(recordsOf(records), new Map([[5, schema]]));
    expect(made.accepted).toBe(200);
    expect(fieldsOf(made)).toMatchObject({
      balance: { of: { type: "decimal", scale: 2 } },
      born: { of: { type: "instant", as: "days", path: "$.after.born" } },
      seen_at: { of: { type: "instant", as: "us" } },
    });
    const gone = writer.encode(5, { before: row(7), after: null, source: { ts_ms: NOW }, op: "d", ts_ms: null });
    const place = recordsOf([gone])[0] as SampleRecord;
    expect(decodeOne(made.stream, place.value, () => writer, place)).toMatchObject({ ok: true });
  });
});

describe("other forms", () => {
  const of = (values: readonly unknown[]) => found(recordsOf(values));

  test("objects with free names, numbers beyond those of a double, and fields of texts and numbers", () => {
    const values = Array.from({ length: 200 }, (_, id) => ({
      id: 1e18 + id * 1_000,
      stock: Object.fromEntries(
        Array.from({ length: 3 }, (_, at) => [`sku-${(id * 3 + at) % 700}`, id === 7 ? null : id]),
      ),
      seen: { [`user ${id}`]: NOW + id, [`user ${id + 1}`]: NOW },
      mixed: id % 3 === 0 ? id : id % 3 === 1 ? `a${id}` : true,
      opened: [NOW, NOW + id],
      nested: { [`k${id}`]: { deep: 1 } },
    }));
    const made = of(values);
    expect(made.accepted).toBe(200);
    expect(streamDocument(evaluated(made.text))).toEqual(streamDocument(made.stream));
    expect(fieldsOf(made)).toMatchObject({
      id: { type: "text", as: "scalar" },
      stock: { type: "map", of: { type: "optional", of: { type: "integer" } } },
      seen: { type: "map", of: { type: "integer" } },
      mixed: { type: "text", as: "scalar" },
      nested: { type: "entries", of: { deep: { type: "integer" } } },
    });
  });
});

/** The TypeScript and JSON blocks of a document, in their order. */
function blocksOf(file: string, kind: "ts" | "json"): string[] {
  const markdown = readFileSync(new URL(`../../docs/${file}`, import.meta.url), "utf8");
  return [...markdown.matchAll(new RegExp(`^\`\`\`${kind}\n(.*?)^\`\`\`$`, "gms"))].map(([, body = ""]) => body);
}

describe("the contracts of the documents", () => {
  const duck = duckForTests();
  const streams = blocksOf("existing-topic.md", "ts").map(evaluated);
  const records = blocksOf("existing-topic.md", "json");
  const place = { partition: 0, offset: 7, timestampMs: NOW, key: Buffer.from("k"), header: () => null };
  const read = (index: number) => {
    const decoded = decodeOne(streams[index] as Stream, Buffer.from(records[index] ?? ""), () => null, place);
    return decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject;
  };

  test("read the records that stand beside them", () => {
    expect(streams.map((one) => checkStream(one))).toEqual([[], [], []]);
    expect(read(0)).toEqual({
      ...{ order_id: "ORD-10001", customer_id: "CUST-7", amount: 99.9 },
      timestamp: Date.parse("2024-01-15T13:30:00Z"),
    });
    expect(read(1)).toEqual({ event_type: "user_created", user_id: 1, timestamp: 1_700_000_000_123, position: 7 });
    expect(read(2)).toMatchObject({
      ...{
        op: "u",
        id: 1_004,
        name: "Anne Marie",
        balance: 12.5,
        born: Date.parse("1979-12-30"),
        before_balance: 12.34,
      },
      ...{ changed_at: 1_772_366_400_123, row_key: "k", position: 7 },
    });
  });

  test("the table beside them is sound", async () => {
    const markdown = readFileSync(new URL("../../docs/existing-topic.md", import.meta.url), "utf8");
    const [call = ""] = /table\("customers", .*\)(?=;)/.exec(markdown) ?? [];
    const made = new Function(...Object.keys(builders), "customers", `return ${call}`);
    const customers = made(...Object.values(builders), streams[2]) as View;
    expect([...checkViewShape(customers), ...(await checkViewSql(duck(), customers))]).toEqual([]);
  });

  test("changes add up to the table that they came from", async () => {
    const { changes, rows } = history(1_500, "cuuud");
    const decoder = await Decoder.open(duck(), streams[2] as Stream, NO_SCHEMAS);
    const bytes = changes.map((one) => Buffer.from(JSON.stringify(one)));
    const markdown = readFileSync(new URL("../../docs/existing-topic.md", import.meta.url), "utf8");
    const [rowsSql, balanceSql] = [...markdown.matchAll(/(?:rows|balance): sum\(sql`(.*?)`\)/g)].map(([, one]) => one);
    const withKeys = bytes.map((value, offset) => ({ offset: position(offset), key: Buffer.from("k"), value }));
    const keyed = { ...fetchedOf(0, 0n, bytes), records: Records.of(withKeys) };
    const { relation, rejected } = await decoder.decode([keyed]);
    expect(rejected).toEqual([]);
    const sums = `SELECT sum(${rowsSql})::BIGINT, sum(${balanceSql})::BIGINT FROM ${relation}`;
    const balance = [...rows.values()].reduce((sum, one) => sum + one.balance, 0);
    expect(await rowsOf(duck(), sums)).toEqual([[BigInt(rows.size), BigInt(balance)]]);
  });
});
