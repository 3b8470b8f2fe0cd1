import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AvroSchema, avroSchemaText } from "../../../core/codec/avro/avro.ts";
import type { AvroReader, SchemaLookup } from "../../../core/codec/decode/decode.ts";
import { RecordScanner } from "../../../core/codec/decode/scan.ts";
import type { Field, FieldSpec } from "../../../core/contract/field.ts";
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
import { sql } from "../../../core/contract/sql.ts";
import { type Stream, stream } from "../../../core/contract/stream.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf } from "../../fixtures/servers/fetched.ts";
import { nightlyOr } from "../../tiers.ts";

/** A writer's schema with bytes that it may write, sound ones and others. */
interface Written {
  readonly schema: unknown;
  readonly bytes: fc.Arbitrary<readonly number[]>;
}

const varint = (value: bigint, zeros = 0): number[] => {
  const bytes: number[] = [];
  let left = BigInt.asUintN(64, (value << 1n) ^ (value >> 63n));
  for (; left > 127n; left >>= 7n) bytes.push(Number(left & 127n) | 0x80);
  bytes.push(Number(left));
  // A number may be written longer than it has to be.
  for (let zero = 0; zero < zeros; zero++) bytes[bytes.length - 1] = (bytes.at(-1) ?? 0) | 0x80;
  return zeros === 0 ? bytes : [...bytes, 0];
};
const mostly = <T, U>(arbitrary: fc.Arbitrary<T>, odd: fc.Arbitrary<U>, weight = 40): fc.Arbitrary<T | U> =>
  fc.oneof({ weight, arbitrary }, { weight: 1, arbitrary: odd });
const long = (value: fc.Arbitrary<bigint>) =>
  fc.tuple(
    mostly(value, fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), aroundSafe)),
    mostly(fc.constant(0), fc.constant(1)),
  );
const aroundSafe = fc
  .tuple(fc.constantFrom(2n ** 52n, 2n ** 53n, -(2n ** 52n), -(2n ** 53n)), fc.bigInt({ min: -3n, max: 3n }))
  .map(([near, by]) => near + by);
const longBytes = (value: fc.Arbitrary<bigint>) => long(value).map(([whole, zeros]) => varint(whole, zeros));
const floatBytes = (value: fc.Arbitrary<number>, size: 4 | 8) =>
  mostly(value, fc.constantFrom(Number.NaN, Number.POSITIVE_INFINITY, -0, 1e300, 0.1 + 0.2), 20).map((number) => [
    ...new Uint8Array(size === 4 ? new Float32Array([number]).buffer : new Float64Array([number]).buffer),
  ]);
const partBytes = (bytes: readonly number[]) => [...varint(BigInt(bytes.length)), ...bytes];
const stringBytes = (value: fc.Arbitrary<string>) =>
  fc.oneof(
    {
      weight: 30,
      arbitrary: mostly(
        value,
        fc.constantFrom(
          "\ufffd",
          "a\u001eb",
          "\n\t\u0001",
          "é𝄞".repeat(2),
          "€".repeat(5),
          "€".repeat(6),
          '\\"',
          "é",
          "𝄞",
          "\u0000",
          "\ufeffx",
          "é".repeat(9),
        ),
        20,
      ).map((is) => partBytes([...Buffer.from(is)])),
    },
    {
      weight: 1,
      arbitrary: fc.constantFrom([2, 0xff], [6, 0xed, 0xa0, 0x80], [4, 0xc0, 0x80], [1], [0x80, 0x80, 0x04]),
    },
  );
const decimalBytes = (units: fc.Arbitrary<bigint>, size: number | null) =>
  fc.tuple(units, mostly(fc.nat(2), fc.constant(17), 20)).map(([value, more]) => {
    let length = size ?? 1;
    if (size === null) while (BigInt.asIntN(length * 8, value) !== value) length++;
    const bytes = Array.from(
      { length: length + (size === null ? more : 0) },
      (_, place, all = length + (size === null ? more : 0)) => Number((value >> BigInt((all - 1 - place) * 8)) & 255n),
    );
    return size === null ? partBytes(bytes) : bytes;
  });
const joined = (parts: readonly fc.Arbitrary<readonly number[]>[]) => fc.tuple(...parts).map((bytes) => bytes.flat());

