import { afterAll, beforeAll, expect, test } from "vitest";
import { REPORT_LIMITS, spendEvents } from "../../batch-layer/report/budget.ts";
import { sql } from "../../core/contract/sql.ts";
import { view } from "../../core/definition/view.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { topK } from "../../core/measures/kinds/top-k.ts";
import { Budget, type BudgetLimits } from "../../core/query/budget.ts";
import { type Duck, DuckPool } from "../../store/duckdb/duck.ts";
import { productsOf } from "../../systems/shop/report/products.ts";
import { salesOf } from "../../systems/shop/report/sales.ts";
import { DAY, DAY_MS, sales } from "../fixtures/events/sales.ts";

/** What the daily report does when a view has more groups, items or events than it may read. */

const ORDERS = 500;
const day = { fromMs: DAY, toMs: DAY + DAY_MS };

/** By buyer, of which nearly every order has another one, and with names that break rows elsewhere. */
const revenue = view("revenue", {
  stream: sales,
  by: { region: sql`region`, buyer: sql`buyer` },
  every: "1 minute",
  measures: { orders: count(), revenue: sum(sql`cents`) },
});

const products = view("top-products", {
  stream: sales,
  every: "1 hour",
  measures: {
    units: topK(sql`buyer`, { weight: sql`1`, show: 100 }),
    revenue: topK(sql`buyer`, { weight: sql`cents`, show: 100 }),
  },
});

let pool: DuckPool;
let duck: Duck;

beforeAll(async () => {
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [] });
  duck = await pool.connect();
  await duck.run(
    `CREATE TABLE orders AS SELECT 0 AS _partition, i AS _offset, 'o' || i AS _id, false AS _duplicate,
       NULL::VARCHAR AS _reject, 'o' || i AS id, ${DAY} + i * 1000 AS at,
       CASE WHEN i % 2 = 0 THEN 'eu' ELSE 'us' END AS region,
       'a''"' || chr(10) || '😀' || i AS buyer, i AS cents FROM range(${ORDERS}) AS _(i)`,
  );
});

afterAll(() => {
  duck.closeSync();
  pool.close();
});

const source = (limits: Partial<BudgetLimits>) => {
  return { duck, events: "orders", budget: new Budget({ ...REPORT_LIMITS, ...limits }) };
};

test("a dimension with more values than the report shows fails it, and is named", async () => {
  const failure = await salesOf(source({ cells: ORDERS }), revenue, day).catch((error: unknown) => error);
  expect(failure).toMatchObject({
    code: "REPORT_TOO_LARGE",
    message: "the report reads view revenue: its groups by buyer have more than 500 groups",
    hint: expect.stringMatching(/^Leave the dimension buyer out of view revenue/),
  });
});

test("within its budget the report has all groups", async () => {
  // The totals, two regions, the buyers, and an hour with sales.
  const { by } = await salesOf(source({ cells: 1 + 2 + ORDERS + 1 }), revenue, day);
  expect(by.buyer).toHaveLength(ORDERS);
  expect(by.region).toHaveLength(2);
});

test("a top list with more items than may be held names its view and its measures", async () => {
  await expect(productsOf(source({ items: 2 * ORDERS - 1 }), products, day)).rejects.toMatchObject({
    code: "REPORT_TOO_LARGE",
    message:
      "the report reads view top-products: its totals have more than 999 items of quantiles, histograms and top lists",
    hint: expect.stringContaining("units, revenue"),
  });
  expect(await productsOf(source({ items: 2 * ORDERS }), products, day)).toHaveLength(100);
});

test("more events than a report may read name the stream", () => {
  const budget = new Budget({ ...REPORT_LIMITS, rows: 10 });
  spendEvents(budget, "sales", 6);
  expect(() => spendEvents(budget, "sales", 5)).toThrow(
    expect.objectContaining({
      code: "REPORT_TOO_LARGE",
      message: "the days that the report compares have more than 10 events of sales",
    }),
  );
});
