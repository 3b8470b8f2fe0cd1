import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { RecordScanner } from "../../../core/codec/decode/scan.ts";
import type { Field } from "../../../core/contract/field.ts";
import { decimal, flag, instant, integer, list, oneOf, text } from "../../../core/contract/fields.ts";
import { quoteText } from "../../../core/contract/sql.ts";
import { stream, type Version } from "../../../core/contract/stream.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/**
 * Every row of the table "How a record writes a value": fifty made-up records of each, read by the scanner and by the
 * contract, are what DuckDB's own functions make of the same JSON.
 */

interface Row {
  readonly field: Field;
  /** JSON texts. */
  readonly values: fc.Arbitrary<string>;
  /** SQL over `v`, a JSON text, `t`, its text, and `n`, its number: the column's value, NULL where it is refused. */
  readonly sql: string;
}

const WHOLE = "CASE WHEN n = floor(n) THEN n END";
const TEXT_OF_NUMBER = String.raw`regexp_full_match(t, '-?(0|[1-9][0-9]*)(\.[0-9]+)?')`;
/** The number that a JSON number or a text of one says. */
const SAID = `coalesce(n, CASE WHEN ${TEXT_OF_NUMBER} THEN TRY_CAST(t AS DECIMAL(38, 12)) END)`;
const whole = (number: string) => `CASE WHEN ${number} = floor(${number}) THEN ${number} END`;
const within = (number: string, most: number) =>
  `CASE WHEN ${number} BETWEEN -${most} AND ${most} THEN (${number})::BIGINT END`;
const hundredths = (number: string) => within(whole(`(${number} * 100)`), 1e9);

const nat = (max: number) => fc.nat(max).map(String);
const signed = fc.tuple(
  fc.constantFrom("", "-"),
  fc.nat(99_999),
  fc.constantFrom("", ".0", ".5", ".25", ".00", ".125"),
);
const numbers = fc.oneof(
  signed.map(([minus, whole, part]) => `${whole === 0 && part === "" ? "" : minus}${whole}${part}`),
  fc.tuple(fc.nat(999), fc.nat(999_999)).map(([whole, part]) => `${whole}.${String(part).padStart(6, "0")}`),
  fc.constantFrom("1e3", "1.2e1", "2.5E-1", "10000001", "-10000001", "99999999999"),
);
const quoted = (one: fc.Arbitrary<string>) => one.map((value) => JSON.stringify(value));
const texts = quoted(
  fc.constantFrom("", "012", "+1", "1e3", " 1", "1 ", "1.", ".5", "x", "0x10", "1,5", "12", "-3.00"),
);
const others = fc.constantFrom("null", "true", "[]", "{}", '"x"', "[1]");
const writtenNumbers = fc.oneof(numbers, quoted(numbers), texts, others);

const two = (value: number) => String(value).padStart(2, "0");
const local = fc
  .tuple(
    fc.constantFrom("2024-01-15", "2024-02-29", "2023-02-29", "2024-03-31", "2024-10-27", "2019-12-31"),
    fc.tuple(fc.constantFrom(0, 1, 2, 3, 12, 23, 24), fc.nat(59), fc.nat(60)),
    fc.constantFrom("T", " ", ""),
    fc.constantFrom("", ".1", ".123", ".1239", ".123456", ".123456789"),
  )
  .map(([day, clock, between, fraction]) => {
    if (between === "") return day;
    return `${day}${between}${clock.map(two).join(":")}${fraction}`;
  });
const offsets = fc.constantFrom("", "Z", "+02:00", "-03:30", "+0200", "+00:00", "+25:00");
const isoTexts = fc
  .tuple(local, offsets)
  .map(([time, offset]) => JSON.stringify(time.length > 10 ? time + offset : time));
const ISO = String.raw`'\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})?)?'`;
/** A local time to the millisecond, cut off; NULL for a day or a time of day that there is not. */
const CLOCK = String.raw`CASE WHEN regexp_full_match(t, ${ISO}) AND NOT regexp_matches(t, '[T ]24|:60') THEN
  TRY_CAST(regexp_replace(regexp_extract(t, '^\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}:\d{2}(\.\d{1,3})?)?'), 'T', ' ')
    AS TIMESTAMP) END`;
const OFFSET = String.raw`regexp_extract(t, '(Z|[+-]\d{2}:?\d{2})$', 1)`;
/** The minutes of an offset; NULL for none, and for one of a day. */
const minutesOf = (offset: string) => `CASE WHEN ${offset} = 'Z' THEN 0
  WHEN length(${offset}) >= 5 AND ${offset}[2:3]::INTEGER < 24 THEN
    (CASE WHEN ${offset}[1] = '-' THEN -1 ELSE 1 END) * (${offset}[2:3]::INTEGER * 60 + ${offset}[-2:]::INTEGER) END`;
