import { expect, test } from "vitest";
import { needsSettlement } from "../../speed-layer/settling.ts";

const batch = { cells: 1_200_000, maxCells: 2_000_000, added: 200_000, taken: 70_000, left: 0 };

test("a view is published from half of maxCells on when it is at the log's end", () => {
  expect(needsSettlement(batch)).toBe(true);
  expect(needsSettlement({ ...batch, cells: 1_000_001 })).toBe(true);
  expect(needsSettlement({ ...batch, cells: 1_000_000 })).toBe(false);
});

test("a view that catches up is published when the rest of the log would not fit, and otherwise at the log's end", () => {
  expect(needsSettlement({ ...batch, left: 140_000 })).toBe(false);
  expect(needsSettlement({ ...batch, left: 280_000 })).toBe(true);
  expect(needsSettlement({ ...batch, left: 280_000, added: 0 })).toBe(false);
  expect(needsSettlement({ ...batch, cells: 1_900_000, added: 0, left: 1 })).toBe(true);
  expect(needsSettlement({ ...batch, cells: 900_000, left: 1_000_000 })).toBe(false);
});

test("cells that became fewer, and a batch without offsets, are not growth", () => {
  expect(needsSettlement({ ...batch, added: -500_000, left: 10_000_000 })).toBe(false);
  expect(needsSettlement({ ...batch, added: 0, taken: 0, left: 10_000_000 })).toBe(false);
});
