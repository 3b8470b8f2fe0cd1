import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { ArchiveEntry, Manifest } from "../../../core/log/documents.ts";
import { type Cut, cutFromJson, cutsEqual, cutToJson, position, positionsBetween } from "../../../core/log/position.ts";
import { tile, tilesFrom } from "../../../core/log/spans.ts";

const partitions = [0, 1, 2];
const cut = fc
  .tuple(...partitions.map(() => fc.nat(1_000)))
  .map((offsets): Cut => new Map(offsets.map((offset, p) => [p, position(offset)])));

/** Cuts that only move forward, as the chain and the archive produce them. */
const cuts = fc.array(fc.tuple(...partitions.map(() => fc.nat(50))), { minLength: 1, maxLength: 8 }).map((steps) => {
  const at = [0, 0, 0];
  const advance = (p: number, by: number) => {
    at[p] = (at[p] ?? 0) + by;
    return position(at[p] ?? 0);
  };
  return [
    new Map(partitions.map((p) => [p, position(0)])),
    ...steps.map((step) => new Map(partitions.map((p) => [p, advance(p, step[p] ?? 0)]))),
  ];
});

const spansOf = (points: Cut[]) => points.slice(1).map((to, index) => ({ from: points[index] ?? to, to }));

describe("invariant 1: tiling", () => {
  test("spans between successive cuts tile from the first cut to the last", () => {
    fc.assert(
      fc.property(cuts, (points) => {
        const tiling = tile(points[0] ?? new Map(), spansOf(points));
        expect(tiling.ok && cutsEqual(tiling.to, points.at(-1) ?? new Map())).toBe(true);
      }),
    );
  });

  test("moving one boundary by any distance is a gap or an overlap in exactly that partition", () => {
    fc.assert(
      fc.property(
        cuts,
        fc.nat(),
        fc.constantFrom(...partitions),
        fc.integer({ min: 1, max: 99 }),
        fc.boolean(),
        (points, pick, partition, by, forward) => {
          const spans = spansOf(points);
          const index = pick % spans.length;
          const span = spans[index];
          if (span === undefined) return;
          const moved = (span.from.get(partition) ?? 0n) + BigInt(forward ? by : -by);
          if (moved < 0n) return;
          spans[index] = {
            from: new Map(span.from).set(partition, position(moved)),
            to: new Map(span.to).set(
              partition,
              position(moved > (span.to.get(partition) ?? 0n) ? moved : (span.to.get(partition) ?? 0n)),
            ),
          };
          const tiling = tile(points[0] ?? new Map(), spans);
          expect(tiling.ok).toBe(false);
          if (!tiling.ok) expect(tiling.misfit).toMatchObject({ kind: forward ? "gap" : "overlap", index, partition });
        },
      ),
    );
  });

  test("older segments in front of the cut are skipped, and a chain that begins after it does not tile", () => {
    fc.assert(
      fc.property(cuts, fc.nat(), (points, pick) => {
        const spans = spansOf(points);
        const from = points[pick % spans.length] ?? new Map();
        const run = tilesFrom(from, spans);
        expect(run.ok && cutsEqual(run.to, points.at(-1) ?? new Map())).toBe(true);
        const ahead = new Map([...(points.at(-1) ?? new Map())].map(([p, offset]) => [p, position(offset + 1n)]));
        expect(tilesFrom(ahead, spans).ok).toBe(false);
      }),
    );
  });

  test("a cut survives JSON, also beyond 2^53", () => {
    fc.assert(
      fc.property(cut, (value) => {
        expect(cutsEqual(cutFromJson(cutToJson(value)), value)).toBe(true);
      }),
    );
    const huge: Cut = new Map([[0, position(9_007_199_254_740_993n)]]);
    expect(cutFromJson(cutToJson(huge)).get(0)).toBe(9_007_199_254_740_993n);
  });

  test("a manifest and an archive entry are written to the byte as they were read", () => {
    const mark = { offset: "9007199254740993", hash: "0123456789abcdef", leaderEpoch: 3 };
    const ledger = { records: 5, duplicates: 1, rejects: 1, counted: 3, filtered: 0 };
    const files = [{ file: "f", rows: 1, sizeBytes: 1, checksum: "c" }];
    const manifest = JSON.stringify({
      ...{ generation: "g", version: 1, base: { 0: "5", 12: "0" }, cut: { 0: "9007199254740994", 12: "0" } },
      ...{ files, ledger, topicId: "t", marks: { 0: mark }, createdBy: "test", createdAtMs: 1 },
    });
    expect(JSON.stringify(z.encode(Manifest, Manifest.parse(JSON.parse(manifest))))).toBe(manifest);
    const entry = JSON.stringify({
      ...{ from: "0", to: "9007199254740994", file: null, records: 0, duplicates: 0, rejects: 0, control: 5 },
      ...{ checksum: null, sizeBytes: 0, topicId: "t", leaderEpoch: 0, contract: 1, mark },
    });
    expect(JSON.stringify(z.encode(ArchiveEntry, ArchiveEntry.parse(JSON.parse(entry))))).toBe(entry);
  });
});

test("what lies between two cuts is counted for each partition, and one that went further makes up for no other", () => {
  const cutOf = (...offsets: number[]): Cut => new Map(offsets.map((offset, p) => [p, position(offset)]));
  expect(positionsBetween(cutOf(3, 10), cutOf(7, 4))).toBe(4n);
  // A partition that is not named begins at 0; one that only the first cut names has nothing behind it.
  expect(positionsBetween(cutOf(3), cutOf(7, 4))).toBe(8n);
  expect(positionsBetween(cutOf(3, 10), cutOf(7))).toBe(4n);
});
