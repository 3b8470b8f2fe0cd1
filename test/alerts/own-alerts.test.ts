import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import PostalMime, { type Email } from "postal-mime";
import { Registry } from "prom-client";
import { SMTPServer } from "smtp-server";
import { afterAll, afterEach, beforeAll, expect, inject, test } from "vitest";
import { type AlertEvent, alertEventFrom } from "../../core/alerts/alert.ts";
import { NO_OWN_ALERTS } from "../../core/alerts/own-journal.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { count, instant, stream, text, view } from "../../core/definition/builders.ts";
import { type Delivery, delivery, mail } from "../../core/definition/delivery.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { at } from "../../core/log/position.ts";
import { type RunningMonitor, startMonitor } from "../../monitor/main.ts";
import type { MonitorOptions } from "../../monitor/options.ts";
import { OwnAlertJournal } from "../../store/alerts/own-alert-journal.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { until } from "../fixtures/servers/installation.ts";
import { KafkaProxy } from "../fixtures/servers/kafka-proxy.ts";
import { Layers } from "../fixtures/servers/layers.ts";

const visits = stream("visits", {
  revision: 1,
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 1_000,
  fields: { id: text({ max: 40 }), at: instant() },
});
const visited = view("visited", { stream: visits, by: {}, every: "1 day", measures: { visits: count() } });

const mails: Email[] = [];
const mailServer = new SMTPServer({
  authOptional: true,
  disabledCommands: ["STARTTLS"],
  onData: (data, _session, done) => {
    const chunks: Buffer[] = [];
    data.on("data", (chunk: Buffer) => chunks.push(chunk));
    data.on("end", async () => {
      mails.push(await PostalMime.parse(Buffer.concat(chunks)));
      done();
    });
  },
});
let smtp: string;
let layers: Layers;
let kafka: KafkaProxy;
let log: LogReader;
const monitors: RunningMonitor[] = [];

beforeAll(async () => {
  const server = mailServer.listen(0, "127.0.0.1");
  await once(server, "listening");
  smtp = `smtp://127.0.0.1:${(server.address() as AddressInfo).port}`;
  layers = await Layers.open([visited]);
  kafka = await KafkaProxy.open(inject("kafkaBrokers"));
  log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "own-alerts-test" });
  await ensureTopics(inject("kafkaBrokers"), [{ name: layers.topic(alerts.name), partitions: alerts.partitions }]);
});
afterEach(async () => {
  await closeMonitors();
  mails.length = 0;
});
afterAll(async () => {
  await log.close();
  await kafka.close();
  await layers.close();
  await new Promise<void>((done) => mailServer.close(() => done()));
});

const pace = { everyMs: 100, takeOverMs: 4_000, patienceMs: 500, againMs: 200, positionsMs: 500 };

function start(deliveries: readonly Delivery[], options: Partial<MonitorOptions> = {}): RunningMonitor {
  const monitor = startMonitor({
    brokers: kafka.brokers,
    redisUrl: inject("redisUrl"),
    dataDir: layers.dataDir,
    namespace: layers.namespace,
    definitions: {
      views: new Map([["visited", { view: visited, generation: generationOf(visited), file: "test" }]]),
      streams: new Map([visits, alerts].map((one) => [one.name, one])),
      deliveries: new Map(deliveries.map((one) => [one.name, one])),
    },
    limitsOf: () => ({ warn: 1_000, page: 10_000 }),
    retentionWarnHours: 24,
    mail: { url: smtp, from: "tideline@example.com" },
    alertsTo: "ops@example.com",
    name: "test",
    pace: { ...pace, delivery: { firstRetryMs: 5, breakMs: 100 } },
    registry: new Registry(),
    logger: pino({ level: "silent" }),
    ...options,
  });
  monitors.push(monitor);
  return monitor;
}

async function closeMonitors(): Promise<void> {
  for (const monitor of monitors.splice(0)) await monitor.close();
}

const subjects = () => mails.map(({ subject }) => subject);
const mailed = (subject: string) =>
  until(
    subject,
    async () => subjects(),
    (found) => found.includes(subject),
    60_000,
  );

/** Every record of the stream of alerts. */
async function inStream(): Promise<AlertEvent[]> {
  const topic = layers.topic(alerts.name);
  const { start: first, stable } = await log.bounds(topic);
  const found: AlertEvent[] = [];
  for (const [partition, end] of stable)
    for await (const { records } of log.read(
      topic,
      { partition, from: at(first, partition), to: end },
      { maxBytes: 1_000_000 },
    ))
      for (const value of records.values) found.push(alertEventFrom(value) as AlertEvent);
  return found.sort((a, b) => a.at - b.at);
}

const aboutKey = (events: readonly AlertEvent[], key: string) => {
  const ids = new Set(events.flatMap((event) => (event.key === key ? [event.subject] : [])));
  return events.filter(({ subject }) => ids.has(subject)).map(({ kind }) => kind);
};