/** Blocks of elements, also with the bytes that they have, and sometimes with a wrong count. */
const blocks = (element: fc.Arbitrary<readonly number[]>) =>
  fc
    .array(
      fc.tuple(
        fc.array(element, { maxLength: 3 }),
        fc.boolean(),
        mostly(fc.constant(0n), fc.constantFrom(1n, 2n ** 50n, -5n)),
      ),
      { maxLength: 2 },
    )
    .map((all) => [
      ...all.flatMap(([elements, hasSize, wrong]) => {
        const count = BigInt(elements.length) + wrong;
        const head = hasSize ? [...varint(-count), ...varint(BigInt(elements.flat().length))] : varint(count);
        return elements.length === 0 && wrong === 0n ? [] : [...head, ...elements.flat()];
      }),
      0,
    ]);

function unionOf(branches: readonly Written[]): Written {
  return {
    schema: branches.map(({ schema }) => schema),
    bytes: mostly(
      fc.oneof(...branches.map(({ bytes }, index) => bytes.map((is) => [...varint(BigInt(index)), ...is]))),
      fc.constantFrom<number[]>([9], [1], [0x80, 0]),
    ),
  };
}

const nothing: Written = { schema: "null", bytes: fc.constant([]) };
const anyString: Written = { schema: "string", bytes: stringBytes(fc.string({ maxLength: 4 })) };
const anyLong: Written = { schema: "long", bytes: longBytes(fc.bigInt({ min: -9n, max: 9n })) };

/** What a value of the contract may be written as: mostly as our own schemas say. */
function writersOf(spec: ReturnType<typeof bare>, name: string): readonly [Written, ...Written[]] {
  switch (spec.type) {
    case "integer":
    case "instant": {
      const [min, max] = spec.type === "integer" ? [spec.min, spec.max] : [Date.parse(spec.from), Date.parse(spec.to)];
      const value = fc.bigInt({ min: BigInt(min) - BigInt(max === Number.MAX_SAFE_INTEGER ? 0 : 1), max: BigInt(max) });
      return [
        { schema: "long", bytes: longBytes(value) },
        { schema: "int", bytes: longBytes(value) },
        { schema: "double", bytes: floatBytes(value.map(Number), 8) },
        anyString,
      ];
    }
    case "decimal": {
      const unit = 10 ** spec.scale;
      const units = mostly(
        fc.bigInt({ min: BigInt(Math.round(spec.min * unit)) - 1n, max: BigInt(Math.round(spec.max * unit)) }),
        fc.constantFrom(2n ** 60n, -(10n ** 15n), 2n ** 120n),
      );
      const logical = { logicalType: "decimal", precision: 30 };
      return [
        { schema: { ...logical, type: "bytes", scale: spec.scale }, bytes: decimalBytes(units, null) },
        {
          schema: { ...logical, type: "bytes", scale: spec.scale - 1 },
          bytes: decimalBytes(
            units.map((is) => is / 10n),
            null,
          ),
        },
        {
          schema: { ...logical, type: "bytes", scale: spec.scale + 1 },
          bytes: decimalBytes(
            units.map((is) => is * 10n),
            null,
          ),
        },
        {
          schema: { ...logical, type: "fixed", name: `${name}F`, size: 9, scale: spec.scale },
          bytes: decimalBytes(units, 9),
        },
        {
          schema: "double",
          bytes: floatBytes(
            units.map((is) => Number(is) / unit),
            8,
          ),
        },
        {
          schema: "float",
          bytes: floatBytes(
            units.map((is) => Number(is) / unit),
            4,
          ),
        },
        { schema: "int", bytes: longBytes(units.map((is) => is / BigInt(unit))) },
      ];
    }
    case "text":
    case "oneOf": {
      const values = spec.type === "oneOf" ? [...spec.values, "moon"] : ["a", "bc"];
      const value = spec.type === "oneOf" ? fc.constantFrom(...values) : fc.string({ maxLength: spec.max + 1 });
      return [
        { schema: "string", bytes: stringBytes(value) },
        {
          schema: { type: "enum", name: `${name}E`, symbols: values.filter((is) => /^\w+$/.test(is)) },
          bytes: longBytes(fc.bigInt({ min: 0n, max: 2n })),
        },
        { schema: "bytes", bytes: stringBytes(value) },
      ];
    }
    case "flag":
      return [{ schema: "boolean", bytes: mostly(fc.constantFrom<number[]>([0], [1]), fc.constant([2])) }, anyLong];
    case "values": {
      const [own, ...others] = writersOf(bare(spec.of), `${name}V`);
      const lists = [own, ...others, unionOf([nothing, own])].map(({ schema, bytes }) => ({
        schema: { type: "array", items: schema },
        bytes: blocks(bytes),
      }));
      return [lists[0] as Written, ...lists.slice(1), anyString];
    }
    case "map": {
      const own = ownWriter(spec.of, `${name}M`);
      const entry = joined([stringBytes(fc.string({ maxLength: 3 })), own.bytes]);
      return [{ schema: { type: "map", values: own.schema }, bytes: blocks(entry) }, anyString];
    }
    case "entries": {
      const fields = Object.entries(spec.of).map(([field, of]) => ({ name: field, ...ownWriter(of, name + field) }));
      const values = recordOf(name, fields);
      const entry = joined([stringBytes(fc.string({ maxLength: 3 })), values.bytes]);
      return [{ schema: { type: "map", values: values.schema }, bytes: blocks(entry) }, anyString];
    }
    case "list": {
      const fields = Object.entries(spec.of).map(([field, of]) => ({ name: field, ...ownWriter(of, name + field) }));
      const extra = { name: "more", ...unionOf([nothing, anyString]) };
      return [arrayOf(name, fields), arrayOf(name, [extra, ...fields]), arrayOf(name, fields.slice(1)), anyString];
    }
  }
}

