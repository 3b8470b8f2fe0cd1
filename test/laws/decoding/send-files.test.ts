import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { stringify } from "csv-stringify/sync";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
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
import { quoteName, quoteText } from "../../../core/contract/sql.ts";
import { stream } from "../../../core/contract/stream.ts";
import { CsvSplitter } from "../../../ingest/read/csv.ts";
import { EventMaker, isRefusal } from "../../../ingest/send/event-maker.ts";
import { openSource } from "../../../ingest/send/send-rows.ts";
import { FILE_DEFAULTS, type FileOptions } from "../../../ingest/send/source.ts";
import { PLAIN_FORMS } from "../../../ingest/send/value-forms.ts";
import { type Duck, DuckPool } from "../../../store/duckdb/duck.ts";

/** What other programs write, `send` reads back to the same values, whatever stands in them. */

const MAX = Number.MAX_SAFE_INTEGER;
const fields = {
  id: text({ max: 200 }),
  at: instant({ from: "1990-01-01", to: "2100-01-01" }),
  note: optional(text({ max: 200 })),
  size: optional(integer({ min: -MAX, max: MAX })),
  price: optional(decimal({ scale: 2, min: -1e9, max: 1e9 })),
  ok: optional(flag()),
};
const things = stream("things", {
  ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 10 },
  fields,
});

interface Thing {
  readonly id: string;
  readonly at: number;
  readonly note: string | null;
  readonly size: number | null;
  readonly price: string | null;
  readonly ok: boolean | null;
}

let folder: string;
let pool: DuckPool;
let duck: Duck;
let files = 0;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-files-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  duck = await pool.connect();
});
afterAll(async () => {
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

/** The events that would be sent, and what is refused. */
async function read(file: string, options: Partial<FileOptions> = {}) {
  const source = await openSource(file, things, { ...FILE_DEFAULTS, ...options });
  const maker = new EventMaker({ stream: things, forms: PLAIN_FORMS }, source.columns);
  const events: Record<string, unknown>[] = [];
  const refused: unknown[] = [];
  for await (const { rows } of source.pieces)
    for (const row of rows) {
      const made = "cells" in row ? maker.ofCells(row.cells) : "json" in row ? maker.ofJson(row.json) : row.refused;
      if (isRefusal(made)) refused.push({ row: row.row, ...made });
      else events.push(JSON.parse(String(made.value)) as Record<string, unknown>);
    }
  source.close();
  return { events, refused };
}

async function written(name: string, content: string | Buffer): Promise<string> {
  const file = join(folder, `${files++}-${name}`);
  await writeFile(file, content);
  return file;
}

/** Text made of what separates, quotes, comments, escapes and pads in one dialect or another. */
const odd = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ..."\"',;\t|#\\ \n\r%&=-+@0",
        "\r\n",
        '""',
        "\ufeff",
        "NULL",
        "NA",
        "\\N",
        "é",
        "€",
        "日本",
        "😀",
        "\u0000",
        "\u2028",
      ),
      fc.string({ unit: "grapheme", maxLength: 4 }),
    ),
    { maxLength: 12 },
  )
  .map((parts) => parts.join("").slice(0, 200).toWellFormed());

const thing: fc.Arbitrary<Thing> = fc.record({
  id: odd.filter((id) => id !== ""),
  at: fc.integer({ min: Date.UTC(1990, 0, 1), max: Date.UTC(2099, 0, 1) }),
  note: fc.option(odd.filter((note) => note !== "")),
  size: fc.option(fc.maxSafeInteger()),
  price: fc.option(fc.integer({ min: -(10 ** 11), max: 10 ** 11 }).map((cents) => (cents / 100).toFixed(2))),
  ok: fc.option(fc.boolean()),
});
const many = fc.array(thing, { minLength: 1, maxLength: 40 });

/** What the events have to be: missing values are left out. */
function expected(all: readonly Thing[]): Record<string, unknown>[] {
  return all.map(({ price, ...rest }) => {
    const event = { ...rest, price: price === null ? null : Number(price) };
    return Object.fromEntries(Object.entries(event).filter(([, value]) => value !== null));
  });
}

const names = Object.keys(fields) as (keyof Thing)[];
const cell = (value: Thing[keyof Thing]) => (value === null ? "" : String(value));

