import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { integer, list, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { distinct } from "../../core/measures/kinds/distinct.ts";
import { max } from "../../core/measures/kinds/extremes.ts";
import { last } from "../../core/measures/kinds/picks.ts";
import { quantile } from "../../core/measures/kinds/quantile.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { topK } from "../../core/measures/kinds/top-k.ts";
import { Proof } from "../../core/proof/proof-result.ts";
import { Problem } from "../../serving/common/problem.ts";
import { HistoryBody, ReplayBody, TableRow, TableRows, TablesBody } from "../../serving/tables/table-schemas.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { customerChanges } from "../fixtures/events/customer-changes.ts";
import { ODD_KEYS } from "../fixtures/events/odd-keys.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** Tables: the state of every key, compared with a plain fold of the log that another client read. */

const changes = customerChanges("changes", 3, {
  tags: list({ tag: text({ max: 20 }), weight: integer({ min: 0, max: 10 }) }, { max: 5 }),
});
const customers = table("customers", { stream: changes, key: sql`customer`, deleted: sql`op = 'delete'` });
/** Keys that rows show otherwise than state has them. */
const byBalance = table("by-balance", { stream: changes, key: { balance: sql`balance`, at: sql`"at"` } });
const activity = table("activity", {
  stream: changes,
  key: { customer: sql`customer`, member: sql`coalesce(member, false)` },
  where: sql`op <> 'ignored'`,
  shards: 7,
  measures: {
    changes: count(),
    total: sum(sql`balance`),
    most: max(sql`visits`),
    name: last(sql`name`),
    names: distinct(sql`name`),
    ops: topK(sql`op`, { show: 3 }),
    sizes: quantile(sql`visits`, { at: [0.5, 0.9] }),
  },
});

/** Beside those that others have, a pattern and a long one. */
const ODD = [...ODD_KEYS, "%", "x".repeat(200)];
const START = Date.parse("2026-03-28T12:00:00Z");

let layers: Layers;
let produced = 0;

beforeAll(async () => {
  layers = await Layers.open([customers, activity, byBalance]);
  await ensureTopics(inject("kafkaBrokers"), [{ name: deadLetterTopic(layers.topic("changes")), partitions: 1 }]);
});

afterAll(async () => {
  await layers?.close();
});

const customerOf = (n: number) => (n % 3 === 0 ? (ODD[n % ODD.length] ?? "") : `c${(n * 7_919) % 400}`);

/** Changes of many customers, a few of whom change most; some twice, out of order in event time, some refused. */
async function change(total: number): Promise<void> {
  const records: RawRecord[] = Array.from({ length: total }, (_, index) => produced + index).flatMap((n) => {
    const customer = customerOf(n);
    const value = {
      id: `e${n}`,
      customer,
      at: START + ((n * 7_907) % 86_400) * 1_000,
      op: n % 11 === 0 ? "delete" : n % 7 === 0 ? "ignored" : "set",
      name: n % 5 === 0 ? null : `name ${n % 50}`,
      balance: (((n * 31) % 200_000) - 100_000) / 100,
      visits: n % 97 === 0 ? 2 ** 53 - 1 : n,
      ...(n % 4 === 0 ? {} : { member: n % 2 === 0 }),
      tags: n % 6 === 0 ? [] : [{ tag: `t${n % 4}`, weight: n % 10 }],
      undeclared: { deep: [n] },
    };
    const record = { key: customer, value: Buffer.from(JSON.stringify(value)) };
    if (n % 40 === 13) return [record, { key: customer, value: Buffer.from("{") }, record];
    return [record];
  });
  produced += total;
  await produce(inject("kafkaBrokers"), layers.topic("changes"), records);
}

interface Change {
  readonly id: string;
  readonly customer: string;
  readonly at: number;
  readonly op: string;
  readonly name: string | null;
  readonly balance: number;
  readonly visits: number;
  readonly member?: boolean;
  readonly tags: readonly unknown[];
}

interface TableBody {
  readonly rows: Readonly<Record<string, unknown>>[];
  readonly truncated: boolean;
  readonly next?: string;
  readonly asOf: string;
  readonly complete: boolean;
  readonly position: { readonly applied: Readonly<Record<string, string>> };
}

/** The accepted changes below a position, without the repeated ones, in the order of the log. */
async function changesBelow(applied: Readonly<Record<string, string>>): Promise<Change[]> {
  const log = await readLog(inject("kafkaBrokers"), layers.topic("changes"));
  return [...log].flatMap(([partition, records]) => {
    const seen = new Set<string>();
    return records.flatMap(({ offset, value }) => {
      const text = String(value);
      if (offset >= BigInt(applied[partition] ?? 0) || !text.endsWith("}")) return [];
      const one = JSON.parse(text) as Change;
      if (seen.has(one.id)) return [];
      seen.add(one.id);
      return [one];
    });
  });
}

function foldLatest(all: readonly Change[]): Map<string, object> {
  const rows = new Map<string, object>();
  for (const { id, customer, at, op, name, balance, visits, member = null, tags } of all) {
    rows.delete(customer);
    const shown = { customer, id, at: new Date(at).toISOString(), op, name, balance, visits, member, tags };
    if (op !== "delete") rows.set(customer, shown);
  }
  return rows;
}

async function ask(path: string): Promise<TableBody> {
  const response = await fetch(layers.url(path));
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  return JSON.parse(text) as TableBody;
}

const NOTHING: TableBody = { rows: [], truncated: false, asOf: "", complete: false, position: { applied: {} } };

function notYet(error: Error): TableBody {
  if (!error.message.startsWith("503")) throw error;
  return NOTHING;
}

/** Waits until a table stands at the end of the log. */
async function end(name: string): Promise<TableBody> {
  const log = await readLog(inject("kafkaBrokers"), layers.topic("changes"));
  return until(
    "all is applied",
    () => ask(`/tables/${name}?limit=100000`).catch(notYet),
    ({ complete, position }) =>
      complete &&
      [...log].every(
        ([partition, records]) => BigInt(position.applied[partition] ?? 0) > (records.at(-1)?.offset ?? -1n),
      ),
    60_000,
  );
}

async function expectLatest(body: TableBody): Promise<void> {
  const expected = foldLatest(await changesBelow(body.position.applied));
  expect(Object.fromEntries(body.rows.map((row) => [row.customer, row]))).toEqual(Object.fromEntries(expected));
  expect(body.rows.length).toBe(expected.size);
}

async function expectMeasures(body: TableBody): Promise<void> {
  const rows = new Map<string, { changes: number; cents: number; most: number; at: number; name: string | null }>();
  for (const { customer, member = false, op, balance, visits, name, at } of await changesBelow(body.position.applied)) {
    if (op === "ignored") continue;
    const key = JSON.stringify([customer, member]);
    const row = rows.get(key) ?? { changes: 0, cents: 0, most: 0, at: -1, name: null };
    rows.set(key, row);
    row.changes += 1;
    row.cents += Math.round(balance * 100);
    row.most = Math.max(row.most, visits);
    // Two changes of one customer at one time: the later one of the log.
    if (name !== null && at >= row.at) [row.at, row.name] = [at, name];
  }
  const found = body.rows.map(({ customer, member, changes, total, most, name }) => [
    JSON.stringify([customer, member]),
    { changes, total, most, name },
  ]);
  const expected = [...rows].map(([key, { changes, cents, most, name }]) => [
    key,
    { changes, total: cents / 100, most, name },
  ]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
}

async function proven(name: string): Promise<void> {
  const response = await fetch(layers.url(`/proof/${name}?deep=true`));
  expect(response.status).toBe(200);
  const { equal, differences, rows } = (await response.json()) as Proof;
  expect(differences).toEqual([]);
  expect(equal).toBe(true);
  expect(rows).toBeGreaterThan(300);
}

test("the rows of a table are a plain fold of the log: from the speed layer, across the seam, from the batch layer alone", async () => {
  await change(3_000);
  await expectLatest(await end("customers"));
  await expectMeasures(await end("activity"));
  const before = await ask("/tables/customers?limit=100000");
  expect(await layers.refresh(customers)).toBe(true);
  expect(await layers.refresh(activity)).toBe(true);
  await change(2_000);
  await expectLatest(await end("customers"));
  await expectMeasures(await end("activity"));
  await proven("customers");
  await proven("activity");
  expect(await layers.refresh(customers)).toBe(true);
  expect(await layers.refresh(activity)).toBe(true);
  const settled = await end("customers");
  await expectLatest(settled);
  await expectMeasures(await end("activity"));

  const then = await ask(`/tables/customers?limit=100000&at=${before.asOf}`);
  expect(then.rows).toEqual(before.rows);
  await expectLatest(then);
});

test("one row by its key, however odd the key is, and what is not there says so", async () => {
  const rows = foldLatest(await changesBelow((await end("customers")).position.applied));
  // An address cannot end with an empty part, and clients take parts of points alone away.
  expect((await ask("/tables/customers?key=")).rows).toEqual(rows.has("") ? [rows.get("")] : []);
  for (const key of ODD.filter((one) => !["", ".", ".."].includes(one))) {
    const response = await fetch(layers.url(`/tables/customers/${encodeURIComponent(key)}`));
    const body = (await response.json()) as { row?: object; code?: string };
    if (rows.has(key)) expect(body.row).toEqual(rows.get(key));
    else expect([response.status, body.code]).toEqual([404, "KEY_UNKNOWN"]);
  }
  expect([...rows.keys()].filter((key) => ODD.includes(key)).length).toBeGreaterThan(8);
  const nobody = await fetch(layers.url("/tables/customers/nobody"));
  expect([nobody.status, ((await nobody.json()) as { code: string }).code]).toEqual([404, "KEY_UNKNOWN"]);
  expect(nobody.headers.get("tideline-as-of")).toBeTruthy();

  const two = await ask("/tables/activity?key=a%252Fb/false&key=c42/true&key=nobody/true&columns=changes");
  expect(two.rows.map(({ customer, member }) => [customer, member])).toEqual([
    ["a/b", false],
    ["c42", true],
  ]);
  for (const path of [
    "/tables/nothing",
    "/views/customers",
    "/tables/customers?from=2020-01-01",
    "/tables/activity?key=c1",
  ]) {
    const response = await fetch(layers.url(path));
    expect([path, response.status]).toEqual([path, path.includes("?") ? 400 : 404]);
  }
  const document = (await (await fetch(layers.url("/openapi.json"))).json()) as { paths: object };
  expect(Object.keys(document.paths)).toEqual(
    expect.arrayContaining([
      "/tables",
      "/tables/customers",
      "/tables/customers/{key}",
      "/history/activity",
      "/replay/activity",
    ]),
  );
  const listed = (await (await fetch(layers.url("/views"))).json()) as { views: { name: string }[] };
  expect(listed.views).toEqual([]);
});

test("each answer has what its schema has, and nothing else", async () => {
  const key = String((await end("activity")).rows[0]?.customer);
  const asked = `key=${encodeURIComponent(key.replaceAll("/", "%2F"))}/true`;
  const answers = [
    ["/tables", TablesBody],
    ["/tables/activity?limit=3", TableRows],
    ["/tables/by-balance?limit=3&numbers=text", TableRows],
    ["/tables/customers/c42", TableRow],
    [`/history/activity?${asked}`, HistoryBody],
    [`/replay/activity?${asked}`, ReplayBody],
    ["/proof/customers?rows=1", Proof],
    ["/tables/nothing", Problem],
    ["/tables/customers?from=2020-01-01", Problem],
  ] as const;
  for (const [path, schema] of answers) {
    const body = await (await fetch(layers.url(path))).json();
    // A schema leaves out what it does not know.
    expect(schema.parse(body), path).toEqual(body);
  }
});

test("pages are of one position, in the order of keys, and together the whole table", async () => {
  const whole = await end("customers");
  const keys = whole.rows.map(({ customer }) => customer);
  let page = await ask("/tables/customers?limit=37");
  const found = [...page.rows];
  await change(500);
  expect((await end("customers")).rows).not.toEqual(whole.rows);
  while (page.next !== undefined) {
    page = await ask(`/tables/customers?limit=37&after=${page.next}`);
    found.push(...page.rows);
  }
  expect(found.map(({ customer }) => customer)).toEqual(keys);
  expect(found).toEqual(whole.rows);
  const prefixed = await ask("/tables/customers?prefix=c1&limit=1000");
  const all = await ask("/tables/customers?limit=100000");
  expect(prefixed.rows).toEqual(all.rows.filter(({ customer }) => String(customer).startsWith("c1")));
  expect(prefixed.rows.length).toBeGreaterThan(50);
  const richest = await ask("/tables/customers?order=-balance&limit=5&columns=balance&where[member]=true");
  const members = all.rows.filter(({ member }) => member === true).map(({ balance }) => Number(balance));
  expect(richest.rows.map(({ balance }) => balance)).toEqual(members.sort((a, b) => b - a).slice(0, 5));
});

test("the history of a key has its events with what became of them, and they make its row", async () => {
  const now = await end("customers");
  const log = await readLog(inject("kafkaBrokers"), layers.topic("changes"));
  for (const key of ["c42", "a/b", "it's", "nobody"]) {
    const found = (await (
      await fetch(layers.url(`/history/customers?key=${encodeURIComponent(key)}&limit=100000`))
    ).json()) as { events: { partition: number; offset: string; verdict: string; event: { id: string } }[] };
    const seen = new Set<string>();
    const expected = [...log].flatMap(([partition, records]) =>
      records.flatMap(({ offset, value }) => {
        if (!String(value).endsWith("}")) return [];
        const { id, customer } = JSON.parse(String(value)) as Change;
        if (customer !== key) return [];
        const verdict = seen.has(id) ? "duplicate" : "counted";
        seen.add(id);
        return [{ partition, offset: String(offset), verdict, id }];
      }),
    );
    const events = found.events.map(({ event, ...one }) => ({ ...one, id: event.id }));
    expect(events).toEqual(expected);
    expect(events.length === 0).toBe(key === "nobody");
    for (const at of ["", `&at=${now.asOf}`]) {
      const replayed = (await (
        await fetch(layers.url(`/replay/customers?key=${encodeURIComponent(key)}${at}`))
      ).json()) as { equal: boolean; row: object | null };
      expect(replayed).toMatchObject({ equal: true, row: now.rows.find(({ customer }) => customer === key) ?? null });
    }
  }
  const measured = (await (await fetch(layers.url("/replay/activity?key=c42/true"))).json()) as {
    equal: boolean;
    row: object;
  };
  expect(measured).toMatchObject({ equal: true, row: { customer: "c42", member: true } });
  const short = (await (await fetch(layers.url("/history/customers?key=c42&limit=2"))).json()) as {
    truncated: boolean;
    events: [];
  };
  expect([short.truncated, short.events.length]).toEqual([true, 2]);
  const unknown = await fetch(layers.url("/replay/customers?key=c42&from=1"));
  expect(unknown.status).toBe(400);
});

test("pages, keys and prefixes of decimals and instants are as rows show them", async () => {
  const whole = await end("by-balance");
  const found: object[] = [];
  let next = "";
  for (let pages = 0; pages < 500; pages++) {
    const page = await ask(`/tables/by-balance?limit=150${next}`);
    found.push(...page.rows);
    if (page.next === undefined) break;
    next = `&after=${page.next}`;
  }
  expect(found).toEqual(whole.rows);
  const some = whole.rows[Math.floor(whole.rows.length / 2)] ?? {};
  const key = encodeURIComponent(`${some.balance}/${some.at}`);
  expect((await ask(`/tables/by-balance?key=${key}`)).rows).toEqual([some]);
  const begins = Number(some.balance).toFixed(2).slice(0, 3);
  expect((await ask(`/tables/by-balance?limit=100000&prefix=${begins}`)).rows).toEqual(
    whole.rows.filter(({ balance }) => Number(balance).toFixed(2).startsWith(begins)),
  );
  const equal = await ask(`/tables/by-balance?limit=100000&where[balance]=${Number(some.balance).toFixed(2)}`);
  expect(equal.rows).toEqual(whole.rows.filter(({ balance }) => balance === some.balance));
  const [asOf] = next.slice("&after=".length).split(":");
  const page = Buffer.from(JSON.stringify([asOf, "c1"])).toString("base64url");
  expect((await fetch(layers.url(`/tables/customers?after=${page}`))).status).toBe(410);
});

test("pages of a table that is too large to be held skip no row and repeat none", async () => {
  const small = await Layers.open([customers], { maxAnswerCells: 60 });
  try {
    const topic = small.topic("changes");
    const key = (n: number) => `k${String(n).padStart(4, "0")}`;
    let made = 0;
    const put = (numbers: readonly number[], op: string) =>
      produce(
        inject("kafkaBrokers"),
        topic,
        numbers.map((n) => {
          made += 1;
          const value = { id: `s${made}`, customer: key(n), at: START, op, balance: n, visits: n, tags: [] };
          return { key: key(n), value: Buffer.from(JSON.stringify(value)) };
        }),
      );
    const pageOf = async (query: string): Promise<TableBody> => {
      const response = await fetch(small.url(`/tables/customers?${query}`));
      if (response.status !== 200) throw new Error(await response.text());
      return (await response.json()) as TableBody;
    };
    const reached = () =>
      until(
        "all is applied",
        async () =>
          (await (await fetch(small.url("/tables"))).json()) as {
            tables: { applied: TableBody["position"]["applied"] | null }[];
          },
        ({ tables: [listed] }) =>
          Object.values(listed?.applied ?? {}).reduce((sum, one) => sum + Number(one), 0) >= made,
        60_000,
      );
    await put(
      Array.from({ length: 400 }, (_, n) => n),
      "set",
    );
    // Removed ones all over the order, many of them among the first.
    const removed = Array.from({ length: 400 }, (_, n) => n).filter((n) => n % 3 === 0 || n < 30);
    await put(removed, "delete");
    await reached();
    expect(await small.refresh(customers)).toBe(true);
    // Live ones at the end of the order, and a few that come back.
    await put([5, 12, 395, 396, 397, 398, 450, 451], "set");
    await reached();
    const gone = new Set(removed);
    for (const n of [5, 12, 396]) gone.delete(n);
    const expected = [...Array.from({ length: 400 }, (_, n) => n).filter((n) => !gone.has(n)), 450, 451].map(key);
    for (const query of ["limit=10", "limit=7&where[op]=set"]) {
      const found: unknown[] = [];
      let page = await pageOf(query);
      for (;;) {
        found.push(...page.rows.map(({ customer }) => customer));
        if (page.next === undefined) break;
        page = await pageOf(`${query}&after=${page.next}`);
      }
      expect(found).toEqual(expected);
    }
    const refused = await fetch(small.url("/tables/customers?order=name"));
    const { code, detail, errors } = (await refused.json()) as Problem;
    expect([code, errors?.map(({ parameter }) => parameter)]).toEqual(["TOO_LARGE", ["limit"]]);
    expect(detail).toContain("sorted by the key");
    expect(`${detail} ${errors?.[0]?.allowed}`).not.toMatch(/\b(from|every|bucket|dimensions)\b/);
  } finally {
    await small.close();
  }
});