function recordOf(name: string, fields: readonly ({ readonly name: string } & Written)[]): Written {
  const schema = {
    type: "record",
    name: `${name}R`,
    fields: fields.map(({ name, schema }) => ({ name, type: schema })),
  };
  return { schema, bytes: joined(fields.map(({ bytes }) => bytes)) };
}

function arrayOf(name: string, fields: readonly ({ readonly name: string } & Written)[]): Written {
  const items = recordOf(name, fields);
  return { schema: { type: "array", items: items.schema }, bytes: blocks(items.bytes) };
}

function ownWriter(spec: FieldSpec, name: string): Written {
  const [own] = writersOf(bare(spec), name);
  return spec.type === "optional" ? unionOf([nothing, own]) : own;
}

function writer(spec: FieldSpec, name: string): fc.Arbitrary<Written> {
  const all = writersOf(bare(spec), name);
  return fc.oneof(
    { weight: 9, arbitrary: fc.constant(ownWriter(spec, name)) },
    { weight: 7, arbitrary: fc.constantFrom(...all) },
    { weight: 1, arbitrary: fc.constantFrom(...all).map((one) => unionOf([one, nothing])) },
    {
      weight: 1,
      arbitrary: fc.constant(
        unionOf([nothing, { schema: { type: "fixed", name: `${name}U`, size: 1 }, bytes: fc.constant([1]) }, all[0]]),
      ),
    },
  );
}

/** Fields that no version knows, of every type that Avro has. */
const extraFields = fc.constantFrom<Written>(
  nothing,
  anyString,
  anyLong,
  unionOf([nothing, anyLong]),
  unionOf([anyLong, anyString, nothing]),
  // Two numbers: a value does not tell its branch.
  unionOf([anyLong, { schema: "double", bytes: floatBytes(fc.double({ noNaN: true }), 8) }]),
  { schema: "double", bytes: floatBytes(fc.double({ noNaN: true }), 8) },
  { schema: "float", bytes: floatBytes(fc.constant(1.5), 4) },
  { schema: "bytes", bytes: fc.array(fc.nat(255), { maxLength: 3 }).map(partBytes) },
  { schema: { type: "fixed", name: "XF", size: 2 }, bytes: fc.constant([0xff, 0]) },
  {
    schema: { type: "bytes", logicalType: "decimal", precision: 9, scale: 2 },
    bytes: decimalBytes(fc.bigInt({ min: 0n, max: 999n }), null),
  },
  { schema: { type: "map", values: "long" }, bytes: blocks(joined([anyString.bytes, anyLong.bytes])) },
  { schema: { type: "array", items: ["null", "string"] }, bytes: blocks(unionOf([nothing, anyString]).bytes) },
  arrayOf("X", [{ name: "__proto__", ...anyLong }]),
  {
    schema: { type: "record", name: "XS", fields: [{ name: "next", type: ["null", "XS"] }] },
    bytes: fc.constantFrom([0], [2, 2, 0], [2]),
  },
);