const made = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, n) => ({ id: `v${from + n}`, at: Date.parse("2026-03-01T10:00:00Z") }));

test("1,001 records of lag are mailed, and that it is over; both are in the stream of alerts, once", async () => {
  const critical = delivery("critical", { to: mail({ to: "boss@example.com" }), severities: ["critical"] });
  await layers.produce("visits", made(0, 3));
  const visitsNow = async () => (await layers.answer("visited").catch(() => null))?.rows[0]?.visits ?? 0;
  await until("the first events", visitsNow, (visits) => visits === 3);
  await layers.stopSpeed();
  start([critical]);
  await layers.produce("visits", made(3, 1_004));
  await mailed("[warning] tideline lag/visits");
  await layers.startSpeed();
  await mailed("[cleared] tideline lag/visits");

  const [opened, cleared] = mails;
  expect(mails.map(({ to }) => to?.[0]?.address)).toEqual(["ops@example.com", "ops@example.com"]);
  expect(opened?.text).toContain("view visited is 1001 records behind stream visits, more than 1000");
  expect(cleared?.inReplyTo).toBe(opened?.messageId);
  const events = await until("the stream", inStream, (found) => aboutKey(found, "lag/visits").length >= 2);
  expect(aboutKey(events, "lag/visits")).toEqual(["opened", "cleared"]);
});

test("that Kafka is away is mailed while it is, stands on the page, and is in the stream of alerts afterwards, once", async () => {
  start([]);
  await kafka.goAway();
  await mailed("[critical] tideline server/kafka");
  // The server reads the journal once a second.
  const listed = async () => ((await (await fetch(layers.url("/views"))).json()) as { alerts?: unknown }).alerts;
  await expect.poll(listed).toMatchObject([{ key: "server/kafka", state: "open" }]);
  expect(aboutKey(await inStream(), "server/kafka")).toEqual([]);
  await kafka.comeBack();
  await mailed("[cleared] tideline server/kafka");
  const events = await until("the stream", inStream, (found) => aboutKey(found, "server/kafka").length >= 2);
  expect(aboutKey(events, "server/kafka")).toEqual(["opened", "cleared"]);
  // What follows from it was not alerted of: one mail says it.
  expect(subjects()).toEqual(["[critical] tideline server/kafka", "[cleared] tideline server/kafka"]);
  const answer = await fetch(layers.url("/alerts?rule=tideline&key=server/kafka"));
  expect(((await answer.json()) as { alerts: { state: string }[] }).alerts.map(({ state }) => state)).toEqual([
    "cleared",
  ]);
});

test("one process watches at a time, and the next goes on where it was, also when it was killed", async () => {
  const home = await mkdtemp(join(tmpdir(), "tideline-own-alerts-"));
  const journal = new OwnAlertJournal(new DataDirectory(home));
  // Of a process that was killed: nobody lets go of it.
  await journal.write(0, { ...NO_OWN_ALERTS, holder: "killed" });
  const options = { dataDir: home, redisUrl: "redis://127.0.0.1:1" };
  const both = [start([], options), start([], options)];
  await mailed("[critical] tideline server/redis");
  await both[0]?.close();
  await both[1]?.close();
  const { holder, alerts: before } = (await journal.read()).journal;
  expect([holder, before.length]).toEqual([null, 1]);
  // The third one finds Redis well, and tells the end of an alert that another one has opened.
  start([], { dataDir: home });
  await mailed("[cleared] tideline server/redis");
  // A process that stands still for longer than the others wait may send a message again: it has the same Message-ID.
  const messages = new Set(mails.map(({ messageId, subject }) => `${messageId} ${subject}`));
  expect(messages.size).toBe(2);
  await closeMonitors();
  await rm(home, { recursive: true, force: true });
});

test("a mail server that refuses for a while is tried again until it takes the alert", async () => {
  const home = await mkdtemp(join(tmpdir(), "tideline-own-alerts-"));
  const away = `smtp://127.0.0.1:${new URL(smtp).port}`;
  let refusals = 6;
  const refusing = new SMTPServer({
    authOptional: true,
    disabledCommands: ["STARTTLS"],
    onMailFrom: (_address, _session, done) =>
      refusals-- > 0 ? done(Object.assign(new Error("busy"), { responseCode: 451 })) : done(),
    onData: (data, _session, done) => {
      data.resume();
      data.on("end", () => {
        mails.push({ subject: "taken" } as Email);
        done();
      });
    },
  });
  const server = refusing.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = away.replace(/\d+$/, String((server.address() as AddressInfo).port));
  start([], { dataDir: home, redisUrl: "redis://127.0.0.1:1", mail: { url, from: "t@example.com" } });
  await mailed("taken");
  expect(refusals).toBeLessThan(0);
  await new Promise<void>((done) => refusing.close(() => done()));
  await closeMonitors();
  await rm(home, { recursive: true, force: true });
});
