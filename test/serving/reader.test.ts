import { rm } from "node:fs/promises";
import { pino } from "pino";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import { encodeAsOf } from "../../core/log/as-of.ts";
import { position } from "../../core/log/position.ts";
import { ANSWER_LIMITS } from "../../core/query/budget.ts";
import { planQuery } from "../../core/query/query.ts";
import { RedisProxy } from "../../faults/deployment/redis-proxy.ts";
import type { AnswerBody } from "../../serving/answer/answer-schemas.ts";
import type { Problem } from "../../serving/common/problem.ts";
import { BatchStates } from "../../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../../serving/read/batch/duck-queue.ts";
import { Vanished } from "../../serving/read/cells/vanished.ts";
import { History } from "../../serving/read/history.ts";
import { RedisGate } from "../../serving/read/live/redis-gate.ts";
import { SegmentCache } from "../../serving/read/live/segment-cache.ts";
import { ViewStatuses } from "../../serving/read/live/view-status.ts";
import { Reader } from "../../serving/read/reader.ts";
import { Recomputations } from "../../serving/read/recomputations.ts";
import { Archive, entryDocument } from "../../store/archive/archive.ts";
import { manifestDocument } from "../../store/archive/manifests.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { closedOf } from "../../store/redis/chain-state.ts";
import { compactSegments } from "../../store/redis/compact-segments.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { flipBit } from "../fixtures/events/flip-bit.ts";
import {
  cutAt,
  fold,
  HOUR,
  SALES,
  START,
  sales,
  sorted,
  takings,
  unborn,
  WHOLE,
  whole,
} from "../fixtures/events/takings.ts";
import { filledPlace, folder, given, place, pool, redis, useServers } from "./place.ts";

useServers();

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

