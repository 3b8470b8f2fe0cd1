import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AvroSchema, avroSchemaText } from "../../../core/codec/avro/avro.ts";
import { incompatibilities } from "../../../core/codec/avro/avro-compatibility.ts";
import { decodeOne, type SchemaLookup } from "../../../core/codec/decode/decode.ts";
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
import { stream } from "../../../core/contract/stream.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf } from "../../fixtures/servers/fetched.ts";

const common = {
  id: text({ max: 12 }),
  at: instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" }),
  on: optional(flag()),
  price: decimal({ scale: 2, min: -1_000_000_000, max: 1_000_000_000 }),
};

/** A field of every kind; the first version lacks what the second requires. */
const sale = stream("sale-made", {
  ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
  version: 2,
  fields: {
    ...common,
    region: oneOf("eu", "us"),
    tip: optional(decimal({ scale: 3, min: 0, max: 9 })),
    tax: withDefault(decimal({ scale: 2, min: -9, max: 9 }), -1.25),
    open: withDefault(flag(), true),
    items: withDefault(
      list({
        sku: text({ max: 6 }),
        count: integer({ min: -9, max: 9 }),
        gift: optional(flag()),
        weight: decimal({ scale: 1, min: 0, max: 5 }),
      }),
      [],
    ),
    notes: withDefault(list({ note: optional(text()) }), []),
  },
  previous: [
    {
      version: 1,
      fields: common,
      upcast: { region: sql`CASE WHEN price < 0 THEN 'us' ELSE 'eu' END` },
    },
  ],
});
const [second, first] = sale.versions;
if (second === undefined || first === undefined) throw new Error("two versions");
const schemas = new Map(
  [first, second].map((version) => [version.version, new AvroSchema(avroSchemaText(sale, version))]),
);
const lookup: SchemaLookup = (id) => schemas.get(id) ?? null;

const scaled = (scale: number, min: number, max: number) =>
  fc.integer({ min: min * 10 ** scale, max: max * 10 ** scale }).map((unscaled) => unscaled / 10 ** scale);
const commonEvent = {
  id: anyText({ maxLength: 13 }),
  at: fc.integer({ min: 946_684_700_000, max: 2_524_608_000_000 }),
  price: scaled(2, -1_000_000_000, 1_000_000_000),
};
const firstEvent = fc.record({ ...commonEvent, on: fc.option(fc.boolean()) }, { requiredKeys: ["id", "at", "price"] });
const secondEvent = fc.record(
  {
    ...commonEvent,
    on: fc.option(fc.boolean()),
    region: fc.constantFrom("eu", "us", "moon"),
    tip: fc.option(scaled(3, 0, 9)),
    tax: scaled(2, -10, 10),
    open: fc.boolean(),
    items: fc.array(
      fc.record(
        {
          sku: fc.string({ maxLength: 6 }),
          count: fc.integer({ min: -10, max: 10 }),
          gift: fc.option(fc.boolean()),
          weight: scaled(1, 0, 5),
        },
        { requiredKeys: ["sku", "count", "weight"] },
      ),
      { maxLength: 4 },
    ),
    notes: fc.array(fc.record({ note: fc.option(fc.string()) }, { requiredKeys: [] }), { maxLength: 2 }),
  },
  { requiredKeys: ["id", "at", "price", "region", "items"] },
);
const event = fc.oneof(
  firstEvent.map((value) => ({ version: 1, value: value as object })),
  secondEvent.map((value) => ({ version: 2, value: value as object })),
);
const avroOf = (version: number, value: object): Buffer => {
  const schema = schemas.get(version);
  if (schema === undefined) throw new Error(`no version ${version}`);
  return schema.encode(version, value);
};

