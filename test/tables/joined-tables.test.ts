import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import { joinedKey } from "../../core/definition/joined.ts";
import { randomNumbers } from "../../core/numbers/random.ts";
import { JoinedHistory } from "../../serving/tables/joined-history.ts";
import { JoinedReplay, JoinedRow, JoinedRows, TablesBody } from "../../serving/tables/table-schemas.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { orderView } from "../../systems/orders/tables/order-view.ts";
import { ODD_KEYS } from "../fixtures/events/odd-keys.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** A joined table over five topics, compared with a plain fold of these topics that another client read. */

const TOPICS = {
  created: "order-created",
  reserved: "inventory-reserved",
  paid: "payment-processed",
  completed: "order-completed",
  cancelled: "order-cancelled",
} as const;
type Part = keyof typeof TOPICS;
const PARTS = Object.keys(TOPICS) as Part[];

const START = Date.parse("2026-03-28T12:00:00Z");
const views = Object.values(orderView.tables);

let layers: Layers;
let made = 0;

beforeAll(async () => {
  const definitions = {
    views: new Map(views.map((view) => [view.name, { view, generation: generationOf(view), file: "test" }])),
    streams: new Map(views.map(({ stream }) => [stream.name, stream])),
    joined: new Map([[orderView.name, orderView]]),
  };
  layers = await Layers.open(views, { definitions });
  await ensureTopics(
    inject("kafkaBrokers"),
    PARTS.map((part) => ({ name: deadLetterTopic(layers.topic(TOPICS[part])), partitions: 1 })),
  );
});

afterAll(async () => {
  await layers?.close();
});

type Event = Readonly<Record<string, unknown>>;

/** The events of one order: not each topic has one of it, and one is paid at the third try. */
function eventsOf(n: number, orderId: string): [Part, Event][] {
  const random = randomNumbers(n, 7);
  const at = START + n * 1_000;
  const shared = (step: string) => ({
    event_id: `${step}-${n}`,
    order_id: orderId,
    region: "eu",
    buyer_id: `b${n % 90}`,
  });
  const events: [Part, Event][] = [];
  const amount_cents = Math.floor(random() * 1_000_000_000);
  const of = { amount_cents, test_order: false };
  if (random() < 0.9) events.push(["created", { ...shared("c"), ...of, created_at: at, items: [] }]);
  if (random() < 0.7)
    events.push(["reserved", { ...shared("r"), reserved_at: at + 10, warehouse: "w", units: 1 + (n % 50) }]);
  const tries = Math.floor(random() * 4);
  for (let attempt = 0; attempt < tries; attempt++) {
    const outcome = attempt === 2 || random() < 0.5 ? "paid" : "declined";
    const paid = { processed_at: at + 20 + attempt, method: "card", outcome, charged_cents: amount_cents };
    events.push(["paid", { ...shared(`p${attempt}`), ...paid }]);
  }
  if (random() < 0.4)
    events.push(["completed", { ...shared("d"), ...of, completed_at: at + 5_000, category: "books" }]);
  else if (random() < 0.3) {
    const why = { created_at: at, reason: "changed-mind", step: "created" };
    events.push(["cancelled", { ...shared("x"), ...of, ...why, cancelled_at: at + 4_000 }]);
  }
  return events;
}

/** Orders whose events come in any order, some twice, beside some that no contract accepts. */
async function order(count: number): Promise<void> {
  const records = new Map<Part, RawRecord[]>(PARTS.map((part) => [part, []]));
  for (let n = made; n < made + count; n++) {
    // Orders that are changed again and again, of a few numbers, and many others.
    const orderId = n % 5 === 0 ? (ODD_KEYS[(n / 5) % ODD_KEYS.length] ?? "") : `o${(n * 7_919) % 2_000}`;
    for (const [part, event] of eventsOf(n, orderId)) {
      const record = { key: orderId, value: Buffer.from(JSON.stringify(event)) };
      records.get(part)?.push(record);
      if (n % 30 === 3) records.get(part)?.push({ key: orderId, value: Buffer.from("{") }, record);
    }
  }
  made += count;
  for (const [part, some] of records) await produce(inject("kafkaBrokers"), layers.topic(TOPICS[part]), some.reverse());
}

interface JoinedBody {
  readonly rows: Readonly<Record<string, unknown>>[];
  readonly truncated: boolean;
  readonly next?: string;
  readonly asOf: string;
  readonly complete: boolean;
  readonly tables: Readonly<
    Record<Part, { readonly position: { readonly applied: Readonly<Record<string, string>> } }>
  >;
}

async function ask<T = JoinedBody>(path: string): Promise<T> {
  const response = await fetch(layers.url(path));
  const text = await response.text();
  if (response.status !== 200) throw new Error(`${response.status} ${text}`);
  return JSON.parse(text) as T;
}

