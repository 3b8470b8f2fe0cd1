import { afterAll, beforeAll, expect, test } from "vitest";
import { instant, integer, text } from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { stream } from "../../../core/contract/stream.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { type Joined, joined } from "../../../core/definition/joined.ts";
import { table } from "../../../core/definition/table.ts";
import type { JoinedRow } from "../../../core/query/tables/joined-rows.ts";
import { refusalOf } from "../../../serving/common/problem.ts";
import { DuckQueue } from "../../../serving/read/batch/duck-queue.ts";
import { JoinedTables } from "../../../serving/views/joined-tables.ts";
import type { DescribedView } from "../../../serving/views/served-views.ts";
import { poolForTests } from "../../fixtures/oracles/duck.ts";

/** Rows of a joined table whose columns cannot be computed for each of them. */

const things = stream("things", {
  revision: 1,
  partitions: 1,
  key: "thing",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  fields: {
    id: text({ max: 9 }),
    thing: text({ max: 9 }),
    at: instant({ from: "2020-01-01", to: "2100-01-01" }),
    note: text({ max: 9 }),
    amount: integer({ min: 0, max: Number.MAX_SAFE_INTEGER }),
  },
});
const newest = table("newest", { stream: things, key: sql`thing` });

const pool = poolForTests();
let ducks: DuckQueue;
beforeAll(async () => {
  ducks = await DuckQueue.open(pool(), { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
});
afterAll(() => ducks.close());

const rows = Array.from({ length: 2_500 }, (_, n): JoinedRow => {
  const row = { thing: `t${n}`, note: n === 2_345 ? "x" : String(n), amount: n === 77 ? 2 ** 52 : n };
  return { key: [`t${n}`], rows: new Map([["created", row]]) };
});

async function computed(columns: Joined["columns"], found: readonly JoinedRow[] = rows) {
  const definition = joined("all", { tables: { created: newest }, columns });
  const described = { definition: { view: newest, generation: generationOf(newest) } } as unknown as DescribedView;
  const views = new Map([["newest", described]]);
  const joins = new JoinedTables({ definitions: new Map([["all", definition]]), views, pool: pool(), ducks });
  const join = await joins.find("all");
  if (join === null) throw new Error("not described");
  return joins.rows(join, found);
}

test.each([
  ["a text that is not a number", sql`created.note::BIGINT`, "t2345"],
  ["a product beyond 64 bits", sql`created.amount * created.amount`, "t77"],
  ["a text that is not a time", sql`created.note::TIMESTAMP`, "t0"],
])("%s is refused with the column and the key", async (_, broken, key) => {
  const error: unknown = await computed({ amount: sql`created.amount`, broken }).catch((cause: unknown) => cause);
  const { status, code, detail, errors } = refusalOf(error).problem;
  expect([status, code]).toEqual([422, "COLUMN_FAILED"]);
  expect(detail).toContain(`column "broken" of joined table "all" cannot be computed for the row "${key}": `);
  expect(errors).toMatchObject([{ parameter: "columns" }]);
});

test("rows without such a value are answered, and TRY_CAST answers all", async () => {
  expect(await computed({ n: sql`created.note::BIGINT` }, rows.slice(0, 2))).toEqual([
    { thing: "t0", n: 0 },
    { thing: "t1", n: 1 },
  ]);
  const all = await computed({ n: sql`TRY_CAST(created.note AS BIGINT)` });
  expect(all.map(({ n }) => n)).toEqual(rows.map((_, n) => (n === 2_345 ? null : n)));
});
