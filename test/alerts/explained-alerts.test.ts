import { createHash, randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { mix, randomNumbers, seedState } from "../../core/numbers/random.ts";
import { explain } from "../../store/alerts/explain.ts";
import { Archive } from "../../store/archive/archive.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics, topicOf } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { heartRate } from "../../systems/patients/rules/heart-rate.ts";
import { produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";

const brokers = () => inject("kafkaBrokers");
const seed = Number(process.env.TIDELINE_TEST_SEED ?? 20_261_129);
const random = randomNumbers(mix(seedState(seed)), 7);
const topic = topicOf(`explained-${randomUUID().slice(0, 8)}`, heartRate.on);
const START_MS = Date.UTC(2026, 4, 1);
/** How many records are explained. */
const EXPLAINED = 100;

let home: string;
let log: LogReader;
let pool: DuckPool;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-explained-"));
  log = new LogReader({ brokers: brokers(), clientId: "explained-test" });
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  await ensureTopics(brokers(), [{ name: topic, partitions: 3 }]);
});
afterAll(async () => {
  pool.close();
  await log.close();
  await rm(home, { recursive: true, force: true });
});

/** Readings of hostile names, some twice. Every third asks for no alert. */
function readings() {
  const names = ["patient-7", "ä'\"; DROP TABLE x --", "{{}}", "$(x)", "🙂", "NULL"];
  return Array.from({ length: 300 }, (_, index) => {
    const patient_id = names[Math.floor(random() * names.length)] ?? "";
    const bpm =
      index % 3 === 0 ? 60 + Math.floor(random() * 41) : Math.floor(random() * 60) + (random() < 0.5 ? 0 : 101);
    const reading = { reading_id: `r${index}`, patient_id, measured_at: START_MS - Math.floor(random() * 1e9), bpm };
    return { key: patient_id, value: Buffer.from(JSON.stringify(reading)) };
  }).flatMap((one) => (random() < 0.1 ? [one, one] : [one]));
}

test(`a hundred random records are explained as a plain reading of the log has them (seed ${seed})`, async () => {
  await produce(brokers(), topic, readings());
  const records = [...(await readLog(brokers(), topic))].flatMap(([partition, all]) =>
    all.map(({ offset, value }) => ({ partition, offset: BigInt(offset), event: JSON.parse(String(value)) })),
  );
  const chosen = records
    .map((record) => ({ record, at: random() }))
    .sort((a, b) => a.at - b.at)
    .slice(0, EXPLAINED);
  const data = new DataDirectory(home);
  const sources = { archive: new Archive(data), data, log, schemas: new Schemas(data, openRegistry(data, null)) };
  const source = { stream: heartRate.on, topic, topicId: (await log.topic(topic)).id };
  const duck = await pool.connect();
  let holding = 0;
  for (const { record } of chosen) {
    const { partition, offset, event } = record;
    const { reading_id: eventId, patient_id: key, measured_at: atMs, bpm } = event;
    const opened = openedEvent(alertOf({ rule: heartRate, partition, offset, atMs, eventId, key, says: null }));
    const alert = { id: opened.subject, opened, writtenAtMs: 0, acknowledged: null };
    const found = await explain(sources, duck, { alert, source, rule: heartRate });
    const isRepeat = records.some((one) => one.event.reading_id === eventId && one.offset < offset);
    const holds = bpm < 60 || bpm > 100;
    const from = Math.floor(atMs / 60_000) * 60_000;
    const hash = createHash("sha256")
      .update(JSON.stringify([heartRate.name, key, from]))
      .digest("hex");
    expect({ ...found, event: { ...found.event, measured_at: null } }).toEqual({
      ...{ partition, offset: Number(offset), reject: null, isDuplicate: isRepeat, isSame: true },
      event: { reading_id: eventId, patient_id: key, measured_at: null, bpm },
      condition: { sql: heartRate.when.text, holds },
      now: { sql: heartRate.when.text, id: holds && !isRepeat ? `${heartRate.name}-${hash.slice(0, 20)}` : null },
    });
    if (holds) holding += 1;
  }
  duck.closeSync();
  // Some of both, whatever the seed.
  expect(holding).toBeGreaterThan(0);
  expect(holding).toBeLessThan(EXPLAINED);
});
