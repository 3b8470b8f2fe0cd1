import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { expectRows, positionOf, reaches } from "../fixtures/oracles/exact.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import {
  calendar,
  expectedRows,
  expectedSessions,
  type Model,
  type OracleLog,
  type OracleRow,
  type RowStart,
  sliding,
} from "../fixtures/oracles/oracle.ts";
import { EVERYTHING } from "../fixtures/oracles/revenue-model.ts";
import { type SchemaIds, shopModels } from "../fixtures/oracles/shop-models.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

/**
 * Every view of the shop against the oracle: Avro and JSON, both versions, duplicates, late and malformed records;
 * sliding windows, sessions and calendars across the seam between batch and stream.
 */

const brokers = inject("kafkaBrokers");
const HOUR_MS = 3_600_000;
const GAP_MS = 1_800_000;

let tideline: Installation;
let redis: Redis;
let speed: ProcessHandle;
/** Noon of the day before yesterday: what a seed makes of a shop depends on the hour of the day. */
const noonMs = Math.floor(Date.now() / (24 * HOUR_MS) - 2) * 24 * HOUR_MS + 12 * HOUR_MS;
const noon = new Date(noonMs).toISOString();
/** Days are answered for half a century at most. */
const tomorrow = new Date(Date.now() + 24 * HOUR_MS).toISOString();

beforeAll(async () => {
  redis = new Redis(inject("redisUrl"));
  tideline = await Installation.open("shop");
  await tideline.run("init");
  [speed] = await Promise.all([
    tideline.start("speed"),
    tideline.start("serve"),
    tideline.start("worker", { args: ["--no-schedules"] }),
  ]);
});

afterAll(async () => {
  await tideline.close();
  redis.disconnect();
});

/** What the test asks of a view, and what the oracle says about it. */
interface Question {
  readonly view: string;
  readonly stream: string;
  readonly dimensions: readonly string[];
  readonly parameters?: Readonly<Record<string, string>>;
  readonly startOf?: (bucket: string) => RowStart;
  readonly expected: (log: OracleLog, applied: ReadonlyMap<number, bigint>) => ReadonlyMap<string, OracleRow>;
}

function questions(ids: SchemaIds): Question[] {
  const models = shopModels(ids);
  const of = <E, L>(view: string, stream: string, model: Model<E, L>, dimensions: readonly string[]): Question => {
    return { view, stream, dimensions, expected: (log, applied) => expectedRows(model, log, applied) };
  };
  const revenue = of("revenue", "order-completed", models.revenue, ["region", "category"]);
  const trending = of("trending-products", "user-activity", models.trendingProducts, []);
  const visits = of("visits", "user-activity", models.visits, ["user"]);
  const days = (view: Question, model: typeof models.revenue, zone: string, unit: "day" | "month"): Question => ({
    ...view,
    dimensions: ["region"],
    parameters: { every: unit === "day" ? "1d" : "1mo", zone, by: "region", to: tomorrow },
    startOf: (bucket) => bucket.slice(0, unit === "day" ? 10 : 7),
    expected: (log, applied) =>
      expectedRows({ ...model, group: (order) => [order.region] }, log, applied, calendar(zone, unit)),
  });
  return [
    revenue,
    days(revenue, models.revenue, "Europe/Berlin", "day"),
    days(revenue, models.revenue, "America/New_York", "day"),
    days(revenue, models.revenue, "Europe/Berlin", "month"),
    of("baskets", "order-completed", models.baskets, ["region"]),
    of("top-products", "order-completed", models.topProducts, []),
    of("active-buyers", "order-completed", models.activeBuyers, ["region"]),
    of("order-durations", "order-completed", models.orderDurations, ["region"]),
    of("cancellations", "order-cancelled", models.cancellations, ["region", "reason"]),
    of("active-users", "user-activity", models.activeUsers, ["region", "device"]),
    of("conversion", "user-activity", models.conversion, ["region", "device"]),
    {
      ...trending,
      expected: (log, applied) => expectedRows(models.trendingProducts, log, applied, sliding(60_000, 300_000)),
    },
    { ...visits, expected: (log, applied) => expectedSessions(models.visits, log, applied, GAP_MS) },
  ];
}