const SCALARS: readonly Field[] = [
  integer({ min: -5, max: 300 }),
  integer({ min: -Number.MAX_SAFE_INTEGER, max: Number.MAX_SAFE_INTEGER }),
  decimal({ scale: 2, min: -1, max: 1_000 }),
  decimal({ scale: 3, min: -900_000_000, max: 900_000_000_000 }),
  text({ max: 5 }),
  oneOf("a", "b", 'q"\\uote', "é", "\ufffd", "c\u001f"),
  flag(),
];
const scalar = fc.constantFrom(...SCALARS);
const byDefault = new Map<string, unknown>([
  ["integer", 7],
  ["decimal", 0.5],
  ["text", 'd"'],
  ["oneOf", "b"],
  ["flag", true],
  ["list", []],
  ["values", []],
]);
const withOption = (of: fc.Arbitrary<Field>): fc.Arbitrary<Field> =>
  fc.tuple(of, fc.constantFrom("plain", "optional", "default")).map(([field, kind]) => {
    if (kind === "optional") return optional(field);
    return kind === "default" ? withDefault(field, byDefault.get(field.spec.type) as never) : field;
  });
const listField = fc
  .array(withOption(scalar), { minLength: 1, maxLength: 3 })
  .map((fields) => list(Object.fromEntries(fields.map((field, index) => [`e${index}`, field])), { max: 4 }) as Field);

const valuesField = scalar.map((field) => list(field, { max: 4 }) as Field);

const roles = { revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 } as const;

/** Contracts of one version or two; the second requires what the first lacks, and lacks what the first has. */
const contract = fc
  .tuple(
    fc.array(
      withOption(
        fc.oneof(
          { weight: 4, arbitrary: scalar },
          { weight: 1, arbitrary: listField },
          { weight: 1, arbitrary: valuesField },
        ),
      ),
      {
        maxLength: 4,
      },
    ),
    fc.boolean(),
  )
  .map(([fields, hasOlder]): Stream => {
    const common = {
      id: text({ max: 8 }),
      at: instant({ from: "2000-01-01T00:00:00Z", to: "2050-01-01T00:00:00Z" }),
      ...Object.fromEntries(fields.map((field, index) => [`f${index}`, field])),
    };
    const older = { version: 1, fields: { ...common, gone: optional(flag()) }, upcast: { added: sql`'x'` } };
    return stream("generated", {
      ...roles,
      version: 2,
      fields: hasOlder ? { ...common, added: oneOf("x", "y") } : common,
      previous: hasOlder ? [older] : [],
    });
  })
  .map((definition) =>
    Object.assign(definition, {
      [fc.toStringMethod]: () =>
        JSON.stringify(Object.entries(definition.fields).map(([name, { spec }]) => [name, spec])),
    }),
  );

const writerOf = (definition: Stream): fc.Arbitrary<Written> =>
  fc.constantFrom(...definition.versions).chain(({ fields }) =>
    fc
      .tuple(
        fc.tuple(
          ...Object.entries(fields).map(([name, { spec }]) => writer(spec, name).map((one) => ({ name, ...one }))),
        ),
        fc.option(extraFields),
        mostly(fc.constant(-1), fc.nat(9), 8),
      )
      .map(([all, extra, left]) => {
        const written = [...all.slice(0, 1), ...(extra === null ? [] : [{ name: "extra", ...extra }]), ...all.slice(1)];
        const kept = written.filter((_, index) => index !== left);
        return {
          schema: { type: "record", name: "Top", fields: kept.map(({ name, schema }) => ({ name, type: schema })) },
          bytes: joined(kept.map(({ bytes }) => bytes)),
        };
      }),
  );

const damage = fc.tuple(
  mostly(fc.constant(0), fc.integer({ min: -4, max: 3 }), 15),
  fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 2 }),
);
const damaged = (
  body: readonly number[],
  [length, changes]: readonly [number, readonly (readonly [number, number])[]],
  isChanged: boolean,
) => {
  const bytes = Buffer.from([0, 0, 0, 0, 1, ...body]);
  if (isChanged) for (const [place, byte] of changes) if (body.length > 0) bytes[5 + (place % body.length)] = byte;
  return length < 0 ? bytes.subarray(0, length) : Buffer.concat([bytes, Buffer.alloc(length)]);
};

const sample = contract.chain((definition) =>
  writerOf(definition).chain(({ schema, bytes }) =>
    fc
      .array(fc.tuple(bytes, damage, mostly(fc.constant(false), fc.constant(true), 6)), { minLength: 1, maxLength: 25 })
      .map((all) => ({ definition, schema: JSON.stringify(schema), values: all.map((one) => damaged(...one)) })),
  ),
);