describe("the reader", () => {
  const total = `${WHOLE}&every=7d&by=&measures=sales`;

  it("follows the pointer to the newest version, also when the chain was trimmed", async () => {
    const { at, files } = await filledPlace();
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
    const { at, files } = await filledPlace();
    expect((await at.answer(total)).batchVersion).toBe(2);
    await at.publish(3, 1_000, 2_000, files);
    await redis.hset(`tl:{${at.namespace}/${at.generation}}:chain`, "pointer", "2");
    await at.chain.trim(cutAt(2_000));
    expect(await at.answer(total)).toMatchObject({ batchVersion: 3, complete: true, rows: [{ sales: 2_500 }] });
  });

  it("moves the default window with the newest bucket of the open segment", async () => {
    const { at } = await given({ versions: [1_000], open: 3_050 });
    const last = Math.floor(Math.max(...SALES.slice(0, 3_050).map(({ at }) => at)) / 60_000) * 60_000;
    const answer = await at.answer("limit=100000&by=floor");
    const from = last + 60_000 - 24 * HOUR;
    expect(answer.window.from).toBe(new Date(from).toISOString());
    expect(sorted(answer.rows)).toEqual(sorted(fold(3_050, { from, every: 60_000, by: ["floor"] })));
  });

  it("answers the batch version alone when the chain leaves a gap, and says which", async () => {
    const { at } = await filledPlace();
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
    const { at } = await given({ versions: [1_000], chainFrom: 900, open: 1_200 });
    expect(await at.answer(total)).toMatchObject({
      complete: false,
      rows: [{ sales: 1_000 }],
      missing: { code: "OVERLAP", from: "900", to: "1000" },
    });
  });

  it("answers the newest batch version alone when Redis has no chain", async () => {
    const { at, files } = await given({ versions: [600] });
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
    const { at } = await given({ versions: [600] }, { redisUrl: "redis://127.0.0.1:1" });
    expect(await at.answer(total)).toMatchObject({
      complete: false,
      rows: [{ sales: 600 }],
      missing: { code: "REDIS_SILENT" },
    });
    expect((await at.ask("/ready")).status).toBe(503);
    expect((await at.ask("/health")).status).toBe(200);
  });

  it("does not read a segment that was compacted from segments that it holds", async () => {
    const { at } = await filledPlace();
    for (const to of [2_600, 2_700, 2_800]) {
      await at.apply(to - 100, to);
      await at.chain.seal(null);
      expect(await at.answer(total)).toMatchObject({ complete: true, rows: [{ sales: to }] });
    }
    const closed = async () => closedOf((await at.chain.load())?.segments ?? []);
    expect(await compactSegments(at.chain, takings, (await closed()).slice(-3))).toBe(true);
    const keys = await redis.keys(`tl:?${at.namespace}/${at.generation}?:s:${(await closed()).at(-1)?.id}:*`);
    expect(await redis.unlink(...keys)).toBe(keys.length);
    await at.apply(2_800, 2_900);
    for (const by of ["", "shop"]) {
      const { complete, rows } = await at.answer(`${WHOLE}&every=7d&by=${by}&measures=sales`);
      expect([complete, rows.reduce((sum, row) => sum + Number(row.sales), 0)]).toEqual([true, 2_900]);
    }
  });

  it("does not join live state of another topic, whose positions fit, with a batch version", async () => {
    const { at } = await filledPlace();
    const chain = `tl:{${at.namespace}/${at.generation}}:chain`;
    await redis.hset(chain, "topic", "another");
    expect(await at.answer(total)).toMatchObject({
      complete: false,
      rows: [{ sales: 1_000 }],
      missing: { code: "NO_CHAIN", message: expect.stringContaining("live state of another topic (id another)") },
    });
    await redis.hset(chain, "topic", "t");
    expect(await at.answer(total)).toMatchObject({ complete: true, rows: [{ sales: 2_500 }] });
  });

  it("answers the batch version alone while Redis hangs, and soon without asking it", async () => {
    const proxy = await RedisProxy.open(inject("redisUrl"));
    onTestFinished(() => proxy.close());
    const { at } = await filledPlace({ redisUrl: proxy.url });
    proxy.hang();
    const beganMs = performance.now();
    for (let asked = 0; asked < 4; asked++) {
      expect(await at.answer(total)).toMatchObject({
        complete: false,
        rows: [{ sales: 1_000 }],
        missing: { code: "REDIS_SILENT" },
      });
    }
    expect(performance.now() - beganMs).toBeLessThan(5_500);
    proxy.goOn();
    await expect.poll(async () => (await at.answer(total)).complete, { interval: 100 }).toBe(true);
  });

  it("says what Redis refused, reports it once, and goes on asking for what Redis answers", async () => {
    const lines: string[] = [];
    const logger = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
    const { at } = await filledPlace({ logger });
    await redis.set(`tl:{${at.namespace}/${generationOf(unborn)}}:chain`, "not a hash");
    await at.manifests.genesis(generationOf(unborn), cutAt(0), "t", "test");
    for (let asked = 0; asked < 5; asked++) {
      const { status, text } = await at.ask("/views/unborn");
      expect([status, JSON.parse(text).missing]).toEqual([
        200,
        { code: "REDIS_SILENT", message: "Redis refused: WRONGTYPE: this is the batch version alone" },
      ]);
    }
    expect(await at.answer(total)).toMatchObject({ complete: true, rows: [{ sales: 2_500 }] });
    const said = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg.startsWith("Redis"));
    expect(said).toEqual([expect.objectContaining({ msg: "Redis refused: WRONGTYPE" })]);
    expect(said[0].err.message).toMatch(/^WRONGTYPE Operation against a key/);
  });

  it("answers with the batch version alone where live state cannot be read, and logs why once", async () => {
    const lines: string[] = [];
    const logger = pino({ level: "warn" }, { write: (line: string) => lines.push(line) });
    const { at } = await filledPlace({ logger });
    await redis.hset(`tl:{${at.namespace}/${at.generation}}:chain`, "segments", "[{");
    for (let asked = 0; asked < 5; asked++) {
      expect(await at.answer(total)).toMatchObject({
        complete: false,
        missing: { code: "LIVE_STATE_UNREADABLE" },
        rows: [{ sales: 1_000 }],
      });
    }
    const said = lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg.includes("is not what Tideline wrote"));
    expect(said).toEqual([expect.objectContaining({ err: expect.objectContaining({ type: "SyntaxError" }) })]);
    await redis.hset(`tl:{${at.namespace}/${at.generation}}:chain`, "segments", "[]");
    expect(await at.answer(total)).toMatchObject({ complete: false, missing: { code: "GAP" } });
  });

  it("starts over with the newest version when files of an old one are gone", async () => {
    const { at, files } = await filledPlace();
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
      const { at, files } = await given({ versions: [600] });
      for (const file of files) await damage(at.data.path(file));
      const { status, text } = await at.ask(`/views/takings?${total}`);
      expect([status, (JSON.parse(text) as Problem).code]).toEqual([500, "ARCHIVE_DAMAGED"]);
      expect(text).not.toContain(folder);
    }
  });

  it("names a view whose newest manifest cannot be read, and goes on listing and answering the others", async () => {
    const { at } = await filledPlace();
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

  it("says that an earlier position is gone when the archive below it is of another topic", async () => {
    const { at } = await filledPlace();
    const topic = topicOf(at.namespace, sales);
    await at.data.createExclusively(entryDocument(topic, 0, { from: position(1_000) }), {
      ...{ from: "1000", to: "1200", file: null, records: 0, duplicates: 0, rejects: 0, control: 200, checksum: null },
      ...{ sizeBytes: 0, topicId: "another topic", leaderEpoch: 0, contract: 1 },
    });
    const [cut, applied] = [cutAt(1_000), cutAt(1_100)];
    const asOf = encodeAsOf({ generation: at.generation, version: 2, cut, applied });
    const { status, text } = await at.ask(`/views/takings?${total}&at=${asOf}`);
    expect([status, JSON.parse(text)]).toEqual([
      410,
      expect.objectContaining({ code: "POSITION_GONE", detail: expect.stringContaining("TOPIC_RECREATED") }),
    ]);
  });

  it("recomputes an earlier position whose segment cannot be read, and takes no file for damaged", async () => {
    const { at } = await filledPlace();
    const [first] = closedOf((await at.chain.load())?.segments ?? []);
    if (first === undefined) throw new Error("no closed segment");
    expect(await redis.del(`tl:{${at.namespace}/${at.generation}}:s:${first.id}:buckets`)).toBe(1);
    expect(await at.answer(total)).toMatchObject({ complete: false, missing: { code: "VANISHED" } });
    const asOf = encodeAsOf({ generation: at.generation, version: 2, cut: cutAt(1_000), applied: first.to });
    const { status, text } = await at.ask(`/views/takings?${total}&at=${asOf}`);
    // There is nothing here to recompute it from.
    expect([status, JSON.parse(text)]).toEqual([
      410,
      expect.objectContaining({ code: "POSITION_GONE", detail: expect.stringContaining("TOPIC_MISSING") }),
    ]);
  });

  it("starts over when a publish takes its segments away between two commands", async () => {
    const { at, files } = await filledPlace();
    const gate = new RacingGate(redis);
    const ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 1, timeoutMs: 10_000 });
    const batch = new BatchStates(at.data, ducks, { maxCachedCells: 1_000, limits: ANSWER_LIMITS });
    const statuses = new ViewStatuses({ manifests: at.manifests, gate, namespace: at.namespace });
    const segments = new SegmentCache(gate, 1_000);
    const log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "serving-test" });
    const recomputations = new Recomputations({
      sources: { data: at.data, archive: new Archive(at.data), log, schemas: Schemas.inFiles(at.data), pool },
      brokers: inject("kafkaBrokers"),
      namespace: at.namespace,
      timeoutMs: 1_000,
    });
    const { data, manifests } = at;
    const history = new History({ data, manifests, statuses, segments, recomputations });
    const reader = new Reader({ statuses, batch, segments, history, limits: ANSWER_LIMITS });
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
    const { at } = await filledPlace();
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
    const { at, files } = await filledPlace();
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
    // There are many answers to a position; they are anyway but for their age.
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
