import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { AvroSchema } from "../../../core/codec/avro/avro.ts";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import type { Field } from "../../../core/contract/field.ts";
import { decimal, flag, instant, integer, list, optional, text, withDefault } from "../../../core/contract/fields.ts";
import { checkStream, type Fields, stream } from "../../../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../../../core/contract/stream-document.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Each conversion is exact or refused, and scanner, SQL and zod agree on which. */

type Kept = bigint | string | boolean;
/** What a column must have for a value of JSON; null: the record is refused. */
type Oracle = (json: string) => Kept | null;

const of = (fields: Fields) =>
  stream("events", {
    ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
    fields: { id: text(), at: instant({}), ...fields },
  });

const digits = (maxLength: number) => fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 1, maxLength });
const sign = fc.constantFrom("", "", "-");
const number = fc.oneof(
  fc.tuple(sign, fc.nat(99_999).map(String)).map((parts) => parts.join("")),
  fc.tuple(sign, fc.nat(9_999).map(String), digits(4)).map(([minus, whole, part]) => `${minus}${whole}.${part}`),
  fc
    .tuple(
      sign,
      fc.nat(99).map(String),
      fc.constantFrom("5", "50", "25", "35", "125", "005", "995", "0050", "4999", "5001"),
    )
    .map(([minus, whole, part]) => `${minus}${whole}.${part}`),
  fc.tuple(digits(20), digits(20)).map(([whole, part]) => `${BigInt(whole)}.${part}`),
  fc.double({ min: -1e4, max: 1e4, noNaN: true }).map(String),
);
const notNumbers = fc.constantFrom(
  "",
  "-",
  "1.",
  ".5",
  "+1",
  "01",
  "1e3",
  "1E+2",
  "0x10",
  "1,5",
  "1_000",
  " 1",
  "1 ",
  "NaN",
  "∞",
  "१",
  "null",
);
const quoted = (one: fc.Arbitrary<string>) => one.map((value) => JSON.stringify(value));
const others = fc.constantFrom(
  "true",
  "null",
  "[]",
  "{}",
  '"x"',
  '"\\u0031"',
  "[1]",
  '""',
  "1e1",
  "12.0",
  "-0",
  "-0.0",
  "9007199254740993",
  '"9007199254740993"',
);
const plainNumber = number.filter((one) => !/e/i.test(one));

