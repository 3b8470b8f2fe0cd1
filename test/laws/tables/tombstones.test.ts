import { describe, expect, test } from "vitest";
import { decodeOne } from "../../../core/codec/decode/decode.ts";
import { decodingChanges } from "../../../core/contract/contract-change.ts";
import { flag, instant, integer, oneOf, text } from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { checkStream, stream } from "../../../core/contract/stream.ts";
import { streamDocument, streamFrom } from "../../../core/contract/stream-document.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { table } from "../../../core/definition/table.ts";

/** Records without a value, by the contract. */

const KEYS = {
  text: text({ max: 5 }),
  integer: integer({ min: -10, max: 99 }),
  oneOf: oneOf("red", "green"),
  flag: flag(),
};

function streamOf(key: keyof typeof KEYS, tombstones: "delete" | null) {
  return stream("things", {
    revision: 1,
    partitions: 1,
    key: "thing",
    eventId: "id",
    eventTime: "at",
    dedupWindow: 0,
    tombstones,
    fields: { id: text({ max: 9 }), thing: KEYS[key], at: instant({ from: "2020-01-01", to: "2100-01-01" }) },
  });
}

const placeOf = (key: Buffer | null) => ({ partition: 0, offset: 7, timestampMs: 1, key, header: () => null });

describe("a record without a value", () => {
  test.each([
    ["text", "a", '{"thing":"a"}'],
    ["text", "", '{"thing":""}'],
    ["text", "5", '{"thing":"5"}'],
    ["text", "🦔🦔🦔🦔🦔", '{"thing":"🦔🦔🦔🦔🦔"}'],
    ["text", "too long", "contract: thing"],
    ["text", Buffer.from([0xff]), "contract: thing: the record's key is not UTF-8"],
    ["text", null, "empty"],
    ["integer", "-7", '{"thing":-7}'],
    ["integer", "-0", '{"thing":0}'],
    ["integer", "100", "contract: thing"],
    ["integer", "7.0", "contract: thing"],
    ["integer", "seven", "contract: thing"],
    ["integer", "", "contract: thing"],
    ["integer", "9999999999999999999999", "contract: thing"],
    ["oneOf", "red", '{"thing":"red"}'],
    ["oneOf", "Red", "contract: thing"],
  ] as const)("of a key that is %s and %j is decoded as %s", (kind, key, expected) => {
    const bytes = typeof key === "string" ? Buffer.from(key) : key;
    const found = decodeOne(streamOf(kind, "delete"), null, () => null, placeOf(bytes));
    if (found.ok) expect(found.canonical).toBe(expected);
    else expect(found.reject.slice(0, expected.length)).toBe(expected);
    expect(found.ok).toBe(expected.startsWith("{"));
    expect(decodeOne(streamOf(kind, null), null, () => null, placeOf(bytes))).toEqual({ ok: false, reject: "empty" });
  });

  test("is none when its value is there and empty", () => {
    const empty = decodeOne(streamOf("text", "delete"), Buffer.alloc(0), () => null, placeOf(Buffer.from("a")));
    expect(empty).toEqual({ ok: false, reject: "empty" });
  });
});

describe("a stream with tombstones", () => {
  const [kept, refused] = [streamOf("text", "delete"), streamOf("text", null)];
  const newest = (of: typeof kept) => table("newest", { stream: of, key: sql`thing` });

  test("decodes otherwise: its document says so, and its tables are of another generation", () => {
    expect(streamFrom(streamDocument(kept)).tombstones).toBe("delete");
    expect(streamDocument(refused)).not.toHaveProperty("tombstones");
    expect(decodingChanges(streamDocument(refused), streamDocument(kept))).toEqual(['tombstones is new: "delete"']);
    expect(generationOf(newest(kept))).not.toBe(generationOf(newest(refused)));
  });

  test("has a key that text can say", () => {
    expect(checkStream(kept)).toEqual([]);
    expect(checkStream(streamOf("integer", "delete"))).toEqual([]);
    expect(checkStream(streamOf("flag", null))).toEqual([]);
    expect(checkStream(streamOf("flag", "delete"))).toEqual([expect.stringContaining('tombstones: the key "thing"')]);
    expect(checkStream({ ...kept, tombstones: "ignore" as "delete" })).toEqual(['tombstones: "delete", or absent']);
  });
});
