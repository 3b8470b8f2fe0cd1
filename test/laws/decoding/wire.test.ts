import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import { flag, instant, integer, list, oneOf, optional, text } from "../../../core/contract/fields.ts";
import { epochMs, isoMs, writtenInstant } from "../../../core/contract/record/record-time.ts";
import { parsePath, pathText } from "../../../core/contract/record/wire-path.ts";
import { checkStream, type Fields, stream } from "../../../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../../../core/contract/stream-document.ts";
import { writeWire } from "../../../core/contract/wire.ts";
import { EventMaker, isRefusal } from "../../../ingest/send/event-maker.ts";
import { PLAIN_FORMS } from "../../../ingest/send/value-forms.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Records whose fields lie elsewhere, and instants as producers write them. */

const of = <F extends Fields>(fields: F, eventTime: keyof F & string) =>
  stream("events", {
    ...{ revision: 1, partitions: 1, key: "id", eventId: "id", dedupWindow: 0 },
    fields: { id: text({ from: "$.id" }), ...fields },
    eventTime,
  });

const shipped = of(
  {
    at: instant({ from: "$.meta.time", as: "iso" }),
    paid: instant({ as: "s" }),
    seen: optional(instant({ from: "$['a.b']", as: "ns" })),
    sent: optional(instant({ from: "$.meta.sent", as: "us" })),
    kind: oneOf("a", "b", { from: "$.Kind" }),
    on: optional(flag({ from: "$.meta.flags.on" })),
    lines: list(
      { sku: text({ from: "$.SKU" }), at: optional(instant({ from: "$.t.at", as: "s" })) },
      { from: "$.Lines" },
    ),
  },
  "at",
);
const times = fc.integer({ min: Date.parse("2000-01-01"), max: Date.parse("2100-01-01") });
const events = fc.record({
  id: fc.string({ unit: "grapheme", maxLength: 9 }),
  at: times,
  paid: times,
  seen: fc.option(times),
  sent: fc.option(times),
  kind: fc.constantFrom("a", "b"),
  on: fc.option(fc.boolean()),
  lines: fc.array(fc.record({ sku: fc.string({ maxLength: 3 }), at: fc.option(times) }), { maxLength: 3 }),
});

describe("what is written to its places is read from them", () => {
  const duck = duckForTests();

  test("by the whole decoder, also of a definition that was stored, and DuckDB's own JSON functions find it there", async () => {
    const stored = streamFrom(streamDocument(shipped));
    expect(streamDocument(stored)).toEqual(streamDocument(shipped));
    const decoder = await Decoder.open(duck(), stored, NO_SCHEMAS);
    const bigint = (value: number | null) => (value === null ? null : BigInt(value));
    await fc.assert(
      fc.asyncProperty(fc.array(events, { minLength: 1, maxLength: 30 }), async (some) => {
        const texts = some.map((event) => JSON.stringify(writeWire(event, shipped.versions[0]?.wire ?? null)));
        const bytes = texts.map((one) => Buffer.from(one));
        const { relation, rejected } = await decoder.decode([fetchedOf(0, 0n, bytes)]);
        expect(rejected).toEqual([]);
        const columns = 'id, "at", paid, seen, sent, kind, "on", to_json(lines)';
        const rows = await rowsOf(duck(), `SELECT ${columns} FROM ${relation} ORDER BY _offset`);
        for (const [index, { id, at, paid, seen, sent, kind, on, lines }] of some.entries()) {
          const [row = [], record = ""] = [rows[index], texts[index]];
          expect(row.slice(0, -1)).toEqual([id, ...[at, paid, seen, sent].map(bigint), kind, on]);
          expect(JSON.parse(String(row.at(-1)))).toEqual(lines);
          const quoted = `'${record.replaceAll("'", "''")}'::JSON`;
          const extracted = [
            `epoch_ms((${quoted}->>'$.meta.time')::TIMESTAMPTZ)`,
            `(${quoted}->>'$.paid')::DECIMAL(18,3) * 1000`,
            `(${quoted}->>'$."a.b"')::BIGINT // 1000000`,
            `(${quoted}->>'$.meta.sent')::BIGINT // 1000`,
          ];
          const [found = []] = await rowsOf(duck(), `SELECT ${extracted.map((one) => `(${one})::BIGINT`).join(", ")}`);
          expect(found).toEqual([at, paid, seen, sent].map(bigint));
        }
      }),
      { numRuns: 25 },
    );
  });
});

