import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { positionsKey, positionsText } from "../../core/alerts/rule-positions.ts";
import { positionsOf } from "../../core/alerts/undelivered.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { delivery } from "../../core/definition/delivery.ts";
import { position } from "../../core/log/position.ts";
import { AlertLags } from "../../monitor/alert-lags.ts";
import { alertTopics, ensureTopics, rulePositionsTopic, topicName, topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";
import { produce } from "../fixtures/events/produce.ts";

const brokers = () => inject("kafkaBrokers");
const namespace = `lags-${randomUUID().slice(0, 8)}`;
const topic = topicName(namespace, alerts.name);
const readings = topicOf(namespace, heartRate.on);
const POSITIONS_MS = 10_000;
let log: LogReader;

const send = () => undefined;
const plain = delivery("plain", { send });
const grouped = delivery("grouped", { send, group: { within: "1 hour" } });
const escalating = delivery("ward", { send, escalate: { after: "10 minutes", send } });
const options = () => ({
  ...{ log, namespace, positionsMs: POSITIONS_MS },
  definitions: {
    views: new Map(),
    streams: new Map([heartRate.on, alerts].map((one) => [one.name, one])),
    rules: new Map([[heartRate.name, heartRate]]),
    deliveries: new Map([plain, grouped, escalating].map((one) => [one.name, one])),
  },
});

beforeAll(async () => {
  log = new LogReader({ brokers: brokers(), clientId: "alert-lags-test" });
});
afterAll(() => log.close());

/** Notes how far a rule or delivery is in a partition. */
async function note(stream: string, name: string, partition: number, next: number): Promise<void> {
  const rules = new Map([[name, { topicId: "t", next: position(next), began: 2 }]]);
  const value = Buffer.from(positionsText({ stream, partition, rules }));
  await produce(brokers(), rulePositionsTopic(topic), [{ key: positionsKey({ stream, partition }), value }]);
}

const ends = async () =>
  new Map([
    [heartRate.on.name, (await log.bounds(readings)).stable],
    [alerts.name, (await log.bounds(topic)).stable],
  ]);
const some = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ key: `k${index % 50}`, value: Buffer.from(`${index}`) }));

test("a rule is behind what the log had ten seconds before, a delivery behind the alerts that were due then", async () => {
  const lags = new AlertLags(options());
  const nowMs = Date.now();
  expect(await lags.measure(new Map(), nowMs)).toEqual([]);
  await ensureTopics(brokers(), [
    { name: topic, partitions: 2 },
    { name: readings, partitions: 2 },
    ...alertTopics(namespace),
  ]);
  await produce(brokers(), readings, some(1_200));
  await produce(brokers(), topic, some(300));
  // Nothing has begun.
  expect(await lags.measure(await ends(), nowMs)).toEqual([]);
  for (const partition of [0, 1]) {
    await note(heartRate.on.name, heartRate.name, partition, 100);
    for (const name of ["plain", "grouped", "ward", "ward.escalation"])
      await note(positionsOf(name), name, partition, 10);
  }
  const behind = async (atMs: number) =>
    Object.fromEntries(
      (await lags.measure(await ends(), atMs)).map(({ kind, name, behind }) => [`${kind} ${name}`, behind]),
    );
  // The records were written just now: nobody had to have read them ten seconds before.
  const fresh = { "delivery plain": 0n, "delivery grouped": 0n, "delivery ward": 0n, "delivery ward.escalation": 0n };
  expect(await behind(nowMs + 1_000)).toEqual(fresh);
  const later = Date.now() + POSITIONS_MS + 1_000;
  const due = { ...fresh, "delivery plain": 280n, "delivery ward": 280n };
  expect(await behind(later)).toEqual({ "rule heart-rate": 1_000n, ...due });
  // Positions that are written from now on count, and what the log gets from now on does not yet.
  for (const partition of [0, 1]) await note(heartRate.on.name, heartRate.name, partition, 400);
  await produce(brokers(), readings, some(5_000));
  await note(positionsOf("plain"), "plain", 0, 10_000);
  const [plainNow] = [(await behind(later + 1_000))["delivery plain"] ?? -1n];
  expect(plainNow).toBeGreaterThan(0n);
  expect(plainNow).toBeLessThan(280n);
  expect((await behind(later + 2_000))["rule heart-rate"]).toBeLessThanOrEqual(400n);
  expect((await behind(later + 30_000))["rule heart-rate"]).toBe(5_400n);
  // An alert is due an escalation's time later.
  const afterTen = Date.now() + 11 * 60_000;
  expect(await behind(afterTen)).toMatchObject({ "delivery ward.escalation": 280n, "delivery grouped": 0n });
});