const VIEWS = [...new Set(questions(new Map()).map(({ view }) => view))];

/** What the registry has given ids to, in its own words. */
async function schemaIds(): Promise<SchemaIds> {
  const folder = join(tideline.home, "data", "registry");
  const ids = new Map<number, string>();
  for (const name of await readdir(folder)) {
    const { schema } = JSON.parse(await readFile(join(folder, name), "utf8")) as { schema: string | null };
    if (schema !== null) ids.set(Number.parseInt(name, 10), (JSON.parse(schema) as { doc: string }).doc);
  }
  return ids;
}

const ask = ({ view, parameters }: Question) => tideline.ask(view, { ...EVERYTHING, ...parameters });

async function logs(): Promise<ReadonlyMap<string, OracleLog>> {
  const streams = ["order-completed", "order-cancelled", "user-activity"];
  return new Map(
    await Promise.all(streams.map(async (name) => [name, await readLog(brokers, tideline.topic(name))] as const)),
  );
}

async function expectExact(question: Question, answer: Answer, log: OracleLog): Promise<void> {
  const { expected, dimensions, startOf } = question;
  await expectRows(answer, expected(log, positionOf(answer)), dimensions, redis, startOf);
}

/** Waits until every view has reached the end of its log, and compares every answer with the oracle. */
async function everythingIsExact(): Promise<Map<Question, Answer>> {
  const asked = questions(await schemaIds());
  const read = await logs();
  const answers = new Map<Question, Answer>();
  for (const question of asked) {
    const log = read.get(question.stream) ?? new Map();
    const answer = await until(
      `${question.view} catches up`,
      () => ask(question),
      (given) => reaches(given, log),
    );
    await expectExact(question, answer, log);
    answers.set(question, answer);
  }
  return answers;
}

const simulate = (...args: string[]) =>
  tideline.run("simulate", "shop", "--duplicates", "3%", "--late", "5%", "--malformed", "1%", "--avro", "50%", ...args);

/** Events with times of their own choice, a part before the cut and one after it. */
async function sendChosen(part: 0 | 1): Promise<void> {
  const activity = (name: string, minute: number, kind: string) => {
    const occurred_at = noonMs - HOUR_MS + minute * 60_000;
    const event = {
      event_id: name,
      user_id: "seam",
      occurred_at,
      kind,
      page: `/${name}`,
      region: "eu",
      device: "phone",
      sku: name,
    };
    return { key: "seam", value: Buffer.from(JSON.stringify(event)) };
  };
  // One session with events on both sides of the cut, one that only events of the other side join, and the end of a gap
  // that is just too long.
  const activities = [
    [activity("a0", 0, "view"), activity("a2", 25, "view"), activity("b0", 100, "view"), activity("b2", 150, "view")],
    [
      activity("a1", 12, "view"),
      activity("a3", 50, "purchase"),
      activity("b1", 125, "view"),
      activity("c0", 180, "view"),
    ],
  ];
  // Clocks change in New York on the 8th and in Berlin on the 29th of March 2026: days of 23 hours, and midnights that
  // are not UTC's.
  const times = ["2026-03-08T04:59:59", "2026-03-08T05:00:00", "2026-03-09T03:59:59", "2026-03-09T04:00:00"]
    .concat(["2026-03-28T22:59:59", "2026-03-28T23:00:00", "2026-03-29T21:59:59", "2026-03-29T22:00:00"])
    .concat(["2026-02-28T22:59:59", "2026-02-28T23:00:00", "2026-03-31T21:59:59", "2026-03-31T22:00:00"]);
  const orders = times.map((time, index): RawRecord => {
    const completed_at = Date.parse(`${time}Z`);
    const [event_id, order_id] = [`dst-${part}-${index}`, `dst-${part}-${index}`];
    const what = {
      region: "us",
      category: "books",
      buyer_id: `b${index}`,
      amount_cents: 1_000 + index,
      test_order: false,
    };
    return { key: order_id, value: Buffer.from(JSON.stringify({ event_id, order_id, completed_at, ...what })) };
  });
  await produce(brokers, tideline.topic("user-activity"), activities[part] ?? []);
  await produce(brokers, tideline.topic("order-completed"), orders);
}