describe("Avro is another spelling of the same events", () => {
  const duck = duckForTests();

  async function rowsOf(values: readonly Buffer[]): Promise<unknown[][]> {
    const decoder = await Decoder.open(duck(), sale, { lookup: async () => lookup });
    const { relation, rejected } = await decoder.decode([fetchedOf(0, 0n, values)]);
    // Original bytes go to the dead letters, whatever they were turned into.
    for (const { offset, value } of rejected) expect(value).toEqual(values[Number(offset)]);
    const sql = `SELECT * EXCLUDE (_partition, _offset) FROM ${relation} ORDER BY _offset`;
    const rows = await duck().runAndReadAll(sql);
    return rows.getRowsJS() as unknown[][];
  }

  test("JSON and Avro of an event decode to the same row, for every version, valid or not, mixed in one batch", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(event, { minLength: 1, maxLength: 30 }), async (events) => {
        const json = events.map(({ value }) => Buffer.from(JSON.stringify(value)));
        const avro = events.map(({ version, value }) => avroOf(version, value));
        const rows = await rowsOf([...json, ...avro]);
        expect(rows.slice(events.length)).toEqual(rows.slice(0, events.length));
      }),
      { numRuns: 60 },
    );
  });

  test("damaged bytes are a reject or an event of the contract, never an error, and both ways of decoding say the same", async () => {
    const damage = fc.tuple(
      event,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      fc.integer({ min: -3, max: 3 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(damage, { minLength: 1, maxLength: 30 }), async (damaged) => {
        const values = damaged.map(([{ version, value }, changes, length]) => {
          const bytes = avroOf(version, value);
          for (const [place, byte] of changes) bytes[place % bytes.length] = byte;
          return length < 0 ? bytes.subarray(0, length) : Buffer.concat([bytes, Buffer.alloc(length)]);
        });
        const rows = await rowsOf(values);
        values.forEach((value, index) => {
          const expected = decodeOne(sale, value, lookup);
          const reject = rows[index]?.at(-2);
          // Only an upcast's misfit is seen by SQL alone.
          if (!expected.ok) expect(reject).toBe(expected.reject);
          else if (reject !== null) expect(reject).toContain("the upcast of version 1");
        });
      }),
      { numRuns: 60 },
    );
  });

  test("an unknown schema, a bare header, an unsafe integer, not a number and text that is not UTF-8 are rejects with stable words", () => {
    const wide = new AvroSchema(
      '{"type":"record","name":"W","fields":' +
        '[{"name":"n","type":"long"},{"name":"d","type":"double"},{"name":"s","type":"string"}]}',
    );
    const of = (id: number, ...body: number[]) =>
      decodeOne(sale, Buffer.from([0, 0, 0, 0, id, ...body]), (asked) => (asked === 9 ? wide : null));
    const double = (value: number) => [...new Uint8Array(new Float64Array([value]).buffer)];
    expect(of(7)).toEqual({ ok: false, reject: "schema-unknown: 7" });
    expect(decodeOne(sale, Buffer.from([0, 0]))).toEqual({ ok: false, reject: "avro: shorter than its header" });
    const rejects = [
      of(9, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01, ...double(1), 0),
      of(9, 0, ...double(Number.NaN), 0),
      of(9, 0, ...double(1), 2, 0xff),
      of(9, 0, ...double(1), 0, 0),
      of(9, 0, ...double(1)),
    ];
    for (const decoded of rejects)
      expect(decoded).toMatchObject({ ok: false, reject: expect.stringMatching(/^avro: /) });
    expect(of(9, 0, ...double(1), 0)).toMatchObject({ ok: false, reject: expect.stringMatching(/^contract: /) });
  });

  test("integers are read to the last unit, from -(2^53-1) to 2^53-1", () => {
    const longs = new AvroSchema(
      '{"type":"record","name":"I","fields":[{"name":"n","type":"long"},{"name":"o","type":["null","long"]},' +
        '{"name":"l","type":{"type":"array","items":{"type":"long","logicalType":"timestamp-millis"}}}]}',
    );
    for (const n of [
      0,
      2 ** 52 + 1,
      -(2 ** 52) - 1,
      -(2 ** 52) - 2,
      Number.MAX_SAFE_INTEGER,
      Number.MIN_SAFE_INTEGER,
    ]) {
      const value = { n, o: n, l: [n, n] };
      expect(JSON.parse(longs.jsonOf(longs.encode(0, value).subarray(5)))).toEqual(value);
    }
  });

  test("an array that claims 2^50 elements is refused at once", () => {
    const lists = new AvroSchema(
      '{"type":"record","name":"L","fields":[{"name":"l","type":{"type":"array","items":"long"}},' +
        '{"name":"m","type":{"type":"map","values":"null"}}]}',
    );
    const claim = Buffer.from([0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x04]);
    expect(() => lists.jsonOf(claim)).toThrow("longer than the record");
    expect(() => lists.jsonOf(Buffer.concat([Buffer.from([0]), claim]))).toThrow("longer than the record");
    expect(lists.jsonOf(Buffer.from([1, 2, 4, 0, 2, 2, 0x61, 0]))).toBe('{"l":[2],"m":{"a":null}}');
  });

  test("compatibility names the field and the rule that a change breaks", () => {
    const change = (fields: object) => {
      const newest = stream("sale-made", {
        ...sale,
        version: 3,
        previous: [],
        fields: { ...second.fields, ...fields },
      });
      return avroSchemaText(newest, newest.versions[0] ?? second);
    };
    const before = avroSchemaText(sale, second);
    expect(incompatibilities(change({ extra: optional(text()) }), before, "full")).toEqual([]);
    const required = change({ extra: text() });
    expect(incompatibilities(required, before, "backward")).toEqual([
      expect.stringMatching(/^backward .*field "extra"/),
    ]);
    expect(incompatibilities(required, before, "forward")).toEqual([]);
    expect(incompatibilities(required, before, "none")).toEqual([]);
    const rescaled = change({ price: decimal({ scale: 3, min: 0, max: 1 }) });
    expect(incompatibilities(rescaled, before, "full")).toEqual([
      expect.stringMatching(/^backward .*field "price"/),
      expect.stringMatching(/^forward .*field "price"/),
    ]);
    const widened = change({ items: list({ sku: text(), count: integer({ min: 0, max: 1 }), colour: text() }) });
    expect(incompatibilities(widened, before, "full")).toEqual([
      expect.stringMatching(/^backward .*field "items"/),
      expect.stringMatching(/^forward .*field "items"/),
    ]);
  });
});
