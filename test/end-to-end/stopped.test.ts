import { rename } from "node:fs/promises";
import { join } from "node:path";
import { Redis } from "ioredis";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { EVERYTHING, expectExact } from "../fixtures/oracles/revenue-model.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

/**
 * Invariant 10: when the log is not the one that state was built from, the view stops by name; what was answered stays
 * answered.
 */
describe("a log that is not ours any more", () => {
  const brokers = inject("kafkaBrokers");
  const admin = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING }).admin();
  let tideline: Installation;
  let speed: ProcessHandle;
  let topic: string;

  beforeAll(async () => {
    await admin.connect();
    tideline = await Installation.open("stopped");
    topic = tideline.topic("order-completed");
    [speed] = await Promise.all([tideline.start("speed"), tideline.start("serve")]);
  });

  afterAll(async () => {
    await tideline.close();
    await admin.disconnect();
  });

  const ask = () => tideline.ask("revenue", EVERYTHING);
  const total = ({ rows }: Answer) => rows.reduce((sum, { orders }) => sum + Number(orders), 0);

  async function phase(): Promise<string> {
    const health = await fetch(`http://127.0.0.1:${tideline.env.TIDELINE_SPEED_PORT}/health`);
    const { views } = (await health.json()) as { views: { view: string; phase: string; code: string | null }[] };
    const found = views.find(({ view }) => view === "revenue");
    return `${found?.phase} ${found?.code}`;
  }

  async function settled(): Promise<Answer> {
    const ends = await admin.fetchTopicOffsets(topic);
    return until("all is applied", ask, ({ position }) =>
      ends.every(({ partition, high }) => position.applied[String(partition)] === high),
    );
  }

  test("live state of records that the log does not have: LOG_TRUNCATED, until somebody accepts the log", {
    timeout: 240_000,
  }, async () => {
    await produce(brokers, topic, messyOrders(30, 400, Date.now()));
    const before = await settled();
    // As if other records had been applied: a Redis whose marks are of another log.
    const redis = new Redis(inject("redisUrl"));
    const names = await redis.keys(`tl:{${tideline.env.TIDELINE_NAMESPACE}/*:mark`);
    expect(names.length).toBeGreaterThan(0);
    for (const name of names)
      for (const [partition, mark] of Object.entries(await redis.hgetall(name)))
        await redis.hset(name, partition, JSON.stringify({ ...JSON.parse(mark), hash: "0".repeat(16) }));
    redis.disconnect();
    await speed.stop();
    await speed.start();
    await until("the view stops", phase, (found) => found === "stopped LOG_TRUNCATED");
    const shown = await tideline.begin("streams", "accept-log", "order-completed");
    expect([shown.exitCode, shown.stdout]).toEqual([1, expect.stringContaining("holds records that Kafka lost")]);
    expect(await phase()).toBe("stopped LOG_TRUNCATED");
    const { stdout } = await tideline.run("streams", "accept-log", "order-completed", "--yes");
    expect(stdout).toContain("accepted");
    await speed.stop();
    await speed.start();
    const after = await settled();
    expect(total(after)).toBe(total(before));
    expect((await tideline.run("streams", "accept-log", "order-completed")).stdout).toContain("the one that was read");
  });

  test("retention that passed an unread position: LOG_LOST, and the answer stays where it was", async () => {
    await produce(brokers, topic, messyOrders(31, 400, Date.now()));
    const before = await settled();
    await speed.stop();
    await produce(brokers, topic, messyOrders(32, 400, Date.now()));
    const ends = await admin.fetchTopicOffsets(topic);
    await admin.deleteTopicRecords({
      topic,
      partitions: ends.map(({ partition, high }) => ({ partition, offset: high })),
    });
    await speed.start();
    await until("the view stops", phase, (found) => found === "stopped LOG_LOST");
    const after = await ask();
    expect(after.position.applied).toEqual(before.position.applied);
    expect(total(after)).toBe(total(before));
  });

  test("a topic deleted and made again, longer than before: TOPIC_RECREATED, and nothing of it is counted", async () => {
    const before = await ask();
    await speed.stop();
    await admin.deleteTopics({ topics: [topic] });
    await until(
      "the topic is gone",
      () => admin.listTopics(),
      (topics) => !topics.includes(topic),
    );
    await ensureTopics(brokers, [{ name: topic, partitions: 3 }]);
    await produce(brokers, topic, messyOrders(33, 3_000, Date.now()));
    await speed.start();
    await until("the view stops", phase, (found) => found === "stopped TOPIC_RECREATED");
    const after = await ask();
    expect(after.position.applied).toEqual(before.position.applied);
    expect(total(after)).toBe(total(before));
  });

  test("to begin again, without the old topic: the data directory moved away, and the live state dropped", {
    timeout: 240_000,
  }, async () => {
    await tideline.stop("speed", "serve");
    await rename(join(tideline.home, "data"), join(tideline.home, "data.old"));
    await tideline.restart("speed", "serve");
    // Redis still has what was read of the old topic.
    await until("the view stops", phase, (found) => found === "stopped TOPIC_RECREATED");
    await tideline.stop("speed", "serve");
    expect((await tideline.run("views", "reset", "revenue", "--yes")).stdout).toContain("dropped live state of");
    await tideline.run("init");
    await tideline.restart("speed", "serve");
    const after = await settled();
    expect(after.complete).toBe(true);
    const redis = new Redis(inject("redisUrl"));
    await expectExact(after, await readLog(brokers, topic), redis);
    redis.disconnect();
  });
});