/** Waits until all tables stand at the ends of their topics. */
async function end(): Promise<JoinedBody> {
  const min: string[] = [];
  for (const part of PARTS)
    for (const [partition, records] of await readLog(inject("kafkaBrokers"), layers.topic(TOPICS[part])))
      if (records.length > 0) min.push(`${layers.topic(TOPICS[part])}:${partition}:${records.at(-1)?.offset}`);
  const nothing = { complete: false } as JoinedBody;
  return until(
    "all is applied",
    () => ask(`/tables/order-view?limit=100000&wait=30s&min=${min.join(",")}`).catch(() => nothing),
    ({ complete }) => complete,
    60_000,
  );
}

/** The accepted events of each topic below an answer's positions, without the repeated ones, by order. */
async function eventsBelow({ tables }: Pick<JoinedBody, "tables">): Promise<Map<string, Map<Part, Event[]>>> {
  const found = new Map<string, Map<Part, Event[]>>();
  for (const part of PARTS) {
    const { applied } = tables[part].position;
    for (const [partition, records] of await readLog(inject("kafkaBrokers"), layers.topic(TOPICS[part]))) {
      const seen = new Set<unknown>();
      for (const { offset, value } of records) {
        if (offset >= BigInt(applied[partition] ?? 0) || !String(value).endsWith("}")) continue;
        const event = JSON.parse(String(value)) as Event;
        if (seen.has(event.event_id)) continue;
        seen.add(event.event_id);
        const parts = found.get(String(event.order_id)) ?? new Map<Part, Event[]>();
        parts.set(part, [...(parts.get(part) ?? []), event]);
        found.set(String(event.order_id), parts);
      }
    }
  }
  return found;
}

const isoOf = (timeMs: unknown) => (typeof timeMs === "number" ? new Date(timeMs).toISOString() : null);

function foldOf(orderId: string, parts: ReadonlyMap<Part, Event[]>): Event {
  const newest = (part: Part): Event | undefined => parts.get(part)?.at(-1);
  const [created, reserved, completed, cancelled] = [
    newest("created"),
    newest("reserved"),
    newest("completed"),
    newest("cancelled"),
  ];
  const payments = parts.get("paid") ?? [];
  const paid = payments.filter(({ outcome }) => outcome === "paid");
  const states = [
    [cancelled !== undefined, "cancelled"],
    [completed !== undefined, "completed"],
    [paid.length > 0, "paid"],
    [payments.length > 0, "declined"],
    [reserved !== undefined, "reserved"],
    [true, "created"],
  ] as const;
  const ended = completed?.completed_at ?? cancelled?.cancelled_at ?? null;
  const buyer = created?.buyer_id ?? completed?.buyer_id ?? cancelled?.buyer_id ?? null;
  return {
    order_id: orderId,
    state: states.find(([is]) => is)?.[1],
    region: (created ?? completed ?? cancelled ?? reserved) === undefined ? null : "eu",
    buyer_id: buyer,
    amount_cents: (completed ?? cancelled ?? created)?.amount_cents ?? null,
    charged_cents: payments.length === 0 ? null : paid.reduce((sum, one) => sum + Number(one.charged_cents), 0),
    units: reserved?.units ?? null,
    payments: payments.length,
    reason: cancelled?.reason ?? null,
    created_at: isoOf(created?.created_at),
    reserved_at: isoOf(reserved?.reserved_at),
    paid_at: paid.length === 0 ? null : isoOf(Math.max(...paid.map(({ processed_at }) => Number(processed_at)))),
    completed_at: isoOf(completed?.completed_at),
    cancelled_at: isoOf(cancelled?.cancelled_at),
    took_ms: ended === null || created === undefined ? null : Number(ended) - Number(created.created_at),
  };
}

async function expectFold(body: JoinedBody): Promise<void> {
  const expected = [...(await eventsBelow(body))].map(([id, parts]) => [id, foldOf(id, parts)]);
  expect(Object.fromEntries(body.rows.map((row) => [row.order_id, row]))).toEqual(Object.fromEntries(expected));
  expect(body.rows.length).toBe(expected.length);
}

test("rows are a plain fold of five topics, live, across the seams of some, and at an earlier position", async () => {
  expect(joinedKey(orderView)).toEqual(["order_id"]);
  await order(1_500);
  const before = await end();
  await expectFold(before);
  expect(new Set(before.rows.map(({ state }) => state)).size).toBe(6);
  for (const part of ["created", "paid", "cancelled"]) {
    const view = orderView.tables[part];
    if (view !== undefined) expect(await layers.refresh(view)).toBe(true);
  }
  await order(1_000);
  await expectFold(await end());
  const then = await ask(`/tables/order-view?limit=100000&at=${before.asOf}`);
  expect(then.rows).toEqual(before.rows);
  expect(then.asOf).toBe(before.asOf);
});

test("pages of one position make the whole, whichever topics have their keys", async () => {
  const whole = await end();
  let page = await ask("/tables/order-view?limit=137");
  await order(50);
  await end();
  const found = [...page.rows];
  while (page.next !== undefined) {
    page = await ask(`/tables/order-view?limit=137&after=${page.next}`);
    found.push(...page.rows);
  }
  expect(found).toEqual(whole.rows);
});

