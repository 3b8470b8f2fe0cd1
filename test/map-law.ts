import fc from "fast-check";
import { expect } from "vitest";
import { decodeOne } from "../core/codec/decode/decode.ts";
import { RecordScanner } from "../core/codec/decode/scan.ts";
import type { Field } from "../core/contract/field.ts";
import { instant, optional, text } from "../core/contract/fields.ts";
import { checkStream, type Stream, stream, type Version } from "../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../core/contract/stream-document.ts";
import { Decoder } from "../store/decode/decoder.ts";
import { type Duck, rowsOf } from "../store/duckdb/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "./fetched.ts";

/** What the tests of maps share, whether of values or of objects. */

export const MOST_ENTRIES = 4;
export const AT = 1_700_000_000_000;

/** A stored stream with these fields beside its id and time. */
export function mapStream(fields: Readonly<Record<string, Field>>): Stream {
  const defined = stream("maps", {
    ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
    fields: { id: text(), at: instant({}), ...fields },
  });
  return streamFrom(streamDocument(defined));
}

/** A map as a record has it, and the entries that its column must have; null: the record is refused. */
interface WrittenMap {
  readonly json: string;
  readonly kept: readonly object[] | null;
}

/** One entry of a map: its name in JSON, its value in JSON, and its columns; `undefined`: the value is refused. */
interface WrittenEntry {
  readonly name: string;
  readonly written: string;
  readonly json: string;
  readonly kept: object | undefined;
}

/** A map of these entries. Of a name that comes twice the last one counts. */
function mapOf(entries: readonly WrittenEntry[]): WrittenMap {
  const json = `{ ${entries.map(({ written, json }) => `${written} : ${json}`).join(" , ")}}`;
  const last = [...new Map(entries.map((entry) => [entry.name, entry])).values()];
  const isRefused =
    last.length > MOST_ENTRIES ||
    last.some(({ name, kept }) => kept === undefined || !name.isWellFormed() || [...name].length > 256);
  if (isRefused) return { json, kept: null };
  const sorted = last.sort((a, b) => Buffer.compare(Buffer.from(a.name), Buffer.from(b.name)));
  return { json, kept: sorted.map(({ name, kept }) => ({ key: name, ...kept })) };
}

/** What a column of entries has, as JavaScript has it. */
export function entriesOf(value: unknown): Readonly<Record<string, unknown>>[] | null {
  if (value === null) return null;
  const { items } = value as { readonly items: readonly { readonly entries: Record<string, unknown> }[] };
  return items.map(({ entries }) => ({ ...entries }));
}

/**
 * Expects that scanner, SQL and zod keep the same entries in the same order, or refuse the same, at the top of a record
 * and further in. `made` makes the map's field. `least` says how many records of each outcome there must be, so that
 * the test says something.
 */
export async function expectMapsKept(
  duck: Duck,
  made: (options: { readonly max: number; readonly from?: string }) => Field,
  entry: fc.Arbitrary<WrittenEntry>,
  { numRuns, longest, least }: { readonly numRuns: number; readonly longest: number; readonly least: number },
): Promise<void> {
  const definition = mapStream({
    x: made({ max: MOST_ENTRIES }),
    y: optional(made({ max: MOST_ENTRIES, from: "$.deep.Y" })),
  });
  expect(checkStream(definition)).toEqual([]);
  const decoder = await Decoder.open(duck, definition, NO_SCHEMAS);
  const scanner = new RecordScanner(definition.versions[0] as Version);
  let [good, bad] = [0, 0];
  const maps = fc.array(fc.array(entry, { maxLength: longest }).map(mapOf), { minLength: 50, maxLength: 50 });
  await fc.assert(
    fc.asyncProperty(maps, async (some) => {
      const records = some.map(
        ({ json }, index) =>
          `{"id":"${index}","at":${AT},"x":${json}${index % 2 === 0 ? `,"deep":{"Y":${json}}` : ""}}`,
      );
      const bytes = records.map((record) => Buffer.from(record));
      await decoder.decode([fetchedOf(0, 0n, bytes)]);
      const rows = await rowsOf(duck, "SELECT x, y, _reject FROM events ORDER BY _offset");
      for (const [index, [x, y, reject]] of rows.entries()) {
        const want = some[index]?.kept ?? null;
        expect(entriesOf(x), records[index]).toEqual(want);
        expect(entriesOf(y), records[index]).toEqual(index % 2 === 0 ? want : null);
        expect(decodeOne(definition, bytes[index] ?? null).ok, records[index]).toBe(want !== null);
        if (want === null) expect(reject).toMatch(/^contract: x/);
        [good, bad] = want === null ? [good, bad + 1] : [good + 1, bad];
      }
      for (const one of bytes) scanner.scan(one, 0, one.length);
    }),
    { numRuns },
  );
  expect(Math.min(good, bad)).toBeGreaterThan(least);
  expect(scanner.rows - scanner.failed).toBeGreaterThan(least);
}