test("records as other systems write them are events of contracts of a few lines", () => {
  const canonical = (definition: Parameters<typeof decodeOne>[0], record: string) => {
    const decoded = decodeOne(definition, Buffer.from(record));
    return decoded.ok ? JSON.parse(decoded.canonical) : decoded.reject;
  };
  const orders = stream("orders", {
    ...{ revision: 1, partitions: 1, key: "order_id", eventId: "order_id", eventTime: "timestamp", dedupWindow: 0 },
    fields: { order_id: text(), timestamp: instant({ as: "iso", zone: "Z" }) },
  });
  expect(canonical(orders, '{"order_id":"o1","timestamp":"2024-01-15T14:30:00"}')).toEqual({
    order_id: "o1",
    timestamp: 1_705_329_000_000,
  });
  const users = of(
    { user: integer({ min: 0, max: 1e9, from: "$.data.user_id" }), at: instant({ from: "$.timestamp", as: "s" }) },
    "at",
  );
  const created = '{"id":"e","event_type":"user_created","data":{"user_id":1},"timestamp":1700000000.123}';
  expect(canonical(users, created)).toEqual({ id: "e", user: 1, at: 1_700_000_000_123 });
  expect(canonical(users, created.replace('{"user_id":1}', "[]"))).toBe("contract: user: $.data is a list");
  expect(canonical(users, created.replace('{"user_id":1}', "7"))).toBe("contract: user: $.data is not an object");
  expect(canonical(users, created.replace('{"user_id":1}', "null"))).toMatch(/^contract: user: /);
  expect(canonical(users, created.replace("1700000000.123", '"soon"'))).toBe(
    "contract: at: not a number of s since 1970",
  );
  // As `INT64` nanoseconds of a Go program: a double would be off by 56.
  const exact = of({ at: instant({ as: "ns" }) }, "at");
  expect(canonical(exact, '{"id":"e","at":1700000000123999999}')).toEqual({ id: "e", at: 1_700_000_000_123 });
});

test("a row of a table is sent with its values in their places, and JSON as it is", () => {
  const names = ["id", "at", "paid", "seen", "kind", "on", "lines"];
  const maker = new EventMaker({ stream: shipped, forms: PLAIN_FORMS }, names);
  const made = maker.ofCells(["x", "2024-01-15T14:30:00+02:00", "2024-01-15", null, "a", "true", '[{"sku":"s"}]']);
  if (isRefusal(made)) expect.fail(JSON.stringify(made));
  const record = JSON.parse(String(made.value));
  expect(record).toMatchObject({ id: "x", meta: { time: "2024-01-15T12:30:00.000Z", flags: { on: true } }, Kind: "a" });
  expect(record.Lines).toEqual([{ SKU: "s" }]);
  expect(made.key).toBe("x");
  const json = Buffer.from(String(made.value));
  expect(maker.ofJson(json)).toEqual({ key: "x", value: json });
  expect(maker.ofJson(Buffer.from('{"id":"x","meta":[]}'))).toEqual({ reason: "contract: at: $.meta is a list" });
});

test("a path is read as it is written, and what is not a path is refused", () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: "grapheme", minLength: 1 }), { minLength: 1, maxLength: 4 }), (path) => {
      expect(parsePath(pathText(path))).toEqual(path);
    }),
  );
  expect(parsePath("$.a['b.c'].d-e")).toEqual(["a", "b.c", "d-e"]);
  for (const wrong of [
    "",
    "$",
    "a",
    "$.",
    "$..a",
    "$.a[0]",
    "$.a[*]",
    "$.a b",
    "$['']",
    "$['a",
    "a.$.b",
    "$.a.",
    '$["a"]',
  ])
    expect(() => parsePath(wrong), wrong).toThrow("is not a path");
});

