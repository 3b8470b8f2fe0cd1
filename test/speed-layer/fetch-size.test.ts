import { expect, test } from "vitest";
import { fetchBytes } from "../../speed-layer/fetches.ts";

const pacing = { batchBytes: 1_000, batchRecords: 100, fullBatchRecords: 10 };

test("a fetch asks for more bytes while full batches have few records, at most twice as many", () => {
  const next = (bytes: number, records: number) => fetchBytes({ bytes, records }, pacing);
  // Nothing came, or the end of the log: the next batch is small, whatever its records are.
  expect([next(0, 0), next(1_000, 9), next(2_000, 1)]).toEqual([1_000, 1_000, 1_000]);
  expect([next(1_000, 200), next(1_000, 100)]).toEqual([1_000, 1_000]);
  expect([next(1_000, 80), next(1_250, 100), next(1_000, 50), next(2_000, 100)]).toEqual([1_250, 1_250, 2_000, 2_000]);
  expect([next(1_000, 10), next(2_000, 20)]).toEqual([2_000, 2_000]);
});
