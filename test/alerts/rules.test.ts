import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { alertOf } from "../../core/alerts/alert.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { sql } from "../../core/contract/sql.ts";
import { type Rule, rule } from "../../core/definition/rule.ts";
import { position } from "../../core/log/position.ts";
import { AlertMemory } from "../../rules/alert-memory.ts";
import { type RunningRules, startRules } from "../../rules/main.ts";
import { ruleMetrics } from "../../rules/metrics.ts";
import { PartitionWriter, ruleTopics } from "../../rules/partition-writer.ts";
import { restartRule } from "../../rules/restart.ts";
import { RuleSession } from "../../rules/session.ts";
import { readRulePositions } from "../../store/alerts/read-positions.ts";
import { Archive } from "../../store/archive/archive.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics, rulePositionsSpec, topicName } from "../../store/kafka/cluster/topics.ts";
import { isFenced } from "../../store/kafka/produce/transactional.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { heartRates } from "../../systems/patients/schemas/heart-rates.ts";
import { produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { until } from "../fixtures/servers/installation.ts";

const START_MS = Date.UTC(2026, 4, 1);
const brokers = () => inject("kafkaBrokers");
const signal = () => AbortSignal.timeout(60_000);

let dataDir: string;
let log: LogReader;
beforeAll(async () => {
  dataDir = await mkdtemp(join(tmpdir(), "tideline-rules-"));
  log = new LogReader({ brokers: brokers(), clientId: "rules-test" });
});
afterAll(async () => {
  await log.close();
  await rm(dataDir, { recursive: true, force: true });
});

/** An installation of its own: its topics, and what runs its rules. */
async function place() {
  const namespace = `rules-${randomUUID().slice(0, 8)}`;
  const topic = topicName(namespace, heartRates.name);
  const alertsTopic = topicName(namespace, alerts.name);
  await ensureTopics(brokers(), [
    { name: topic, partitions: 2 },
    { name: alertsTopic, partitions: alerts.partitions },
    rulePositionsSpec(namespace),
  ]);
  const positionsTopic = rulePositionsSpec(namespace).name;
  return {
    namespace,
    alertsTopic,
    start: (...rules: Rule[]): Promise<RunningRules> =>
      startRules({
        ...{ brokers: brokers(), redisUrl: inject("redisUrl"), dataDir, namespace },
        definitions: { views: new Map(), streams: new Map(), rules: new Map(rules.map((one) => [one.name, one])) },
        registry: new Registry(),
        logger: pino({ level: "silent" }),
      }),
    /** Readings with these ids; each opens an alert of the rules here. */
    send: (...readings: readonly (readonly [id: string, bpm: number])[]) =>
      produce(
        brokers(),
        topic,
        readings.map(([reading_id, bpm]) => {
          const reading = { reading_id, patient_id: reading_id, measured_at: START_MS, bpm };
          return { key: reading_id, value: Buffer.from(JSON.stringify(reading)) };
        }),
      ),
    /** Rule and reading of every alert, as another client reads them. */
    alerts: async () => {
      const all = [...(await readLog(brokers(), alertsTopic)).values()].flat();
      const events = all.map(({ value }) => JSON.parse(String(value)) as { rule: string; source_event: string });
      return events.map(({ rule, source_event }) => `${rule} ${source_event}`).sort();
    },
    positions: async () => [...(await readRulePositions(log, positionsTopic, signal())).values()],
  };
}

const readingRule = (name: string, when = sql`bpm > 100`, from: "start" | "end" = "end") =>
  rule(name, { on: heartRates, key: sql`reading_id`, when, quiet: "1 day", from });

test("a new rule begins at the log's end and stays there; one that fails stops, and goes on at that event when it is corrected", async () => {
  const { start, send, alerts, positions } = await place();
  await send(["before-1", 120], ["before-2", 120], ["before-3", 120]);
  const hasBegun = async (name: string) => (await positions()).filter(({ rules }) => rules.has(name)).length === 2;
  const fails = readingRule(
    "corrected",
    sql`(CASE WHEN bpm = 77 THEN reading_id ELSE '1' END)::INTEGER > 0 AND bpm > 100`,
  );
  const first = await start(readingRule("from-end"), readingRule("from-start", sql`bpm > 100`, "start"), fails);
  await until("the rules have begun", () => hasBegun("corrected"), Boolean);
  await first.close();
  await send(["while-away", 130]);
  const second = await start(readingRule("from-end"), readingRule("from-start", sql`bpm > 100`, "start"), fails);
  await until("the alerts", alerts, (all) => all.length >= 6);
  await send(["poison", 77], ["behind", 140]);
  await until("the alerts behind", alerts, (all) => all.filter((one) => one.endsWith("behind")).length >= 2);
  const stopped = await until(
    "the rule has stopped",
    async () => second.health().rules.filter(({ code }) => code !== null),
    (all) => all.length > 0,
  );
  expect(stopped).toMatchObject([{ rule: "corrected", code: "RULE_FAILED" }]);
  expect(second.health().problems).toMatchObject([{ kind: "rule", name: "corrected", code: "RULE_FAILED" }]);
  await second.close();
  const third = await start(readingRule("from-end"), readingRule("corrected"));
  const wanted = [
    ...["before-1", "before-2", "before-3", "behind", "while-away"].map((id) => `from-start ${id}`),
    ...["behind", "while-away"].flatMap((id) => [`corrected ${id}`, `from-end ${id}`]),
  ];
  expect(await until("all alerts", alerts, (all) => all.length >= wanted.length)).toEqual(wanted.sort());
  await third.close();
});

test("a partition has one writer: an older one is refused, and nothing of it is in the log", async () => {
  const { namespace, alerts, positions } = await place();
  const topics = await ruleTopics(log, namespace);
  const options = {
    brokers: brokers(),
    name: topicName(namespace, "heart-rates"),
    stream: "heart-rates",
    partition: 1,
    topics,
  };
  const alert = (eventId: string) =>
    alertOf({ rule: readingRule("r"), partition: 1, offset: 0n, atMs: START_MS, eventId, key: eventId, says: null });
  const older = await PartitionWriter.open(options);
  await older.begin(new Map([["r", { topicId: "t", next: position(0), began: 2 }]]));
  await older.write([alert("a")], new Map([["r", position(1)]]), 0);
  const newer = await PartitionWriter.open(options);
  const [stored] = await positions();
  expect(stored?.rules.get("r")?.next).toBe(1n);
  newer.adopt(stored?.rules ?? new Map());
  const refused = await older.write([alert("b")], new Map([["r", position(2)]]), 0).catch((error: unknown) => error);
  expect(isFenced(refused)).toBe(true);
  await newer.write([alert("c")], new Map([["r", position(3)]]), 0);
  await Promise.all([older.close(), newer.close()]);
  expect(await alerts()).toEqual(["r a", "r c"]);
  expect((await positions())[0]?.rules.get("r")?.next).toBe(3n);
});

test("what the owner before commits while the next one begins is not an end of the log", async () => {
  const { namespace, send, positions } = await place();
  const topic = topicName(namespace, heartRates.name);
  const topics = await ruleTopics(log, namespace);
  const one = readingRule("r");
  await send(...Array.from({ length: 20 }, (_, index) => [`a${index}`, 120] as const));
  const { id: topicId } = await log.topic(topic);
  const options = { brokers: brokers(), name: topic, stream: heartRates.name, partition: 0, topics };
  const older = await PartitionWriter.open(options);
  await older.begin(new Map([["r", { topicId, next: position(0), began: 2 }]]));
  // As if a rebalance came just now: after the next owner has looked at the log, the one before reads on.
  const slow = new Proxy(log, {
    get(target, name) {
      if (name !== "readableBounds") {
        const value = Reflect.get(target, name) as unknown;
        return typeof value === "function" ? value.bind(target) : value;
      }
      return async (of: string) => {
        const bounds = await target.readableBounds(of);
        await send(...Array.from({ length: 20 }, (_, index) => [`b${index}`, 50] as const));
        const { stable } = await target.bounds(topic, [0]);
        await older.write([], new Map([["r", stable.get(0) ?? position(0)]]), 60_000);
        return bounds;
      };
    },
  });
  const told: (string | null)[] = [];
  const ended = new AbortController();
  const data = new DataDirectory(dataDir);
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  const session = RuleSession.run(
    {
      ...{ stream: heartRates, topic, namespace, rules: [one], brokers: brokers(), pool },
      dedup: { archive: new Archive(data), data, log: slow, schemas: Schemas.inFiles(data) },
      memory: new AlertMemory(),
      metrics: ruleMetrics(new Registry()),
      deadLetters: null,
      logger: pino({ level: "silent" }),
      onRule: (_, error) => told.push(error?.code ?? null),
      onStep: () => ended.abort(),
      watch: { failed: () => undefined, answered: () => undefined },
    },
    [0],
    ended.signal,
  );
  await session;
  pool.close();
  await older.close().catch(() => undefined);
  expect(new Set(told)).toEqual(new Set([null]));
  expect((await positions()).find(({ partition }) => partition === 0)?.rules.get("r")?.next).toBeGreaterThan(0n);
});

test("a rule can begin again; alerts that are there already are the same ones again", async () => {
  const { namespace, start, send, alerts, alertsTopic } = await place();
  const one = readingRule("again", sql`bpm > 100`, "start");
  const running = await start(one);
  await send(["a", 120], ["b", 130]);
  await until("the alerts", alerts, (all) => all.length >= 2);
  await running.close();
  await restartRule({ brokers: brokers(), namespace, log }, one, "start");
  const later = await start(one);
  await until("the alerts again", alerts, (all) => all.length >= 4);
  await later.close();
  const all = [...(await readLog(brokers(), alertsTopic)).values()].flat();
  expect(new Set(all.map(({ key }) => String(key))).size).toBe(2);
  // The id is the key: both of an alert lie in one partition, where the second is a duplicate.
  for (const records of (await readLog(brokers(), alertsTopic)).values())
    expect(records.length).toBe(2 * new Set(records.map(({ key }) => String(key))).size);
});
