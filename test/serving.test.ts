import { createHash, randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { request as httpRequest } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { flag, instant, integer, optional, text } from "../core/contract/fields.ts";
import { sql } from "../core/contract/sql.ts";
import { stream } from "../core/contract/stream.ts";
import { generationOf } from "../core/definition/generation.ts";
import { view } from "../core/definition/view.ts";
import { decodeAsOf } from "../core/log/as-of.ts";
import { EMPTY_LEDGER } from "../core/log/ledger.ts";
import { type Cut, cutToJson, position } from "../core/log/position.ts";
import { avg } from "../core/measures/kinds/avg.ts";
import { count } from "../core/measures/kinds/count.ts";
import { distinct } from "../core/measures/kinds/distinct.ts";
import { max, min } from "../core/measures/kinds/extremes.ts";
import { sum } from "../core/measures/kinds/sum.ts";
import { Registers, registerOf } from "../core/numbers/hll.ts";
import { ANSWER_LIMITS } from "../core/query/budget.ts";
import { planQuery } from "../core/query/query.ts";
import { stateSql } from "../core/state/compile.ts";
import type { AnswerBody } from "../serving/answer/answer.ts";
import type { Problem } from "../serving/common/problem.ts";
import { type RunningServing, type ServingOptions, startServing } from "../serving/main.ts";
import { BatchStates } from "../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../serving/read/batch/duck-queue.ts";
import { Vanished } from "../serving/read/cells/vanished.ts";
import { History } from "../serving/read/history.ts";
import { RedisGate } from "../serving/read/live/redis-gate.ts";
import { SegmentCache } from "../serving/read/live/segment-cache.ts";
import { Standings } from "../serving/read/live/standings.ts";
import { Reader } from "../serving/read/reader.ts";
import { Recomputations } from "../serving/read/recomputations.ts";
import { statesByPartition } from "../speed-layer/deltas.ts";
import { Archive } from "../store/archive/archive.ts";
import { Manifests, manifestDocument } from "../store/archive/manifests.ts";
import { eventColumns } from "../store/decode/events.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import { type Duck, DuckPool } from "../store/duckdb/duck.ts";
import { KeptStatements } from "../store/duckdb/kept-statements.ts";
import { DataDirectory } from "../store/files/files.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { Chain } from "../store/redis/chain.ts";
import { closedOf } from "../store/redis/chain-state.ts";
import { openRedis, type TidelineRedis } from "../store/redis/redis.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import { flipBit } from "./flip-bit.ts";

const sales = stream("sales", {
  revision: 1,
  partitions: 1,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 100,
  fields: {
    id: text(),
    at: instant({ from: "1960-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    shop: optional(text()),
    online: flag(),
    floor: integer({ min: -10, max: 100 }),
    cents: optional(integer({ min: -1_000_000, max: 1_000_000 })),
    buyer: text(),
  },
});

const takings = view("takings", {
  stream: sales,
  by: { shop: sql`shop`, online: sql`online`, floor: sql`floor` },
  every: "1 minute",
  measures: {
    sales: count(),
    cents: sum(sql`cents`, { unit: "cents" }),
    least: min(sql`cents`, { unit: "cents" }),
    most: max(sql`cents`, { unit: "cents" }),
    mean: avg(sql`cents`, { unit: "cents" }),
    buyers: distinct(sql`buyer`, { unit: "buyers" }),
  },
});
/** One that nobody publishes anything for. */
const unborn = view("unborn", { stream: sales, every: "1 hour", measures: { sales: count() } });

interface Sale {
  readonly offset: number;
  readonly at: number;
  readonly shop: string | null;
  readonly online: boolean;
  readonly floor: number;
  readonly cents: number | null;
  readonly buyer: string;
}

const START = Date.parse("2026-03-01T00:00:00Z");
const HOUR = 3_600_000;

/** A repeatable stream of sales over six hours, not in order of time. */
function salesOf(total: number): Sale[] {
  const pick = (seed: number, below: number) => createHash("md5").update(`${seed}`).digest().readUInt32LE(0) % below;
  return Array.from({ length: total }, (_, offset) => ({
    offset,
    at: START + pick(offset * 7, 6 * HOUR),
    shop: ["north", "south", "null", null, 'a"b%_ é', '"null"', "tab\tline\r\nfeed"][pick(offset * 7 + 1, 7)] ?? null,
    online: pick(offset * 7 + 2, 2) === 1,
    floor: pick(offset * 7 + 3, 3) - 1,
    cents: pick(offset * 7 + 4, 10) === 0 ? null : pick(offset * 7 + 5, 10_000) - 2_000,
    buyer: `buyer-${pick(offset * 7 + 6, 400)}`,
  }));
}

const LATER = Date.parse("2099-06-01T00:00:00Z");
/** The last fifty came more than a day after the others, and ten more from a clock that is wrong by decades. */
const SALES = salesOf(3_060).map((sale) => {
  if (sale.offset < 3_000) return sale;
  return { ...sale, at: sale.offset < 3_050 ? sale.at + 30 * HOUR : LATER + sale.offset * 1_000 };
});

/** A place of its own for one test: a server, a namespace and a data directory. */
class Place {
  readonly namespace = randomUUID();
  readonly generation = generationOf(takings);
  readonly chain: Chain;
  readonly manifests: Manifests;
  readonly data: DataDirectory;
  readonly redis: TidelineRedis;
  readonly duck: Duck;
  serving: RunningServing | null = null;

  constructor(redis: TidelineRedis, duck: Duck, folder: string) {
    this.redis = redis;
    this.duck = duck;
    this.data = new DataDirectory(join(folder, this.namespace));
    this.manifests = new Manifests(this.data);
    this.chain = new Chain(redis, this.namespace, this.generation);
  }

  async start(options: Partial<ServingOptions> = {}): Promise<this> {
    await this.data.attempt("views", "x", "json");
    const views = new Map(
      [takings, unborn].map((definition) => [
        definition.name,
        { view: definition, generation: generationOf(definition), file: "test" },
      ]),
    );
    const definitions: Definitions = { views, streams: new Map([[sales.name, sales]]) };
    const logger = pino({ level: "silent" });
    this.serving = await startServing({
      redisUrl: inject("redisUrl"),
      kafkaBrokers: inject("kafkaBrokers"),
      dataDir: this.data.root,
      namespace: this.namespace,
      definitions,
      port: 0,
      host: "127.0.0.1",
      logger,
      requestsPerMinute: 0,
      ...options,
    });
    return this;
  }

  /** Publishes the version whose last file holds `[from, to)`, after the files of the version before. */
  async publish(version: number, from: number, to: number, previous: readonly string[] = []): Promise<string[]> {
    const name = await this.data.attempt(this.manifests.stateFolder(this.generation), "delta", "parquet");
    await this.load(from, to);
    await this.duck.run(`COPY (${stateSql(takings, "events")}) TO '${this.data.path(name)}' (FORMAT parquet)`);
    const files = [...previous, name];
    await this.manifests.create({
      generation: this.generation,
      version,
      base: cutToJson(cutAt(from)),
      cut: cutToJson(cutAt(to)),
      files: await Promise.all(files.map(async (file) => ({ file, rows: 1, ...(await this.data.settle(file)) }))),
      ledger: EMPTY_LEDGER,
      topicId: "t",
      createdBy: "test",
      createdAtMs: Date.now(),
    });
    await this.chain.publish(version);
    return files;
  }

  /** Applies `[from, to)` to the open segment. */
  async apply(from: number, to: number): Promise<void> {
    await this.load(from, to);
    const deltas =
      (await statesByPartition(await KeptStatements.open(this.duck), takings, "events")).get(0)?.deltas ?? [];
    const reply = await this.chain.apply({
      partition: 0,
      from: position(from),
      to: position(to),
      mark: null,
      ledger: EMPTY_LEDGER,
      deltas,
      maxCells: 1_000_000,
      freshAtMs: null,
    });
    expect(reply.kind).toBe("ok");
  }

  async load(from: number, to: number): Promise<void> {
    await this.duck.run(`CREATE OR REPLACE TABLE events (${eventColumns(sales)})`);
    const rows = SALES.slice(from, to).map(({ offset, ...sale }) => ({
      _partition: 0,
      _offset: offset,
      id: `e${offset}`,
      ...sale,
      _id: `e${offset}`,
      _duplicate: false,
      _reject: null,
    }));
    await this.duck.run("INSERT INTO events BY NAME SELECT unnest(json_transform($1, $2), recursive := true)", [
      JSON.stringify(rows),
      STRUCTURE,
    ]);
  }

  async ask(
    path: string,
    method = "GET",
  ): Promise<{ status: number; type: string; headers: Record<string, unknown>; text: string }> {
    const message = httpRequest({ host: "127.0.0.1", port: this.serving?.port, path, method, agent: false });
    const answered = once(message, "response");
    message.end();
    const [response] = await answered;
    const chunks: Buffer[] = [];
    for await (const chunk of response) chunks.push(chunk);
    return {
      status: response.statusCode,
      type: response.headers["content-type"] ?? "",
      headers: response.headers,
      text: Buffer.concat(chunks).toString(),
    };
  }

  async answer(query: string): Promise<AnswerBody> {
    const { status, text } = await this.ask(`/views/takings?${query}`);
    expect(status, text).toBe(200);
    return JSON.parse(text) as AnswerBody;
  }

  async close(): Promise<void> {
    await this.serving?.close();
  }
}

const STRUCTURE = JSON.stringify([
  {
    _partition: "INTEGER",
    _offset: "BIGINT",
    id: "VARCHAR",
    at: "BIGINT",
    shop: "VARCHAR",
    online: "BOOLEAN",
    floor: "BIGINT",
    cents: "BIGINT",
    buyer: "VARCHAR",
    _id: "VARCHAR",
    _duplicate: "BOOLEAN",
    _reject: "VARCHAR",
  },
]);

/** Lets something happen right after the first answer of Redis. */
class RacingGate extends RedisGate {
  asked = 0;
  afterFirst: () => Promise<unknown> = async () => {};

  override async ask<T>(limitMs: number, question: () => Promise<T>): Promise<T> {
    const answer = await super.ask(limitMs, question);
    this.asked += 1;
    if (this.asked === 1) await this.afterFirst();
    return answer;
  }
}

function cutAt(offset: number): Cut {
  return new Map([[0, position(offset)]]);
}

type Fold = Record<string, unknown>;

/** The oracle: the answer by a plain loop over the events below `applied`. */
function fold(
  applied: number,
  options: { from?: number; to?: number; every: number; by: (keyof Sale)[]; keep?: (sale: Sale) => boolean },
): Fold[] {
  const { from = -Infinity, to = Infinity, every, by, keep = () => true } = options;
  const groups = new Map<string, { bucket: number; sales: Sale[] }>();
  for (const sale of SALES.slice(0, applied)) {
    if (sale.at < from || sale.at >= to || !keep(sale)) continue;
    const bucket = Math.floor(sale.at / every) * every;
    const key = JSON.stringify([bucket, ...by.map((name) => sale[name])]);
    const held = groups.get(key) ?? { bucket, sales: [] };
    groups.set(key, held);
    held.sales.push(sale);
  }
  return [...groups.values()].map(({ bucket, sales }) => {
    const cents = sales.flatMap(({ cents }) => (cents === null ? [] : [cents]));
    const total = cents.reduce((a, b) => a + b, 0);
    const buyers = new Registers();
    for (const { buyer } of sales) {
      const { register, rank } = registerOf(createHash("md5").update(buyer).digest().readBigUInt64LE(8));
      buyers.offer(register, rank);
    }
    return {
      bucket: new Date(bucket).toISOString(),
      ...(every > 60_000 && (bucket < from || bucket + every > to) ? { partial: true } : {}),
      ...Object.fromEntries(by.map((name) => [name, sales[0]?.[name] ?? null])),
      sales: sales.length,
      cents: cents.length === 0 ? null : total,
      least: cents.length === 0 ? null : Math.min(...cents),
      most: cents.length === 0 ? null : Math.max(...cents),
      mean: cents.length === 0 ? null : total / cents.length,
      buyers: buyers.estimate(),
    };
  });
}

function sorted(rows: readonly unknown[]): unknown[] {
  const canonical = (row: unknown) =>
    JSON.stringify(Object.entries(row as object).sort(([a], [b]) => (a < b ? -1 : 1)));
  return [...rows].sort((a, b) => (canonical(a) < canonical(b) ? -1 : 1));
}

const WHOLE = `from=${START}&to=${START + 6 * HOUR}`;
const whole = { from: START, to: START + 6 * HOUR };

let folder = "";
let pool: DuckPool;
let redis: TidelineRedis;
const places: Place[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-serving-"));
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [folder] });
  redis = openRedis(inject("redisUrl"), () => {});
});
afterAll(async () => {
  await Promise.all(places.map((place) => place.close()));
  redis.disconnect();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

async function place(options: Parameters<Place["start"]>[0] = {}): Promise<Place> {
  const made = await new Place(redis, await pool.connect(), folder).start(options);
  places.push(made);
  return made;
}

/** Batch to 1000, two closed segments to 1500 and 2000, the open one to 2500. */
async function standing(options: Parameters<Place["start"]>[0] = {}): Promise<{ at: Place; files: string[] }> {
  const at = await place(options);
  const first = await at.publish(1, 0, 600);
  const files = await at.publish(2, 600, 1_000, first);
  await at.chain.reseed(cutAt(1_000), 2, null);
  await at.apply(1_000, 1_500);
  await at.chain.seal(null);
  await at.apply(1_500, 2_000);
  await at.chain.seal("3");
  await at.apply(2_000, 2_500);
  return { at, files };
}

describe("an answer", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await standing());
  });

  it("equals a plain fold over the log below its position, whatever the buckets and dimensions", async () => {
    const cases: [string, Parameters<typeof fold>[1]][] = [
      [`${WHOLE}&limit=100000`, { ...whole, every: 60_000, by: ["shop", "online", "floor"] }],
      [`${WHOLE}&every=1h&by=shop`, { ...whole, every: HOUR, by: ["shop"] }],
      [`${WHOLE}&every=1h&by=online,floor`, { ...whole, every: HOUR, by: ["online", "floor"] }],
      [`${WHOLE}&every=7d&by=`, { ...whole, every: 168 * HOUR, by: [] }],
      [
        `from=${START + HOUR}&to=${START + 2 * HOUR}&every=7m&by=floor`,
        { from: START + HOUR, to: START + 2 * HOUR, every: 420_000, by: ["floor"] },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=north`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === "north" },
      ],
      [
        `${WHOLE}&every=1h&by=&where[shop]=null&where[online]=true`,
        { ...whole, every: HOUR, by: [], keep: ({ shop, online }) => shop === null && online },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=null&where[shop]=%22null%22`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === null || shop === "null" },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=%22null%22`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === "null" },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=%22%22null%22%22`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === '"null"' },
      ],
      [
        `${WHOLE}&every=1h&by=shop&where[shop]=tab%09line%0D%0Afeed`,
        { ...whole, every: HOUR, by: ["shop"], keep: ({ shop }) => shop === "tab\tline\r\nfeed" },
      ],
      [
        `${WHOLE}&every=1h&by=&where[floor]=-1&where[floor]=0`,
        { ...whole, every: HOUR, by: [], keep: ({ floor }) => floor < 1 },
      ],
      [
        `${WHOLE}&every=1h&by=floor&where[shop]=a%22b%25_+%C3%A9`,
        { ...whole, every: HOUR, by: ["floor"], keep: ({ shop }) => shop === 'a"b%_ é' },
      ],
    ];
    for (const [query, options] of cases) {
      const answer = await at.answer(query);
      expect(sorted(answer.rows), query).toEqual(sorted(fold(2_500, options)));
      expect(answer).toMatchObject({ view: "takings", complete: true, batchVersion: 2, truncated: false });
    }
  });

  it("with every=all has one row for the range, also before and after 1970", async () => {
    const query = `from=1960-01-01&to=${START + 6 * HOUR}&every=all&by=shop&measures=sales,mean,buyers`;
    const { rows, window } = await at.answer(query);
    const expected = fold(2_500, { to: START + 6 * HOUR, every: 1e15, by: ["shop"] }).map(
      ({ partial: _, cents: _c, least: _l, most: _m, ...row }) => ({ ...row, bucket: "1960-01-01T00:00:00.000Z" }),
    );
    expect(sorted(rows)).toEqual(sorted(expected));
    expect(window.every).toBe("all");
  });

  it("marks the buckets that the range cuts, and no others, in JSON and CSV", async () => {
    const cut = `from=${START + HOUR / 2}&to=${START + (5 * HOUR) / 2}&every=1h&by=&measures=sales`;
    const { rows, fields } = await at.answer(cut);
    expect(rows.map(({ partial }) => partial)).toEqual([true, undefined, true]);
    expect(fields.partial).toMatchObject({ kind: "time", type: "boolean" });
    const { text } = await at.ask(`/views/takings?${cut}&format=csv`);
    const lines = text.split("\r\n").map((line) => line.split(",").at(-1));
    expect(lines).toEqual(["partial", "true", "false", "true", ""]);
    const newest = await at.answer(`from=${START + HOUR / 2}&every=1mo&by=&measures=sales`);
    expect(newest.rows.map(({ partial }) => partial)).toEqual([true]);
    const open = await at.answer(`from=2026-03-01&every=1mo&by=&measures=sales`);
    expect(open.rows.map(({ partial }) => partial)).toEqual([undefined]);
    const closed = await at.answer(`from=2026-03-01&to=2026-03-02&every=1mo&by=&measures=sales`);
    expect(closed.rows.map(({ partial }) => partial)).toEqual([true]);
    expect((await at.answer(`${WHOLE}&by=floor&measures=sales`)).fields.partial).toBeUndefined();
  });

  it("takes a plus sign in an offset as it is, also where it was not encoded", async () => {
    const [plain, encoded] = await Promise.all(
      ["+", "%2B"].map((plus) =>
        at.answer(`from=2026-03-01T01:00:00${plus}01:00&to=2026-03-01T06:00:00Z&by=&every=1h`),
      ),
    );
    expect(plain?.rows).toHaveLength(6);
    expect(plain?.rows).toEqual(encoded?.rows);
  });

  it("says what each field is, where it stands and how fresh it is", async () => {
    const answer = await at.answer(`${WHOLE}&every=1h&by=floor&measures=cents,buyers`);
    expect(answer.fields).toEqual({
      bucket: expect.objectContaining({ kind: "time", exact: true }),
      floor: expect.objectContaining({ kind: "dimension", type: "integer", exact: true }),
      cents: expect.objectContaining({ kind: "measure", type: "sum", unit: "cents", exact: true, error: 0 }),
      buyers: expect.objectContaining({
        kind: "measure",
        type: "distinct",
        unit: "buyers",
        exact: false,
        error: 0.0081,
      }),
      partial: expect.objectContaining({ kind: "time", type: "boolean" }),
    });
    expect(Object.keys(answer.rows[0] ?? {})).toEqual(["bucket", "floor", "cents", "buyers"]);
    expect(answer.position).toEqual({
      generation: at.generation,
      version: 2,
      cut: { 0: "1000" },
      applied: { 0: "2500" },
    });
    expect(decodeAsOf(answer.asOf)).toMatchObject({ version: 2, applied: cutAt(2_500) });
    expect(answer.freshnessMs).toBeGreaterThanOrEqual(0);
    expect(answer.freshnessMs).toBeLessThan(60_000);
    expect(answer.window).toEqual({
      from: "2026-03-01T00:00:00.000Z",
      to: "2026-03-01T06:00:00.000Z",
      every: "1h",
      window: "1h",
      zone: "UTC",
    });
  });

  it("without from and to holds the last 24 hours of event time by the view's grain", async () => {
    const last = Math.floor(Math.max(...SALES.slice(0, 2_500).map(({ at }) => at)) / 60_000) * 60_000;
    const answer = await at.answer("limit=100000&by=floor");
    expect(answer.window).toEqual({
      from: new Date(last + 60_000 - 24 * HOUR).toISOString(),
      to: new Date(last + 60_000).toISOString(),
      every: "1m",
      window: "1m",
      zone: "UTC",
    });
    expect(sorted(answer.rows)).toEqual(sorted(fold(2_500, { every: 60_000, by: ["floor"] })));
  });

  it("ends with the newest event until now although others lie after now, and says so", async () => {
    const { at, files } = await standing();
    await at.apply(2_500, 3_060);
    const lastBucket = Math.floor(Math.max(...SALES.slice(0, 3_050).map((sale) => sale.at)) / 60_000) * 60_000;
    const to = lastBucket + 60_000;
    const ends = async (where: string) => {
      const answer = await at.answer("limit=100000");
      expect(answer.window.to, where).toBe(new Date(to).toISOString());
      expect(
        answer.notices?.map(({ code }) => code),
        where,
      ).toEqual(["EVENTS_AFTER_NOW"]);
      const expected = fold(3_060, { from: to - 24 * HOUR, to, every: 60_000, by: ["shop", "online", "floor"] });
      expect(sorted(answer.rows), where).toEqual(sorted(expected));
      const { headers } = await at.ask("/views/takings?limit=1");
      expect([headers["tideline-notice"], headers.etag], where).toEqual(["EVENTS_AFTER_NOW", undefined]);
      const one = await at.answer("where[shop]=north&where[online]=true&where[floor]=0&measures=sales");
      expect(one.window, `${where}, one group`).toMatchObject({ to: answer.window.to });
      const { text } = await at.ask("/views/takings/keys?dimension=shop");
      expect(JSON.parse(text), where).toMatchObject({ window: { to: answer.window.to }, notices: answer.notices });
      const later = await at.answer(`from=${LATER}&by=&every=1d&measures=sales`);
      expect([later.rows.map(({ sales }) => sales), later.notices], where).toEqual([[10], undefined]);
      const gone = await at.ask(`/views/takings?from=${LATER}&by=&every=1d&measures=sales`);
      expect(gone.headers.etag, where).toBeUndefined();
      const none = await at.answer(`from=${to + HOUR}&by=&every=1d&measures=sales`);
      expect([none.window.to, none.rows], where).toEqual([new Date(to + HOUR).toISOString(), []]);
      const all = await at.answer(`from=${START}&to=${LATER + HOUR}&by=&every=1d&measures=sales`);
      expect([all.rows.at(-1)?.sales, all.notices], where).toEqual([10, undefined]);
    };
    await ends("in the open segment");
    await at.chain.seal(null);
    await ends("in a closed segment");
    await at.publish(3, 1_000, 3_060, files);
    await at.chain.reseed(cutAt(3_060), 3, (await at.chain.load())?.nonce ?? null);
    await ends("in the batch version");
  });

  it("is sorted and limited, nulls last in both directions", async () => {
    const total = fold(2_500, { ...whole, every: 168 * HOUR, by: ["shop"] });
    for (const sign of ["", "-"]) {
      const { rows, truncated } = await at.answer(
        `${WHOLE}&every=7d&by=shop&measures=cents&order=${sign}cents&limit=3`,
      );
      const expected = total
        .map(({ cents }) => Number(cents))
        .sort((a, b) => (sign === "" ? a - b : b - a))
        .slice(0, 3);
      expect(rows.map(({ cents }) => cents)).toEqual(expected);
      expect(truncated).toBe(true);
      const shops = await at.answer(`${WHOLE}&every=7d&by=shop&measures=&order=${sign}shop`);
      expect(shops.rows.at(-1)?.shop).toBeNull();
    }
  });

  it("of a window that holds nothing has no rows", async () => {
    expect(await at.answer("from=1900-01-01&to=1900-01-02")).toMatchObject({
      rows: [],
      complete: true,
      truncated: false,
    });
  });
});

