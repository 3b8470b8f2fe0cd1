import { describe, expect, test } from "vitest";
import { instant, text } from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { stream } from "../../../core/contract/stream.ts";
import { countedCondition } from "../../../core/definition/counted.ts";
import { table } from "../../../core/definition/table.ts";
import { rowsOf } from "../../../store/duckdb/duck.ts";
import { duckForTests } from "../../fixtures/oracles/duck.ts";

/** Of which tables a tombstone counts: those whose key is made of the stream's key and of nothing else. */

const customers = stream("customers", {
  revision: 1,
  partitions: 1,
  key: "customer",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 0,
  tombstones: "delete",
  fields: {
    id: text({ max: 9 }),
    customer: text({ max: 9 }),
    country: text({ max: 9 }),
    lower: text({ max: 9 }),
    at: instant({ from: "2020-01-01", to: "2100-01-01" }),
  },
});

describe("a tombstone", () => {
  const duck = duckForTests();
  const record = (id: string) =>
    `SELECT ${id} AS _id, 'c1' AS customer, NULL::VARCHAR AS country, NULL::VARCHAR AS "lower", NULL::TIMESTAMP AS at`;
  const counts = async (key: Parameters<typeof table>[1]["key"], id: string) => {
    const condition = countedCondition(table("newest", { stream: customers, key })) ?? "true";
    const [row] = await rowsOf(duck(), `SELECT ${condition} FROM (${record(id)})`);
    return row?.[0];
  };

  test.each([
    sql`customer`,
    sql`"customer"`,
    sql`lower(customer)`,
    sql`coalesce(customer, 'country')`,
    sql`customer || 'it''s country'`,
    sql`CASE WHEN customer = 'c1' THEN customer ELSE 'x' END`,
    { a: sql`customer`, b: sql`upper(customer)` },
  ])("counts of a table by %j", async (key) => {
    expect(await counts(key, "NULL")).toBe(true);
  });

  test.each([
    sql`country`,
    sql`coalesce(country, 'unknown')`,
    sql`coalesce("country", 'unknown')`,
    sql`CASE WHEN country = 'de' THEN 'home' ELSE 'x' END`,
    sql`country IS NULL`,
    sql`'all'`,
    sql`coalesce(country, customer)`,
    sql`customer || coalesce(lower(country), '')`,
    sql`coalesce("lower", customer)`,
    sql`coalesce(E'\\'' || country, customer, E'\\'')`,
    sql`coalesce(/* ' */ country, customer /* ' */)`,
    { a: sql`customer`, b: sql`coalesce(country, 'unknown')` },
  ])("does not count of a table by %j, whose events do", async (key) => {
    expect(await counts(key, "NULL")).toBe(false);
    const hasKey = "text" in key && key.text === "country";
    if (!hasKey) expect(await counts(key, "'e1'")).toBe(true);
  });
});
