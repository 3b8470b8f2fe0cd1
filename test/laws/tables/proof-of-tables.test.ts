import { expect, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { table } from "../../../core/definition/table.ts";
import type { View } from "../../../core/definition/view.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { RowComparison, type ServedRow } from "../../../core/proof/proof.ts";
import { planQuery } from "../../../core/query/query.ts";
import { planWholeTable } from "../../../core/query/tables/table-query.ts";
import { sales, takings } from "../../fixtures/events/takings.ts";

/** Rows of a table are records: a proof that is to show none has none in its differences. */

const buyers = table("buyers", { stream: sales, key: sql`buyer` });
const spent = table("spent", { stream: sales, key: sql`buyer`, measures: { sales: count() } });
const SECRETS = ["patient-4711", "Ulm", "271828"];

/** What is found when a row is served that the log does not have, and is first in an answer that is out of order. */
function compared(view: View, mostShown: number) {
  const plan = view.table === null ? planQuery(view, {}) : planWholeTable(view, {});
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  const comparison = new RowComparison(view, plan.query, mostShown);
  const row = { bucket: "2026-03-01T00:00:00.000Z", buyer: "patient-4711", latest: { shop: "Ulm" }, sales: 271828 };
  const served: ServedRow[] = [{ row, registers: () => undefined }];
  const given = [{ order: [], limit: 10, rows: [row, row], truncated: false, csv: null }];
  comparison.add(served, [], given, { fromMs: 0, toMs: 1 });
  return comparison.result();
}

test.each([buyers, spent])("a proof of $name without rows says what differs, and shows nothing of it", (view) => {
  const found = compared(view, 0);
  expect(found.mismatches).toBeGreaterThan(1);
  expect(found.differences.map(({ problem }) => problem)).toEqual(
    compared(view, 1).differences.map(({ problem }) => problem),
  );
  for (const { row, served, log, difference } of found.differences)
    expect([row, served, log, difference]).toEqual([{}, null, null, null]);
  for (const secret of SECRETS) expect(JSON.stringify(found)).not.toContain(secret);
  expect(JSON.stringify(compared(view, 1))).toContain("patient-4711");
});

test("a proof of a view without rows shows what differs", () => {
  expect(compared(takings, 0).differences).toEqual(compared(takings, 1).differences);
  expect(compared(takings, 0).differences[0]?.row).toMatchObject({ bucket: "2026-03-01T00:00:00.000Z" });
});
