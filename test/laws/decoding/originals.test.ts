import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createOriginals, originalTexts } from "../../../batch-layer/archive/originals-table.ts";
import { position } from "../../../core/log/position.ts";
import { bytesOf } from "../../../store/decode/originals.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { Records } from "../../../store/kafka/read/records.ts";
import { anyText } from "../../fixtures/events/any-text.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";

const duck = duckForTests();

async function keptOf(keys: readonly (Buffer | null)[], values: readonly (Buffer | null)[]) {
  const records = values.map((value, index) => ({
    offset: position(index),
    timestampMs: index * 7,
    key: keys[index] ?? null,
    value,
  }));
  await createOriginals(duck(), originalTexts(Records.of(records)));
  const rows = await rowsOf(duck(), "SELECT _timestamp, _key, _value FROM originals");
  return rows.map(([time, key, value]) => ({ time: Number(time), key: bytesOf(key), value: bytesOf(value) }));
}

describe("what the archive keeps of records", () => {
  const text = anyText({ maxLength: 8 }).map((one) => Buffer.from(one));
  const bytes = fc.uint8Array({ maxLength: 8 }).map((one) => Buffer.from(one));
  const separator = fc.constantFrom("\x1e", "a\x1eb", "-", "\0", "").map((one) => Buffer.from(one));
  const columns = [text, bytes, fc.oneof(text, separator), fc.oneof(text, fc.constant(null))];

  it("is every byte of every key and value, in their order, be they text or not", async () => {
    const values = fc.oneof(...columns.map((column) => fc.array(column, { minLength: 1, maxLength: 12 })));
    await fc.assert(
      fc.asyncProperty(values, values, async (keys, held) => {
        const kept = await keptOf(keys, held);
        expect(kept).toEqual(held.map((value, index) => ({ time: index * 7, key: keys[index] ?? null, value })));
      }),
      { numRuns: 300 },
    );
  });

  it("is every character that there is", async () => {
    const points = Array.from({ length: 0x110000 }, (_, point) => point).filter((point) => point >> 11 !== 0x1b);
    const step = 4_096;
    const lines = Array.from({ length: Math.ceil(points.length / step) }, (_, line) =>
      Buffer.from(String.fromCodePoint(...points.slice(line * step, (line + 1) * step).filter((one) => one !== 0x1e))),
    );
    const kept = await keptOf(lines, lines);
    expect(kept).toHaveLength(lines.length);
    for (const [index, { value }] of kept.entries()) expect(value?.equals(lines[index] ?? Buffer.alloc(0))).toBe(true);
  });
});
