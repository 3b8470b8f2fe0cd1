import { mkdtempSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, expect, test } from "vitest";
import type { ArchiveEntry } from "../../../core/log/documents.ts";
import { type PartitionSpan, position } from "../../../core/log/position.ts";
import type { Archive } from "../../../store/archive/archive.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { warmDedups } from "../../../store/decode/warm-dedup.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import type { LogSource } from "../../../store/kafka/read/log.ts";
import { ticks } from "../../fixtures/events/views.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

/** The dedup windows of many partitions are read together, each up to a position of its own. */

const home = mkdtempSync(join(tmpdir(), "tideline-warm-"));
const duck = duckForTests({ directories: [home] });
afterAll(() => rm(home, { recursive: true }));

/** The ids of one partition's log, where it begins, and where decoding continues. */
const partition = fc.record({
  ids: fc.array(fc.constantFrom("a", "b", "c", "d", "e", "f", "g", "h", 'i "1"', "東京"), {
    minLength: 5,
    maxLength: 30,
  }),
  start: fc.nat({ max: 4 }),
  at: fc.nat({ max: 30 }),
  /** How far the archive reaches. */
  archived: fc.nat({ max: 30 }),
});
type Partition = typeof partition extends fc.Arbitrary<infer T> ? T : never;

function value(id: string): Buffer {
  return Buffer.from(JSON.stringify({ id, at: 1_767_225_600_000, amount: 1, test: false }));
}

/** A log whose reads come in pieces of `piece` records. */
function logOf(partitions: readonly Partition[], piece: number): LogSource {
  return {
    bounds: async (_: string, asked: readonly number[] = []) => ({
      start: new Map(asked.map((one) => [one, position(partitions[one]?.start ?? 0)])),
      stable: new Map(),
    }),
    read: async function* (_: string, { partition: one, from, to }: PartitionSpan) {
      for (let next: bigint = from; next < to; next += BigInt(piece)) {
        const end = next + BigInt(piece) < to ? next + BigInt(piece) : to;
        yield fetchedOf(one, next, (partitions[one]?.ids ?? []).slice(Number(next), Number(end)).map(value));
      }
    },
  } as unknown as LogSource;
}

/** An archive that holds each partition's first records, those below `archived`, in one file. */
async function archiveOf(data: DataDirectory, partitions: readonly Partition[]): Promise<Archive> {
  const entries = new Map<number, readonly ArchiveEntry[]>();
  for (const [index, { ids, start, archived }] of partitions.entries()) {
    if (archived === start) continue;
    const file = await data.attempt("archive", "warm", "parquet");
    const some = JSON.stringify(ids.slice(start, archived));
    const rows =
      `SELECT ${index} AS _partition, (${start} + row_number() OVER () - 1)::BIGINT AS _offset, _id ` +
      `FROM (SELECT unnest(from_json($1::VARCHAR, '["VARCHAR"]')) AS _id)`;
    await duck().run(`CREATE OR REPLACE TEMP TABLE archived AS ${rows}`, [some]);
    await duck().run(`COPY archived TO '${data.path(file)}' (FORMAT parquet)`);
    const { checksum } = await data.settle(file);
    const entry = { from: position(start), to: position(archived), contract: ticks.revision, file, checksum };
    entries.set(index, [entry as unknown as ArchiveEntry]);
  }
  const read = async (_: string, __: string, one: number) => entries.get(one) ?? [];
  return { entries: read } as unknown as Archive;
}

/** Which offsets from `at` on repeat an id of the last `dedupWindow` offsets, none of them below the log's start. */
function repeats({ ids, start, at }: Partition): number[] {
  return ids.flatMap((id, offset) => {
    const first = Math.max(start, at - ticks.dedupWindow, offset - ticks.dedupWindow);
    const before = ids.slice(Math.max(0, first), offset);
    return offset >= at && before.includes(id) ? [offset] : [];
  });
}

test("decoding goes on in many partitions as if it had read each window's ids before", async () => {
  const data = new DataDirectory(home);
  await fc.assert(
    fc.asyncProperty(
      fc.array(partition, { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 7 }),
      async (made, piece) => {
        const partitions = made.map((one) => {
          const start = one.start % (one.ids.length + 1);
          const at = start + (one.at % (one.ids.length - start + 1));
          return { ...one, start, at, archived: start + (one.archived % (at - start + 1)) };
        });
        const decoder = await Decoder.open(duck(), ticks, NO_SCHEMAS);
        const sources = {
          archive: await archiveOf(data, partitions),
          data,
          log: logOf(partitions, piece),
          schemas: NO_SCHEMAS as never,
        };
        const before = new Map(partitions.map(({ at }, index) => [index, position(at)]));
        await warmDedups(sources, decoder, { stream: ticks, topic: "ticks", topicId: "t", before });
        const { relation } = await decoder.decode(
          partitions.map(({ ids, at }, index) => fetchedOf(index, BigInt(at), ids.slice(at).map(value))),
        );
        const duplicates = `SELECT _partition, _offset FROM ${relation} WHERE _duplicate ORDER BY ALL`;
        const found = await rowsOf(duck(), duplicates);
        const expected = partitions.flatMap((one, index) => repeats(one).map((offset) => [index, BigInt(offset)]));
        expect(found).toEqual(expected);
      },
    ),
    { numRuns: 20 },
  );
});
