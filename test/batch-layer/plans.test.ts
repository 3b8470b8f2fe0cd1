import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PLAN_LIMITS, planArchive } from "../../batch-layer/archive/archive-plan.ts";
import { planRebuild } from "../../batch-layer/recompute/rebuild-plan.ts";
import { chooseCut } from "../../batch-layer/refresh/cut-choice.ts";
import { requireBalance } from "../../batch-layer/refresh/ledger-check.ts";
import { filesToCompact } from "../../batch-layer/versions/compact-plan.ts";
import type { ArchiveEntry, StateFile } from "../../core/log/documents.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import { at, type Cut, position } from "../../core/log/position.ts";
import { tile } from "../../core/log/spans.ts";
import { positions } from "../fixtures/events/turnover.ts";

describe("the archive's plan", () => {
  const bigOffset = fc.bigInt({ min: 0n, max: 2_000_000n });
  const situation = fc.record({
    begin: bigOffset,
    more: bigOffset,
    lost: fc.bigInt({ min: 0n, max: 10n }),
    chunkOffsets: fc.integer({ min: 1_000, max: 300_000 }),
  });

  it("tiles from where the archive ends to the target, in chunks of the limit at most (invariant 1)", () => {
    fc.assert(
      fc.property(situation, ({ begin, more, chunkOffsets }) => {
        const limits = { chunkOffsets, chunks: 10_000 };
        const target = positions({ 0: begin + more, 3: more });
        const chunks = planArchive(
          {
            topic: "t",
            archived: positions({ 0: begin }),
            logStart: positions({ 0: 0, 3: 0 }),
            stable: target,
            target,
          },
          limits,
        );
        for (const [partition, from] of [
          [0, begin],
          [3, 0n],
        ] as const) {
          const spans = chunks
            .filter((chunk) => chunk.partition === partition)
            .map((chunk) => ({ from: positions({ 0: BigInt(chunk.from) }), to: positions({ 0: BigInt(chunk.to) }) }));
          const tiling = tile(positions({ 0: from }), spans);
          expect(tiling.ok && at(tiling.to, 0)).toBe(at(target, partition) > from ? at(target, partition) : from);
          for (const span of spans) expect(at(span.to, 0) - at(span.from, 0)).toBeLessThanOrEqual(BigInt(chunkOffsets));
        }
      }),
    );
  });

  it("begins at the log's start where there is no archive yet", () => {
    const target = positions({ 0: 50 });
    expect(
      planArchive({ topic: "t", archived: new Map(), logStart: positions({ 0: 7 }), stable: target, target }),
    ).toEqual([{ partition: 0, from: "7", to: "50" }]);
  });

  it("plans a bounded number of chunks at a time", () => {
    const target = positions({ 0: 1_000_000_000 });
    const chunks = planArchive({
      topic: "t",
      archived: new Map(),
      logStart: positions({ 0: 0 }),
      stable: target,
      target,
    });
    expect(chunks).toHaveLength(PLAN_LIMITS.chunks);
  });

  it("stops with LOG_LOST before a gap, and with LOG_TRUNCATED when the log ends too early (invariant 10)", () => {
    const target = positions({ 0: 100 });
    const plan = (archived: number, logStart: number, stable: number) => () =>
      planArchive({
        topic: "t",
        archived: positions({ 0: archived }),
        logStart: positions({ 0: logStart }),
        stable: positions({ 0: stable }),
        target,
      });
    expect(plan(10, 11, 100)).toThrowError(expect.objectContaining({ code: "LOG_LOST" }));
    expect(plan(10, 10, 99)).toThrowError(expect.objectContaining({ code: "LOG_TRUNCATED" }));
    expect(plan(100, 200, 300)()).toEqual([]);
  });
});

describe("the choice of the next cut", () => {
  const cut = positions({ 0: 10, 1: 5 });
  const stable = positions({ 0: 30, 1: 9 });
  const segment = (from: Cut, to: Cut | null, id = "1") => ({ id, from, to, token: null, cells: null });
  const chainOf = (segments: ReturnType<typeof segment>[], applied: Cut) => ({
    digest: "",
    nonce: "n",
    topicId: "",
    pointer: 1,
    segments,
    applied,
    cells: 0,
    freshAtMs: null,
  });
  const sealed = positions({ 0: 20, 1: 5 });
  const chain = chainOf([segment(cut, sealed), segment(sealed, null, "2")], positions({ 0: 22, 1: 5 }));

  it("takes what the speed layer sealed", () => {
    expect(chooseCut({ cut, sealed, chain, stable, waited: false })).toEqual({ kind: "cut", cut: sealed, by: "speed" });
  });

  it("takes the log's end without a chain, with one that does not tile, and with one that is behind", () => {
    const end = { kind: "cut", cut: stable, by: "log" };
    expect(chooseCut({ cut, sealed: null, chain: null, stable, waited: false })).toEqual(end);
    const torn = chainOf([segment(positions({ 0: 11, 1: 5 }), null)], sealed);
    expect(chooseCut({ cut, sealed, chain: torn, stable, waited: false })).toEqual(end);
    const behind = positions({ 0: 9, 1: 5 });
    expect(
      chooseCut({
        cut,
        sealed: behind,
        chain: chainOf([segment(positions({ 0: 1 }), null)], behind),
        stable,
        waited: false,
      }),
    ).toEqual(end);
    // It was sealed in a chain that was reseeded a moment later.
    expect(chooseCut({ cut, sealed: behind, chain, stable, waited: false })).toEqual(end);
  });

  it("waits when nothing was applied though the log goes on, then takes the log's end", () => {
    const still = chainOf([segment(cut, null)], cut);
    expect(chooseCut({ cut, sealed: cut, chain: still, stable, waited: false })).toEqual({ kind: "wait" });
    expect(chooseCut({ cut, sealed: cut, chain: still, stable, waited: true })).toEqual({
      kind: "cut",
      cut: stable,
      by: "log",
    });
    expect(chooseCut({ cut, sealed: cut, chain: still, stable: cut, waited: false })).toEqual({ kind: "nothing" });
    expect(chooseCut({ cut, sealed: null, chain: null, stable: cut, waited: false })).toEqual({ kind: "nothing" });
  });

  it("says so when the log ends below the cut", () => {
    expect(chooseCut({ cut, sealed: null, chain: null, stable: positions({ 0: 30, 1: 4 }), waited: false })).toEqual({
      kind: "truncated",
    });
  });
});

