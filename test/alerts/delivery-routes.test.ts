import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel, Partitioners } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type AlertEvent, acknowledgedEvent, alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { type Delivery, delivery, topic } from "../../core/definition/delivery.ts";
import { rule } from "../../core/definition/rule.ts";
import type { SendOptions, ShownAlert } from "../../core/definition/shown-alert.ts";
import { alertTopics, ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { startDelivering } from "../fixtures/servers/delivering.ts";
import { until } from "../fixtures/servers/installation.ts";

const brokers = () => inject("kafkaBrokers");
const LONG_AGO_MS = Date.now() - 2 * 3_600_000;

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-routes-"));
});
afterAll(() => rm(home, { recursive: true, force: true }));

const other = rule("other", { on: heartRate.on, when: heartRate.when, quiet: "1 day" });
const opened = (key: string, of = heartRate) =>
  openedEvent(alertOf({ rule: of, partition: 0, offset: 0n, atMs: 1_790_000_000_000, eventId: key, key, says: null }));

/** Alerts of an installation of its own, in these partitions and with these times of writing. */
async function place(partitions: number) {
  const namespace = `routes-${randomUUID().slice(0, 8)}`;
  const name = topicName(namespace, alerts.name);
  await ensureTopics(brokers(), [{ name, partitions }, ...alertTopics(namespace)]);
  const write = async (events: readonly AlertEvent[], { partition = 0, atMs = Date.now() } = {}) => {
    const client = new Kafka({ clientId: "test", brokers: [brokers()], logLevel: logLevel.NOTHING });
    const producer = client.producer({ createPartitioner: Partitioners.DefaultPartitioner });
    await producer.connect();
    const messages = events.map((event) => {
      return { key: event.subject, value: JSON.stringify(event), partition, timestamp: String(atMs) };
    });
    await producer.send({ topic: name, messages });
    await producer.disconnect();
  };
  const start = (...deliveries: readonly Delivery[]) => startDelivering({ dataDir: home, namespace }, deliveries);
  return { namespace, write, start };
}

/** What a function of one's own was called with. */
interface Call {
  readonly id: string;
  readonly keys: readonly (string | null)[];
}

const callOf = (_: ShownAlert, { id, alerts }: SendOptions): Call => ({
  id,
  keys: alerts.map(({ key }) => key).sort(),
});

test("a group is one message; after a crash in the middle the same groups go on, whatever has come since", async () => {
  const { write, start } = await place(2);
  await write([opened("a"), opened("b")], { partition: 0, atMs: LONG_AGO_MS });
  await write([opened("c"), opened("c"), opened("d", other)], { partition: 1, atMs: LONG_AGO_MS });
  const calls: Call[] = [];
  let hanging: string | null = "heart-rate";
  const grouped = delivery("grouped", {
    send: (alert, options) => {
      calls.push(callOf(alert, options));
      return hanging === alert.rule ? new Promise(() => undefined) : undefined;
    },
    group: { within: "1 hour" },
    from: "start",
  });
  const reached = (count: number) =>
    until(
      `${count} messages`,
      async () => calls.length,
      (found) => found >= count,
    );
  // The first process ends while the first message is sent, the second one while the second is.
  const first = await start(grouped);
  await reached(1);
  await first.close();
  await write([opened("e"), opened("f", other)], { atMs: LONG_AGO_MS });
  hanging = "other";
  const second = await start(grouped);
  await reached(3);
  await second.close();
  hanging = null;
  const third = await start(grouped);
  await reached(6);
  await third.close();
  // What was sent is the same message again, what was noted is not sent again, and what came since is others.
  const [abc, d, e, f] = [["a", "b", "c"], ["d"], ["e"], ["f"]];
  expect(calls.map(({ keys }) => keys)).toEqual([abc, abc, d, d, e, f]);
  const ids = calls.map(({ id }) => id);
  expect([ids[1], ids[3]]).toEqual([ids[0], ids[2]]);
  expect(new Set(ids).size).toBe(4);
});

test("an alert is escalated when nobody has acknowledged it in time, once, also by a process that starts later", async () => {
  const { write, start } = await place(2);
  const [told, escalated]: [string[], Call[]] = [[], []];
  const onCall = delivery("on-call", {
    send: ({ key }) => void told.push(String(key)),
    escalate: { after: "1 hour", send: (alert, options) => void escalated.push(callOf(alert, options)) },
    from: "start",
  });
  const looked = opened("looked-after");
  const seen = { atMs: 1, author: "ann" };
  await write([opened("ignored")], { partition: 0, atMs: LONG_AGO_MS });
  await write([opened("fresh")], { partition: 0 });
  await write([looked, opened("ignored too")], { partition: 1, atMs: LONG_AGO_MS });
  await write([acknowledgedEvent({ id: looked.subject, rule: looked.rule }, seen)], { partition: 1 });
  const first = await start(onCall);
  const keys = () => escalated.flatMap((one) => one.keys).sort();
  await until(
    "the escalations",
    async () => keys(),
    (all) => all.length >= 2,
  );
  await until(
    "the first messages",
    async () => told.length,
    (count) => count >= 3,
  );
  await first.close();
  const second = await start(onCall);
  await write([opened("later")], { partition: 1, atMs: LONG_AGO_MS });
  await until(
    "the next one",
    async () => keys(),
    (all) => all.includes("later"),
  );
  // The delivery and its escalation do not wait for each other.
  await until(
    "its first message",
    async () => told,
    (all) => all.includes("later"),
  );
  await second.close();
  expect(keys()).toEqual(["ignored", "ignored too", "later"]);
  expect(escalated.find((one) => one.keys.includes("later"))?.id).toBe(`on-call.escalation.${opened("later").subject}`);
  // What somebody looks after already is not handed over at all.
  expect(told.sort()).toEqual(["fresh", "ignored", "ignored too", "later"]);
});

test("a topic has a record for each alert, with its id, and only those of the right time of the week", async () => {
  const { namespace, write, start } = await place(1);
  const pages = `${namespace}.pages`;
  await ensureTopics(brokers(), [{ name: pages, partitions: 2 }]);
  const monday = Date.UTC(2026, 10, 23, 12);
  const out = delivery("out", {
    ...{ to: topic({ name: pages }), from: "start" },
    during: { zone: "Europe/Berlin", from: "08:00", to: "18:00", days: ["mon"] },
  });
  await write([opened("monday")], { atMs: monday });
  await write([opened("monday night")], { atMs: monday + 12 * 3_600_000 });
  await write([opened("monday")], { atMs: monday });
  await write([opened("next monday")], { atMs: monday + 3_600_000 });
  const running = await start(out);
  const records = async () => [...(await readLog(brokers(), pages)).values()].flat();
  const found = await until("the records", records, (all) => all.length >= 2);
  await running.close();
  const shown = found.map(({ key, value, headers }) => {
    const { type, data } = JSON.parse(String(value)) as { type: string; data: ShownAlert };
    return [String(key), String(headers["idempotency-key"]), type, data.key];
  });
  const wanted = ["monday", "next monday"].map((key) => {
    const id = opened(key).subject;
    return [id, `out.${id}`, "alert.opened", key];
  });
  expect(shown.sort()).toEqual(wanted.sort());
});