/** A number's text as a fraction: [numerator, denominator]. */
function fraction(written: string): [bigint, bigint] | null {
  const [, minus, whole = "", part = "", exponent = "0"] =
    /^(-?)(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?$/.exec(written) ?? [];
  if (whole === "") return null;
  const value = BigInt(whole + part) * (minus === "-" ? -1n : 1n);
  const power = Number(exponent) - part.length;
  return power >= 0 ? [value * 10n ** BigInt(power), 1n] : [value, 10n ** BigInt(-power)];
}

/** What JSON.parse makes of a value: a number's shortest text, or a text if those are taken. */
function said(json: string, isText: boolean): string | null {
  const value: unknown = JSON.parse(json);
  if (typeof value === "number") return String(value);
  return isText && typeof value === "string" && /^-?(0|[1-9]\d*)(\.\d+)?$/.test(value) ? value : null;
}

function unitsOf(
  json: string,
  scale: number,
  { isText = false, round }: { isText?: boolean; round?: string },
): bigint | null {
  const found = fraction(said(json, isText) ?? "");
  if (found === null) return null;
  const [numerator, denominator] = [found[0] * 10n ** BigInt(scale), found[1]];
  const down = numerator / denominator;
  const rest = numerator % denominator;
  if (rest === 0n) return down;
  if (round === undefined) return null;
  const away = numerator < 0n ? down - 1n : down + 1n;
  const twice = (rest < 0n ? -rest : rest) * 2n;
  if (round === "down" || twice < denominator) return down;
  if (twice > denominator || round === "half-up") return away;
  return down % 2n === 0n ? down : away;
}
const within = (value: bigint | null, most: bigint) => (value === null || value > most || value < -most ? null : value);

const FLAGS: Readonly<Record<string, boolean>> = {
  true: true,
  True: true,
  TRUE: true,
  1: true,
  false: false,
  False: false,
  FALSE: false,
  0: false,
};

/** The one instant that a zone's clocks show as a local time, found by asking what they show. */
function shownAs(local: string, zone: string): bigint | null {
  const shown = new Intl.DateTimeFormat("sv-SE", { timeZone: zone, dateStyle: "short", timeStyle: "medium" });
  const utc = Date.parse(`${local.replace(" ", "T")}Z`);
  const found: number[] = [];
  for (let minutes = -15 * 60; minutes <= 15 * 60; minutes += 15) {
    const ms = utc - minutes * 60_000;
    if (shown.format(ms) === local.replace("T", " ")) found.push(ms);
  }
  return found.length === 1 ? BigInt(found[0] ?? 0) : null;
}

/** Local times around the changes of the clocks of some years, and any. */
const around = (zone: string) => {
  const days: Readonly<Record<string, readonly string[]>> = {
    "Europe/Berlin": ["2024-03-31", "2024-10-27", "2026-03-29", "2026-10-25"],
    "America/St_Johns": ["2010-03-14", "2010-11-07", "2024-03-10", "2024-11-03"],
    "Australia/Lord_Howe": ["2024-04-07", "2024-10-06"],
    "America/Sao_Paulo": ["2018-11-04", "2018-02-18"],
  };
  const day = fc.oneof(
    fc.constantFrom(...(days[zone] ?? [])),
    fc.integer({ min: 11_000, max: 20_000 }).map((one) => new Date(one * 86_400_000).toISOString().slice(0, 10)),
  );
  const two = (value: number) => String(value).padStart(2, "0");
  const clock = fc.tuple(fc.integer({ min: 0, max: 3 }), fc.integer({ min: 0, max: 59 }), fc.constantFrom(0, 1, 59));
  return fc.tuple(day, clock).map(([date, parts]) => JSON.stringify(`${date}T${parts.map(two).join(":")}`));
};
const zoned = (zone: string) => ({
  field: instant({ as: "iso", zone }),
  values: around(zone),
  oracle: (json: string) => shownAs(JSON.parse(json) as string, zone),
});

const hex = fc.string({ unit: fc.constantFrom(..."0123456789abcdefABCDEF"), minLength: 32, maxLength: 32 });
const uuids = fc.oneof(
  ...Array<fc.Arbitrary<string>>(4).fill(
    hex.map(
      (one) => `${one.slice(0, 8)}-${one.slice(8, 12)}-${one.slice(12, 16)}-${one.slice(16, 20)}-${one.slice(20)}`,
    ),
  ),
  hex,
  fc.uuid().map((one) => `{${one}}`),
  fc.uuid().map((one) => `${one} `),
  fc.uuid().map((one) => one.replace(/.$/, "g")),
);

const LIMIT = 10n ** 9n;
const money = (more: object, scale = 2) => decimal({ scale, min: -1e9 / 10 ** scale, max: 1e9 / 10 ** scale, ...more });
const numbers = fc.oneof(plainNumber, quoted(fc.oneof(number, notNumbers)), others);
const rounded = (round: "half-even" | "half-up" | "down", as?: "text") => ({
  field: money(as === undefined ? { round } : { round, as }),
  values: numbers,
  oracle: (json: string) => within(unitsOf(json, 2, { isText: as === "text", round }), LIMIT),
});

/** Bytes as Java's BigInteger has them, such that are not the fewest, and texts that are nearly base64. */
const base64 = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 4 }).map((bytes) => JSON.stringify(Buffer.from(bytes).toString("base64"))),
  fc.uint8Array({ minLength: 0, maxLength: 18 }).map((bytes) => JSON.stringify(Buffer.from(bytes).toString("base64"))),
  fc.integer({ min: -127, max: 127 }).map((value) => {
    const sign = value < 0 ? 255 : 0;
    return JSON.stringify(Buffer.from([...Array(7).fill(sign), value & 255]).toString("base64"));
  }),
  quoted(fc.constantFrom("", "=", "BNI", "BNI=", "BNI==", "BN-=", "BNJ=", " BNI=", "BNI=\n", "12.5", "1234", "é")),
  plainNumber,
);

/** The two's complement of the bytes that a text of base64 says; null for any other text. */
function unitsOfBase64(json: string): bigint | null {
  const written: unknown = JSON.parse(json);
  if (typeof written !== "string" || !/^([\w+/]{4})*([\w+/]{2}==|[\w+/]{3}=)?$/.test(written)) return null;
  if (written.includes("_")) return null;
  const hex = Buffer.from(written, "base64").toString("hex");
  if (hex === "" || hex.length > 32 || Buffer.from(hex, "hex").toString("base64") !== written) return null;
  return BigInt.asIntN(hex.length * 4, BigInt(`0x${hex}`));
}