test("one order, some orders, conditions and orders of columns", async () => {
  const { rows } = await end();
  const byId = new Map(rows.map((row) => [row.order_id, row]));
  for (const id of ODD_KEYS.filter((one) => one !== "")) {
    const { row } = await ask<{ row: object }>(`/tables/order-view/${encodeURIComponent(id)}`);
    expect(row).toEqual(byId.get(id));
  }
  expect((await ask("/tables/order-view?key=&key=a/b&key=nobody")).rows).toEqual([byId.get(""), byId.get("a/b")]);
  const declined = rows.filter(({ state }) => state === "declined");
  expect((await ask("/tables/order-view?where[state]=declined&limit=100000")).rows).toEqual(declined);
  const few = await ask("/tables/order-view?where[state]=declined&limit=7");
  expect([few.rows, few.truncated]).toEqual([declined.slice(0, 7), true]);
  const next = await ask(`/tables/order-view?where[state]=declined&limit=7&after=${few.next}`);
  expect(next.rows).toEqual(declined.slice(7, 14));
  const dearest = await ask("/tables/order-view?order=-amount_cents&limit=5&columns=amount_cents");
  const amounts = rows.flatMap(({ amount_cents }) => (amount_cents === null ? [] : [Number(amount_cents)]));
  expect(dearest.rows.map((row) => row.amount_cents)).toEqual(amounts.sort((a, b) => b - a).slice(0, 5));
  expect(Object.keys(dearest.rows[0] ?? {})).toEqual(["order_id", "amount_cents"]);
  const prefixed = await ask("/tables/order-view?prefix=o12&limit=1000");
  expect(prefixed.rows).toEqual(rows.filter(({ order_id }) => String(order_id).startsWith("o12")));
});

test("what is not there, and what means nothing, is refused", async () => {
  const nobody = await fetch(layers.url("/tables/order-view/nobody"));
  expect([nobody.status, ((await nobody.json()) as { code: string }).code]).toEqual([404, "KEY_UNKNOWN"]);
  expect(nobody.headers.get("tideline-as-of")).toBeTruthy();
  const { asOf } = await ask<{ asOf: string }>("/tables/orders-created?limit=1");
  const own = (await ask("/tables/order-view?limit=1")).asOf;
  for (const [query, status] of [
    ["from=2020-01-01", 400],
    [`at=${asOf}`, 400],
    ["min=other:0:1", 400],
    ["columns=nothing", 400],
    ["where[nothing]=1", 400],
    ["key=a/b/c&limit=0", 400],
    [`at=${own}&min=${own}`, 400],
    [`min=${own}`, 200],
    [`min=${asOf}`, 200],
    [`min=${layers.topic("order-created")}:0:99999999&wait=1`, 503],
  ] as const)
    expect([query, (await fetch(layers.url(`/tables/order-view?${query}`))).status]).toEqual([query, status]);
  const { tables } = await ask<{ tables: { name: string; kind: string; complete: boolean }[] }>("/tables");
  expect(tables.find(({ name }) => name === "order-view")).toMatchObject({ kind: "joined", complete: true });
  const { paths } = await ask<{ paths: object }>("/openapi.json");
  expect(Object.keys(paths)).toEqual(expect.arrayContaining(["/tables/order-view/{key}", "/replay/order-view"]));
});

test("each answer has what its schema has, and nothing else", async () => {
  const id = encodeURIComponent(String((await end()).rows[0]?.order_id));
  const answers = [
    ["/tables", TablesBody],
    ["/tables/order-view?limit=2", JoinedRows],
    [`/tables/order-view/${id}`, JoinedRow],
    [`/history/order-view?key=${id}`, JoinedHistory],
    [`/replay/order-view?key=${id}`, JoinedReplay],
  ] as const;
  for (const [path, schema] of answers) {
    const body = await ask<unknown>(path);
    // A schema leaves out what it does not know.
    expect(schema.parse(body), path).toEqual(body);
  }
});

test("the history of an order is that of all its topics, and replaying it makes its row", async () => {
  const whole = await end();
  const events = await eventsBelow(whole);
  for (const id of ["a/b", "nobody"]) {
    const key = encodeURIComponent(id);
    const history = await ask<{ events: { of: Part; verdict: string; event: Event }[] }>(
      `/history/order-view?key=${key}&limit=10000`,
    );
    const counted = history.events.filter(({ verdict }) => verdict === "counted");
    const expected = PARTS.flatMap((part) => (events.get(id)?.get(part) ?? []).map((one) => [part, one.event_id]));
    expect(counted.map(({ of, event }) => [of, event.event_id]).sort()).toEqual(expected.sort());
    const replayed = await ask<{ equal: boolean }>(`/replay/order-view?key=${key}&at=${whole.asOf}`);
    const row = whole.rows.find(({ order_id }) => order_id === id) ?? null;
    expect(replayed).toMatchObject({ equal: true, row, served: row });
  }
});