const items = list({
  sku: text(),
  count: optional(integer({ min: 0, max: 9 })),
  price: decimal({ scale: 2, min: 0, max: 9 }),
});
const order = stream("order", {
  ...roles,
  fields: {
    id: text(),
    at: instant({ from: "2000-01-01", to: "2050-01-01" }),
    on: withDefault(flag(), true),
    items,
  },
});

/** The same schema, the records of which are read as objects and JSON text. */
function viaJson(schema: AvroSchema): AvroReader {
  return { jsonOf: (body) => schema.jsonOf(body), scannerOf: () => null };
}

describe("invariant 3, for Avro that is read straight into columns", () => {
  const duck = duckForTests();

  async function decoded(definition: Stream, values: readonly Buffer[], reader: AvroReader) {
    const lookup: SchemaLookup = () => reader;
    const decoder = await Decoder.open(duck(), definition, { lookup: async () => lookup });
    const { relation, rejected } = await decoder.decode([fetchedOf(0, 0n, values)]);
    const rows = await duck().runAndReadAll(`SELECT * FROM ${relation} ORDER BY _offset`);
    return { rows: rows.getRowsJson(), rejected };
  }

  test("for any contract, schema and bytes, sound or damaged, both ways give the same verdicts and the same columns", async () => {
    let [events, rejects, direct] = [0, 0, 0];
    await fc.assert(
      fc.asyncProperty(sample, async ({ definition, schema, values }) => {
        const compiled = new AvroSchema(schema);
        const straight = await decoded(definition, values, compiled);
        expect(straight).toEqual(await decoded(definition, values, viaJson(compiled)));
        events += values.length - straight.rejected.length;
        rejects += straight.rejected.length;
        direct += recognised(definition, values, compiled);
      }),
      { numRuns: nightlyOr(250, 100) },
    );
    // A comparison of nothing but rejects, or of one way with itself, would say little.
    expect(events).toBeGreaterThan(rejects / 10);
    expect(direct).toBeGreaterThan(events / 3);
  });

  test("and so they do whatever type a value is written as", async () => {
    for (const field of SCALARS) {
      const { id, at } = order.fields;
      const definition = stream("one", { ...roles, fields: { id, at, f: field } });
      for (const { schema, bytes } of writersOf(bare(field.spec), "f")) {
        const fields = [
          { name: "id", type: "string" },
          { name: "at", type: "long" },
          { name: "f", type: schema },
        ];
        const compiled = new AvroSchema(JSON.stringify({ type: "record", name: "Top", fields }));
        const place = [0, 0, 0, 0, 1, ...partBytes([97]), ...varint(1_000_000_000_000n)];
        const values = fc.sample(bytes, { numRuns: 60, seed: 5 }).map((value) => Buffer.from([...place, ...value]));
        const straight = await decoded(definition, values, compiled);
        const how = `${JSON.stringify(field.spec)} written as ${JSON.stringify(schema)}`;
        expect(straight, how).toEqual(await decoded(definition, values, viaJson(compiled)));
      }
    }
  });

  test("what our own schemas write is recognised without an object, whatever else the writer's record has", () => {
    const own = JSON.parse(avroSchemaText(order, order.versions[0] as never)) as { fields: object[] };
    const extra = {
      name: "trace",
      type: ["null", { type: "array", items: { type: "record", name: "T", fields: [{ name: "t", type: "bytes" }] } }],
    };
    const event = {
      id: 'é"',
      at: 1e12,
      items: [
        { sku: "\\", count: null, price: 1.5 },
        { sku: "b", count: 2, price: 0 },
      ],
    };
    for (const [schema, more] of [
      [own, {}],
      [{ ...own, fields: [extra, ...own.fields] }, { trace: [{ t: Buffer.from("x") }] }],
    ]) {
      const compiled = new AvroSchema(JSON.stringify(schema));
      expect(recognised(order, [compiled.encode(1, { ...event, ...more, on: false })], compiled)).toBe(1);
    }
  });
});

/** How many records are read without an object. */
function recognised(definition: Stream, values: readonly Buffer[], schema: AvroSchema): number {
  return definition.tried.reduce((sum, version, index) => {
    const body = schema.scannerOf(version);
    if (body === null) return sum;
    const scanner = new RecordScanner(version, definition.tried.slice(0, index));
    for (const value of values) scanner.scan(value, Math.min(5, value.length), value.length, body);
    return sum + scanner.rows - scanner.failed;
  }, 0);
}
