import { mkdtemp, rm, truncate } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { mergeEntries } from "../../batch-layer/archive/archive-compact.ts";
import { sweepArchive } from "../../batch-layer/archive/archive-sweep.ts";
import { MERGE_LIMITS, type MergeLimits, planMerges } from "../../batch-layer/archive/merge-plan.ts";
import { type BatchStores, type StreamTarget, UNWATCHED } from "../../batch-layer/stores.ts";
import { tileArchive } from "../../core/log/archive-tiles.ts";
import type { ArchiveEntry, MergedEntry } from "../../core/log/documents.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { Archive, REPLACED_GRACE_MS } from "../../store/archive/archive.ts";
import { type Duck, DuckPool, rowsOf } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import type { LogReader } from "../../store/kafka/read/log.ts";
import { entry, entryOf, isControl, isDuplicate, isReject, offsetsOf } from "../fixtures/events/archived-log.ts";
import { storesOf } from "../fixtures/servers/stores.ts";

const MINUTE_MS = 60_000;
const TOPIC = "orders";
const TOPIC_ID = "topic-1";
const target: StreamTarget = { stream: orderCompleted, topic: TOPIC };

let folder = "";
let pool: DuckPool;
let duck: Duck;
let places = 0;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-compaction-"));
  pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [folder] });
  duck = await pool.connect();
});

afterAll(async () => {
  duck?.closeSync();
  pool?.close();
  await rm(folder, { recursive: true, force: true });
});

/**
 * A data directory of one process, which can die at any of its steps: from then on nothing works, not even tidying up.
 */
class MortalDirectory extends DataDirectory {
  #stepsLeft: number;
  /** Every process that publishes waits for this. */
  publishing: Promise<void> = Promise.resolve();

  constructor(root: string, stepsLeft = Number.POSITIVE_INFINITY) {
    super(root);
    this.#stepsLeft = stepsLeft;
  }

  #step(): void {
    this.#stepsLeft -= 1;
    if (this.#stepsLeft < 0) throw new Error("killed");
  }

  override async attempt(...args: Parameters<DataDirectory["attempt"]>): Promise<string> {
    this.#step();
    return super.attempt(...args);
  }

  override async settle(...args: Parameters<DataDirectory["settle"]>): ReturnType<DataDirectory["settle"]> {
    this.#step();
    return super.settle(...args);
  }

  override async createExclusively(...args: Parameters<DataDirectory["createExclusively"]>): Promise<boolean> {
    await this.publishing;
    this.#step();
    const made = await super.createExclusively(...args);
    this.#step();
    return made;
  }

  override async remove(...args: Parameters<DataDirectory["remove"]>): Promise<void> {
    this.#step();
    return super.remove(...args);
  }
}

/** One installation with its own clock, in which several processes work. */
class World {
  readonly root = join(folder, String(places++));
  nowMs = 1_000_000_000_000;

  process(data: DataDirectory = new DataDirectory(this.root)): BatchStores {
    // Compaction and sweeping read no log.
    const log = null as unknown as LogReader;
    return storesOf(data, { log, pool }, { archive: new Archive(data, () => this.nowMs) });
  }
}

const entriesOf = ({ archive }: BatchStores) => archive.entries(TOPIC, TOPIC_ID, 0);

/** Writes the file of `[from, to)` as an archiver does; its entry is not published. */
async function archived({ archive, data }: BatchStores, from: number, to: number, columns = ""): Promise<ArchiveEntry> {
  const made = entryOf(from, to);
  if (made.records === 0) return made;
  const prefix = `${String(from).padStart(19, "0")}-${to}`;
  const file = await data.attempt(archive.fileFolder(TOPIC, 0), prefix, "parquet");
  await duck.run(
    `COPY (SELECT 0 AS _partition, o AS _offset, ${isDuplicate("o")} AS _duplicate,
       CASE WHEN ${isReject("o")} THEN 'bad' END AS _reject, 'v' || o AS _value ${columns}
       FROM range(${from}, ${to}) t(o) WHERE NOT ${isControl("o")})
     TO '${data.path(file)}' (FORMAT parquet, COMPRESSION zstd)`,
  );
  return { ...made, file, ...(await data.settle(file)) };
}

