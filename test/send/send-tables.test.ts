import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decimal, flag, instant, integer, list, optional, text } from "../../core/contract/fields.ts";
import { stream } from "../../core/contract/stream.ts";
import { EventMaker, isRefusal } from "../../ingest/send/event-maker.ts";
import type { InvalidRow } from "../../ingest/send/refusal.ts";
import { sendEvents } from "../../ingest/send/send-events.ts";
import { openSource } from "../../ingest/send/send-rows.ts";
import { eventValue } from "../../ingest/send/table-values.ts";
import { PLAIN_FORMS } from "../../ingest/send/value-forms.ts";
import { type Duck, DuckPool } from "../../store/duckdb/duck.ts";

/** Tables are read to the last digit, or a row is refused with its column. */

const MAX = Number.MAX_SAFE_INTEGER;
const fields = {
  id: text({ max: 60 }),
  at: instant({ from: "2020-01-01T00:00:00Z", to: "2040-01-01T00:00:00Z" }),
  size: optional(integer({ min: -MAX, max: MAX })),
  price: optional(decimal({ scale: 2, min: -1_000_000, max: 1_000_000 })),
  ok: optional(flag()),
  lines: optional(list({ sku: text(), units: integer({ min: 0, max: MAX }) })),
  note: optional(text()),
};
const parts = stream("parts", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 10,
  fields,
});

const AT = Date.parse("2026-03-01T08:02:00Z");
let folder: string;
let pool: DuckPool;
let duck: Duck;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-tables-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  duck = await pool.connect();
});
afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

async function parquet(select: string): Promise<string> {
  const file = join(folder, `${files++}.parquet`);
  await duck.run(`COPY (${select}) TO '${file}' (FORMAT parquet)`);
  return file;
}

async function csv(...lines: readonly string[]): Promise<string> {
  const file = join(folder, `${files++}.csv`);
  await writeFile(file, lines.join("\n"));
  return file;
}

/** What would be sent of a file, and the rows that would not. */
async function read(file: string): Promise<{ events: Record<string, unknown>[]; invalid: InvalidRow[] }> {
  const source = await openSource(file, parts);
  const maker = new EventMaker({ stream: parts, forms: PLAIN_FORMS }, source.columns);
  const events: Record<string, unknown>[] = [];
  for await (const { rows } of source.pieces)
    for (const one of rows) {
      const made = "cells" in one ? maker.ofCells(one.cells) : { reason: "no cells" };
      if (!isRefusal(made)) events.push(JSON.parse(String(made.value)) as Record<string, unknown>);
    }
  source.close();
  const invalid: InvalidRow[] = [];
  const again = await openSource(file, parts);
  const options = { brokers: "", stream: parts, topic: "parts", file, dryRun: true, skipInvalid: true };
  await sendEvents(again, {
    ...options,
    stop: new AbortController().signal,
    onInvalid: (row) => invalid.push(row),
    onProgress: () => {},
  });
  again.close();
  return { events, invalid };
}

const row = (columns: string) => `SELECT ${AT}::BIGINT AS at, ${columns}`;
const union = (...selects: readonly string[]) => selects.join(" UNION ALL BY NAME ");

describe("ids of a Parquet file", () => {
  test.each([
    ["BIGINT", "9007199254740789", "9007199254740790"],
    ["BIGINT", "-9223372036854775808", "9223372036854775807"],
    ["UBIGINT", "18446744073709551614", "18446744073709551615"],
    ["DECIMAL(38,0)", "12345678901234567890123456789012345678", "12345678901234567890123456789012345677"],
    ["DECIMAL(38,4)", "1234567890123456789012345678901234.5678", "1234567890123456789012345678901234.5679"],
    ["DOUBLE", "12", "12.5"],
    ["FLOAT", "0.1", "16777216"],
    ["TIMESTAMP", "2026-03-01 08:02:00.123456", "2026-03-01 08:02:00.123457"],
    ["TIMESTAMP_NS", "2026-03-01 08:02:00.123456788", "2026-03-01 08:02:00.123456789"],
    ["UUID", "00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002"],
    ["VARCHAR", "007", "9007199254740993"],
  ])("of type %s keep every digit: %s and %s", async (type, first, second) => {
    const ids = [first, second].map((id) => row(`'${id}'::${type} AS id`));
    const { events, invalid } = await read(await parquet(union(...ids)));
    expect(invalid).toEqual([]);
    expect(events.map(({ id }) => id)).toEqual([first, second]);
  });

  test("are the same text with and without the zeros of a decimal's scale", async () => {
    const { events } = await read(
      await parquet(union(...[12, 12.5, 100].map((n) => row(`${n}::DECIMAL(10,2) AS id`)))),
    );
    expect(events.map(({ id }) => id)).toEqual(["12", "12.5", "100"]);
  });
});

