import { expect, test } from "vitest";
import { recordLines } from "../../cli/tail/lines.ts";
import { decimal, instant, integer, map, text } from "../../core/contract/fields.ts";
import { stream } from "../../core/contract/stream.ts";
import { position } from "../../core/log/position.ts";

/** What `tideline tail` prints of a record. */

const orders = stream("orders", {
  ...{ revision: 1, partitions: 1, key: "id", eventId: "id", eventTime: "at", dedupWindow: 0 },
  fields: {
    ...{ id: text(), at: instant(), born: instant({ min: "0001-01-01" }), due: instant({ max: "9999-12-31" }) },
    ...{ price: decimal({ scale: 2, min: 0, max: 9 }), stock: map({ sold: integer({ min: 0, max: 9 }) }) },
  },
});

test("instants are times, also before 1970 and far ahead", () => {
  const lines = recordLines(
    {
      ...{ partition: 0, offset: position(7), timestampMs: 1_700_000_000_123, key: Buffer.from("a"), headers: [] },
      ...{ original: Buffer.from("{}"), verdict: { accepted: true } as never },
      fields: {
        ...{ id: "a", at: 1_700_000_000_000, born: -62_135_596_800_000, due: 253_402_214_400_000 },
        ...{ price: 150, stock: [{ key: "ulm", sold: 3 }] },
      },
    },
    orders,
  );
  expect(lines).toContain("at=2023-11-14T22:13:20.000Z  born=0001-01-01T00:00:00.000Z  due=9999-12-31T00:00:00.000Z");
  expect(lines).toContain('price=150  stock=[{"key":"ulm","sold":3}]');
});