test("fields in one place, or one inside of another, are named when a definition is loaded", () => {
  const at = instant({ as: "iso" });
  expect(checkStream(of({ at, same: text({ from: "$.id" }) }, "at"))).toEqual([
    "fields.same: it is read from $.id, as fields.id",
  ]);
  expect(checkStream(of({ at, inner: text({ from: "$.id.x" }) }, "at"))).toEqual([
    "fields.inner: it is read from $.id.x, inside of what is read as fields.id",
  ]);
  expect(checkStream(of({ at, lines: list({ a: text(), b: text({ from: "$.a" }) }) }, "at"))).toEqual([
    "fields.lines.b: it is read from $.a, as fields.lines.a",
  ]);
  expect(checkStream(of({ at, bad: text({ from: "id" }) }, "at"))).toEqual([
    expect.stringContaining('fields.bad: "id" is not a path'),
  ]);
  const zone = of({ at: instant({ as: "iso", zone: "Europe/Nowhere" }) }, "at");
  expect(checkStream(zone)[0]).toContain('an offset such as "Z"');
});

describe("instants", () => {
  test("of a number are what whole-number arithmetic says", () => {
    const units = { s: 0, ms: 3, us: 6, ns: 9 } as const;
    const digits = fc.string({ unit: fc.constantFrom(..."0123456789"), minLength: 1, maxLength: 12 });
    const wholes = digits.map((one) => BigInt(one).toString());
    fc.assert(
      fc.property(
        fc.boolean(),
        wholes,
        fc.option(digits),
        fc.constantFrom("s", "ms", "us", "ns"),
        (minus, whole, places, unit) => {
          const fraction = (places ?? "").padEnd(12, "0");
          const parts = BigInt(`${whole}${fraction}`) * (minus ? -1n : 1n);
          const perMs = 10n ** BigInt(12 - 3 + units[unit]);
          const floor = parts / perMs - (parts % perMs < 0n ? 1n : 0n);
          const read = epochMs(`${minus ? "-" : ""}${whole}${places === null ? "" : `.${places}`}`, unit);
          const isExact = floor <= BigInt(Number.MAX_SAFE_INTEGER) && floor >= -BigInt(Number.MAX_SAFE_INTEGER);
          expect(read).toBe(isExact ? Number(floor) : null);
        },
      ),
      { numRuns: 3_000 },
    );
    for (const wrong of ["", "-", "1.", ".5", "01", "+1", "1e3", " 1", "1 ", "NaN", "Infinity", "1_000"])
      expect(epochMs(wrong, "s"), wrong).toBeNull();
  });

  test("of ISO 8601 are what JavaScript reads where it reads them, and a day or time that there is not is none", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: -62_135_596_800_000, max: 253_402_300_799_999 }),
        fc.integer({ min: -839, max: 839 }),
        (ms, minutes) => {
          const local = new Date(ms + minutes * 60_000).toISOString();
          const two = (value: number) => String(value).padStart(2, "0");
          const [hours, rest] = [Math.floor(Math.abs(minutes) / 60), Math.abs(minutes) % 60];
          const offset = `${minutes < 0 ? "-" : "+"}${two(hours)}:${two(rest)}`;
          if (local.length !== 24) return;
          expect(isoMs(local.replace("Z", offset), null)).toBe(ms);
          expect(isoMs(local.replace("Z", ""), offset)).toBe(ms);
          expect(isoMs(local.replace("Z", offset.replace(":", "")).replace("T", " "), null)).toBe(ms);
          expect(isoMs(local.slice(0, 10), "Z")).toBe(Date.parse(local.slice(0, 10)));
        },
      ),
    );
    for (const wrong of [
      ...["2026-02-29", "2026-13-01", "2026-00-10", "2026-01-00", "26-01-01", "2026-1-1", "2026-01-01T24:00:00Z"],
      ...[
        "2026-01-01T23:60:00Z",
        "2016-12-31T23:59:60Z",
        "2026-01-01T1:00Z",
        "2026-01-01T01Z",
        "2026-01-01T01:00:00+2",
      ],
      ...[
        "2026-01-01T01:00:00+24:00",
        "2026-01-01T01:00:00.Z",
        "2026-01-01T01:00:00.1234567890Z",
        " 2026-01-01",
        "2026-W01",
      ],
    ])
      expect(isoMs(wrong, "Z"), wrong).toBeNull();
    expect(isoMs("2026-01-01T01:00:00", null)).toBeNull();
  });

  test("are read as they were written, whatever the form", () => {
    fc.assert(
      fc.property(times, (ms) => {
        for (const as of ["s", "ms", "us", "ns"] as const) expect(epochMs(String(writtenInstant(ms, as)), as)).toBe(ms);
        expect(isoMs(String(writtenInstant(ms, "iso")), null)).toBe(ms);
      }),
    );
  });
});
