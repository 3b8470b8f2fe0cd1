import { createHash } from "node:crypto";
import { readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { MockActivityEnvironment } from "@temporalio/testing";
import { execa } from "execa";
import { Redis } from "ioredis";
import { Kafka, logLevel } from "kafkajs";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, inject, test, vi } from "vitest";
import type { ActivityDeps } from "../../activities/deps.ts";
import { batchMetrics } from "../../activities/metrics.ts";
import { proofActivities } from "../../activities/proof-activities.ts";
import { flag, instant, integer, list, oneOf, optional, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { view } from "../../core/definition/view.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { distinct } from "../../core/measures/kinds/distinct.ts";
import { first, last } from "../../core/measures/kinds/picks.ts";
import { quantile } from "../../core/measures/kinds/quantile.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { topK } from "../../core/measures/kinds/top-k.ts";
import type { Proof } from "../../core/proof/proof-result.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { everything, ticks } from "../fixtures/events/views.ts";
import { reaches } from "../fixtures/oracles/exact.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { type Answer, until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** Proofs over real servers: those that must hold, and those that must not. */

vi.setConfig({ testTimeout: 180_000 });

const amount = quantile(sql`amount`, { error: 0.02 });
const sliding = view("sliding", {
  stream: ticks,
  by: { place: sql`place` },
  every: "1 minute",
  window: "5 minutes",
  measures: { ticks: count(), amounts: distinct(sql`amount`), amount },
});
const stays = view("stays", {
  stream: ticks,
  by: { place: sql`place` },
  every: "1 minute",
  sessions: { gap: "3 minutes" },
  measures: { ticks: count(), total: sum(sql`amount`), first_tip: first(sql`tip`), last_tip: last(sql`tip`) },
});

/** Orders of two versions: the newer one has lines with a price, and a channel. */
const fields = {
  id: text({ max: 20 }),
  at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
  items: list({ sku: text({ max: 20 }), quantity: integer({ min: 1, max: 100 }) }, { max: 20 }),
  test: flag(),
};
const orders = stream("orders", {
  revision: 1,
  version: 2,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 50,
  fields: { ...fields, channel: oneOf("web", "shop"), note: optional(text({ max: 40 })) },
  previous: [{ version: 1, fields, upcast: { channel: sql`'shop'` } }],
});
const products = view("products", {
  stream: orders,
  where: sql`NOT test`,
  each: "items",
  by: { channel: sql`channel` },
  every: "1 hour",
  measures: {
    lines: count(),
    skus: distinct(sql`item.sku`),
    units: topK(sql`item.sku`, { weight: sql`item.quantity`, show: 3 }),
    first_sku: first(sql`item.sku`),
    last_sku: last(sql`item.sku`),
  },
});

const views = [everything, sliding, stays, products];
const START = Date.parse("2026-03-28T12:00:00Z");
const PLACES = ["harbour", "it's", 'quay "7"', null];

const record = (id: string, value: object | string | null): RawRecord => ({
  key: id,
  value: value === null ? null : Buffer.from(typeof value === "string" ? value : JSON.stringify(value)),
});

/** Ticks: some twice, some days late, some that are none. */
function ticksFrom(begin: number, total: number): RawRecord[] {
  return Array.from({ length: total }, (_, index) => begin + index).flatMap((n) => {
    const id = `t${n}`;
    const tick = record(id, {
      id,
      at: START + ((n * 7_919) % 7_200) * 1_000 - (n % 17 === 0 ? 40 * 86_400_000 : 0),
      place: PLACES[n % PLACES.length],
      good: [true, false, null][n % 3],
      amount: ((n * 7_907) % 2_000) - 1_000,
      tip: n % 4 === 0 ? null : n % 90,
      test: n % 13 === 0,
    });
    return [tick, ...(n % 10 === 3 ? [tick] : []), ...(n % 25 === 7 ? [record(id, "{"), record(id, null)] : [])];
  });
}

function ordersFrom(begin: number, total: number): RawRecord[] {
  return Array.from({ length: total }, (_, index) => begin + index).flatMap((n) => {
    const id = `o${n}`;
    const items = Array.from({ length: n % 4 }, (_, line) => ({
      sku: `s${(n * 7 + line) % 40}`,
      quantity: 1 + (n % 5),
    }));
    const order = { id, at: START + ((n * 7_919) % 86_400) * 1_000, items, test: n % 11 === 0 };
    const made = record(id, n % 2 === 0 ? order : { ...order, channel: n % 3 === 0 ? "web" : "shop" });
    return [made, ...(n % 9 === 4 ? [made] : []), ...(n % 30 === 1 ? [record(id, { ...order, items: 1 })] : [])];
  });
}

let layers: Layers;
let redis: Redis;
let sent = 0;

/** Sends this many of both, and waits until every view has them. */
async function send(total: number): Promise<void> {
  await produce(inject("kafkaBrokers"), layers.topic("ticks"), ticksFrom(sent, total));
  await produce(inject("kafkaBrokers"), layers.topic("orders"), ordersFrom(sent, total));
  sent += total;
  for (const name of ["ticks", "orders"]) {
    const log = await readLog(inject("kafkaBrokers"), layers.topic(name));
    records.set(name, [...log.values()].flat().length);
    for (const one of views.filter(({ stream }) => stream.name === name)) {
      const answer = () => layers.answer(one.name, "from=2026-03-28T13:50:00Z&limit=1").catch(String);
      await until(
        `${one.name} is applied`,
        answer,
        (found) => typeof found !== "string" && reaches(found as Answer, log),
        20_000,
      );
    }
  }
}

const records = new Map<string, number>();

function ask(name: string, query = ""): Promise<Response> {
  return fetch(layers.url(`/proof/${name}?${query}`));
}

async function prove(name: string, query = ""): Promise<Proof> {
  const response = await ask(name, query);
  if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
  return (await response.json()) as Proof;
}

/** Proves, and says what was not equal. */
async function expectEqual(name: string, query = ""): Promise<Proof> {
  // While Redis is busy with other tests, an answer may be what the batch version has, and says so.
  const isComplete = ({ answers }: Proof) => answers.every(({ complete }) => complete);
  const proof = await until(`${name}?${query} is complete`, () => prove(name, query), isComplete);
  expect(proof.differences, `${name}?${query}`).toEqual([]);
  expect(proof).toMatchObject({ equal: true, mismatches: 0 });
  expect(proof.rows, `${name}?${query}`).toBeGreaterThan(0);
  return proof;
}

/** What it keeps in memory is not what is proven. */
async function restartServing(): Promise<void> {
  await layers.serving?.close();
  await layers.restart();
}

function command(name: string) {
  return execa(process.execPath, ["cli/tideline.js", "proof", name], {
    env: { TIDELINE_API_URL: layers.url("") },
    reject: false,
  });
}

beforeAll(async () => {
  // So small that some answers do not fit, and are proven in parts.
  layers = await Layers.open(views, { maxAnswerCells: 600 });
  const letters = ["ticks", "orders"].map((name) => ({ name: deadLetterTopic(layers.topic(name)), partitions: 1 }));
  await ensureTopics(inject("kafkaBrokers"), letters);
  redis = new Redis(inject("redisUrl"));
  await send(900);
});
afterAll(async () => {
  redis.disconnect();
  await layers.close();
});

const QUESTIONS: readonly (readonly [view: string, query: string])[] = [
  ["everything", ""],
  ["everything", "by=&every=1h"],
  ["everything", "by=place&every=1d&zone=Europe/Berlin"],
  ["everything", "by=good&every=1w"],
  ["everything", "where[place]=null&where[place]=it%27s&every=5m"],
  ["everything", "from=2026-03-28T12:30:00Z&to=2026-03-28T13:00:00Z&every=20m&window=1h&by="],
  ["sliding", ""],
  ["sliding", "every=2m&window=20m&by="],
  ["stays", ""],
  ["stays", "from=2026-03-28T12:30:00Z"],
  ["products", ""],
  ["products", "by=&every=1mo"],
];

describe("a proof holds", () => {
  test("for every measure, window, session and line, before a refresh", async () => {
    for (const [name, query] of QUESTIONS) {
      const proof = await expectEqual(name, query);
      expect(proof.decoded).toBe("anew");
      expect(proof.records).toBe(records.get(name === "products" ? "orders" : "ticks"));
      expect(proof.answers.every(({ complete }) => complete)).toBe(true);
    }
  });

  test("of an answer that is too large for one, in parts", async () => {
    expect((await fetch(layers.url("/views/everything?from=1960-01-01&to=2099-01-01"))).status).toBe(400);
    const { answers, rows } = await expectEqual("everything");
    expect(answers.length).toBeGreaterThan(1);
    expect(answers.reduce((sum, answer) => sum + answer.rows, 0)).toBe(rows);
    expect([answers[0]?.from, answers.at(-1)?.to]).toEqual([null, null]);
  });

  test("after refreshes, decoded again or as it was archived, and of an earlier answer", async () => {
    const { asOf } = await layers.answer("everything", "by=&every=1d");
    await layers.refresh(everything);
    await layers.refresh(products);
    await send(100);
    await layers.refresh(everything);
    await send(60);
    for (const [name, query] of QUESTIONS.filter((_, index) => index % 2 === 0)) await expectEqual(name, query);
    expect((await expectEqual("everything", "deep=false&by=")).decoded).toBe("archived");
    const [answer] = (await expectEqual("everything", `by=&every=1d&at=${asOf}`)).answers;
    expect(answer?.asOf).toBe(asOf);
  });

  test("of a sample, with both readings of some rows and the exact figures of estimates", async () => {
    const { answers, rows, shown, fields } = await expectEqual("everything", "sample=5&rows=2&by=");
    expect(answers.reduce((sum, answer) => sum + answer.rows, 0)).toBe(5);
    expect(rows).toBe(5);
    expect(shown).toHaveLength(2);
    expect(shown[0]?.served.total).toBe(shown[0]?.log.total);
    expect(shown[0]?.exact).toEqual({ amounts: shown[0]?.log.amounts });
    expect(fields.amounts).toMatchObject({ type: "distinct", compared: 5, beyondThreeErrors: 0 });
    expect(fields.spread?.error).toBe(0.02);
    expect(fields.spread?.largestError).toBeGreaterThan(0);
  });
});

describe("a proof does not hold", () => {
  const kept = new Registry();
  const proveNightly = () => {
    const deps = { apiUrl: layers.url(""), metrics: batchMetrics(kept), logger: pino({ level: "silent" }) };
    const { proveView } = proofActivities(deps as unknown as ActivityDeps);
    return new MockActivityEnvironment().run(proveView, { view: "products", sample: 100 });
  };

  test("when a cell in Redis was changed: it names the row, the field and both values", async () => {
    expect(await proveNightly()).toMatchObject({ equal: true, problem: null });
    const prefix = `tl:{${layers.namespace}/${generationOf(products)}}`;
    // Of the newest segment: older ones stay for a while after a refresh, and nobody reads them.
    const segments = JSON.parse((await redis.hget(`${prefix}:chain`, "segments")) ?? "[]") as { id: string }[];
    const found = segments.map(({ id }) => redis.keys(`${prefix}:s:${id}:b:*`));
    const [key = ""] = (await Promise.all(found)).findLast((keys) => keys.length > 0) ?? [];
    // A bucket's cells may lie on several pages: `<bucket>/<page>`.
    const bucketMs = Number.parseInt(key.split(":").at(-1) ?? "", 10);
    const bucket = new Date(bucketMs).toISOString();
    const field = (await redis.hkeys(key)).find((name) => name.startsWith("rows "));
    const [channel] = JSON.parse(field?.slice(5) ?? "[]") as string[];
    await redis.hincrby(key, field ?? "", 3);
    const registers = (await redis.keys(`${key.slice(0, key.indexOf(":b:"))}:h:${bucketMs}:*`)).find((name) =>
      name.includes(`"${channel}"`),
    );
    await redis.pfadd(registers ?? "", "no such product");
    kept.clear();
    await restartServing();
    const { equal, mismatches, differences, fields } = await prove("products");
    expect({ equal, mismatches }).toEqual({ equal: false, mismatches: 2 });
    expect(fields).toMatchObject({ lines: { different: 1 }, skus: { different: 1 }, units: { different: 0 } });
    const [lines, skus] = differences;
    expect(lines).toMatchObject({ problem: "differs", row: { bucket, channel }, field: "lines", difference: 3 });
    expect(Number(lines?.served) - Number(lines?.log)).toBe(3);
    expect(skus).toMatchObject({ row: { bucket, channel }, field: "skus" });
    expect(await proveNightly()).toMatchObject({ equal: false, mismatches: 2, fields: ["lines", "skus"] });
    expect(await kept.metrics()).toContain('tideline_proof_mismatches{view="products"} 2');
  });

  test("when a state file is wrong, though it is the one that was published", async () => {
    const generation = generationOf(everything);
    const manifests = join(layers.dataDir, "views", generation, "manifests");
    const document = join(manifests, (await readdir(manifests)).sort().at(-1) ?? "");
    const manifest = JSON.parse(await readFile(document, "utf8")) as Manifest;
    const [state] = manifest.files;
    const file = join(layers.dataDir, state?.file ?? "");
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [layers.dataDir] });
    const duck = await pool.connect();
    const changed =
      "SELECT * REPLACE (value + CASE WHEN component = 'total.sum' AND bucket = (SELECT min(bucket) FROM " +
      `read_parquet('${file}')) THEN 7 ELSE 0 END AS value) FROM read_parquet('${file}')`;
    await duck.run(`COPY (${changed}) TO '${file}.new' (FORMAT parquet)`);
    duck.closeSync();
    pool.close();
    await rename(`${file}.new`, file);
    const checksum = createHash("sha256")
      .update(await readFile(file))
      .digest("hex");
    const files = manifest.files.map((one) => (one.file === state?.file ? { ...one, checksum } : one));
    await writeFile(document, JSON.stringify({ ...manifest, files }));
    await restartServing();
    const { equal, differences } = await prove("everything", "by=");
    expect(equal).toBe(false);
    expect(differences.map(({ field }) => field)).toEqual(["total"]);
    expect(Number(differences[0]?.difference) % 7).toBe(0);
    expect(Number(differences[0]?.served) - Number(differences[0]?.log)).toBe(differences[0]?.difference);
  });

  test("and the command says so by its exit code", { timeout: 360_000 }, async () => {
    const [holds, differs, unknown] = await Promise.all(["stays", "everything", "nowhere"].map(command));
    expect([holds?.exitCode, differs?.exitCode, unknown?.exitCode]).toEqual([0, 1, 2]);
    expect(holds?.stdout).toContain("equal");
    expect(differs?.stdout).toMatch(/total .*differs/);
    expect(unknown?.stderr).toContain("VIEW_UNKNOWN");
  });
});

test("what neither the archive nor the log has any more cannot be proven, and that is said", async () => {
  const admin = new Kafka({ brokers: inject("kafkaBrokers").split(","), logLevel: logLevel.NOTHING }).admin();
  await admin.connect();
  const ends = await admin.fetchTopicOffsets(layers.topic("ticks"));
  const partitions = ends.map(({ partition, high }) => ({ partition, offset: high }));
  await admin.deleteTopicRecords({ topic: layers.topic("ticks"), partitions });
  await admin.disconnect();
  // An answer that is not complete stands at an earlier position, which can be proven.
  const response = await until(
    "the newest answer is asked for",
    () => ask("sliding"),
    ({ status }) => status !== 200,
  );
  expect(response.status).toBe(410);
  expect(await response.json()).toMatchObject({
    code: "POSITION_GONE",
    detail: expect.stringContaining("LOG_LOST") as string,
  });
});
