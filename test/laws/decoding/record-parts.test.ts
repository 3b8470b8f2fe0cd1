import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import { createOriginals, originalTexts } from "../../../batch-layer/archive/originals-table.ts";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import { instant, integer, list, oneOf, optional, text, withDefault } from "../../../core/contract/fields.ts";
import { checkStream, type Fields, stream } from "../../../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../../../core/contract/stream-document.ts";
import { position } from "../../../core/log/position.ts";
import { sendEvents } from "../../../ingest/send/send-events.ts";
import { PLAIN_FORMS } from "../../../ingest/send/value-forms.ts";
import { BatchRows } from "../../../store/decode/batch-rows.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { archivedOriginals, bytesOf } from "../../../store/decode/originals.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { Records } from "../../../store/kafka/read/records.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Fields from keys, headers, times and positions. */

const home = mkdtempSync(join(tmpdir(), "tideline-parts-"));
const duck = duckForTests({ directories: [home] });
afterAll(() => rm(home, { recursive: true }));

const of = (fields: Fields, eventTime = "at") =>
  stream("events", {
    ...{ revision: 1, partitions: 3, key: "id", eventId: "id", eventTime, dedupWindow: 0 },
    fields,
  });
const parts = of({
  id: text({ max: 30, from: "key" }),
  at: instant({ from: "timestamp" }),
  trace: optional(text({ max: 30, from: "header:trace-id" })),
  kind: withDefault(oneOf("a", "b", { from: "header:Kind" }), "b"),
  sent: optional(instant({ from: "header:sent", as: "iso" })),
  shard: integer({ min: 0, max: 100, from: "partition" }),
  seq: integer({ min: 0, max: 2 ** 50, from: "offset" }),
  amount: integer({ min: 0, max: 9, from: "$.n" }),
});

/** Headers as a batch of Kafka's has them (its record format, version 2). */
function headerBytes(headers: readonly (readonly [string, Buffer | null])[]): Buffer {
  const varint = (value: number) => {
    const bytes: number[] = [];
    for (let left = value < 0 ? -value * 2 - 1 : value * 2; ; left = Math.floor(left / 128)) {
      if (left < 128) return Buffer.from([...bytes, left]);
      bytes.push((left % 128) + 128);
    }
  };
  const part = (bytes: Buffer | null) => (bytes === null ? [varint(-1)] : [varint(bytes.length), bytes]);
  return Buffer.concat([
    varint(headers.length),
    ...headers.flatMap(([name, value]) => [...part(Buffer.from(name)), ...part(value)]),
  ]);
}

const bytes = fc.oneof(
  anyText({ maxLength: 9 }).map((one) => Buffer.from(one)),
  fc.uint8Array({ maxLength: 5 }).map((one) => Buffer.from(one)),
  fc
    .constantFrom("a", "b", "trace", '"', "\\", "\x1e", "\u001f", "\n", "2026-03-01T08:00:00Z")
    .map((one) => Buffer.from(one)),
);
const header = fc.tuple(fc.constantFrom("trace-id", "Kind", "sent", "Trace-Id", "other"), fc.option(bytes));
const records = fc.record({
  key: fc.option(bytes, { freq: 9 }),
  timestampMs: fc.oneof(
    fc.integer({ min: Date.parse("2000-01-01"), max: Date.parse("2100-01-01") }),
    fc.constantFrom(-1, 0),
  ),
  headers: fc.array(header, { maxLength: 4 }),
  value: fc
    .constantFrom('{"n":1}', '{"n":1e0}', ' {"x":[],"n":3} ', '{"n":"1"}', "[]", "{")
    .map((one) => Buffer.from(one)),
});

/** As a reader in another hand would have it: the record's parts as JSON. */
function expected(
  { key, timestampMs, headers, value }: typeof records extends fc.Arbitrary<infer T> ? T : never,
  offset: number,
) {
  const said = (one: Buffer | null | undefined) => {
    if (one === null || one === undefined) return undefined;
    const text = one.toString();
    if (!Buffer.from(text).equals(one)) throw new Error("not UTF-8");
    return text;
  };
  const last = (name: string) => said(headers.findLast(([found]) => found === name)?.[1]);
  try {
    const json = JSON.parse(value.toString()) as { n?: unknown };
    const [id, trace, kind, sent] = [said(key), last("trace-id"), last("Kind") ?? "b", last("sent")];
    const at = sent === undefined ? null : /^2026-03-01T08:00:00Z$/.test(sent) ? Date.parse(sent) : "wrong";
    const ok = id !== undefined && ["a", "b"].includes(kind) && at !== "wrong";
    if (!ok || typeof json.n !== "number" || timestampMs < Date.parse("2000-01-01")) return null;
    return { id, at: timestampMs, trace: trace ?? null, kind, sent: at, shard: 2, seq: offset, amount: json.n };
  } catch {
    return null;
  }
}

