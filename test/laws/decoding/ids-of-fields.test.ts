import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodingChanges } from "../../../core/contract/contract-change.ts";
import { flag, instant, integer, optional, text } from "../../../core/contract/fields.ts";
import { checkStream, type Stream, stream } from "../../../core/contract/stream.ts";
import { StreamDocument, streamDocument, streamFrom } from "../../../core/contract/stream-document.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { view } from "../../../core/definition/view.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** Event ids that several fields make. */

const WINDOW = 20;
const fields = {
  ...{ order_id: text(), part: text(), line: integer({ min: -9, max: 99 }), gift: flag(), at: instant() },
  note: optional(text()),
};
const of = (eventId: readonly string[] | string, more: object = {}): Stream =>
  stream("lines", {
    ...{ revision: 1, partitions: 1, key: "order_id", eventTime: "at", dedupWindow: WINDOW },
    ...{ fields, eventId: eventId as "line", ...more },
  });

describe("records with an event id of several fields", () => {
  const duck = duckForTests();
  // Slashes, backslashes and digits: what stands between the parts of an id, and what could be a part's end.
  const part = fc.oneof(
    fc.string({ unit: fc.constantFrom("/", "\\", "a", "1"), maxLength: 3 }),
    fc.string({ unit: "grapheme", maxLength: 2 }),
  );
  const line = fc.record({ order_id: part, part, line: fc.integer({ min: -1, max: 2 }), gift: fc.boolean() });

  test("are duplicates where all of the fields are equal, and only there", async () => {
    const definition = streamFrom(streamDocument(of(["order_id", "part", "line", "gift"])));
    expect(checkStream(definition)).toEqual([]);
    let duplicates = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(line, { minLength: 150, maxLength: 150 }), async (drawn) => {
        // Some come again, near and far.
        const lines = drawn.flatMap((one, index) => (index % 3 === 0 ? [one, drawn[index - 9] ?? one] : [one]));
        const ids = lines.map((one) => JSON.stringify(Object.values(one)));
        const wanted = ids.map((id, index) => ids.slice(Math.max(0, index - WINDOW), index).includes(id));
        const decoder = await Decoder.open(duck(), definition, NO_SCHEMAS);
        const bytes = lines.map((one) => Buffer.from(JSON.stringify({ ...one, at: 1_700_000_000_000 })));
        const found: unknown[] = [];
        for (const [from, to] of [
          [0, 50],
          [50, lines.length],
        ] as const) {
          const { relation, rejected } = await decoder.decode([fetchedOf(0, BigInt(from), bytes.slice(from, to))]);
          expect(rejected).toEqual([]);
          const rows = await rowsOf(duck(), `SELECT _duplicate FROM ${relation} ORDER BY _offset`);
          found.push(...rows.map(([one]) => one));
        }
        expect(found).toEqual(wanted);
        duplicates += wanted.filter((one) => one).length;
      }),
      { numRuns: 8 },
    );
    expect(duplicates).toBeGreaterThan(100);
  });

  test("the id says the parts with a slash between them", async () => {
    const decoder = await Decoder.open(duck(), of(["order_id", "line"]), NO_SCHEMAS);
    const record = (order_id: string, line: number) =>
      Buffer.from(JSON.stringify({ order_id, part: "", line, gift: true, at: 1_700_000_000_000 }));
    const { relation } = await decoder.decode([fetchedOf(0, 0n, [record("o-17", 2), record("a/b\\", -1)])]);
    const ids = await rowsOf(duck(), `SELECT _id FROM ${relation} ORDER BY _offset`);
    expect(ids).toEqual([["o-17/2"], ["a\\/b\\\\/-1"]]);
  });
});

test("what such an id cannot be is named", () => {
  const problems = (eventId: unknown) => checkStream(of(eventId as string[]));
  const list = "eventId: the name of a field, or a list of different fields, at least two";
  expect(problems(["order_id"])).toEqual([list]);
  expect(problems([])).toEqual([list]);
  expect(problems(["line", "line"])).toEqual([list]);
  expect(problems(["order_id", "none"])).toEqual(['eventId: there is no field "none"']);
  expect(problems(["order_id", "note"])).toEqual(['eventId: field "note" has to be in every event']);
  expect(problems(undefined)).toEqual(['eventId: there is no field "undefined"']);
});

test("another order of the fields is another id", () => {
  const documents = [["order_id", "line"], ["line", "order_id"], "order_id"].map((id) => streamDocument(of(id)));
  const [one, turned, single] = documents as [StreamDocument, StreamDocument, StreamDocument];
  expect(decodingChanges(one, turned)).toEqual(['eventId was "order_id, line" and is now "line, order_id"']);
  expect(decodingChanges(single, one)).toEqual(['eventId was "order_id" and is now "order_id, line"']);
  expect(decodingChanges(one, StreamDocument.parse(JSON.parse(JSON.stringify(one))))).toEqual([]);
  const generations = documents.map((document) =>
    generationOf(view("v", { stream: streamFrom(document), every: "1 hour", measures: { lines: count() } })),
  );
  expect(new Set(generations).size).toBe(3);
});