const shifted = (minutes: string) => `epoch_ms(${CLOCK}) - 60000 * (${minutes})`;
const IS_DAY = "length(t) = 10";
const atOffset = (absent: string) =>
  `CASE WHEN ${IS_DAY} OR ${OFFSET} = '' THEN ${absent} ELSE ${shifted(minutesOf(OFFSET))} END`;
const SHOWN = (more: string) => `timezone('Europe/Berlin', timezone('Europe/Berlin', ${CLOCK}) ${more})`;
const BERLIN = `CASE WHEN ${SHOWN("")} = ${CLOCK} AND ${SHOWN("+ INTERVAL 1 HOUR")} <> ${CLOCK}
  AND ${SHOWN("- INTERVAL 1 HOUR")} <> ${CLOCK} THEN epoch_ms(timezone('Europe/Berlin', ${CLOCK})) END`;

const inTime = (ms: string) =>
  `CASE WHEN ${ms} BETWEEN epoch_ms(TIMESTAMP '2000-01-01') AND ` +
  `epoch_ms(TIMESTAMP '2100-01-01') THEN (${ms})::BIGINT END`;
const seconds = fc.tuple(
  fc.integer({ min: 900_000_000, max: 4_200_000_000 }),
  fc.constantFrom("", ".5", ".1239", ".0"),
);
const units = (zeros: number) =>
  fc.oneof(
    // A fraction would make more digits than a double has.
    seconds.map(([second, part]) => `${second}${"123456789".slice(0, zeros)}${zeros < 6 ? part : ""}`),
    writtenNumbers.filter((one) => one.length < 12),
  );
const numberOrText = (one: fc.Arbitrary<string>) =>
  fc.oneof(one, quoted(one.filter((value) => !value.includes('"'))), others);

const hex = "0123456789abcdef";
const uuid = fc.string({ unit: fc.constantFrom(...hex, "A", "F", "g"), minLength: 32, maxLength: 32 });
const dashed = (one: string) =>
  [one.slice(0, 8), one.slice(8, 12), one.slice(12, 16), one.slice(16, 20), one.slice(20)].join("-");

/** The integer that bytes in two's complement say, of their hexadecimal digits. */
const BYTES = `CASE WHEN n IS NULL THEN TRY(hex(from_base64(t))) END`;
const DIGITS = `list_transform(string_split(${BYTES}, ''), lambda d: (strpos('0123456789ABCDEF', d) - 1)::HUGEINT)`;
const UNSIGNED = `list_reduce(${DIGITS}, lambda a, b: a * 16 + b)`;
const SIGNED = `CASE WHEN length(${BYTES}) > 0 THEN ${UNSIGNED} -
  CASE WHEN ${DIGITS}[1] >= 8 THEN 16::HUGEINT ** length(${BYTES}) ELSE 0 END END`;
const base64 = fc.oneof(
  fc.uint8Array({ minLength: 0, maxLength: 5 }).map((bytes) => JSON.stringify(Buffer.from(bytes).toString("base64"))),
  quoted(fc.constantFrom("BNI=", "BNI", "BN-=", " BNI=", "=", "12.5")),
  numbers,
);

/** Rounded to hundredths, exactly: `tie` says whether half of one is rounded up, of `q`, the hundredths below. */
const rounded = (tie: string) => {
  const size = "(abs(n) * 100)";
  const q = `floor(${size})`;
  return within(
    `(CASE WHEN n < 0 THEN -1 ELSE 1 END) * (${q} + CASE WHEN ${size} - ${q} > 0.5 OR (` +
      `${size} - ${q} = 0.5 AND ${tie.replace("q", q)}) THEN 1 ELSE 0 END)`,
    1e9,
  );
};

