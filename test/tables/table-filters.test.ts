import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { max } from "../../core/measures/kinds/extremes.ts";
import { last } from "../../core/measures/kinds/picks.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { customerChanges } from "../fixtures/events/customer-changes.ts";
import { produce } from "../fixtures/events/produce.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/**
 * `where` on columns of tables that have more keys than a server holds for one answer: settled rows, and rows that have
 * changed since in both directions.
 */

const changes = customerChanges("filtered-changes", 2);
const customers = table("filtered-customers", { stream: changes, key: sql`customer`, deleted: sql`op = 'delete'` });
const indexed = table("filtered-indexed", {
  ...{ stream: changes, key: sql`customer`, deleted: sql`op = 'delete'` },
  indexes: ["name", "member", "balance", "at", "visits", "customer"],
});
const activity = table("filtered-activity", {
  stream: changes,
  key: { customer: sql`customer`, member: sql`coalesce(member, false)`, balance: sql`balance` },
  shards: 7,
  measures: { changes: count(), total: sum(sql`balance`), most: max(sql`visits`), name: last(sql`name`) },
  indexes: ["member", "balance", "most"],
});

const TABLES = [customers, indexed, activity];
const NAMES = [null, "", "null", '"null"', "it's", 'a "b" \\ c', "Zürich", "東京 🦔", "tab\tline\n", "$1", "%"];
const START = Date.parse("2026-03-28T12:00:00Z");
const KEYS = 2_600;

type Row = Readonly<Record<string, string | number | boolean | null>>;
interface Answer {
  readonly rows: Row[];
  readonly truncated: boolean;
  readonly next?: string;
}

interface Listed {
  readonly name: string;
  readonly applied: Readonly<Record<string, string>> | null;
}

let layers: Layers;
let produced = 0;

const ask = async (path: string): Promise<Answer> => {
  const response = await fetch(layers.url(`/tables/${path}`));
  const body = await response.text();
  expect(response.status, `${path}: ${body}`).toBe(200);
  return JSON.parse(body) as Answer;
};

async function change(keys: readonly number[]): Promise<void> {
  const records = keys.map((key, index) => {
    const n = produced + index;
    const customer = key % 50 === 0 ? `c${key} ${NAMES[(key / 50) % NAMES.length] ?? ""}` : `c${key}`;
    const value = {
      ...{ id: `e${n}`, customer, at: START + (n % 300) * 1_000, op: n % 13 === 0 ? "delete" : "set" },
      ...{ name: NAMES[n % NAMES.length], balance: ((n % 40) - 20) / 4, visits: n % 90 === 0 ? 2 ** 53 - 1 : n % 60 },
      ...(n % 4 === 0 ? {} : { member: n % 2 === 0 }),
    };
    return { key: customer, value: Buffer.from(JSON.stringify(value)) };
  });
  produced += keys.length;
  await produce(inject("kafkaBrokers"), layers.topic(changes.name), records);
  for (const { name } of TABLES)
    await until(
      `${name} has all records`,
      async () => (await (await fetch(layers.url("/tables"))).json()) as { tables: Listed[] },
      ({ tables }) =>
        Object.values(tables.find((one) => one.name === name)?.applied ?? {}).reduce(
          (all, one) => all + Number(one),
          0,
        ) >= produced,
    );
}

/** All rows, page by page. */
async function wholeOf(path: string, limit: number): Promise<Row[]> {
  const rows: Row[] = [];
  for (let next: string | undefined = "", page = 0; next !== undefined; page++) {
    const answer: Answer = await ask(`${path}limit=${limit}${next === "" ? "" : `&after=${next}`}`);
    rows.push(...answer.rows);
    next = answer.next;
    expect(page).toBeLessThan(100);
  }
  return rows;
}

beforeAll(async () => {
  layers = await Layers.open(TABLES, { maxAnswerCells: 2_500 });
  const keys = Array.from({ length: KEYS }, (_, key) => key);
  await change([...keys, ...keys.filter((key) => key % 3 === 0)]);
  for (const view of TABLES) expect(await layers.refresh(view)).toBe(true);
  await change(keys.filter((key) => key % 5 === 0));
  for (const view of TABLES) expect(await layers.refresh(view)).toBe(true);
  await change(keys.filter((key) => key % 11 === 0));
});

afterAll(() => layers?.close());

type Filter = Readonly<Record<string, readonly Row[string][]>>;
const OF_RECORDS: readonly Filter[] = [
  { name: ["it's"] },
  { name: ['a "b" \\ c', "東京 🦔", "tab\tline\n"] },
  { name: [null] },
  { name: ["null", '"null"', ""] },
  { member: [true] },
  { member: [null], op: ["set"] },
  { balance: [1.25, -2.5] },
  { balance: [0] },
  { at: [new Date(START + 17_000).toISOString()] },
  { visits: [2 ** 53 - 1] },
  { visits: [7], member: [false, null] },
  { customer: ["c100 null", "c7", "nobody"] },
  { name: ["nobody's"] },
];
const CASES: readonly [table: string, filters: readonly Filter[]][] = [
  [customers.name, OF_RECORDS],
  [indexed.name, OF_RECORDS],
  [
    activity.name,
    [
      { changes: [2] },
      { changes: [1, 3], member: [true] },
      { total: [1.25, -5] },
      { most: [2 ** 53 - 1] },
      { balance: [0.5] },
      { customer: ["c100 null", "c7"], member: [false] },
      { name: ["Zürich"] },
      { name: [null], changes: [2] },
      { changes: [1_000] },
    ],
  ],
];

test("state files of tables with indexes have them", async () => {
  for (const view of TABLES) {
    const folder = join(layers.dataDir, "views", generationOf(view));
    const names = await readdir(join(folder, "indexes")).catch(() => []);
    const files = view.table?.indexes.length === 0 ? 0 : (await readdir(join(folder, "states"))).length;
    expect([view.name, names.length]).toEqual([view.name, files]);
  }
});

test.each(CASES)(
  "%s has the rows that where allows, all at once and page by page, in the order of the key and of a column",
  async (name, filters) => {
    const all = await wholeOf(`${name}?`, 1_000);
    expect(all.length).toBeGreaterThan(2_000);
    for (const filter of filters) {
      const expected = all.filter((row) =>
        Object.entries(filter).every(([column, values]) => values.includes(row[column] ?? null)),
      );
      const written = (value: Row[string]) =>
        value === null ? "null" : /^"*null"*$/.test(String(value)) ? `"${String(value)}"` : String(value);
      const query = Object.entries(filter).flatMap(([column, values]) =>
        values.map((value) => `where[${column}]=${encodeURIComponent(written(value))}&`),
      );
      const path = `${name}?${query.join("")}`;
      expect([path, (await ask(`${path}limit=2000`)).rows]).toEqual([path, expected]);
      expect([path, await wholeOf(path, 5 + Math.ceil(expected.length / 3))]).toEqual([path, expected]);
    }
    const [first = {}] = filters;
    const [[column, values] = ["", []]] = Object.entries(first);
    const path = `${name}?where[${column}]=${encodeURIComponent(String(values[0]))}`;
    const sorted = await ask(`${path}&order=-customer&limit=5`);
    const found = all.filter((row) => row[column] === values[0]);
    const customers = [...new Set(found.map(({ customer }) => customer))];
    const place = ({ customer = null }: Row) => customers.indexOf(customer);
    expect(sorted.rows).toEqual(found.toSorted((a, b) => place(b) - place(a)).slice(0, 5));
  },
);