async function append(process: BatchStores, offsets: number): Promise<void> {
  const from = Number((await entriesOf(process)).at(-1)?.to ?? 0);
  await process.archive.create(TOPIC, 0, await archived(process, from, from + offsets));
}

/** The offsets that the files of `entries` hold, in the files' order. */
async function rowsIn({ data }: BatchStores, entries: readonly ArchiveEntry[]): Promise<number[]> {
  const files = entries.flatMap(({ file }) => (file === null ? [] : [`'${data.path(file)}'`]));
  if (files.length === 0) return [];
  const rows = await rowsOf(
    duck,
    `SELECT _offset, _value = 'v' || _offset AND _duplicate = ${isDuplicate("_offset")}
       AND (_reject IS NOT NULL) = ${isReject("_offset")}
     FROM read_parquet([${files.join(", ")}], union_by_name = true)`,
  );
  expect(rows.every(([, right]) => right === true)).toBe(true);
  return rows.map(([offset]) => Number(offset));
}

/** What every reader is to find: entries that tile from 0, whose numbers and files are exactly the log's. */
async function expectTheLog(process: BatchStores, entries: readonly ArchiveEntry[]): Promise<number> {
  let end = 0;
  for (const one of entries) {
    expect(Number(one.from)).toBe(end);
    end = Number(one.to);
    const { records, duplicates, rejects, control } = entryOf(Number(one.from), end);
    expect(one).toMatchObject({ records, duplicates, rejects, control });
  }
  expect(await rowsIn(process, entries)).toEqual(offsetsOf(0, end));
  return end;
}

/** Merges what is due; answers how many entries were made. */
async function compact(process: BatchStores, limits: MergeLimits, atMost = Number.POSITIVE_INFINITY): Promise<number> {
  const { entries } = await process.archive.list(TOPIC, TOPIC_ID, 0);
  const merges = planMerges(0, entries, limits).slice(0, atMost);
  let made = 0;
  for (const merge of merges)
    if ((await mergeEntries(process, { ...target, topicId: TOPIC_ID }, merge, UNWATCHED)) !== null) made += 1;
  return made;
}

const limitsOf = fc.record({
  records: fc.constantFrom(10, 60, MERGE_LIMITS.records),
  sizeBytes: fc.constantFrom(5_000, MERGE_LIMITS.sizeBytes),
  newest: fc.integer({ min: 0, max: 2 }),
});

describe("a plan of merges", () => {
  const lengths = fc.array(fc.integer({ min: 1, max: 300 }), { minLength: 1, maxLength: 80 });
  const contracts = fc.func(fc.constantFrom(1, 1, 1, 1, 1, 2));
  const records = fc.constantFrom(300, 1_000, 5_000, MERGE_LIMITS.records);
  const limits = fc.record({ records, sizeBytes: fc.constant(MERGE_LIMITS.sizeBytes), newest: fc.nat(2) });
  /** Plans by compactors that see the archive, and the merges so far, up to somewhere. */
  const compactors = fc.array(fc.tuple(limits, fc.nat(80), fc.nat(30)), { maxLength: 6 });

  it("makes entries that contain each other or lie apart, in whichever process and whenever it is planned, so that any of them tile (invariant 1)", () => {
    fc.assert(
      fc.property(lengths, contracts, compactors, (sizes, contract, plans) => {
        let end = 0;
        const log = sizes.map((size, index) => {
          end += size;
          return { ...entry(end - size, end, size), contract: contract(index) };
        });
        let merged: MergedEntry[] = [];
        for (const [within, seen, known] of plans) {
          const tiles = tileArchive(
            log.slice(0, seen + 1),
            merged.slice(0, known).filter(({ to }) => Number(to) <= Number(log[Math.min(seen, log.length - 1)]?.to)),
          );
          if (!tiles.ok) throw new Error(`does not tile: ${JSON.stringify(tiles.misfit)}`);
          const made = planMerges(0, tiles.entries, within).map(({ from, to, records }) => {
            const inside = log.filter((one) => Number(one.from) >= Number(from) && Number(one.to) <= Number(to));
            expect(new Set(inside.map((one) => one.contract)).size).toBe(1);
            expect(inside[0]?.from).toBe(BigInt(from));
            expect(inside.at(-1)?.to).toBe(BigInt(to));
            expect(records).toBe(Number(to) - Number(from));
            return {
              ...entry(Number(from), Number(to), records),
              contract: inside[0]?.contract ?? 0,
              createdAtMs: 0,
            };
          });
          merged = [...merged, ...made];
        }
        for (const a of merged)
          for (const b of merged) {
            const [from, to] = [Math.max(Number(a.from), Number(b.from)), Math.min(Number(a.to), Number(b.to))];
            if (from < to) expect([`${a.from}-${a.to}`, `${b.from}-${b.to}`]).toContain(`${from}-${to}`);
          }
        const needed = log.filter(
          (one) => !merged.some(({ from, to }) => Number(from) <= Number(one.from) && Number(one.to) <= Number(to)),
        );
        for (const left of [log, needed]) {
          const tiles = tileArchive(left, merged);
          expect(tiles.ok && [tiles.entries[0]?.from, tiles.entries.at(-1)?.to]).toEqual([0n, BigInt(end)]);
        }
      }),
      { numRuns: 1_000 },
    );
  });

  it("leaves a number of entries that grows with the logarithm of the history", () => {
    let entries: ArchiveEntry[] = [];
    for (const [total, most] of [
      [1_000, 45],
      [100_000, 45],
    ] as const) {
      entries = Array.from({ length: total }, (_, index) => entry(index * 10, index * 10 + 10, 10));
      const merges = planMerges(0, entries);
      const replaced = merges.reduce((sum, merge) => sum + merge.entries, 0);
      expect(entries.length - replaced + merges.length).toBeLessThan(most);
    }
  });
});