describe("the reader", () => {
  const total = `${WHOLE}&every=7d&by=&measures=sales`;

  it("follows the pointer to the newest version, also when the chain was trimmed", async () => {
    const { at, files } = await standing();
    expect(await at.answer(total)).toMatchObject({ batchVersion: 2, rows: [{ sales: 2_500 }] });
    await at.publish(3, 1_000, 2_000, files);
    expect(await at.answer(total)).toMatchObject({ batchVersion: 3, complete: true, rows: [{ sales: 2_500 }] });
    await at.chain.trim(cutAt(2_000));
    expect(await at.answer(total)).toMatchObject({
      batchVersion: 3,
      complete: true,
      rows: [{ sales: 2_500 }],
      position: { cut: { 0: "2000" } },
    });
  });

  it("asks the disk for a newer version when the pointer is old and the chain does not fit", async () => {
    const { at, files } = await standing();
    expect((await at.answer(total)).batchVersion).toBe(2);
    await at.publish(3, 1_000, 2_000, files);
    await redis.hset(`tl:{${at.namespace}/${at.generation}}:chain`, "pointer", "2");
    await at.chain.trim(cutAt(2_000));
    expect(await at.answer(total)).toMatchObject({ batchVersion: 3, complete: true, rows: [{ sales: 2_500 }] });
  });

  it("moves the default window with the newest bucket of the open segment", async () => {
    const at = await place();
    await at.publish(1, 0, 1_000);
    await at.chain.reseed(cutAt(1_000), 1, null);
    await at.apply(1_000, 3_050);
    const last = Math.floor(Math.max(...SALES.slice(0, 3_050).map(({ at }) => at)) / 60_000) * 60_000;
    const answer = await at.answer("limit=100000&by=floor");
    const from = last + 60_000 - 24 * HOUR;
    expect(answer.window.from).toBe(new Date(from).toISOString());
    expect(sorted(answer.rows)).toEqual(sorted(fold(3_050, { from, every: 60_000, by: ["floor"] })));
  });

  it("answers the batch version alone when the chain leaves a gap, and says which", async () => {
    const { at } = await standing();
    await at.chain.trim(cutAt(1_500));
    const answer = await at.answer(total);
    expect(answer).toMatchObject({
      complete: false,
      rows: [{ sales: 1_000 }],
      position: { cut: { 0: "1000" }, applied: { 0: "1000" } },
    });
    expect(answer.missing).toMatchObject({ code: "GAP", partition: 0, from: "1000", to: "1500" });
    const { views } = JSON.parse((await at.ask("/views")).text);
    expect(views[0]).toMatchObject({ name: "takings", complete: false, version: 2, missing: { code: "GAP" } });
  });

  it("answers the batch version alone when the chain covers a part of it", async () => {
    const at = await place();
    await at.publish(1, 0, 1_000);
    await at.chain.reseed(cutAt(900), 1, null);
    await at.apply(900, 1_200);
    expect(await at.answer(total)).toMatchObject({
      complete: false,
      rows: [{ sales: 1_000 }],
      missing: { code: "OVERLAP", from: "900", to: "1000" },
    });
  });

  it("answers the newest batch version alone when Redis has no chain", async () => {
    const at = await place();
    const files = await at.publish(1, 0, 600);
    expect(await at.answer(total)).toMatchObject({
      complete: false,
      batchVersion: 1,
      rows: [{ sales: 600 }],
      missing: { code: "NO_CHAIN" },
    });
    await at.publish(2, 600, 1_000, files);
    expect(await at.answer(total)).toMatchObject({ complete: false, batchVersion: 2, rows: [{ sales: 1_000 }] });
  });

  it("answers the batch version alone when Redis cannot be reached, within seconds", async () => {
    const at = await place({ redisUrl: "redis://127.0.0.1:1" });
    await at.publish(1, 0, 600);
    expect(await at.answer(total)).toMatchObject({
      complete: false,
      rows: [{ sales: 600 }],
      missing: { code: "REDIS_SILENT" },
    });
    expect((await at.ask("/ready")).status).toBe(503);
    expect((await at.ask("/health")).status).toBe(200);
  });

  it("answers the batch version alone while Redis hangs, and soon without asking it", async () => {
    const { at } = await standing();
    await redis.call("CLIENT", "PAUSE", "6000", "ALL");
    const beganMs = performance.now();
    for (let asked = 0; asked < 4; asked++) {
      expect(await at.answer(total)).toMatchObject({
        complete: false,
        rows: [{ sales: 1_000 }],
        missing: { code: "REDIS_SILENT" },
      });
    }
    expect(performance.now() - beganMs).toBeLessThan(5_500);
    await expect.poll(async () => (await at.answer(total)).complete, { interval: 100 }).toBe(true);
  });

  it("starts over with the newest version when files of an old one are gone", async () => {
    const { at, files } = await standing();
    expect((await at.answer(total)).batchVersion).toBe(2);
    const fresh = await at.publish(3, 0, 2_000);
    // A pointer that did not get through: only the missing file shows that version 2 is old.
    await redis.hset(`tl:{${at.namespace}/${at.generation}}:chain`, "pointer", "2");
    for (const file of files) await at.data.remove(file);
    const answer = await at.answer(`${WHOLE}&every=7d&by=floor&measures=sales`);
    expect(fresh).toHaveLength(1);
    expect(answer).toMatchObject({ batchVersion: 3, complete: true });
    expect(answer.rows.reduce((all, { sales }) => all + Number(sales), 0)).toBe(2_500);
  });

  it("says that published state is damaged when the newest version's files are gone, or are not what was published", async () => {
    for (const damage of [(path: string) => rm(path), (path: string) => flipBit(path)]) {
      const at = await place();
      for (const file of await at.publish(1, 0, 600)) await damage(at.data.path(file));
      const { status, text } = await at.ask(`/views/takings?${total}`);
      expect([status, (JSON.parse(text) as Problem).code]).toEqual([500, "ARCHIVE_DAMAGED"]);
      expect(text).not.toContain(folder);
    }
  });

  it("names a view whose newest manifest cannot be read, and goes on listing and answering the others", async () => {
    const { at } = await standing();
    const other = generationOf(unborn);
    await at.manifests.genesis(other, cutAt(0), "t", "test");
    const name = manifestDocument(other, 1);
    await at.data.replace(name, '{ "generation": ');
    const listed = JSON.parse((await at.ask("/views")).text);
    expect(listed.views.map((one: { name: string; version: number }) => [one.name, one.version])).toEqual([
      ["takings", 2],
      ["unborn", null],
    ]);
    const problem = { kind: "view", name: "unborn", code: "ARCHIVE_DAMAGED", message: expect.stringContaining(name) };
    expect(listed.problems).toEqual([expect.objectContaining(problem)]);
    for (const path of ["/ready", "/health"])
      expect(JSON.parse((await at.ask(path)).text).problems).toEqual([expect.objectContaining(problem)]);
    expect(await at.ask("/ready")).toMatchObject({ status: 200 });
    expect((await at.ask("/metrics")).text).toMatch(
      /tideline_failing\{kind="view",name="unborn",code="ARCHIVE_DAMAGED"\} 1/,
    );
    const refused = await at.ask("/views/unborn");
    expect([refused.status, JSON.parse(refused.text).code]).toEqual([500, "ARCHIVE_DAMAGED"]);
    expect(refused.text).not.toContain(folder);
    expect((await at.answer(total)).complete).toBe(true);
    await at.data.remove(name);
    expect(JSON.parse((await at.ask("/views")).text)).not.toHaveProperty("problems");
  });

  it("starts over when a publish takes its segments away between two commands", async () => {
    const { at, files } = await standing();
    const gate = new RacingGate(redis);
    const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 1, timeoutMs: 10_000 });
    const batch = new BatchStates(at.data, ducks, { maxCachedCells: 1_000, limits: ANSWER_LIMITS });
    const standings = new Standings({ manifests: at.manifests, gate, namespace: at.namespace });
    const segments = new SegmentCache(gate, 1_000);
    const log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "serving-test" });
    const recomputations = new Recomputations({
      sources: { data: at.data, archive: new Archive(at.data), log, schemas: Schemas.inFiles(at.data), pool },
      brokers: inject("kafkaBrokers"),
      namespace: at.namespace,
      timeoutMs: 1_000,
    });
    const { data, manifests } = at;
    const history = new History({ data, manifests, standings, segments, recomputations });
    const reader = new Reader({ standings, batch, segments, history, limits: ANSWER_LIMITS });
    gate.afterFirst = async () => {
      await at.publish(3, 1_000, 2_000, files);
      await at.chain.trim(cutAt(2_000));
    };
    const plan = planQuery(takings, { from: String(START), every: "7d", by: "", measures: "sales" });
    if (!plan.ok) throw new Error("not a query");
    const answer = await reader.answer({ view: takings, generation: at.generation, file: "test" }, plan.query);
    expect(answer).toMatchObject({ missing: null, manifest: { version: 3 }, rows: [{ sales: 2_500 }] });
    expect(gate.asked).toBeGreaterThan(3);
    ducks.close();
    await log.close();
  });

  it("does not take a segment of another span, or one that is gone, for the one it asked for", async () => {
    const { at } = await standing();
    const chain = await at.chain.load();
    const [first] = closedOf(chain?.segments ?? []);
    if (first === undefined) throw new Error("no closed segment");
    const cache = new SegmentCache(new RedisGate(redis), 1_000_000);
    const asked = { view: takings, generation: at.generation, file: "test" };
    expect(await cache.all(at.chain, asked, [first])).toHaveLength(1);
    await expect(cache.all(at.chain, asked, [{ ...first, to: cutAt(900) }])).rejects.toThrow(Vanished);
    await expect(cache.all(at.chain, asked, [{ id: "99", from: cutAt(0), to: cutAt(1) }])).rejects.toThrow(Vanished);
  });

  it("gives every reader an exact prefix of the log while versions are published, segments sealed and trimmed", async () => {
    const { at, files } = await standing();
    let done = false;
    const reading = (async () => {
      const seen: AnswerBody[] = [];
      while (!done) seen.push(await at.answer(`${WHOLE}&every=7d&by=`));
      return seen;
    })();
    let version = 2;
    let cut = 1_000;
    let kept = files;
    for (let to = 2_550; to <= 3_000; to += 50) {
      await at.apply(to - 50, to);
      const boundary = await at.chain.seal(String(version + 1));
      const sealed = Number(boundary?.get(0) ?? cut);
      const old = cut;
      kept = await at.publish(version + 1, cut, sealed, kept);
      await at.chain.trim(cutAt(old));
      version += 1;
      cut = sealed;
    }
    done = true;
    const seen = await reading;
    // There are many answers to a position; they are all the same but for their age.
    const distinct = new Map(seen.map((answer) => [JSON.stringify({ ...answer, freshnessMs: null }), answer]));
    for (const { rows, position, complete } of distinct.values()) {
      expect(complete).toBe(true);
      expect(rows).toEqual(fold(Number(position.applied[0]), { ...whole, every: 168 * HOUR, by: [] }));
    }
    expect(new Set(seen.map(({ batchVersion }) => batchVersion)).size).toBeGreaterThan(2);
  });

  it("knows nothing of a view before its first version, and says when to ask again", async () => {
    const at = await place();
    const { status, headers, text } = await at.ask("/views/takings");
    expect([status, headers["retry-after"], (JSON.parse(text) as Problem).code]).toEqual([503, "2", "NOT_READY"]);
    expect((await at.ask("/ready")).status).toBe(503);
    expect(JSON.parse((await at.ask("/views")).text).views[0]).toMatchObject({
      ready: false,
      version: null,
      complete: false,
    });
  });
});

