import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel, Partitioners } from "kafkajs";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, afterEach, beforeAll, expect, inject, test } from "vitest";
import { type AlertEvent, acknowledgedEvent, alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { positionsOf } from "../../core/alerts/undelivered.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { type Delivery, delivery } from "../../core/definition/delivery.ts";
import { rule } from "../../core/definition/rule.ts";
import { at } from "../../core/log/position.ts";
import { type RunningDeliveries, startDeliveries } from "../../deliveries/main.ts";
import { readRulePositions } from "../../store/alerts/read-positions.ts";
import { alertTopics, ensureTopics, rulePositionsTopic, topicName } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";
import { until } from "../fixtures/servers/installation.ts";

const brokers = () => inject("kafkaBrokers");
const LONG_AGO_MS = Date.now() - 2 * 3_600_000;
/** More than the events that a process reads at first. */
const MANY = 20_500;
const other = rule("other", { on: heartRate.on, when: heartRate.when, quiet: "1 day" });
const opened = (key: string, of = heartRate) =>
  openedEvent(alertOf({ rule: of, partition: 0, offset: 0n, atMs: 1_790_000_000_000, eventId: key, key, says: null }));

const running: RunningDeliveries[] = [];
let home: string;
let log: LogReader;
let namespace: string;
let topic: string;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-positions-"));
  log = new LogReader({ brokers: brokers(), clientId: "delivery-positions-test" });
  namespace = `positions-${randomUUID().slice(0, 8)}`;
  topic = topicName(namespace, alerts.name);
  await ensureTopics(brokers(), [{ name: topic, partitions: 1 }, ...alertTopics(namespace)]);
});
afterEach(async () => {
  for (const one of running.splice(0)) await one.close();
});
afterAll(async () => {
  await log.close();
  await rm(home, { recursive: true, force: true });
});

async function write(events: readonly AlertEvent[]): Promise<void> {
  const client = new Kafka({ clientId: "test", brokers: [brokers()], logLevel: logLevel.NOTHING });
  const producer = client.producer({ createPartitioner: Partitioners.DefaultPartitioner });
  await producer.connect();
  for (let first = 0; first < events.length; first += 5_000) {
    const messages = events.slice(first, first + 5_000).map((event) => {
      return { key: event.subject, value: JSON.stringify(event), partition: 0, timestamp: String(LONG_AGO_MS) };
    });
    await producer.send({ topic, messages });
  }
  await producer.disconnect();
}

async function start(one: Delivery): Promise<RunningDeliveries> {
  const started = await startDeliveries({
    ...{ brokers: brokers(), redisUrl: inject("redisUrl"), dataDir: home, namespace },
    definitions: { views: new Map(), streams: new Map(), deliveries: new Map([[one.name, one]]) },
    mail: { url: "", from: "" },
    pace: { firstRetryMs: 2, breakMs: 50 },
    registry: new Registry(),
    logger: pino({ level: "silent" }),
  });
  running.push(started);
  return started;
}

/** How far a delivery is, as Kafka has it; null before it has begun. */
async function written(name: string): Promise<bigint | null> {
  const all = await readRulePositions(log, rulePositionsTopic(topic), AbortSignal.timeout(30_000));
  return all.get(`${positionsOf(name)}/0`)?.rules.get(name)?.next ?? null;
}

const end = async () => at((await log.bounds(topic)).stable, 0);

test("an escalation knows who looks after an alert although 20,000 alerts came since, also after a restart", async () => {
  const escalated: string[] = [];
  const seen = { atMs: 1, author: "ann" };
  const looked = opened("looked-after");
  const acknowledged = acknowledgedEvent({ id: looked.subject, rule: looked.rule }, seen);
  const many = Array.from({ length: MANY }, (_, index) => opened(`n${index}`, other));
  await write([looked, acknowledged, opened("ignored"), ...many]);
  let hangs = true;
  const ward = delivery("ward", {
    send: () => undefined,
    rules: [heartRate.name],
    from: "start",
    escalate: {
      after: "1 hour",
      send: ({ key }) => {
        escalated.push(String(key));
        return hangs ? new Promise(() => undefined) : undefined;
      },
    },
  });
  const reached = (count: number) =>
    until(
      `${count} escalations`,
      async () => escalated.length,
      (found) => found >= count,
    );
  const first = await start(ward);
  await reached(1);
  await first.close();
  running.length = 0;
  hangs = false;
  // Its position is behind the first two records: it has to look that far back.
  await start(ward);
  await reached(2);
  await until(
    "the end",
    () => written("ward.escalation"),
    (next) => next !== null && next > BigInt(MANY),
  );
  expect(escalated).toEqual(["ignored", "ignored"]);
});

test("a delivery writes how far it is also when nothing was for it", async () => {
  const quiet = delivery("quiet", { send: () => undefined, rules: ["other-still"], from: "end" });
  await start(quiet);
  const begun = await until(
    "it begins",
    () => written("quiet"),
    (next) => next !== null,
  );
  await write([opened("x", other), opened("y", other)]);
  expect(await end()).toBeGreaterThan(begun as bigint);
  await until(
    "its position",
    () => written("quiet"),
    (next) => next === at(new Map(), 0) + (begun as bigint) + 2n,
  );
});