test("scanner, SQL and zod read the same of keys, headers, times and positions, and refuse the same", async () => {
  const stored = streamFrom(streamDocument(parts));
  expect(streamDocument(stored)).toEqual(streamDocument(parts));
  expect(checkStream(stored)).toEqual([]);
  const decoder = await Decoder.open(duck(), stored, NO_SCHEMAS);
  await fc.assert(
    fc.asyncProperty(fc.array(records, { minLength: 1, maxLength: 50 }), async (some) => {
      const batch = {
        partition: 2,
        records: Records.of(
          some.map((one, index) => ({ ...one, offset: position(100 + index), headers: headerBytes(one.headers) })),
        ),
      };
      const wanted = some.map((one, index) => expected(one, 100 + index));
      const { relation, rejected } = await decoder.decode([batch]);
      expect(rejected.map(({ offset }) => Number(offset) - 100)).toEqual(
        wanted.flatMap((one, index) => (one === null ? [index] : [])),
      );
      const names = Object.keys(parts.fields);
      const found = await rowsOf(
        duck(),
        `SELECT ${names.map((name) => `"${name}"`).join(", ")}, _offset FROM ` +
          `${relation} WHERE _reject IS NULL ORDER BY _offset`,
      );
      const plain = (value: unknown) => (typeof value === "bigint" ? Number(value) : value);
      expect(found.map((row) => Object.fromEntries(names.map((name, index) => [name, plain(row[index])])))).toEqual(
        wanted.filter((one) => one !== null),
      );
      const rows = new BatchRows([batch]);
      for (const [row, want] of wanted.entries()) {
        const decoded = decodeOne(stored, rows.value(row), undefined, rows.place(row));
        expect(decoded.ok ? JSON.parse(decoded.canonical) : null).toEqual(want);
      }
    }),
    { numRuns: 60 },
  );
});

test("the archive keeps headers and times, so that another contract reads them from the original record", async () => {
  const data = new DataDirectory(home);
  const span = (file: string) => ({ partition: 0, from: position(0), to: position(99), files: [file] });
  const write = async (file: string, columns: string) =>
    duck().run(
      "COPY (SELECT 0 AS _partition, (row_number() OVER () - 1)::BIGINT AS _offset, " +
        `${columns} FROM originals) TO '${join(home, file)}' (FORMAT parquet)`,
    );
  await fc.assert(
    fc.asyncProperty(fc.array(records, { minLength: 1, maxLength: 9 }), async (some) => {
      const given = some.map((one, index) => ({ ...one, offset: position(index), headers: headerBytes(one.headers) }));
      await createOriginals(duck(), originalTexts(Records.of(given)));
      await write("all.parquet", "*");
      for await (const { records: read } of archivedOriginals(duck(), data, span("all.parquet"), { stream: parts }))
        for (const [index, one] of given.entries()) {
          expect([read.key(index), read.value(index), read.timestampMs(index)]).toEqual([
            one.key,
            one.value,
            one.timestampMs,
          ]);
          const names = ["trace-id", "Kind", "sent", "other"];
          const last = (name: string) => some[index]?.headers.findLast(([found]) => found === name)?.[1] ?? null;
          expect(names.map((name) => read.header(index, name))).toEqual(names.map(last));
        }
    }),
    { numRuns: 20 },
  );
  // Files of the release before, also where they were merged with later ones.
  await write("old.parquet", "_timestamp, _key, _value");
  await write("merged.parquet", "_timestamp, _key, _value, nullif(_headers, ''::BLOB) AS _headers");
  await createOriginals(duck(), originalTexts(Records.of([{ offset: position(0), key: null, value: null }])));
  const [[headers] = []] = await rowsOf(duck(), "SELECT _headers FROM originals");
  expect(bytesOf(headers)?.length).toBe(0);
  await write("merged.parquet", "_timestamp, _key, _value, NULL::BLOB AS _headers");
  for (const file of ["old.parquet", "merged.parquet"]) {
    const reading = archivedOriginals(duck(), data, span(file), { stream: parts });
    await expect(reading.next()).rejects.toMatchObject({ code: "DEFINITION_INVALID" });
    const plain = of({ id: text({ from: "key" }), at: instant({ from: "timestamp" }) });
    expect((await archivedOriginals(duck(), data, span(file), { stream: plain }).next()).done).toBe(false);
  }
});

test("what cannot be read so is refused where it is defined, and such records are not sent", async () => {
  const problems = (fields: Fields) =>
    checkStream(of({ id: text({ from: "key" }), at: instant({ from: "timestamp" }), ...fields }));
  expect(problems({ again: text({ from: "key" }) })).toEqual(["fields.again: it is read from key, as fields.id"]);
  expect(problems({ lines: list({ sku: text({ from: "key" }) }) })).toEqual([
    "fields.lines.sku: elements are read from the record's value only",
  ]);
  expect(problems({ lines: list({ sku: text() }, { from: "header:x" }) })).toEqual([
    "fields.lines: no list is read from header:x",
  ]);
  for (const from of ["Key", "header", "header:", "value", "topic"])
    expect(problems({ bad: text({ from }) })[0], from).toContain("no part of a record: key, header:<name>");
  const source = { columns: null, pieces: (async function* () {})(), total: null } as never;
  const options = { stream: parts, forms: PLAIN_FORMS, dryRun: true } as never;
  await expect(sendEvents(source, options)).rejects.toThrow("events reads fields from keys, headers or other parts");
});