describe("a delimited text that another library wrote", () => {
  test("reads back to the same values, with any delimiter, line end and encoding", async () => {
    const dialect = fc.record({
      delimiter: fc.constantFrom(",", ";", "\t", "|"),
      record_delimiter: fc.constantFrom("\n", "\r\n", "\r"),
      quoted: fc.boolean(),
      encoding: fc.constantFrom("utf8", "utf-8 with mark", "utf-16le", "utf-16be"),
      packed: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(many, dialect, async (all, { encoding, packed, ...how }) => {
        const written_ = stringify(
          all.map((one) => names.map((name) => cell(one[name]))),
          // Whatever a reader may take for a line end has to be in quotes.
          { ...how, header: true, columns: names, quoted_match: /[\r\n"]/ },
        );
        const bytes = encoded(written_, encoding);
        const file = await written(`a.csv${packed ? ".gz" : ""}`, packed ? gzipSync(bytes) : bytes);
        expect(await read(file)).toEqual({ events: expected(all), refused: [] });
      }),
      { numRuns: 150 },
    );
  });

  test("is split into the same values wherever the pieces of text end", () => {
    fc.assert(
      fc.property(many, fc.constantFrom("\n", "\r\n", "\r"), fc.array(fc.nat(60)), (all, record_delimiter, cuts) => {
        const rows = all.map((one) => names.map((name) => cell(one[name])));
        const whole = stringify(rows, { record_delimiter, quoted_match: /[\r\n"]/ });
        const splitter = new CsvSplitter(",");
        const found: (readonly (string | null)[])[] = [];
        const drain = () => {
          for (let row = splitter.next(); row !== null; row = splitter.next()) found.push(row.cells);
        };
        let from = 0;
        for (const length of cuts) {
          splitter.push(whole.slice(from, from + length), false);
          from += length;
          drain();
        }
        splitter.push(whole.slice(from), true);
        drain();
        expect(found).toEqual(rows.map((row) => row.map((one) => (one === "" ? null : one))));
      }),
      { numRuns: 300 },
    );
  });

  test("of DuckDB reads back to the same values, and so do its JSON and its Parquet", async () => {
    const quoted = (value: string | null) => (value === null ? "NULL" : `${sqlText(value)}`);
    // DuckDB's texts have no zero character.
    const some = many.map((all) =>
      all.map((one) => ({ ...one, id: clean(one.id), note: one.note && clean(one.note) })),
    );
    await fc.assert(
      fc.asyncProperty(some, async (all) => {
        const rows = all.map(
          ({ id, at, note, size, price, ok }) =>
            `(${quoted(id)}, make_timestamp_ms(${at}), ${quoted(note)}, ${size}` +
            `::BIGINT, ${price}::DECIMAL(18,2), ${ok}::BOOLEAN)`,
        );
        const select = `SELECT * FROM (VALUES ${rows.join(", ")}) AS things(${names.map(quoteName).join(", ")})`;
        for (const [name, format] of [
          ["d.csv", "FORMAT csv, HEADER"],
          ["d.tsv", "FORMAT csv, HEADER, DELIMITER '\t'"],
          ["d.csv.gz", "FORMAT csv, HEADER, COMPRESSION gzip, FORCE_QUOTE *"],
          ["d.ndjson", "FORMAT json"],
          ["d.json", "FORMAT json, ARRAY true"],
          ["d.json.gz", "FORMAT json, ARRAY true, COMPRESSION gzip"],
          ["d.parquet", "FORMAT parquet"],
        ]) {
          const file = join(folder, `${files++}-${name}`);
          await duck.run(`COPY (${select}) TO ${quoteText(file)} (${format})`);
          const { events, refused } = await read(file);
          // JSON has nulls in the place of what is missing.
          const given = events.map((event) =>
            Object.fromEntries(Object.entries(event).filter(([, one]) => one !== null)),
          );
          expect([name, given, refused]).toEqual([name, expected(all), []]);
        }
      }),
      { numRuns: 25 },
    );
  });
});

const clean = (value: string) => value.replaceAll("\u0000", "0").replaceAll("\r", "\n") || "x";
const sqlText = (value: string) => quoteText(value);

function encoded(value: string, encoding: string): Buffer {
  if (encoding === "utf8") return Buffer.from(value);
  if (encoding === "utf-8 with mark") return Buffer.from(`\ufeff${value}`);
  const little = Buffer.from(`\ufeff${value}`, "utf16le");
  return encoding === "utf-16le" ? little : little.swap16();
}

describe("a table's row", () => {
  const decimals = fc.tuple(fc.integer({ min: -1_000, max: 1_000 }), fc.nat(9_999_999));
  const number = fc.oneof(
    fc.maxSafeInteger().map(String),
    fc.integer({ min: -2_000, max: 2_000 }).map(String),
    fc.double({ noNaN: true }).map(String),
    decimals.map(([whole, part]) => `${whole}.${part}`),
    fc.constantFrom(..."+5 -0 0 -0.0 007 .5 5. 12.0 1e3 9007199254740993 0x10 --1 1_000 NaN".split(" "), " 7", "7 "),
  );
  const time = fc.oneof(
    fc
      .date({ noInvalidDate: true, min: new Date(0), max: new Date(Date.UTC(2060, 0, 1)) })
      .map((date) => date.toISOString()),
    fc.constantFrom("2026-02-30", "2026-03-01 08:02:00 UTC", "2026-03-01t08:02:00z", "1772352120000", "01772352120000"),
  );
  const any = fc.oneof(
    ...[fc.constant(null), number, time, odd],
    fc.constantFrom("a", "b c", "true", "False", "1", '[{"sku":"x","units":1}]', "\udcfc", "\ud800"),
    fc.constantFrom(Number.NaN, 1.5, 12),
  );
  /** A field, and a value that may be one of its own. */
  const bounds = fc.tuple(fc.maxSafeInteger(), fc.nat(1_000_000)).map(([one, span]) => {
    const min = Math.min(one, MAX - span);
    return integer({ min, max: min + span });
  });
  const kinds: (readonly [fc.Arbitrary<Field>, fc.Arbitrary<string | number | null>])[] = [
    [fc.nat(20).map((max) => text({ max })), odd],
    [fc.constant(oneOf("a", "b c", "é", "")), fc.constantFrom("a", "b c", "é", "", "A")],
    [fc.constant(flag()), fc.constantFrom("true", "false", "TRUE", "t", "0")],
    [bounds, number],
    [fc.constant(integer({ min: -MAX, max: MAX })), number],
    [fc.integer({ min: 1, max: 6 }).map((scale) => decimal({ scale, min: -1_000, max: 1_000_000 })), number],
    [fc.constant(instant({ from: "1970-01-01", to: "2050-01-01" })), time],
    [fc.constant(list({ sku: text(), units: integer({ min: 0, max: 9 }) })), any],
    [fc.constant(withDefault(integer({ min: 0, max: 9 }), 3)), number],
  ];
  const column = fc
    .oneof(...kinds.map(([field, own]) => fc.tuple(field, fc.oneof({ weight: 4, arbitrary: own }, any), fc.boolean())))
    .map(([field, value, isOptional]) => ({
      field: isOptional && !field.hasDefault ? optional(field) : field,
      value,
    }));

  test("is the same record, or refused, whichever way it is made", () => {
    fc.assert(
      fc.property(fc.array(column, { minLength: 1, maxLength: 4 }), fc.nat(3), (columns, place) => {
        const named = Object.fromEntries(columns.map(({ field }, index) => [`f${index}`, field]));
        const key = `f${place % columns.length}`;
        const roles = { key, eventId: key, eventTime: key };
        const definition = stream("any", { ...roles, revision: 1, partitions: 1, dedupWindow: 10, fields: named });
        const maker = new EventMaker({ stream: definition, forms: PLAIN_FORMS }, Object.keys(named));
        const cells = columns.map(({ value }) => value);
        const fast = maker.quickly(cells);
        if (fast === null) return;
        const slow = maker.thoroughly(cells);
        expect(isRefusal(slow) ? slow : { key: slow.key, event: JSON.parse(String(slow.value)) }).toEqual({
          key: fast.key,
          event: JSON.parse(String(fast.value)),
        });
      }),
      { numRuns: 5_000 },
    );
  });

  test("of values as most files have them is made quickly", () => {
    const maker = new EventMaker({ stream: things, forms: PLAIN_FORMS }, names);
    for (const cells of [
      ["a", "2026-03-01T08:02:00Z", "x", "12", "12.50", "true"],
      ['é "b"', "2026-03-01 08:02:00", null, "-3", "-0.5", null],
      ["007", "1772352120000", "", "0", "0", "false"],
    ])
      expect(maker.quickly(cells)).not.toBeNull();
  });
});