/** A scalar's text: of a whole number its digits, of any other number those of its double. */
function scalarOf(json: string, most: number): string | null {
  const value: unknown = JSON.parse(json);
  const whole = /^(-?)(\d+)$/.exec(json);
  const digits = whole === null ? null : String(BigInt(json));
  if (typeof value === "object") return null;
  if (typeof value === "number" && whole === null && (!Number.isFinite(value) || Math.abs(value) >= 2 ** 53))
    return null;
  const read = digits ?? (typeof value === "number" ? plain(value) : String(value));
  return [...read].length <= most && read.isWellFormed() ? read : null;
}

/** A double's digits without an exponent. */
function plain(value: number): string {
  const [digits = "", exponent] = String(value).split("e-");
  if (exponent === undefined) return digits;
  return value.toFixed((digits.split(".")[1] ?? "").length + Number(exponent));
}

const conversions: Readonly<Record<string, { field: Field; values: fc.Arbitrary<string>; oracle: Oracle }>> = {
  "integers, also as text": {
    field: integer({ min: -1_000_000, max: 1_000_000, as: "text" }),
    values: numbers,
    oracle: (json) => within(unitsOf(json, 0, { isText: true }), 1_000_000n),
  },
  "integers as they are, 12.0 among them": {
    field: integer({ min: -1_000_000, max: 1_000_000 }),
    values: numbers,
    oracle: (json) => within(unitsOf(json, 0, {}), 1_000_000n),
  },
  "decimals, also as text": {
    field: money({ as: "text" }),
    values: numbers,
    oracle: (json) => within(unitsOf(json, 2, { isText: true }), LIMIT),
  },
  "doubles, rounded half to even": rounded("half-even"),
  "doubles, rounded half up": rounded("half-up"),
  "doubles, cut off, also as text": rounded("down", "text"),
  "doubles, rounded half to even, also as text": rounded("half-even", "text"),
  "decimals, their units also as base64": {
    field: money({ as: "base64" }),
    values: base64,
    oracle: (json) => within(unitsOfBase64(json) ?? unitsOf(json, 2, {}), LIMIT),
  },
  "integers, also as base64": {
    field: integer({ min: -(10 ** 9), max: 10 ** 9, as: "base64" }),
    values: base64,
    oracle: (json) => within(unitsOfBase64(json) ?? unitsOf(json, 0, {}), LIMIT),
  },
  "texts, numbers and booleans as texts": {
    field: text({ max: 30, as: "scalar" }),
    values: fc.oneof(
      numbers,
      fc.constantFrom("12345678901234567890", "-9007199254740993", "9007199254740992", "1e21", "1e-7", "-0", "1e400"),
      quoted(fc.string({ unit: "grapheme", maxLength: 34 })),
    ),
    oracle: (json) => scalarOf(json, 30),
  },
  "flags, also as numbers and text": {
    field: flag({ as: "text" }),
    values: fc.oneof(
      fc.constantFrom("true", "false", "0", "1", "2", "-1", "0.5", "10", "1.0", "null", "[]"),
      quoted(fc.constantFrom(...Object.keys(FLAGS), "tRUE", "yes", "", "01", "ｔrue", "falſe")),
    ),
    oracle: (json) => {
      const value = JSON.parse(json) as unknown;
      const isScalar = typeof value === "string" || typeof value === "boolean" || value === 0 || value === 1;
      return isScalar ? (FLAGS[String(value)] ?? null) : null;
    },
  },
  UUIDs: {
    field: text({ as: "uuid" }),
    values: fc.oneof(quoted(uuids), others),
    oracle: (json) => {
      const value = JSON.parse(json) as unknown;
      const isUuid =
        typeof value === "string" && value.length === 36 && /^[\da-f]+(-[\da-f]{4}){3}-[\da-f]{12}$/i.test(value);
      return isUuid ? value.toLowerCase() : null;
    },
  },
  "dates as days": {
    field: instant({ as: "days" }),
    values: fc.oneof(
      fc.integer({ min: 10_000, max: 50_000 }).map(String),
      numbers,
      quoted(fc.constantFrom("20000", "20000.0", "020000")),
    ),
    oracle: (json) => {
      const days = unitsOf(json, 0, { isText: true });
      const at = days === null ? null : new Date(Number(days) * 86_400_000);
      return at !== null && at >= new Date("2000-01-01") && at <= new Date("2100-01-01") ? BigInt(at.getTime()) : null;
    },
  },
  "local times of Berlin": zoned("Europe/Berlin"),
  "local times of St John's": zoned("America/St_Johns"),
  "local times of Lord Howe": zoned("Australia/Lord_Howe"),
  "local times of São Paulo": zoned("America/Sao_Paulo"),
};