describe.sequential("the shop, from Kafka to exact answers of every view", () => {
  test("from the speed layer alone", async () => {
    await simulate("--from", noon, "--rate", "0.05", "--count", "600", "--seed", "1");
    await sendChosen(0);
    const answers = await everythingIsExact();
    for (const [{ view }, { batchVersion, rows }] of answers) {
      expect(batchVersion, view).toBe(0);
      expect(rows.length, view).toBeGreaterThan(2);
    }
  }, 240_000);

  test("from both Avro and JSON, from both versions, with duplicates and rejects on every stream that is read", async () => {
    const ids = await schemaIds();
    const values = [...((await logs()).get("order-completed") ?? [])].flatMap(([, records]) =>
      records.map(({ value }) => value),
    );
    const written = values.map((value) => (value?.[0] === 0 ? ids.get(value.readUInt32BE(1)) : undefined));
    for (const version of [1, 2]) expect(written).toContain(`order-completed, version ${version}`);
    const json = values.flatMap((value) => (value?.[0] === 0x7b ? [String(value)] : []));
    expect(json.some((text) => text.includes('"tax_cents"'))).toBe(true);
    expect(json.some((text) => text.includes('"latam"') && !text.includes('"tax_cents"'))).toBe(true);
    expect(new Set(json).size).toBeLessThan(json.length);
  });

  test("after a refresh from the batch version alone, and then across the seam", async () => {
    await tideline.refresh(...VIEWS);
    for (const [{ view }, { batchVersion, position }] of await everythingIsExact()) {
      expect(batchVersion, view).toBe(1);
      expect(position.cut).toEqual(position.applied);
    }
    await sendChosen(1);
    const answers = await everythingIsExact();
    const seam = [...answers].find(([{ view }]) => view === "visits")?.[1].rows.filter(({ user }) => user === "seam");
    expect(seam?.map(({ events, first_page, last_page }) => [events, first_page, last_page])).toEqual([
      [4, "/a0", "/a3"],
      [3, "/b0", "/b2"],
      [1, "/c0", "/c0"],
    ]);
  }, 240_000);

  test("while more comes in, the speed layer and the worker are killed and Redis is emptied: each at its own position", async () => {
    const asked = questions(await schemaIds());
    const answers = new Map<string, [Question, Answer]>();
    let working = true;
    const watching = (async () => {
      for (let turn = 0; working; turn++) {
        const question = asked[turn % asked.length];
        const answer = question === undefined ? null : await ask(question).catch(() => null);
        if (question !== undefined && answer !== null)
          answers.set(JSON.stringify([question.view, question.parameters, answer.position]), [question, answer]);
        await new Promise((resolve) => setTimeout(resolve, 200));
      }
    })();
    try {
      const sending = simulate("--from", noon, "--rate", "0.05", "--count", "300", "--seed", "2");
      await speed.kill("SIGKILL");
      const refreshing = tideline.refresh("revenue", "trending-products", "visits");
      await tideline.kill("worker");
      await tideline.emptyRedis();
      await until(
        "a question is answered in between",
        async () => answers.size,
        (given) => given > 0,
      );
      await Promise.all([speed.start(), tideline.restart("worker")]);
      await Promise.all([sending, refreshing]);
      await tideline.emptyRedis();
      await everythingIsExact();
      // How many answers fit into the time depends on the machine; that each question has one does not.
      await until(
        "every question is answered",
        async () => new Set([...answers.values()].map(([question]) => question)).size,
        (answered) => answered === asked.length,
      );
    } finally {
      working = false;
    }
    await watching;
    const read = await logs();
    for (const [question, answer] of answers.values())
      await expectExact(question, answer, read.get(question.stream) ?? new Map());
    expect([...answers.values()].some(([, { complete, batchVersion }]) => complete && batchVersion >= 1)).toBe(true);
  }, 300_000);
});