const money = { scale: 2, min: -1e7, max: 1e7 } as const;
const bounds = { min: -1e7, max: 1e7 } as const;
const rows: Readonly<Record<string, Row>> = {
  "integer({ … })": { field: integer(bounds), values: fc.oneof(nat(99_999), writtenNumbers), sql: within(WHOLE, 1e7) },
  'integer({ …, as: "text" })': {
    field: integer({ ...bounds, as: "text" }),
    values: writtenNumbers,
    sql: within(whole(SAID), 1e7),
  },
  "decimal({ … })": { field: decimal(money), values: fc.oneof(numbers, writtenNumbers), sql: hundredths("n") },
  'decimal({ …, as: "text" })': {
    field: decimal({ ...money, as: "text" }),
    values: writtenNumbers,
    sql: hundredths(SAID),
  },
  'integer({ …, as: "base64" }), decimal({ …, as: "base64" })': {
    field: decimal({ ...money, as: "base64" }),
    values: base64,
    sql: `coalesce(${within(SIGNED, 1e9)}, ${hundredths("n")})`,
  },
  'decimal({ …, round: "half-even" })': {
    field: decimal({ ...money, round: "half-even" }),
    values: writtenNumbers,
    sql: rounded("q % 2 = 1"),
  },
  "flag()": {
    field: flag(),
    values: fc.oneof(fc.constantFrom("true", "false"), writtenNumbers),
    sql: "CASE WHEN k = 'BOOLEAN' THEN v::BOOLEAN END",
  },
  'flag({ as: "text" })': {
    field: flag({ as: "text" }),
    values: fc.oneof(quoted(fc.constantFrom("true", "True", "FALSE", "tRUE", "1", "0", "yes", "")), nat(2), others),
    sql: `CASE WHEN k IN ('BOOLEAN', 'UBIGINT', 'BIGINT') AND v IN ('true', 'false', '0', '1') THEN v::BOOLEAN
      WHEN t IN ('true', 'True', 'TRUE', '1') THEN true WHEN t IN ('false', 'False', 'FALSE', '0') THEN false END`,
  },
  'text({ as: "uuid" })': {
    field: text({ as: "uuid" }),
    values: fc.oneof(
      quoted(uuid.map((one) => dashed(one.replaceAll("g", "0")))),
      quoted(uuid.map(dashed)),
      quoted(uuid),
      others,
    ),
    sql: "CASE WHEN length(t) = 36 THEN TRY_CAST(t AS UUID)::VARCHAR END",
  },
  'text({ …, as: "scalar" })': {
    field: text({ max: 20, as: "scalar" }),
    values: fc.oneof(
      fc.tuple(fc.nat(9_999), fc.constantFrom("", ".50", ".125", ".0")).map((parts) => parts.join("")),
      quoted(fc.string({ unit: "grapheme-ascii", maxLength: 22 })),
      fc.constantFrom("true", "false", "null", "[]", "{}", "12345678901234567890"),
    ),
    sql: String.raw`CASE WHEN k = 'VARCHAR' AND length(t) <= 20 THEN t WHEN k = 'BOOLEAN' THEN v
      WHEN k IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE')
      THEN regexp_replace(regexp_replace(v, '(\.[0-9]*[1-9])0+$', '\1'), '\.0+$', '') END`,
  },
  'oneOf("a", "b")': {
    field: oneOf("a", "b"),
    values: fc.oneof(quoted(fc.constantFrom("a", "b", "A", "")), others),
    sql: "CASE WHEN t IN ('a', 'b') THEN t END",
  },
  'oneOf("a", "b", { as: "any-case" })': {
    field: oneOf("a", "b", { as: "any-case" }),
    values: fc.oneof(quoted(fc.constantFrom("a", "B", "A", "ａ", "c")), others),
    sql: "CASE WHEN t IN ('a', 'b', 'A', 'B') THEN lower(t) END",
  },
  "instant({ … })": {
    field: instant(),
    values: fc.oneof(
      nat(999_999_999).map((ms) => `1700${ms.padStart(9, "0")}`),
      units(3),
      others,
    ),
    sql: inTime(WHOLE),
  },
  'instant({ as: "ms" })': {
    field: instant({ as: "ms" }),
    values: numberOrText(units(3)),
    sql: inTime(`floor(${SAID})`),
  },
  'instant({ as: "s" })': {
    field: instant({ as: "s" }),
    values: numberOrText(units(0)),
    sql: inTime(`floor(${SAID} * 1000)`),
  },
  'instant({ as: "us" })': {
    field: instant({ as: "us" }),
    values: numberOrText(units(6)),
    sql: inTime(`floor(${SAID} / 1000)`),
  },
  'instant({ as: "ns" })': {
    field: instant({ as: "ns" }),
    values: numberOrText(units(9)),
    sql: inTime(`floor(${SAID} / 1000000)`),
  },
  'instant({ as: "days" })': {
    field: instant({ as: "days" }),
    values: numberOrText(fc.oneof(fc.integer({ min: 10_000, max: 50_000 }).map(String), numbers)),
    sql: inTime(`epoch_ms((DATE '1970-01-01' + (${within(whole(SAID), 1e5)})::INTEGER)::TIMESTAMP)`),
  },
  'instant({ as: "iso" })': {
    field: instant({ as: "iso" }),
    values: fc.oneof(isoTexts, others),
    sql: atOffset("NULL"),
  },
  'instant({ as: "iso", zone: "+02:00" })': {
    field: instant({ as: "iso", zone: "+02:00" }),
    values: fc.oneof(isoTexts, others),
    sql: atOffset(shifted("120")),
  },
  'instant({ as: "iso", zone: "Europe/Berlin" })': {
    field: instant({ as: "iso", zone: "Europe/Berlin" }),
    values: fc.oneof(isoTexts, others),
    sql: atOffset(BERLIN),
  },
  "list(…) of values, map(…)": {
    field: list(integer({ min: 0, max: 99 }), { max: 3 }),
    values: fc.oneof(
      fc.array(fc.nat(101), { maxLength: 4 }).map((all) => JSON.stringify(all)),
      fc.constantFrom("[1.5]", "[null]", '["1"]', "{}", "null", "[1.0]", "1"),
    ),
    sql: `CASE WHEN k = 'ARRAY' AND json_array_length(v) <= 3 AND
      coalesce(list_bool_and(list_transform(from_json(v, '["VARCHAR"]'), lambda e:
        coalesce(TRY_CAST(e AS DECIMAL(18, 6)) BETWEEN 0 AND 99
          AND TRY_CAST(e AS DECIMAL(18, 6)) = floor(TRY_CAST(e AS DECIMAL(18, 6))), false))), true)
      AND NOT contains(v, '"') THEN from_json(v, '["BIGINT"]')::VARCHAR END`,
  },
};

