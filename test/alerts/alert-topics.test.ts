import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { connect, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { alertOf, openedEvent, silencedEvent } from "../../core/alerts/alert.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { rule } from "../../core/definition/rule.ts";
import { position } from "../../core/log/position.ts";
import { simulatedRecords } from "../../ingest/simulate/records.ts";
import { sendSimulated } from "../../ingest/simulate/run.ts";
import { startRules } from "../../rules/main.ts";
import { ServedAlerts } from "../../serving/alerts/served-alerts.ts";
import { AlertFeed } from "../../store/alerts/alert-feed.ts";
import { writeSilence } from "../../store/alerts/silences.ts";
import { readLetters } from "../../store/dead-letters/dead-letters.ts";
import { alertTopics, deadLetterTopic, ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { TransactionalProducer } from "../../store/kafka/produce/transactional.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";
import { heartRates } from "../../systems/patients/schemas/heart-rates.ts";
import { patients } from "../../systems/patients/simulators/patients.ts";
import { produce } from "../fixtures/events/produce.ts";
import { until } from "../fixtures/servers/installation.ts";

const brokers = () => inject("kafkaBrokers");
const logger = pino({ level: "silent" });

let log: LogReader;
beforeAll(() => {
  log = new LogReader({ brokers: brokers(), clientId: "alert-topics-test" });
});
afterAll(() => log.close());

const fresh = () => `alert-topics-${randomUUID().slice(0, 8)}`;
const alertsOf = (namespace: string) => topicName(namespace, alerts.name);

const opened = (key: string) => {
  const match = { rule: heartRate, partition: 0, offset: 0n, atMs: 1_790_000_000_000, eventId: key, key, says: null };
  const event = openedEvent(alertOf(match));
  return { key: event.subject, value: Buffer.from(JSON.stringify(event)) };
};

test("a silence is known to a process that starts, however many alerts lie behind it; the newest silence counts", async () => {
  const namespace = fresh();
  const topic = alertsOf(namespace);
  await ensureTopics(brokers(), [{ name: topic, partitions: 1 }, ...alertTopics(namespace)]);
  const silence = (rule: string, untilMs: number) => {
    const event = silencedEvent(rule, { eventId: randomUUID(), atMs: 1, untilMs, author: "ann" });
    return writeSilence({ brokers: brokers(), namespace, log }, event);
  };
  await silence("heart-rate", 5_000);
  await silence("ended", 5_000);
  await silence("ended", 0);
  await produce(
    brokers(),
    topic,
    Array.from({ length: 20 }, (_, index) => opened(`patient-${index}`)),
  );
  await silence("prolonged", 5_000);
  await silence("prolonged", 9_000);
  const { states } = await AlertFeed.open(log, namespace, { newest: 5 });
  const known = ["heart-rate", "ended", "prolonged", "other"].map((rule) => states.silencedUntil(rule, 1_000));
  expect(known).toEqual([5_000, null, 9_000, null]);
  // Only the newest were read: two silences, the ends of their transactions, and an alert.
  expect(states.all()).toHaveLength(1);
});

test("a record that is larger than its topic takes is refused by name, and the transaction leaves nothing", async () => {
  const name = fresh();
  await ensureTopics(brokers(), [
    { name, partitions: 1, config: { "max.message.bytes": "2000" } },
    { name: `${name}.positions`, partitions: 1 },
  ]);
  const producer = await TransactionalProducer.open(brokers(), "test", name);
  const refused = producer.commit([
    { topic: `${name}.positions`, partition: 0, key: "p", value: "1" },
    { topic: name, partition: 0, key: "a", value: "x".repeat(5_000) },
  ]);
  await expect(refused).rejects.toMatchObject({
    code: "WRITE_REFUSED",
    message: expect.stringContaining(name) as string,
  });
  await producer.close();
  const next = await TransactionalProducer.open(brokers(), "test", name);
  await next.commit([{ topic: name, partition: 0, key: "b", value: "small" }]);
  await next.close();
  const { stable } = await log.bounds(`${name}.positions`);
  const found = [];
  for await (const { records } of log.read(
    `${name}.positions`,
    { partition: 0, from: position(0), to: stable.get(0) ?? position(0) },
    { maxBytes: 1_000_000 },
  ))
    found.push(...records.values);
  expect(found).toEqual([]);
});

test("who follows the alerts before there is a topic of them gets the first one", async () => {
  const namespace = fresh();
  const served = new ServedAlerts({ brokers: brokers(), namespace, logger, maxStreams: 2 });
  const told: string[] = [];
  const leave = await served.subscribe(
    (alert, states) => told.push(`${alert.opened.key} ${states.stateOf(alert, 0)}`),
    () => undefined,
  );
  const gone: string[] = [];
  const leaveEarly = await served.subscribe(
    ({ id }) => gone.push(id),
    () => undefined,
  );
  leaveEarly();
  const topic = alertsOf(namespace);
  await ensureTopics(brokers(), [{ name: topic, partitions: alerts.partitions }, ...alertTopics(namespace)]);
  await produce(brokers(), topic, [opened("a"), opened("b")]);
  await until(
    "the first alerts",
    async () => [...new Set(told)].sort(),
    (all) => all.length === 2,
  );
  await produce(brokers(), topic, [opened("c")]);
  await until(
    "the next one",
    async () => told,
    (all) => all.includes("c open"),
  );
  // Each once, also those that came while the topic was found.
  expect(told.sort()).toEqual(["a open", "b open", "c open"]);
  expect(gone).toEqual([]);
  leave();
  await served.close();
});

test("a stream with rules and without a view has dead letters", async () => {
  const namespace = fresh();
  const topic = topicName(namespace, heartRates.name);
  await ensureTopics(brokers(), [
    { name: topic, partitions: 1 },
    { name: deadLetterTopic(topic), partitions: 1 },
    { name: alertsOf(namespace), partitions: 1 },
    ...alertTopics(namespace),
  ]);
  const dataDir = await mkdtemp(join(tmpdir(), "tideline-rules-letters-"));
  const one = rule("letters", { on: heartRates, when: heartRate.when, quiet: "1 day", from: "start" });
  await produce(brokers(), topic, [
    { key: "p", value: Buffer.from("{") },
    { key: "p", value: null },
  ]);
  const running = await startRules({
    ...{ brokers: brokers(), redisUrl: inject("redisUrl"), dataDir, namespace, logger, registry: new Registry() },
    definitions: { views: new Map(), streams: new Map(), rules: new Map([[one.name, one]]) },
  });
  const letters = async () => [...(await readLetters(log, topic)).values()];
  const found = await until("the letters", letters, (all) => all.length === 2);
  expect(found.map(({ partition, offset }) => [partition, offset])).toEqual([
    [0, 0n],
    [0, 1n],
  ]);
  await running.close();
  await rm(dataDir, { recursive: true, force: true });
});

test("a simulator's first event happens when it can be sent", async () => {
  const namespace = fresh();
  const { hostname, port } = new URL(`kafka://${brokers()}`);
  const held: (() => void)[] = [];
  // Takes connections, and passes nothing on before it is let.
  const gate = createServer((client) => {
    held.push(() => {
      const broker = connect(Number(port), hostname);
      client.pipe(broker).pipe(client);
      client.on("error", () => broker.destroy());
      broker.on("error", () => client.destroy());
    });
  });
  gate.listen(0, "127.0.0.1");
  await once(gate, "listening");
  const closed = `127.0.0.1:${(gate.address() as AddressInfo).port}`;
  const begins: number[] = [];
  const sending = sendSimulated(
    patients,
    { brokers: closed, namespace, rate: 1_000 },
    {
      recordsFrom: (fromMs) => {
        begins.push(fromMs);
        const options = { seed: 1, rate: 1_000, fromMs, parameters: { patients: 3 } };
        return simulatedRecords(patients, options, { duplicates: 0, late: 0, malformed: 0 });
      },
      count: 3,
      stop: new AbortController().signal,
      onProgress: () => undefined,
    },
  );
  await until(
    "it connects",
    async () => held.length,
    (count) => count > 0,
  );
  const openedMs = Date.now();
  gate.on("connection", () => held.pop()?.());
  for (const open of held.splice(0)) open();
  expect(await sending).toMatchObject({ steps: 3 });
  expect(begins).toHaveLength(1);
  expect(begins[0]).toBeGreaterThanOrEqual(openedMs);
  gate.close();
});
