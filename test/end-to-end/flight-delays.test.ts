import { DuckDBInstance } from "@duckdb/node-api";
import { afterAll, beforeAll, expect, test } from "vitest";
import { flightsFile } from "../../systems/shop/flights/flights.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

/** Quantiles by origin and day, and the routes with the most delay: against plain DuckDB over the source file. */

const ROWS = 150_000;
const ALL = { from: "2001-01-01", to: "2002-01-01", limit: "100000" };
/** What systems/shop/views/flight-delays.ts states. */
const ERROR = 0.05;

let tideline: Installation;

beforeAll(async () => {
  tideline = await Installation.open("delays");
  await Promise.all([tideline.start("speed"), tideline.start("serve")]);
});

afterAll(() => tideline.close());

async function duckdb(sql: string): Promise<unknown[][]> {
  const instance = await DuckDBInstance.create(":memory:");
  const duck = await instance.connect();
  const source = `read_parquet('${flightsFile()}', file_row_number = true)`;
  const rows = (
    await duck.runAndReadAll(sql.replace("$source", `(FROM ${source} WHERE file_row_number < ${ROWS})`))
  ).getRows();
  duck.closeSync();
  instance.closeSync();
  return rows;
}

async function applied(view: string): Promise<Answer> {
  const ended = ({ complete, position }: Answer) =>
    complete && Object.values(position.applied).reduce((sum, offset) => sum + Number(offset), 0) === ROWS;
  await until(`${view} applied`, () => tideline.ask(view, { ...ALL, limit: "1" }), ended, 120_000);
  return tideline.ask(view, ALL);
}

test("delays of every airport and day, and the most delayed routes of every day", async () => {
  await tideline.run("replay", "flights", "--limit", String(ROWS));
  const delays = await applied("flight-delays");
  const sorted = await duckdb(
    "SELECT strftime(date, '%Y-%m-%d'), origin, list(delay::INTEGER ORDER BY delay) FROM $source GROUP BY ALL",
  );
  const expected = new Map(
    sorted.map(([day, origin, values]) => [`${day} ${origin}`, (values as { items: readonly number[] }).items]),
  );
  expect(delays.rows).toHaveLength(expected.size);
  for (const row of delays.rows) {
    const values = expected.get(`${String(row.bucket).slice(0, 10)} ${row.origin}`) ?? [];
    expect(row.flights).toBe(values.length);
    for (const [part, p] of Object.entries({ p50: 0.5, p90: 0.9, p99: 0.99 })) {
      const exact = values[Math.max(1, Math.ceil(Number((p * values.length).toFixed(6)))) - 1] ?? Number.NaN;
      const given = (row.delay as unknown as Record<string, number>)[part] ?? Number.NaN;
      expect(Math.abs(given - exact), `${part} of ${row.origin} on ${row.bucket}`).toBeLessThanOrEqual(
        ERROR * Math.abs(exact),
      );
    }
  }

  const routes = await applied("flight-routes");
  const top = await duckdb(
    `SELECT day, list({item: item, weight: weight} ORDER BY weight DESC, item)[1:20]
     FROM (SELECT strftime(date, '%Y-%m-%d') AS day, origin || '-' || destination AS item,
             sum(delay)::INTEGER AS weight FROM $source GROUP BY ALL)
     GROUP BY day`,
  );
  const lists = new Map(
    top.map(([day, list]) => [
      String(day),
      (list as { items: readonly { entries: unknown }[] }).items.map(({ entries }) => entries),
    ]),
  );
  expect(routes.rows).toHaveLength(lists.size);
  for (const row of routes.rows) expect(row.most_delayed).toEqual(lists.get(String(row.bucket).slice(0, 10)));
}, 480_000);