test("each row of the documented table is here", () => {
  const page = readFileSync(new URL("../../../docs/your-own-data.md", import.meta.url), "utf8");
  const [, after = ""] = page.split("### How a record writes a value\n");
  const [table = ""] = /(^\|.*\n)+/m.exec(after) ?? [];
  const first = table
    .split("\n")
    .slice(2, -1)
    .map((line) => (line.split(/(?<!\\)\|/)[1] ?? "").trim().replaceAll("`", ""));
  expect(first).toEqual(Object.keys(rows));
});

describe("fifty records of each row of the table", () => {
  const duck = duckForTests();
  const at = 1_700_000_000_000;

  test.each(Object.entries(rows))("%s", async (_, { field, values, sql }) => {
    const definition = stream("events", {
      ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
      fields: { id: text(), at: instant(), x: field },
    });
    const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
    const scanner = new RecordScanner(definition.versions[0] as Version);
    let [kept, refused] = [0, 0];
    await fc.assert(
      // Each kind of value comes as often as it stands here, so that the counts below are never luck.
      fc.asyncProperty(fc.noBias(fc.array(values, { minLength: 50, maxLength: 50 })), async (some) => {
        const usual = some.map((x, index) => Buffer.from(`{"id":"${index}","at":${at},"x":${x}}`));
        // A field that comes twice is not for the scanner: the contract reads these.
        const unusual = some.map((x, index) => Buffer.from(`{"id":"","id":"${index}","at":${at},"x":${x}}`));
        const { relation } = await decoder.decode([fetchedOf(0, 0n, [...usual, ...unusual])]);
        const list = `unnest([${some.map(quoteText).join(", ")}]) AS v, unnest(range(${some.length})) AS row`;
        const said = "SELECT *, json_type(v) AS k, CASE WHEN json_type(v) = 'VARCHAR' THEN v->>'$' END AS t,";
        const isNumber = "json_type(v) IN ('UBIGINT', 'BIGINT', 'HUGEINT', 'DOUBLE')";
        const number = `CASE WHEN ${isNumber} THEN TRY_CAST(v AS DECIMAL(38, 12)) END`;
        const wanted = await rowsOf(
          duck(),
          `SELECT ${sql} FROM (${said} ${number} AS n FROM (SELECT ${list})) ORDER BY row`,
        );
        const isList = field.column.endsWith("[]");
        const x = isList ? "x::VARCHAR" : "x";
        const found = await rowsOf(duck(), `SELECT ${x}, _reject FROM ${relation} ORDER BY _offset`);
        for (const [index, [value, reject]] of found.entries()) {
          const want = wanted[index % some.length]?.[0] ?? null;
          expect(value, `${some[index % some.length]} ${index < some.length ? "" : "by the contract"}`).toEqual(want);
          expect(reject === null, some[index % some.length]).toBe(want !== null);
          [kept, refused] = want === null ? [kept, refused + 1] : [kept + 1, refused];
        }
        for (const record of usual) scanner.scan(record, 0, record.length);
        for (const record of unusual) {
          const before = scanner.failed;
          scanner.scan(record, 0, record.length);
          expect(scanner.failed).toBe(before + 1);
        }
      }),
      { numRuns: 3 },
    );
    // The law says nothing where all are kept, or none, or none by the scanner.
    expect(Math.min(kept, refused)).toBeGreaterThan(0);
    expect(scanner.rows / 2).toBeGreaterThan(scanner.failed - scanner.rows / 2);
  });
});