describe("integer fields", () => {
  const within = [`${MAX}`, `-${MAX}`, "0", "12"];
  const beyond = ["9007199254740992", "9007199254740993", "9223372036854775807", "-9223372036854775808"];

  test.each([
    ["Parquet", async (value: string) => parquet(row(`'a' AS id, '${value}'::BIGINT AS size`))],
    ["Parquet, as decimals", async (value: string) => parquet(row(`'a' AS id, '${value}'::DECIMAL(38,6) AS size`))],
    ["CSV", async (value: string) => csv("id,at,size", `a,${AT},${value}`)],
  ])("of %s are exact within 2^53, and refused by row beyond", async (_, file) => {
    for (const value of within) expect((await read(await file(value))).events).toMatchObject([{ size: Number(value) }]);
    for (const value of beyond) {
      const { invalid } = await read(await file(value));
      expect(invalid).toMatchObject([{ row: 1, column: "size", value }]);
    }
  });

  test("are read from floating point where that is whole", async () => {
    const sizes = ["12.0", "1e15", "-0.0", "12.5", "1e16", "1e300"];
    const { events, invalid } = await read(
      await parquet(union(...sizes.map((size) => row(`'a' AS id, '${size}'::DOUBLE AS size`)))),
    );
    expect(events.map(({ size }) => size).slice(0, 3)).toEqual([12, 1e15, 0]);
    expect(invalid.map(({ row }) => row)).toEqual([4, 5, 6]);
    expect(invalid[0]).toMatchObject({ column: "size", value: "12.5", reason: "is not a whole number" });
  });
});

test("a decimal that would have to be rounded is refused, and so is one in a list", async () => {
  const { events, invalid } = await read(
    await csv(
      "id,at,price,lines",
      `a,${AT},12.30,`,
      `b,${AT},1.10000000000000000001,`,
      `c,${AT},+.5,"[{""sku"":""9007199254740993"",""units"":9007199254740991}]"`,
      `d,${AT},1e-2,"[{""sku"":""x"",""units"":9007199254740992.5}]"`,
      `e,${AT},0.001,`,
    ),
  );
  expect(events.map(({ price }) => price)).toEqual([12.3, 0.5]);
  expect(events[1]?.lines).toEqual([{ sku: "9007199254740993", units: MAX }]);
  expect(invalid).toMatchObject([
    { row: 2, column: "price", value: "1.10000000000000000001", reason: "has more than 2 decimal places" },
    { row: 4, column: "lines", value: "9007199254740992.5", reason: "has more digits than a number of JSON keeps" },
    { row: 5, column: "price", value: "0.001", reason: "has more than 2 decimal places" },
  ]);
});

test("a long number is ignored in a field of a list's element that the contract does not have", async () => {
  const long = "123456789012345678901";
  const { events, invalid } = await read(
    await csv(
      "id,at,price,lines",
      `a,${AT},1,"[{""sku"":""x\\""1"",""units"":1,""id"":${long},""of"":{""units"":${long}}}]"`,
      `b,${AT},1,"[{""sku"":""y"",""units"":1},{""id"":1,""units"":${long}}]"`,
    ),
  );
  expect(events.map(({ lines }) => lines)).toMatchObject([[{ sku: 'x"1', units: 1 }]]);
  expect(invalid).toMatchObject([{ row: 2, column: "lines", value: long }]);
});

