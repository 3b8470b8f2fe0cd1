import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { instant, integer, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { table } from "../../core/definition/table.ts";
import { view } from "../../core/definition/view.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import type { Proof } from "../../core/proof/proof-result.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** Records without a value, of a stream where they delete their key, against a plain fold of the log. */

const accounts = stream("accounts", {
  revision: 1,
  partitions: 3,
  key: "account",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 100,
  tombstones: "delete",
  fields: {
    id: text({ max: 40 }),
    account: text({ max: 20 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    op: text({ max: 10 }),
    balance: integer({ min: 0, max: 1e9 }),
  },
});

const newest = table("newest", {
  stream: accounts,
  key: sql`account`,
  where: sql`op <> 'ignored'`,
  deleted: sql`op = 'closed'`,
});
/** A key that tombstones do not say. */
const byOperation = table("by-operation", { stream: accounts, key: sql`op` });
const totals = table("totals", {
  stream: accounts,
  key: sql`account`,
  measures: { changes: count(), balance: sum(sql`coalesce(balance, 1000000)`) },
});
const minutes = view("minutes", { stream: accounts, every: "1 minute", measures: { changes: count() } });
const ALL = [newest, byOperation, totals, minutes];

const ODD = ["a/b", "it's", "東京", "🦔", "k\u0001", "null", ""];
const START = Date.parse("2026-03-28T12:00:00Z");

let layers: Layers;
let made = 0;

beforeAll(async () => {
  layers = await Layers.open(ALL);
  await ensureTopics(inject("kafkaBrokers"), [{ name: deadLetterTopic(layers.topic("accounts")), partitions: 1 }]);
});

afterAll(async () => {
  await layers?.close();
});

/** Changes of accounts, most of a few; every fourth one deletes, and some deletes name no account that there can be. */
async function change(total: number): Promise<void> {
  const records = Array.from({ length: total }, (_, index) => made + index).flatMap((n): RawRecord[] => {
    const account = n % 3 === 0 ? (ODD[(n / 3) % ODD.length] ?? "") : `c${(n * 7_919) % 150}`;
    if (n % 4 === 1) return [{ key: account, value: null }];
    if (n % 50 === 3) return [{ key: "much longer than the contract allows", value: null }];
    const op = n % 11 === 0 ? "closed" : n % 7 === 0 ? "ignored" : "set";
    const record = {
      key: account,
      value: Buffer.from(JSON.stringify({ id: `e${n}`, account, at: START + n * 1_000, op, balance: n })),
    };
    return n % 40 === 2 ? [record, { key: account, value: Buffer.alloc(0) }, record] : [record];
  });
  made += total;
  await produce(inject("kafkaBrokers"), layers.topic("accounts"), records);
}

interface Body {
  readonly rows: Readonly<Record<string, unknown>>[];
  readonly asOf: string;
  readonly complete: boolean;
  readonly position: { readonly applied: Readonly<Record<string, string>> };
}

async function ask<T = Body>(path: string): Promise<T> {
  const response = await fetch(layers.url(path));
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** The rows of a table or a view at the end of the log. */
async function end(path: string): Promise<Body> {
  const log = await readLog(inject("kafkaBrokers"), layers.topic("accounts"));
  const min = [...log].flatMap(([partition, records]) =>
    records.length === 0 ? [] : [`${layers.topic("accounts")}:${partition}:${records.at(-1)?.offset}`],
  );
  return until(
    "all is applied",
    () => ask(`${path}&limit=100000&wait=30s&min=${min}`).catch(() => ({ complete: false }) as Body),
    ({ complete }) => complete,
    60_000,
  );
}

interface Fold {
  readonly newest: Map<string, Readonly<Record<string, unknown>>>;
  readonly totals: Map<string, { changes: number; balance: number }>;
  readonly operations: Set<unknown>;
  changes: number;
}

async function fold(applied: Readonly<Record<string, string>>): Promise<Fold> {
  const found: Fold = { newest: new Map(), totals: new Map(), operations: new Set(), changes: 0 };
  for (const [partition, records] of await readLog(inject("kafkaBrokers"), layers.topic("accounts"))) {
    const seen = new Set<unknown>();
    for (const { offset, key, value } of records) {
      if (offset >= BigInt(applied[partition] ?? 0)) continue;
      if (value === null) found.newest.delete(String(key));
      if (value === null || value.length === 0) continue;
      const event = JSON.parse(String(value)) as {
        id: string;
        account: string;
        at: number;
        op: string;
        balance: number;
      };
      if (seen.has(event.id)) continue;
      seen.add(event.id);
      found.changes += 1;
      found.operations.add(event.op);
      const total = found.totals.get(event.account) ?? { changes: 0, balance: 0 };
      found.totals.set(event.account, { changes: total.changes + 1, balance: total.balance + event.balance });
      if (event.op === "closed") found.newest.delete(event.account);
      else if (event.op !== "ignored")
        found.newest.set(event.account, { ...event, at: new Date(event.at).toISOString() });
    }
  }
  return found;
}

async function expectFolds(): Promise<Body> {
  const rows = await end("/tables/newest?");
  const expected = await fold(rows.position.applied);
  expect(Object.fromEntries(rows.rows.map((row) => [row.account, row]))).toEqual(Object.fromEntries(expected.newest));
  const sums = await end("/tables/totals?");
  const byAccount = sums.rows.map(({ account, ...row }) => [account, row]);
  expect(Object.fromEntries(byAccount)).toEqual(Object.fromEntries(expected.totals));
  expect((await end("/tables/by-operation?")).rows.map(({ op }) => op)).toEqual([...expected.operations].sort());
  const counted = await end("/views/minutes?from=2026-01-01&to=2027-01-01&every=all");
  expect(counted.rows.map(({ changes }) => changes)).toEqual([expected.changes]);
  return rows;
}

test("a tombstone removes the row of its key, live, across the seam, from the batch layer and at an earlier position", async () => {
  await change(1_200);
  const before = await expectFolds();
  for (const one of ALL) expect(await layers.refresh(one)).toBe(true);
  await change(800);
  await expectFolds();
  for (const one of ALL) expect(await layers.refresh(one)).toBe(true);
  await expectFolds();
  const then = await ask(`/tables/newest?limit=100000&at=${before.asOf}`);
  expect(then.rows).toEqual(before.rows);
});

test("proofs agree, and the history of a key has its tombstones", async () => {
  for (const name of ["newest", "totals", "minutes"]) {
    const { equal, differences } = await ask<Proof>(`/proof/${name}?deep=true`);
    expect([name, equal, differences]).toEqual([name, true, []]);
  }
  const log = await readLog(inject("kafkaBrokers"), layers.topic("accounts"));
  const deletes = [...log.values()].flat().filter(({ key, value }) => String(key) === "a/b" && value === null);
  const { events } = await ask<{ events: { verdict: string; event: { id: string | null; account: string } }[] }>(
    "/history/newest?key=a/b&limit=100000",
  );
  const shown = events.filter(({ event }) => event.id === null);
  expect(shown.length).toBe(deletes.length);
  expect(deletes.length).toBeGreaterThan(10);
  expect(new Set(shown.map(({ verdict, event }) => `${verdict} ${event.account}`))).toEqual(new Set(["counted a/b"]));
  for (const key of ["a/b", "c42"]) expect(await ask(`/replay/newest?key=${key}`)).toMatchObject({ equal: true });
});

test("tombstones are not dead letters, but those whose key no event can have are", async () => {
  await end("/tables/newest?");
  const log = await readLog(inject("kafkaBrokers"), layers.topic("accounts"));
  const refused = [...log.values()].flat().filter(({ key, value }) => value?.length === 0 || (key?.length ?? 0) > 20);
  const letters = await until(
    "all dead letters",
    async () => [...(await readLog(inject("kafkaBrokers"), deadLetterTopic(layers.topic("accounts")))).values()].flat(),
    (found) => found.length >= refused.length,
  );
  const reasons = letters.map(({ headers }) =>
    String(Object.entries(headers).find(([name]) => /reason/i.test(name))?.[1]),
  );
  expect(letters.length).toBe(refused.length);
  expect(new Set(reasons.map((reason) => reason.split(":").slice(0, 2).join(":")))).toEqual(
    new Set(["empty", "contract: account"]),
  );
});