describe("a request that is wrong", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await standing({ maxAnswerCells: 1_000 }));
  });

  const view = "/views/takings?";
  const wrong: [path: string, status: number, parameter: string | null][] = [
    [`${view}from=yesterday`, 400, "from"],
    [`${view}from=`, 400, "from"],
    [`${view}from=2026-13-01`, 400, "from"],
    [`${view}from=1&from=2`, 400, "from"],
    [`${view}to=99999999999999999999`, 400, "to"],
    [`${view}to=1e3`, 400, "to"],
    [`${view}from=2026-01-02&to=2026-01-01`, 400, "to"],
    [`${view}every=90s`, 400, "every"],
    [`${view}every=0m`, 400, "every"],
    [`${view}every=-1h`, 400, "every"],
    [`${view}every=fortnight`, 400, "every"],
    [`${view}every=1h&every=2h`, 400, "every"],
    [`${view}by=country`, 400, "by"],
    [`${view}by=shop;DROP`, 400, "by"],
    [`${view}by=__proto__`, 400, "by"],
    [`${view}measures=profit`, 400, "measures"],
    [`${view}measures=cents,constructor`, 400, "measures"],
    [`${view}where[country]=eu`, 400, "where[country]"],
    [`${view}where[]=eu`, 400, "where[]"],
    [`${view}where[shop=eu`, 400, "where[shop"],
    [`${view}where=eu`, 400, "where"],
    [`${view}where[__proto__]=x`, 400, "where[__proto__]"],
    [`${view}order=profit`, 400, "order"],
    [`${view}order=--cents`, 400, "order"],
    [`${view}by=&order=shop`, 400, "order"],
    [`${view}order=`, 400, "order"],
    [`${view}limit=0`, 400, "limit"],
    [`${view}limit=-5`, 400, "limit"],
    [`${view}limit=1.5`, 400, "limit"],
    [`${view}limit=100001`, 400, "limit"],
    [`${view}limit=ten`, 400, "limit"],
    [`${view}form=2026-01-01`, 400, "form"],
    [`${view}__proto__=1`, 400, "__proto__"],
    [`${view}=1`, 400, ""],
    [`${view}from=%FF`, 400, "from"],
    [`${view}from=%E0%A4`, 400, "from"],
    [`${view}from=%`, 400, "from"],
    [`${view}from=a%00b`, 400, "from"],
    [`${view}where[sh%00op]=a`, 400, null],
    [`${view}%FF=1`, 400, "%FF=1"],
    [`${view}from=0`, 400, "every"],
    [`${view}where[shop]=${"x".repeat(9_000)}`, 414, null],
    [`/views/%FF`, 400, "request"],
    [`/views/%`, 400, "request"],
    [`/views/a%00b`, 404, "name"],
    [`/views/${"x".repeat(300)}`, 414, null],
    ["/views/profit", 404, "name"],
    ["/views/takings/x", 404, null],
    ["/views?x=1", 400, "x"],
    ["/nothing", 404, null],
    ["/nothing?x=%FF", 404, null],
    ["/docs/../../etc/passwd", 404, null],
    ["/docs/static/..%2f..%2fpackage.json", 404, null],
  ];

  it.each(wrong.map((request) => [request[0].slice(0, 60), ...request] as const))(
    "%s is answered with problem details",
    async (_, path, status, parameter) => {
      const answered = await at.ask(path);
      expect([answered.status, answered.type.split(";")[0]], answered.text).toEqual([
        status,
        "application/problem+json",
      ]);
      const problem = JSON.parse(answered.text) as Problem;
      expect(problem).toMatchObject({
        status,
        type: expect.any(String),
        title: expect.any(String),
        detail: expect.any(String),
        code: expect.stringMatching(/^[A-Z_]+$/),
      });
      if (parameter !== null) {
        expect(problem.errors?.map((error) => error.parameter)).toContain(parameter);
        for (const { problem: what, allowed } of problem.errors ?? [])
          expect([what !== "", allowed !== ""]).toEqual([true, true]);
      }
    },
  );

  it("names every parameter that is wrong, and the views that exist", async () => {
    const problem = JSON.parse((await at.ask(`${view}from=x&every=never&limit=z`)).text) as Problem;
    expect(problem.errors?.map(({ parameter }) => parameter)).toEqual(["from", "every", "limit"]);
    expect(JSON.parse((await at.ask("/views/profit")).text)).toMatchObject({
      code: "VIEW_UNKNOWN",
      errors: [{ allowed: "takings, unborn" }],
    });
  });

  it.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])("%s is not allowed", async (method) => {
    for (const path of ["/views/takings", "/views", "/health", "/openapi.json"]) {
      const { status, headers, text } = await at.ask(path, method);
      expect([status, headers.allow, (JSON.parse(text) as Problem).code]).toEqual([
        405,
        "GET, HEAD",
        "METHOD_NOT_ALLOWED",
      ]);
    }
    expect((await at.ask("/nothing", method)).status).toBe(404);
  });

  it("for another host is refused at every address, before anything is read", async () => {
    for (const path of [
      "/",
      "/views",
      "/views/takings",
      "/views/takings/live",
      "/openapi.json",
      "/health",
      "/nothing",
    ]) {
      const socket = connect(at.serving?.port ?? 0, "127.0.0.1");
      socket.write(`GET ${path} HTTP/1.1\r\nHost: rebound.example:7070\r\nConnection: close\r\n\r\n`);
      let text = "";
      for await (const chunk of socket) text += chunk;
      expect(text, path).toMatch(/^HTTP\/1\.1 421 /);
      expect(text, path).toContain('"code":"HOST_NOT_ALLOWED"');
      expect(text, path).not.toContain("takings");
    }
  });

  it.each([
    "GET /views/takings?from=\u0001 HTTP/1.1",
    "nonsense",
    "GET /views/a b HTTP/1.1",
    `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`,
  ])("that is no HTTP is refused (%#)", async (head) => {
    const socket = connect(at.serving?.port ?? 0, "127.0.0.1");
    socket.write(`${head}\r\nHost: x\r\n\r\n`);
    let text = "";
    for await (const chunk of socket) text += chunk;
    expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(text).toContain("application/problem+json");
  });

  it("never yields a 5xx, whatever the query string", async () => {
    const name = fc.constantFrom(
      "from",
      "to",
      "every",
      "by",
      "measures",
      "order",
      "limit",
      "where[shop]",
      "where[online]",
      "where[floor]",
      "where[x]",
      "__proto__",
      "",
    );
    const sensible = fc.constantFrom(
      "2026-03-01",
      "2026-03-01T05:00:00Z",
      "0",
      "-1",
      "999999999999999",
      "-999999999999999",
      "999999w",
      "all",
      "1h",
      "5m",
      "shop",
      "floor,online",
      "cents",
      "buyers",
      "-buyers",
      "-bucket",
      "north",
      "null",
      "true",
      "1",
      "100000",
      "",
    );
    const value = fc.oneof(
      { weight: 3, arbitrary: sensible },
      fc.string({ unit: "binary", maxLength: 12 }),
      fc.string({ unit: "grapheme", maxLength: 8 }),
    );
    const encoded = fc
      .tuple(value, fc.boolean())
      .map(([text, plain]) =>
        plain ? text.replaceAll(/[^\x21-\x7e]|#/g, "") : encodeURIComponent(text.toWellFormed()),
      );
    const query = fc
      .array(fc.tuple(name, encoded), { maxLength: 6 })
      .map((pairs) => pairs.map(([key, text]) => `${key}=${text}`).join("&"));
    const path = fc.constantFrom("/views/takings", "/views/takings", "/views/takings", "/views", "/ready", "/docs/");
    await fc.assert(
      fc.asyncProperty(path, query, async (base, text) => {
        const { status, type } = await at.ask(`${base}?${text}`);
        // /ready is about the other view, of which nothing is published.
        if (base !== "/ready") expect(status).toBeLessThan(500);
        if (status >= 400 && base !== "/ready") expect(type).toContain("application/problem+json");
      }),
      { numRuns: 600 },
    );
  });

  it("too often is refused with 429", async () => {
    const limited = await place({ requestsPerMinute: 3 });
    const asked = [];
    for (let n = 0; n < 5; n++) asked.push(await limited.ask("/views"));
    expect(asked.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429]);
    expect(asked[3]?.type).toContain("application/problem+json");
    expect(Number(asked[3]?.headers["retry-after"])).toBeGreaterThan(0);
    expect((await limited.ask("/health")).status).toBe(200);
  });
});