describe("the archive while it is compacted", () => {
  const crash = fc.oneof(fc.constant(null), fc.nat(12));
  const process = fc.nat(1);
  const action = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        kind: fc.constant("append" as const),
        process,
        offsets: fc.oneof(fc.integer({ min: 1, max: 10 }), fc.integer({ min: 1, max: 60 })),
      }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("compact" as const), limits: limitsOf, crash }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("sweep" as const), crash }) },
    {
      weight: 3,
      arbitrary: fc.record({ kind: fc.constant("wait" as const), minutes: fc.constantFrom(1, 4, 30, 100) }),
    },
    { weight: 3, arbitrary: fc.record({ kind: fc.constant("read" as const), process }) },
    // These sleep before they publish, and wake much later or never.
    {
      weight: 1,
      arbitrary: fc.record({
        kind: fc.constant("sleepy archiver" as const),
        process,
        offsets: fc.integer({ min: 1, max: 90 }),
      }),
    },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("sleepy compactor" as const), limits: limitsOf }) },
    { weight: 2, arbitrary: fc.record({ kind: fc.constant("wake" as const), which: fc.nat(5) }) },
  );

  it("gives every reader exactly the log, under any interleaving, with crashes at any step and processes that sleep (invariants 1, 7, 13)", async () => {
    const made = { merged: 0, swept: 0 };
    await fc.assert(
      fc.asyncProperty(fc.array(action, { minLength: 15, maxLength: 45 }), async (actions) => {
        const world = new World();
        const processes = [world.process(), world.process()] as const;
        const sleepers: (() => Promise<unknown>)[] = [];
        const lists: { entries: readonly ArchiveEntry[]; atMs: number }[] = [];
        let reached = 0;
        const mortal = (steps: number | null) => world.process(new MortalDirectory(world.root, steps ?? undefined));
        const unlessKilled = (work: Promise<number>) =>
          work.catch((error: Error) => {
            if (error.message !== "killed") throw error;
            return 0;
          });
        for (const step of actions) {
          switch (step.kind) {
            case "append":
              await append(processes[step.process as 0 | 1], step.offsets);
              break;
            case "compact":
              made.merged += await unlessKilled(compact(mortal(step.crash), step.limits));
              break;
            case "sweep":
              made.swept += await unlessKilled(sweepArchive(mortal(step.crash), target, TOPIC_ID));
              break;
            case "wait":
              world.nowMs += step.minutes * MINUTE_MS;
              break;
            case "sleepy archiver": {
              const { archive, data, ...rest } = processes[step.process as 0 | 1];
              const from = Number((await archive.entries(TOPIC, TOPIC_ID, 0)).at(-1)?.to ?? 0);
              const late = await archived({ archive, data, ...rest }, from, from + step.offsets);
              sleepers.push(() => archive.create(TOPIC, 0, late));
              break;
            }
            case "sleepy compactor": {
              const data = new MortalDirectory(world.root);
              let wake = () => {};
              data.publishing = new Promise((resolve) => {
                wake = resolve;
              });
              const work = compact(world.process(data), step.limits, 1);
              work.catch(() => {}); // seen when it is woken
              // Let it go as far as it goes by itself.
              await new Promise((resolve) => setTimeout(resolve, 30));
              sleepers.push(() => {
                wake();
                return work;
              });
              break;
            }
            case "wake": {
              const [sleeper] = sleepers.splice(step.which % Math.max(1, sleepers.length), 1);
              await sleeper?.();
              break;
            }
            case "read": {
              const reader = processes[step.process as 0 | 1];
              const entries = await entriesOf(reader);
              const end = await expectTheLog(reader, entries);
              expect(end).toBeGreaterThanOrEqual(reached); // the archive's end never moves back
              reached = end;
              lists.push({ entries, atMs: world.nowMs });
              break;
            }
          }
          // A process that began with an older list ends with it.
          const [oldest] = lists;
          if (oldest !== undefined && world.nowMs - oldest.atMs > REPLACED_GRACE_MS - 5 * MINUTE_MS) lists.shift();
          else if (oldest !== undefined) await expectTheLog(processes[0], oldest.entries);
        }
        for (const sleeper of sleepers) await sleeper();
        const last = world.process();
        await append(last, 16);
        const end = await expectTheLog(last, await entriesOf(last));
        // When everything has been tidied up, there is just what is read.
        await compact(last, { ...MERGE_LIMITS, newest: 0 });
        for (let round = 0; round < 3; round++) {
          await sweepArchive(last, target, TOPIC_ID);
          world.nowMs += REPLACED_GRACE_MS;
        }
        const { entries, replaced } = await last.archive.list(TOPIC, TOPIC_ID, 0);
        expect(await expectTheLog(last, entries)).toBe(end);
        expect(replaced).toEqual([]);
        const files = await last.data.list(last.archive.fileFolder(TOPIC, 0));
        const named = new Set(entries.map(({ file }) => file?.split("/").at(-1)));
        // An archiver's attempt beyond the end may still come, and a compactor's that nothing contains yet.
        expect(files.filter((name) => !named.has(name) && /^\d/.test(name) && Number(name.slice(0, 19)) < end)).toEqual(
          [],
        );
      }),
      // A failure is told at once: to make it smaller takes longer than the test may.
      { numRuns: 30, endOnFailure: true, timeout: 120_000 },
    );
    expect(made.merged).toBeGreaterThan(5);
    expect(made.swept).toBeGreaterThan(5);
  }, 240_000);

  it("reads what was merged when an archiver publishes more under a position that was merged while it slept", async () => {
    const world = new World();
    const process = world.process();
    const late = await archived(process, 0, 90);
    for (let from = 0; from < 40; from += 8) await append(process, 8);
    expect(await compact(process, { ...MERGE_LIMITS, newest: 0 })).toBe(2);
    expect(await sweepArchive(process, target, TOPIC_ID)).toBe(1); // the sleeper's
    world.nowMs += REPLACED_GRACE_MS;
    expect(await sweepArchive(process, target, TOPIC_ID)).toBe(4);
    expect(await process.archive.create(TOPIC, 0, late)).toBe(true);
    for (const reader of [process, world.process()])
      expect(await expectTheLog(reader, await entriesOf(reader))).toBe(40);
    await sweepArchive(process, target, TOPIC_ID);
    expect((await process.archive.list(TOPIC, TOPIC_ID, 0)).replaced).toEqual([]);
  });

  it("keeps what a compactor replaced that slept before it published, as long as older lists name it", async () => {
    const world = new World();
    const process = world.process();
    for (let from = 0; from < 40; from += 8) await append(process, 8);
    const data = new MortalDirectory(world.root);
    let wake = () => {};
    data.publishing = new Promise((resolve) => {
      wake = resolve;
    });
    const work = compact(world.process(data), { ...MERGE_LIMITS, newest: 0 }, 1);
    await vi.waitFor(async () =>
      expect((await process.data.list(process.archive.fileFolder(TOPIC, 0))).join()).toContain("merged-"),
    );
    await new Promise((resolve) => setTimeout(resolve, 30));
    world.nowMs += 2 * REPLACED_GRACE_MS;
    const reader = world.process();
    const before = await entriesOf(reader);
    wake();
    expect(await work).toBe(1);
    for (const minutes of [0, 30, 59]) {
      world.nowMs += minutes * MINUTE_MS;
      await sweepArchive(world.process(), target, TOPIC_ID);
      expect(await expectTheLog(reader, before)).toBe(40);
    }
    world.nowMs += 2 * MINUTE_MS;
    expect(await sweepArchive(world.process(), target, TOPIC_ID)).toBe(2);
    expect(await process.data.list(`archive/${TOPIC}/0/seen`)).toHaveLength(1);
  });

  it("lists its folders once in five minutes, and finds what is new by its name", async () => {
    let listed = 0;
    let read = 0;
    class Counting extends DataDirectory {
      override async list(name: string): Promise<string[]> {
        listed += 1;
        return super.list(name);
      }
      override async read<T>(...args: Parameters<typeof DataDirectory.prototype.read<T>>): Promise<T | null> {
        read += 1;
        return super.read(...args);
      }
    }
    const world = new World();
    const writer = world.process();
    for (let index = 0; index < 50; index++) await writer.archive.create(TOPIC, 0, entry(index, index + 1, 0));
    const reader = world.process(new Counting(world.root));
    expect(await entriesOf(reader)).toHaveLength(50);
    expect({ listed, read }).toEqual({ listed: 2, read: 50 });
    [listed, read] = [0, 0];
    for (let index = 50; index < 60; index++) {
      await writer.archive.create(TOPIC, 0, entry(index, index + 1, 0));
      expect(await entriesOf(reader)).toHaveLength(index + 1);
    }
    expect({ listed, read }).toEqual({ listed: 0, read: 20 });
    world.nowMs += 5 * MINUTE_MS;
    expect(await entriesOf(reader)).toHaveLength(60);
    expect({ listed, read }).toEqual({ listed: 2, read: 30 });
  });

  it("keeps a column that newer files have, null where the older ones lack it", async () => {
    const world = new World();
    const process = world.process();
    await process.archive.create(TOPIC, 0, await archived(process, 0, 8));
    await process.archive.create(TOPIC, 0, await archived(process, 8, 16, ", 2::INTEGER AS _version"));
    expect(await compact(process, { ...MERGE_LIMITS, newest: 0 })).toBe(1);
    const [merged] = await entriesOf(world.process());
    const rows = await rowsOf(duck, `SELECT _offset, _version FROM '${process.data.path(merged?.file ?? "")}'`);
    expect(rows).toEqual(offsetsOf(0, 16).map((offset) => [BigInt(offset), offset < 8 ? null : 2]));
  });

  it("merges nothing from a file that is not what its entry says", async () => {
    const process = new World().process();
    const first = await archived(process, 0, 8);
    for (const one of [first, { ...(await archived(process, 8, 16)), records: 8 }])
      await process.archive.create(TOPIC, 0, one);
    await expect(compact(process, { ...MERGE_LIMITS, newest: 0 })).rejects.toMatchObject({
      code: "ARCHIVE_DAMAGED",
      message: expect.stringContaining("does not hold"),
    });
    await truncate(process.data.path(first.file ?? ""), 100);
    await expect(compact(process, { ...MERGE_LIMITS, newest: 0 })).rejects.toMatchObject({
      code: "ARCHIVE_DAMAGED",
      message: expect.stringContaining("not what was published"),
    });
    expect(await process.data.list(`archive/${TOPIC}/0/merged`)).toEqual([]);
    expect(await process.data.list(process.archive.fileFolder(TOPIC, 0))).toHaveLength(2);
  });

  it("is damaged, and says so, when an entry is missing or begins inside another of the archiver's", async () => {
    for (const [second, kind] of [
      [entry(11, 20, 0), "gap"],
      [entry(9, 20, 0), "overlap"],
    ] as const) {
      const process = new World().process();
      for (const one of [entry(0, 10, 0), second]) await process.archive.create(TOPIC, 0, one);
      await expect(entriesOf(process)).rejects.toMatchObject({
        code: "ARCHIVE_DAMAGED",
        message: expect.stringContaining(kind),
      });
    }
  });
});