describe("fifty made-up records of each conversion", () => {
  const duck = duckForTests();
  const at = 1_700_000_000_000;

  test.each(Object.entries(conversions))("%s: at the top, further in, in lists", async (_, one) => {
    const { field, values, oracle } = one;
    const nested = (from: string) => ({ ...field, spec: { ...field.spec, path: from } }) as Field;
    const definition = streamFrom(
      streamDocument(
        of({ x: field, y: optional(nested("$.deep.Y")), z: optional(list({ v: field, w: optional(nested("$.W")) })) }),
      ),
    );
    expect(checkStream(definition)).toEqual([]);
    expect(definition.versions[0]?.wire === null).toBe(false);
    const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
    let [kept, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(fc.array(values, { minLength: 50, maxLength: 50 }), async (some) => {
        const records = some.map((x, index) => {
          const more =
            index % 3 === 0 ? `,"deep":{"Y":${x}}` : index % 3 === 1 ? `,"z":[{"v":${x},"W":${x}},{"v":${x}}]` : "";
          return `{"id":"${index}","at":${at},"x":${x}${more}}`;
        });
        const wanted = some.map(oracle);
        const { relation, rejected } = await decoder.decode([
          fetchedOf(
            0,
            0n,
            records.map((record) => Buffer.from(record)),
          ),
        ]);
        expect(rejected.map(({ offset }) => records[Number(offset)])).toEqual(
          records.filter((_, index) => wanted[index] === null),
        );
        const columns = "x, y, z[1].v, z[1].w, z[2].v, z[2].w, _offset";
        const asked = `SELECT ${columns} FROM ${relation} WHERE _reject IS NULL ORDER BY _offset`;
        const rows = await rowsOf(duck(), asked);
        for (const [x, y, v, w, v2, w2, offset] of rows) {
          const [index, want] = [Number(offset), wanted[Number(offset)]];
          const inner = [
            index % 3 === 0 ? want : null,
            ...(index % 3 === 1 ? [want, want, want, null] : [null, null, null, null]),
          ];
          expect([x, y, v, w, v2, w2], records[index]).toEqual([want, ...inner]);
        }
        for (const [index, record] of records.entries())
          expect(decodeOne(definition, Buffer.from(record)).ok, record).toBe(wanted[index] !== null);
        kept += rows.length;
        refused += rejected.length;
      }),
      { numRuns: 5 },
    );
    // The law says nothing where all are kept, or none.
    expect(Math.min(kept, refused)).toBeGreaterThan(0);
  });
});

test("a default is what the column holds, and wrong options are named with their field", () => {
  const at = instant({ as: "iso" });
  const problems = (x: Field) => checkStream(of({ at, x }));
  const id = "0A000000-0000-4000-8000-000000000000";
  expect(problems(withDefault(text({ as: "uuid" }), id.toLowerCase()))).toEqual([]);
  expect(problems(withDefault(text({ as: "uuid" }), id))[0]).toContain("breaks the contract");
  expect(problems(withDefault(instant({ as: "iso" }), Date.parse("2026-01-01")))).toEqual([]);
  expect(problems(withDefault(integer({ min: 0, max: 9, as: "text" }), 3))).toEqual([]);
  for (const [field, says] of [
    [integer({ min: 0, max: 9, as: "number" as "text" }), "as is one of text"],
    [decimal({ scale: 2, min: 0, max: 9, round: "up" as "down" }), "rounded half-even, half-up, down"],
    [text({ as: "uuid", max: 10 }), "a UUID has 36 characters"],
    [instant({ as: "date" as "days" }), "as is one of s, ms, us, ns, days, iso"],
    [instant({ as: "ms", zone: "Europe/Berlin" }), 'zone is for as: "iso"'],
  ] as const)
    expect(problems(field)[0], says).toContain(says);
});