describe("a question that costs too much", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await standing());
  });

  /** The same state behind a server with other limits. */
  async function restarted(options: Partial<ServingOptions>): Promise<void> {
    await at.close();
    await at.start(options);
  }

  it("has the same first rows from a server that cannot hold all of them, in batch, closed and open state", async () => {
    const all = `${WHOLE}&limit=30`;
    const shapes = [
      all,
      `${all}&order=-sales`,
      `${all}&order=cents,-shop`,
      `${all}&order=-least&by=shop,floor`,
      `${all}&order=-bucket&measures=buyers,mean,sales`,
      `${all}&order=shop,-most&where[online]=true`,
    ];
    const answersOf = (paths: readonly string[]) => Promise.all(paths.map((path) => at.answer(path)));
    const whole = await answersOf(shapes);
    await restarted({ maxAnswerCells: 1_600 });
    const first = await answersOf(shapes);
    for (const [index, { rows, truncated }] of first.entries())
      expect([shapes[index], rows, truncated]).toEqual([shapes[index], whole[index]?.rows, whole[index]?.truncated]);
    const refused: [string, string][] = [
      [`${all}&order=-mean`, "sorted by mean"],
      [`${all}&order=buyers`, "sorted by buyers"],
      [`${all}&window=60m`, "windows slide, so that all of them have to be held"],
    ];
    for (const [path, why] of refused) {
      const { status, text } = await at.ask(`/views/takings?${path}`);
      expect([path, status, JSON.parse(text)]).toMatchObject([path, 400, { code: "TOO_LARGE" }]);
      expect((JSON.parse(text) as Problem).detail).toContain(why);
    }
  });

  it("is refused live when its answer is too large to be sent again and again", async () => {
    await restarted({ maxLiveAnswerSize: 20_000 });
    const { status, text } = await at.ask(`/views/takings/live?${WHOLE}&limit=100000`);
    expect([status, JSON.parse(text)]).toMatchObject([400, { code: "TOO_LARGE", errors: [{ parameter: "limit" }] }]);
    await restarted({ maxLiveHeldSize: 20_000 });
    const later = await at.ask(`/views/takings/live?${WHOLE}&limit=100000`);
    expect([later.status, JSON.parse(later.text)]).toMatchObject([503, { code: "TOO_MANY_STREAMS" }]);
    expect(Number(later.headers["retry-after"])).toBeGreaterThan(0);
  });
});