describe("the choice of files to compact", () => {
  const fileOf = (sizeBytes: number, index: number): StateFile => ({
    file: `f${index}`,
    rows: sizeBytes,
    sizeBytes,
    checksum: "",
  });

  it("leaves few files, and rewrites a byte about once for every doubling of its file", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 1_000 }), { minLength: 200, maxLength: 600 }), (deltas) => {
        let files: StateFile[] = [];
        let rewritten = 0;
        for (const [index, size] of deltas.entries()) {
          files.push(fileOf(size, index));
          const chosen = filesToCompact(files);
          if (chosen.length === 0) continue;
          const weight = chosen.reduce((total, { sizeBytes }) => total + sizeBytes, 0);
          rewritten += weight;
          files = [fileOf(weight, index + 10_000), ...files.filter((file) => !chosen.includes(file))];
          expect(files.length).toBeLessThanOrEqual(12);
        }
        const total = deltas.reduce((a, b) => a + b, 0);
        expect(rewritten).toBeLessThan(total * (2 + Math.log2(deltas.length)));
      }),
      { numRuns: 50 },
    );
  });

  it("leaves a large base alone when the deltas are small", () => {
    const chosen = filesToCompact([
      fileOf(1_000_000, 0),
      ...Array.from({ length: 24 }, (_, index) => fileOf(10, index + 1)),
    ]);
    expect(chosen).toHaveLength(24);
    expect(chosen.some(({ file }) => file === "f0")).toBe(false);
  });
});

describe("the plan of a rebuild", () => {
  it("tiles each partition's span by whole archive files (invariant 1)", () => {
    const sizes = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 40 });
    fc.assert(
      fc.property(
        sizes,
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 0, max: 30 }),
        fc.integer({ min: 1, max: 200 }),
        (spans, skip, cutOff, partRecords) => {
          let end = 0;
          const entries = spans.map((size) => {
            end += size;
            return { from: position(end - size), to: position(end), records: size } as ArchiveEntry;
          });
          const [start, cut] = [Math.min(skip, end), Math.max(Math.min(skip, end), end - cutOff)];
          const parts = planRebuild(
            new Map([[0, entries]]),
            positions({ 0: start }),
            positions({ 0: cut }),
            partRecords,
          );
          const tiling = tile(
            positions({ 0: start }),
            parts
              .flatMap(({ spans }) => spans)
              .map(({ from, to }) => ({ from: positions({ 0: BigInt(from) }), to: positions({ 0: BigInt(to) }) })),
          );
          expect(tiling.ok && at(tiling.to, 0)).toBe(BigInt(cut));
        },
      ),
    );
  });
});

describe("the ledger", () => {
  const ledger: Ledger = { records: 10, duplicates: 2, rejects: 1, counted: 6, filtered: 1 };
  const archive = new Map([[0, ledger]]);
  const readings = { view: "v", archive, entries: new Map([[0, ledger]]), segments: new Map([[0, ledger]]) };
  const unbalanced = expect.objectContaining({ code: "LEDGER_UNBALANCED" });

  it("is refused when it does not add up, or when another reading of the span differs (invariant 11)", () => {
    expect(() => requireBalance(readings)).not.toThrow();
    expect(() => requireBalance({ ...readings, segments: null, entries: new Map() })).not.toThrow();
    expect(() => requireBalance({ ...readings, archive: new Map([[0, { ...ledger, counted: 7 }]]) })).toThrowError(
      unbalanced,
    );
    expect(() =>
      requireBalance({ ...readings, segments: new Map([[0, { ...ledger, counted: 5, filtered: 2 }]]) }),
    ).toThrowError(unbalanced);
    expect(() => requireBalance({ ...readings, entries: new Map([[0, { ...ledger, records: 11 }]]) })).toThrowError(
      unbalanced,
    );
    expect(() =>
      requireBalance({
        ...readings,
        segments: new Map([
          [0, ledger],
          [1, ledger],
        ]),
      }),
    ).toThrowError(unbalanced);
  });
});