test("Avro's logical types are read as what they say", () => {
  const logical = { micros: "timestamp-micros", nanos: "timestamp-nanos", local: "local-timestamp-millis" };
  const long = (name: keyof typeof logical) => ({ name, type: { type: "long", logicalType: logical[name] } });
  const schema = JSON.stringify({
    ...{ type: "record", name: "Event" },
    fields: [
      ...[{ name: "id", type: { type: "string", logicalType: "uuid" } }, long("micros"), long("nanos"), long("local")],
      { name: "at", type: { type: "long", logicalType: "timestamp-millis" } },
      { name: "day", type: { type: "int", logicalType: "date" } },
      { name: "price", type: { type: "bytes", logicalType: "decimal", precision: 10, scale: 4 } },
      { name: "kind", type: { type: "enum", name: "Kind", symbols: ["A", "B"] } },
      { name: "map", type: { type: "map", values: ["null", "string", "long"] } },
    ],
  });
  const reader = new AvroSchema(schema);
  const event = {
    ...{ id: "0A000000-0000-4000-8000-000000000000", micros: 1_700_000_000_123_456, nanos: 1_700_000_000_123_456_789n },
    ...{ local: 1_700_000_000_000, at: 1_700_000_000_000, day: 19_675, price: "12.3400", kind: "B" },
    map: { a: "x" },
  };
  const definition = of({
    id: text({ as: "uuid" }),
    micros: instant({ as: "us" }),
    nanos: instant({ as: "ns" }),
    local: instant({}),
    day: instant({ as: "days" }),
    price: decimal({ scale: 2, min: 0, max: 100 }),
    kind: text(),
    inner: text({ from: "$.map.a" }),
  });
  const decoded = decodeOne(definition, reader.encode(7, event), () => reader);
  expect(decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject).toEqual({
    ...{ id: "0a000000-0000-4000-8000-000000000000", micros: 1_700_000_000_123, nanos: 1_700_000_000_123 },
    ...{ local: 1_700_000_000_000, at: 1_700_000_000_000, day: Date.parse("2023-11-14"), price: 12.34, kind: "B" },
    inner: "x",
  });
});

test("events as Spring, Python and Go write them are read by contracts of a few lines", () => {
  const read = (fields: Fields, record: string) => {
    const decoded = decodeOne(streamFrom(streamDocument(of(fields))), Buffer.from(record));
    return decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject;
  };
  // Jackson: camel case, an Instant as seconds with nanoseconds, a BigDecimal as text.
  const spring = {
    id: text({ as: "uuid", from: "$.orderId" }),
    at: instant({ as: "s", from: "$.createdAt" }),
    total: decimal({ scale: 2, min: 0, max: 1e6, as: "text", from: "$.order.totalAmount" }),
  };
  const uuid = "3F2504E0-4F89-41D3-9A0C-0305E82C3301";
  expect(
    read(spring, `{"orderId":"${uuid}","createdAt":1700000000.123456000,"order":{"totalAmount":"99.90"}}`),
  ).toEqual({
    ...{ id: uuid.toLowerCase(), at: 1_700_000_000_123, total: 99.9 },
  });
  // Python: str(True), a naive datetime, a sum of floats; a field that is called like a word of SQL.
  const python = {
    at: instant({ as: "iso", zone: "Europe/Berlin", from: "$.timestamp" }),
    select: flag({ as: "text" }),
    group: decimal({ scale: 2, min: 0, max: 10, round: "half-even" }),
  };
  const record = '{"id":"p","timestamp":"2024-07-15T14:30:00.123456","select":"True","group":0.30000000000000004}';
  expect(read(python, record)).toEqual({
    ...{ id: "p", at: Date.parse("2024-07-15T12:30:00.123Z"), select: true, group: 0.3 },
  });
  expect(read(python, record.replace("2024-07-15T14", "2024-03-31T02"))).toMatch(/^contract: at: not an ISO 8601 time/);
  // Go: RFC 3339 with nanoseconds, an int64 with the tag `,string`, names that differ in their spelling only.
  const go = {
    at: instant({ as: "iso", from: "$.Time" }),
    user_id: integer({ min: 0, max: 2 ** 50, as: "text", from: "$.UserId" }),
    user_no: integer({ min: 0, max: 2 ** 50, from: "$.UserID" }),
  };
  const sent = '{"id":"g","Time":"2024-07-15T14:30:00.123456789+02:00","UserId":"1125899906842624","UserID":7}';
  expect(read(go, sent)).toEqual({
    ...{ id: "g", at: Date.parse("2024-07-15T12:30:00.123Z"), user_id: 2 ** 50, user_no: 7 },
  });
});
