import fc from "fast-check";
import { expect, test } from "vitest";
import { instant, text } from "../../../core/contract/fields.ts";
import { stream } from "../../../core/contract/stream.ts";
import { Decoder } from "../../../store/decode/decoder.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";
import { fetchedOf, NO_SCHEMAS } from "../../fixtures/servers/fetched.ts";

const visits = stream("visits", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 1_000,
  fields: { id: text({ max: 20 }), at: instant() },
});

/**
 * Runs of small batches, long enough for the filter to be read again, between what it is not told of: large batches,
 * warm-ups, ids that are forgotten.
 */
const ids = (most: number, least: number) => fc.array(fc.nat(4_000), { minLength: least, maxLength: most });
const step = fc.oneof(
  fc.record({ kind: fc.constant("small" as const), batches: fc.array(ids(20, 1), { minLength: 22, maxLength: 30 }) }),
  fc.record({ kind: fc.constant("large" as const), batches: fc.tuple(ids(260, 240)) }),
  fc.record({ kind: fc.constant("seek" as const), batches: fc.tuple(ids(300, 100)) }),
);

/** Ends with a duplicate. */
const LAST = { kind: "small", batches: [[4_001], [4_001]] } as const;

const keeping = duckForTests({ keepsPlans: true });
const planning = duckForTests();

test("a filter before the table of ids leaves no duplicate out and makes none", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 2, maxLength: 6 }), async (steps) => {
      const decoders = [
        await Decoder.open(keeping(), visits, NO_SCHEMAS),
        await Decoder.open(planning(), visits, NO_SCHEMAS),
      ] as const;
      let [next, last]: [bigint, unknown[]] = [0n, []];
      for (const { kind, batches } of [...steps, LAST]) {
        for (const batch of batches) {
          const fetched = fetchedOf(
            0,
            next,
            batch.map((id) => Buffer.from(JSON.stringify({ id: `v${id}`, at: 1_700_000_000_000 }))),
          );
          const [filtered, plain] = await Promise.all(decoders.map((decoder) => taken(decoder, kind, fetched)));
          expect(filtered).toEqual(plain);
          last = filtered ?? [];
          next = fetched.to;
        }
      }
      expect(last).toHaveLength(1);
    }),
    { numRuns: 5, endOnFailure: true },
  );
});

/**
 * Decodes a batch; or as after a seek: forgets all ids, and remembers those of the batch from the archive. Returns the
 * offsets of its duplicates.
 */
async function taken(decoder: Decoder, kind: string, fetched: ReturnType<typeof fetchedOf>): Promise<unknown[]> {
  if (kind !== "seek") {
    const { relation } = await decoder.decode([fetched]);
    return rowsOf(decoder.duck, `SELECT _offset FROM ${relation} WHERE _duplicate ORDER BY _offset`);
  }
  await decoder.forget([0]);
  const rows = fetched.records.values.map((value, index) => {
    const { id } = JSON.parse(String(value)) as { id: string };
    return `(0, ${fetched.records.offsets[index]}, '${id}')`;
  });
  await decoder.remember(`(SELECT * FROM (VALUES ${rows.join(", ")}) v(_partition, _offset, _id))`);
  return [];
}