describe("the other routes", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await standing());
  });

  it("document every view with its own measures and dimensions, and answer what they document", async () => {
    const document = JSON.parse((await at.ask("/openapi.json")).text);
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(Object.keys(document.paths).sort()).toEqual([
      "/health",
      "/metrics",
      "/openapi.json",
      "/proof/{view}",
      "/ready",
      "/streams",
      "/streams/{name}/quality",
      "/views",
      "/views/takings",
      "/views/takings/keys",
      "/views/takings/live",
      "/views/unborn",
      "/views/unborn/live",
    ]);
    const operations = Object.values(
      document.paths as Record<
        string,
        { get: { operationId: string; summary: string; responses: Record<string, { description: string }> } }
      >,
    );
    expect(new Set(operations.map(({ get }) => get.operationId)).size).toBe(operations.length);
    for (const { get } of operations) {
      expect(get.summary).toEqual(expect.any(String));
      for (const { description } of Object.values(get.responses)) expect(description).toEqual(expect.any(String));
    }
    const references = JSON.stringify(document).match(/"\$ref":"[^"]+"/g) ?? [];
    expect(references.length).toBeGreaterThan(5);
    for (const reference of references)
      expect(Object.keys(document.components.schemas)).toContain(reference.slice(8, -1).split("/").at(-1));
    const { parameters, responses } = document.paths["/views/takings"].get;
    const parameter = (name: string) => parameters.find((candidate: { name: string }) => candidate.name === name);
    expect(parameter("by").schema.items.enum).toEqual(["shop", "online", "floor"]);
    expect(parameter("measures").schema.items.enum).toEqual(Object.keys(takings.measures));
    expect(parameter("where[shop]")).toBeDefined();
    const schema = responses["200"].content["application/json"].schema;
    const answer = await at.answer("");
    for (const name of schema.required) expect(Object.keys(answer)).toContain(name);
    for (const name of Object.keys(answer)) expect(Object.keys(schema.properties)).toContain(name);
    const columns = Object.keys(schema.properties.rows.items.properties);
    expect([...Object.keys(answer.rows[0] ?? {}), "partial"]).toEqual(columns);
  });

  it("are data to a browser, never a script or a page of somebody else", async () => {
    for (const path of ["/views", "/views/takings", "/views/nothing", "/nowhere", "/health"])
      expect((await at.ask(path)).headers, path).toMatchObject({
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
      });
  });

  it("show a docs page whose scripts its own policy allows", async () => {
    const page = await at.ask("/docs");
    expect(page.status).toBe(200);
    expect(String(page.headers["content-security-policy"])).toContain("script-src 'self'");
    expect(page.text).not.toMatch(/<script(?![^>]*\bsrc=)[^>]*>\s*\S/);
    const scripts = [...page.text.matchAll(/<script[^>]*src="([^"]+)"/g)].map(
      ([, source]) => new URL(source ?? "", "http://x/docs").pathname,
    );
    expect(scripts.length).toBeGreaterThan(0);
    for (const script of scripts) expect((await at.ask(script)).status, script).toBe(200);
  });

  it("list the views and where they stand", async () => {
    const { views } = JSON.parse((await at.ask("/views")).text);
    expect(views.map(({ name }: { name: string }) => name)).toEqual(["takings", "unborn"]);
    expect(views[0]).toMatchObject({
      stream: "sales",
      grain: "1m",
      dimensions: [
        { name: "shop", type: "text" },
        { name: "online", type: "boolean" },
        { name: "floor", type: "integer" },
      ],
      generation: at.generation,
      version: 2,
      cut: { 0: "1000" },
      applied: { 0: "2500" },
      complete: true,
    });
    expect(views[0].measures[1]).toEqual({
      name: "cents",
      type: "sum",
      unit: "cents",
      exact: true,
      error: 0,
      note: "exact",
      values: "integer",
      json: "number",
    });
  });

  it("tell monitoring what it needs", async () => {
    expect(JSON.parse((await at.ask("/health")).text)).toEqual({ alive: true });
    expect(JSON.parse((await at.ask("/ready")).text)).toMatchObject({
      ready: false,
      redis: "answers",
      views: [
        { view: "takings", ready: true, version: 2, complete: true },
        { view: "unborn", ready: false },
      ],
    });
    await at.manifests.genesis(generationOf(unborn), cutAt(0), "t", "test");
    expect((await at.ask("/ready")).status).toBe(200);
    const { text } = await at.ask("/metrics");
    for (const line of [
      'tideline_view_complete{view="takings"} 1',
      'tideline_view_batch_version{view="takings"} 2',
      "process_cpu_seconds_total",
      'tideline_http_request_seconds_count{route="/ready",method="GET",status="200"}',
    ]) {
      expect(text).toContain(line);
    }
    expect(Number(/tideline_view_cells\{view="takings"\} (\d+)/.exec(text)?.[1])).toBeGreaterThan(100);
  });

  it("answer HEAD as GET without a body", async () => {
    expect(await at.ask("/views/takings", "HEAD")).toMatchObject({ status: 200, text: "" });
  });

  it("let requests under way finish when the server closes", async () => {
    const { at: closing } = await standing();
    const asked = Array.from({ length: 10 }, () => closing.ask(`/views/takings?${WHOLE}&every=1h`));
    await expect.poll(async () => (await closing.ask("/metrics")).text).toContain('route="/views/:name"');
    await closing.close();
    closing.serving = null;
    for (const { status } of await Promise.all(asked)) expect(status).toBe(200);
  });
});
