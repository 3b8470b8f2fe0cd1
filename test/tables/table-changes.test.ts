import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { instant, integer, optional, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { min } from "../../core/measures/kinds/extremes.ts";
import { last } from "../../core/measures/kinds/picks.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { mix, randomNumbers, seedState } from "../../core/numbers/random.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { ODD_KEYS } from "../fixtures/events/odd-keys.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { type LogRecord, readLog } from "../fixtures/oracles/log-oracle.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";
import { nightlyOr } from "../tiers.ts";

/**
 * Random changes with deletes, while Redis loses everything, the layers begin again and versions are published: every
 * row is that of a plain fold of the log, and so is the row of any key at any earlier position.
 */

const CHANGES = nightlyOr(10_000, 1_200);
const REPLAYS = nightlyOr(100, 10);
const seed = Number(process.env.TIDELINE_CHANGES_SEED ?? 20_261_129);
const random = randomNumbers(mix(seedState(seed)), 1);
const below = (most: number) => Math.floor(random() * most);

const entries = stream("entries", {
  revision: 1,
  partitions: 3,
  key: "account",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 200,
  tombstones: "delete",
  fields: {
    id: text({ max: 40 }),
    account: text({ max: 40 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    op: text({ max: 10 }),
    amount: integer({ min: -1e9, max: 1e9 }),
    note: optional(text({ max: 100 })),
  },
});
const states = table("states", { stream: entries, key: sql`account`, deleted: sql`op = 'delete'`, shards: 16 });
const sums = table("sums", {
  stream: entries,
  key: sql`account`,
  measures: { changes: count(), total: sum(sql`amount`), least: min(sql`amount`), note: last(sql`note`) },
});
const TABLES = [states, sums];
const START = Date.UTC(2026, 2, 1);
const brokers = () => inject("kafkaBrokers");

let layers: Layers;
let made = 0;
beforeAll(async () => {
  layers = await Layers.open(TABLES);
  await ensureTopics(brokers(), [{ name: deadLetterTopic(layers.topic("entries")), partitions: 1 }]);
});
afterAll(async () => {
  await layers?.close();
});

/** Changes of some hundred accounts, a few of which change most; with repeated and malformed records. */
async function change(total: number): Promise<void> {
  const records = Array.from({ length: total }, () => made++).flatMap((n): RawRecord[] => {
    const account = below(4) === 0 ? (ODD_KEYS[below(ODD_KEYS.length)] ?? "") : `c${Math.floor(400 * random() ** 3)}`;
    if (below(12) === 0) return [{ key: account, value: null }];
    if (below(30) === 0) return [{ key: account, value: Buffer.from("{") }];
    const op = below(6) === 0 ? "delete" : "set";
    const note = below(3) === 0 ? null : `${ODD_KEYS[below(ODD_KEYS.length)]}\n${n}`;
    // The times of a batch are in no order, and no two events of an account have the same one.
    const at = START + ((n * 7_907) % 100_003) * 1_000;
    const value = Buffer.from(JSON.stringify({ id: `e${n}`, account, at, op, amount: below(2_000) - 1_000, note }));
    return below(15) === 0
      ? [
          { key: account, value },
          { key: account, value },
        ]
      : [{ key: account, value }];
  });
  await produce(brokers(), layers.topic("entries"), records);
}

type Log = ReadonlyMap<number, readonly LogRecord[]>;
type Applied = Readonly<Record<string, string>>;
type Row = Readonly<Record<string, unknown>>;
interface Body {
  readonly rows: readonly Row[];
  readonly asOf: string;
  readonly complete: boolean;
  readonly position: { readonly applied: Applied };
}

/** The rows of both tables below a position, by account, from the records alone. */
function fold(log: Log, applied: Applied): { states: Map<string, Row>; sums: Map<string, Row> } {
  const [newest, totals] = [new Map<string, Row>(), new Map<string, Row>()];
  const noted = new Map<string, number>();
  for (const [partition, records] of log) {
    const seen = new Set<unknown>();
    for (const { offset, key, value } of records) {
      if (offset >= BigInt(applied[partition] ?? 0) || String(value) === "{") continue;
      if (value === null) newest.delete(String(key));
      if (value === null) continue;
      const event = JSON.parse(String(value)) as {
        id: string;
        account: string;
        at: number;
        op: string;
        amount: number;
        note: string | null;
      };
      const { id, account, at, op, amount, note } = event;
      if (seen.has(id)) continue;
      seen.add(id);
      if (op === "delete") newest.delete(account);
      else newest.set(account, { ...event, at: new Date(at).toISOString() });
      const held = totals.get(account) as { changes: number; total: number; least: number; note: string } | undefined;
      const isLater = note !== null && at > (noted.get(account) ?? 0);
      if (isLater) noted.set(account, at);
      totals.set(account, {
        account,
        changes: (held?.changes ?? 0) + 1,
        total: (held?.total ?? 0) + amount,
        least: Math.min(held?.least ?? amount, amount),
        note: isLater ? note : (held?.note ?? null),
      });
    }
  }
  return { states: newest, sums: totals };
}

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(layers.url(path));
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as T;
}

/** All rows of a table at the end of the log. */
function atEnd(name: string, log: Log): Promise<Body> {
  const ends = [...log].flatMap(([partition, records]) =>
    records.length === 0 ? [] : [`${layers.topic("entries")}:${partition}:${records.at(-1)?.offset}`],
  );
  return until(
    "all is applied",
    () => ask<Body>(`/tables/${name}?limit=100000&wait=30s&min=${ends}`).catch(() => null),
    (body): body is Body => body?.complete === true,
    60_000,
  ) as Promise<Body>;
}

/** Everything that Redis holds of this installation is gone, as after FLUSHALL. */
async function loseRedis(): Promise<void> {
  const redis = openRedis(inject("redisUrl"), () => undefined);
  const keys = await redis.keys(`*${layers.namespace}*`);
  if (keys.length > 0) await redis.del(...keys);
  redis.disconnect();
}

const HAPPENINGS: readonly (() => Promise<unknown>)[] = [
  loseRedis,
  () => layers.refresh(states),
  () => layers.refresh(sums),
  async () => {
    await layers.stopSpeed();
    await layers.startSpeed();
  },
  async () => {
    await layers.serving?.close();
    await layers.restart();
  },
];

test(`${CHANGES} random changes with deletes are a plain fold of the log, and so are ${REPLAYS} rows of earlier positions`, async () => {
  const seen: { readonly name: "states" | "sums"; readonly body: Body }[] = [];
  let log: Log = new Map();
  for (let round = 0; made < CHANGES; round++) {
    await change(50 + below(Math.ceil(CHANGES / 8)));
    log = await readLog(brokers(), layers.topic("entries"));
    for (const name of ["states", "sums"] as const) {
      const body = await atEnd(name, log);
      const expected = fold(log, body.position.applied)[name];
      expect(Object.fromEntries(body.rows.map((row) => [row.account, row])), `seed ${seed}, round ${round}`).toEqual(
        Object.fromEntries(expected),
      );
      seen.push({ name, body });
    }
    await HAPPENINGS[round % HAPPENINGS.length]?.();
  }
  expect(seen.length).toBeGreaterThan(2 * HAPPENINGS.length);
  for (let replay = 0; replay < REPLAYS; replay++) {
    const { name, body } = seen[below(seen.length)] as (typeof seen)[number];
    // What has a control character can be told by no parameter.
    const accounts = [...fold(log, body.position.applied).sums.keys()].filter((key) => !key.includes("\u0001"));
    const account = accounts[below(accounts.length)] ?? "";
    const path = `/replay/${name}?key=${encodeURIComponent(account)}&at=${body.asOf}`;
    const found = await ask<{ equal: boolean; row: Row | null; served: Row | null }>(path);
    const expected = fold(log, body.position.applied)[name].get(account) ?? null;
    expect(found, `seed ${seed}, ${name} ${account}`).toMatchObject({ equal: true, row: expected, served: expected });
  }
}, 600_000);
