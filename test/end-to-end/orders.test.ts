import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { deadLetterTopic } from "../../store/kafka/cluster/topics.ts";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { someOf } from "../fixtures/oracles/exact.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { countedEvents, type OracleLog } from "../fixtures/oracles/oracle.ts";
import { EVERYTHING, expectExact, revenueModel } from "../fixtures/oracles/revenue-model.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

const brokers = inject("kafkaBrokers");

let tideline: Installation;
let redis: Redis;
let topic: string;
let speed: ProcessHandle;

beforeAll(async () => {
  redis = new Redis(inject("redisUrl"));
  tideline = await Installation.open("orders");
  topic = tideline.topic("order-completed");
  [speed] = await Promise.all([tideline.start("speed"), tideline.start("serve")]);
});

afterAll(async () => {
  await tideline.close();
  redis.disconnect();
});

const ask = () => tideline.ask("revenue", EVERYTHING);

function endOf(log: OracleLog): Map<string, string> {
  return new Map(
    [...log].map(([partition, records]) => [String(partition), String((records.at(-1)?.offset ?? -1n) + 1n)]),
  );
}

/** Waits until an answer's position has reached the end of the log as the oracle reads it. */
async function caughtUp(): Promise<{ answer: Answer; log: OracleLog }> {
  const log = await readLog(brokers, topic);
  const end = endOf(log);
  const answer = await until(
    "revenue catches up",
    ask,
    ({ complete, position }) =>
      complete && [...end].every(([partition, offset]) => BigInt(position.applied[partition] ?? "0") >= BigInt(offset)),
  );
  return { answer, log };
}

/** Asks again and again while `work` continues; answers every answer with a position of its own. */
async function watching(work: () => Promise<unknown>): Promise<Answer[]> {
  const answers = new Map<string, Answer>();
  let working = true;
  const asking = (async () => {
    while (working) {
      const answer = await ask().catch(() => null);
      if (answer !== null) answers.set(answer.asOf + answer.complete, answer);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  })();
  await work().finally(() => {
    working = false;
  });
  await asking;
  return [...answers.values()];
}

describe.sequential("orders, from Kafka to an exact answer", () => {
  test("what was sent is answered from the speed layer alone, exactly: duplicates, late and bad records included", async () => {
    await produce(brokers, topic, messyOrders(1, 3_000, Date.now()));
    const { answer, log } = await caughtUp();
    expect(answer.batchVersion).toBe(0);
    expect((await expectExact(answer, log, redis)).size).toBeGreaterThan(50);
    const { ledger } = countedEvents(
      revenueModel,
      log,
      new Map([...endOf(log)].map(([partition, offset]) => [Number(partition), BigInt(offset)])),
    );
    expect(ledger.duplicates).toBeGreaterThan(60);
    expect(ledger.rejects).toBeGreaterThan(20);
  });

  test("every record that does not decode is in the dead letters, under its position, with reason and original bytes", async () => {
    const log = await readLog(brokers, topic);
    const bad = [...log].flatMap(([partition, records]) =>
      records
        .filter(({ value }) => revenueModel.decode(value) === null)
        .map(({ offset, value }) => ({ key: `${topic}:${partition}:${offset}`, value })),
    );
    const letters = await readDeadLetters(bad.length);
    expect(new Map(letters.map(({ key, value }) => [key, value]))).toEqual(
      new Map(bad.map(({ key, value }) => [key, value])),
    );
    expect(new Set(letters.map(({ reason }) => reason.split(":")[0]))).toEqual(
      new Set(["empty", "not-json", "not-utf8", "contract"]),
    );
  });

  test("after a refresh the answer is the same, from the batch version; and exact across the seam when more comes", async () => {
    await tideline.start("worker", { args: ["--no-schedules"] });
    const before = await ask();
    await tideline.refresh("revenue");
    const settled = await until("version 1 answers", ask, ({ batchVersion }) => batchVersion === 1);
    expect(settled.position.cut).toEqual(settled.position.applied);
    expect(settled.rows).toEqual(before.rows);

    await produce(brokers, topic, messyOrders(2, 2_000, Date.now()));
    const { answer, log } = await caughtUp();
    expect(answer.batchVersion).toBe(1);
    await expectExact(answer, log, redis);
  });

  test("speed layer killed in the middle, worker killed in the middle, Redis emptied: every answer is exact at its own position", async () => {
    const answers = await watching(async () => {
      const sending = tideline.run("simulate", "orders", "--rate", "1000", "--count", "14000", "--seed", "5");
      await new Promise((resolve) => setTimeout(resolve, 2_000));
      await speed.kill("SIGKILL");
      await speed.start();
      const refreshing = tideline.refresh("revenue");
      await new Promise((resolve) => setTimeout(resolve, 300));
      await tideline.kill("worker");
      await tideline.emptyRedis();
      await tideline.restart("worker");
      await refreshing;
      await sending;
      await tideline.emptyRedis();
      await caughtUp();
      await tideline.refresh("revenue");
    });
    const { answer, log } = await caughtUp();
    await expectExact(answer, log, redis);
    expect(answer.batchVersion).toBeGreaterThanOrEqual(2);
    expect(answers.length).toBeGreaterThan(3);
    expect(answers.some(({ complete }) => complete)).toBe(true);
    for (const one of someOf(answers)) await expectExact(one, log, redis);
  }, 360_000);
});

async function readDeadLetters(count: number): Promise<{ key: string; value: Buffer | null; reason: string }[]> {
  const { Kafka, logLevel } = await import("kafkajs");
  const consumer = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING }).consumer({
    groupId: `letters-${Math.random()}`,
    maxWaitTimeInMs: 100,
  });
  await consumer.connect();
  await consumer.subscribe({ topic: deadLetterTopic(topic), fromBeginning: true });
  const letters: { key: string; value: Buffer | null; reason: string }[] = [];
  await new Promise<void>((resolve, reject) => {
    consumer
      .run({
        eachMessage: async ({ message }) => {
          letters.push({ key: String(message.key), value: message.value, reason: String(message.headers?.reason) });
          if (letters.length >= count) resolve();
        },
      })
      .catch(reject);
    setTimeout(() => resolve(), 20_000).unref();
  });
  await consumer.disconnect();
  return letters;
}