test("NaN and Infinity are ignored where the contract has no such column, and refused with row and column where it has", async () => {
  const ignored = await parquet(union(row("'a' AS id, 'nan'::DOUBLE AS other, ['inf'::DOUBLE] AS more")));
  expect(await read(ignored)).toMatchObject({ events: [{ id: "a", at: AT }], invalid: [] });
  for (const [column, type] of [
    ["size", "DOUBLE"],
    ["price", "FLOAT"],
    ["note", "DOUBLE"],
  ])
    for (const value of ["nan", "inf", "-inf"]) {
      const file = await parquet(union(row("'a' AS id"), row(`'b' AS id, '${value}'::${type} AS ${column}`)));
      const { events, invalid } = await read(file);
      expect(events).toHaveLength(1);
      expect(invalid).toMatchObject([{ row: 2, column, reason: "is not a value" }]);
    }
  const nested = await parquet(row("'a' AS id, [{'sku': 'x', 'units': 'nan'::DOUBLE}] AS lines"));
  expect((await read(nested)).invalid).toMatchObject([
    { row: 1, column: "lines", reason: "NaN and Infinity are not values" },
  ]);
});

test("times of any precision are instants to the millisecond, and a day that there is not is refused", async () => {
  const times = union(
    ..."TIMESTAMP_S TIMESTAMP_MS TIMESTAMP TIMESTAMP_NS TIMESTAMPTZ"
      .split(" ")
      .map((type) => `SELECT 'a' AS id, '2026-03-01 08:02:00.123456789'::${type}::VARCHAR AS at`),
  );
  const { events, invalid } = await read(await parquet(times));
  expect(invalid).toEqual([]);
  expect(events.map(({ at }) => Number(at) - AT)).toEqual([0, 123, 123, 123, 123]);
  const floats = await read(await parquet(`SELECT 'a' AS id, ${AT}::DOUBLE AS at`));
  expect(floats.events).toEqual([{ id: "a", at: AT }]);
  const february = await read(await csv("id,at", "a,2026-02-28", "b,2026-02-30", "c,2026-02-29T10:00:00Z"));
  expect(february.invalid.map(({ row }) => row)).toEqual([2, 3]);
});

test("any number is either the same number in the event, or refused", () => {
  const digits = fc.tuple(fc.bigInt({ min: -(10n ** 25n), max: 10n ** 25n }), fc.nat(20));
  fc.assert(
    fc.property(digits, fc.constantFrom(0, 1, 2, 6), ([units, places], scale) => {
      const size = String(units < 0n ? -units : units).padStart(places + 1, "0");
      const written =
        `${units < 0n ? "-" : ""}${size.slice(0, size.length - places)}` +
        `${places === 0 ? "" : `.${size.slice(-places)}`}`;
      const field = scale === 0 ? integer({ min: -MAX, max: MAX }) : decimal({ scale, min: -1e8, max: 1e8 });
      const read = eventValue(field, written);
      if (!read.ok || !field.zod.safeParse(read.value).success) {
        const fits = units % 10n ** BigInt(places) === 0n && units / 10n ** BigInt(places);
        if (fits !== false) expect(fits > BigInt(MAX) || fits < -BigInt(MAX) || scale > 0).toBe(true);
        return;
      }
      const scaled = Math.round(Number(read.value) * 10 ** scale);
      expect(BigInt(scaled) * 10n ** BigInt(places)).toBe(units * 10n ** BigInt(scale));
    }),
    { numRuns: 2_000 },
  );
});

test("texts that a Parquet file holds as bytes are read as UTF-8, and bytes that are none are an error", async () => {
  const whole = await parquet(`SELECT encode('caf\u00e9 \\x') AS id, ${AT} AS at`);
  expect(await read(whole)).toMatchObject({ events: [{ id: "caf\u00e9 \\x" }], invalid: [] });
  const broken = await parquet(`SELECT '\\xE9'::BLOB AS id, ${AT} AS at`);
  await expect(read(broken)).rejects.toMatchObject({ code: "INPUT_MISSING" });
});
