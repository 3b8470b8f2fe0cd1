import { createHash } from "node:crypto";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import type { AlertEvent } from "../../core/alerts/alert.ts";
import type { ShownAlert } from "../../core/alerts/alert-states.ts";
import { eventData } from "../../core/event-stream.ts";
import { produce, type RawRecord } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

const rules = `
import { rule, sql } from "../../core/definition/builders.ts";
import { heartRates } from "../../systems/patients/schemas/heart-rates.ts";
const when = sql\`bpm < 60 OR bpm > 100\`;
const common = { on: heartRates, when, from: "start" };
export const perPatient = rule("per-patient",
  { ...common, key: sql\`patient_id\`, quiet: "1 minute", says: sql\`'rate ' || bpm\` });
export const perReading = rule("per-reading",
  { ...common, key: sql\`reading_id\`, quiet: "1 day", severity: "critical" });
`;

const START_MS = Date.UTC(2026, 4, 1);
const brokers = () => inject("kafkaBrokers");

let tideline: Installation;
let folder: string;

beforeAll(async () => {
  folder = join(process.cwd(), ".tideline", `rules-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "heart-rates.ts"), rules);
  const env = { TIDELINE_SYSTEM: join(process.cwd(), "systems/patients"), TIDELINE_RULES: folder };
  tideline = await Installation.open("rules", env);
  await tideline.run("init");
});

afterAll(async () => {
  await tideline?.close();
  await rm(folder, { recursive: true });
});

/** A reading: some late, some malformed, some twice, and patients whose names are not words. */
function record(index: number): RawRecord[] {
  const patient = index % 7 === 0 ? `'"; \u0007\u2028 ${index % 3}` : `patient-${index % 9}`;
  const late = index % 11 === 0 ? 3_600_000 : 0;
  const reading = {
    reading_id: `r-${index}`,
    patient_id: patient,
    measured_at: START_MS + index * 700 - late,
    bpm: 50 + ((index * 37) % 60),
  };
  const value = Buffer.from(JSON.stringify(reading));
  const bad = Buffer.from(index % 2 === 0 ? "{" : JSON.stringify({ ...reading, bpm: 4_000 }));
  const one = { key: patient, value };
  return [...(index % 13 === 0 ? [{ key: patient, value: bad }] : []), one, ...(index % 17 === 0 ? [one] : [])];
}

const records = (from: number, to: number) => Array.from({ length: to - from }, (_, at) => record(from + at)).flat();

interface Reading {
  readonly reading_id: string;
  readonly patient_id: string;
  readonly measured_at: number;
  readonly bpm: number;
}

function readingIn(value: Buffer | null): Reading | null {
  try {
    const reading = JSON.parse(String(value)) as Reading;
    return reading.bpm <= 400 ? reading : null;
  } catch {
    return null;
  }
}

/** The ids that the log asks for, by a plain fold of what another client reads. */
async function wantedIds(): Promise<Set<string>> {
  const log = await readLog(brokers(), tideline.topic("heart-rates"));
  const ids = new Set<string>();
  for (const { value } of [...log.values()].flat()) {
    const reading = readingIn(value);
    if (reading === null || (reading.bpm >= 60 && reading.bpm <= 100)) continue;
    for (const [rule, key, quietMs] of [
      ["per-patient", reading.patient_id, 60_000],
      ["per-reading", reading.reading_id, 86_400_000],
    ] as const) {
      const from = Math.floor(reading.measured_at / quietMs) * quietMs;
      const hash = createHash("sha256")
        .update(JSON.stringify([rule, key, from]))
        .digest("hex");
      ids.add(`${rule}-${hash.slice(0, 20)}`);
    }
  }
  return ids;
}

/** The events in the stream of alerts, as another client reads them. */
async function written(): Promise<AlertEvent[]> {
  const log = await readLog(brokers(), tideline.topic("alerts"));
  return [...log.values()].flat().map(({ value }) => JSON.parse(String(value)) as AlertEvent);
}

const opened = async () => (await written()).filter(({ kind }) => kind === "opened").map(({ subject }) => subject);
const sorted = (ids: Iterable<string>) => [...new Set(ids)].sort();

test("alerts are those of a plain fold of the log, also after the process was killed; each can be explained and acknowledged", async () => {
  await produce(brokers(), tideline.topic("heart-rates"), records(0, 300));
  await tideline.start("speed");
  const first = await wantedIds();
  await until("the first alerts", opened, (ids) => new Set(ids).size >= first.size);
  await tideline.kill("speed");
  await produce(brokers(), tideline.topic("heart-rates"), records(300, 900));
  await tideline.restart("speed");
  await tideline.start("serve");
  const all = await wantedIds();
  const ids = await until("all alerts", opened, (ids) => new Set(ids).size >= all.size);
  expect(sorted(ids)).toEqual(sorted(all));
  // Nothing was read twice: no two readings share an alert of this rule.
  const each = ids.filter((id) => id.startsWith("per-reading"));
  expect(each.length).toBe(new Set(each).size);

  const listed = await fetch(`${tideline.apiUrl}/alerts?rule=per-patient&limit=10000`);
  const { alerts } = (await listed.json()) as { alerts: ShownAlert[] };
  expect(sorted(alerts.map(({ id }) => id))).toEqual(sorted(ids.filter((id) => id.startsWith("per-patient"))));
  const some = alerts[Math.floor(alerts.length / 2)];
  if (some === undefined) throw new Error("no alert");
  const { stdout } = await tideline.run("alerts", "explain", some.id, "--json");
  const { explanation } = JSON.parse(stdout);
  expect(explanation).toMatchObject({
    isSame: true,
    isDuplicate: false,
    condition: { holds: true },
    now: { id: some.id },
  });
  expect(explanation.event).toMatchObject({ patient_id: some.key, reading_id: some.source?.eventId });

  const live = await fetch(`${tideline.apiUrl}/alerts/live?rule=per-patient`);
  await tideline.run("alerts", "ack", some.id, "--by", "ann");
  await tideline.run("alerts", "silence", "per-patient", "--for", "2h", "--by", "ann");
  for await (const { event, data } of eventData(live.body as ReadableStream<Uint8Array>)) {
    expect([event, JSON.parse(data)]).toMatchObject(["alert", { id: some.id, acknowledged: { by: "ann" } }]);
    break;
  }
  // The system's tables have the same, as the log says it.
  const row = async (table: string, key: string) => {
    const response = await fetch(`${tideline.apiUrl}/tables/${table}?key=${key}`);
    return ((await response.json()) as { rows?: Record<string, unknown>[] }).rows?.[0] ?? null;
  };
  const state = () => row("alert-states", some.id);
  const acknowledged = { opened: 1, acknowledged: 1, rule: "per-patient", about: some.key, acknowledged_by: "ann" };
  expect(await until("the table", state, (found) => found?.acknowledged === 1)).toMatchObject(acknowledged);
  const silenced = () => row("silences", "per-patient");
  expect(await until("the silence", silenced, (found) => found !== null)).toMatchObject({ author: "ann" });

  const list = JSON.parse((await tideline.run("alerts", "--json", "--limit", "1000")).stdout) as ShownAlert[];
  const states = new Set(list.filter(({ rule }) => rule === "per-patient").map(({ state }) => state));
  expect(states).toEqual(new Set(["acknowledged", "silenced"]));
  await expect(tideline.run("alerts", "ack", "per-patient-0")).rejects.toMatchObject({
    stderr: expect.stringContaining("ALERT_UNKNOWN") as string,
  });
  const rulesNow = JSON.parse((await tideline.run("rules", "--json")).stdout) as { rule: string; behind: number }[];
  expect(rulesNow.map(({ rule }) => rule)).toEqual(["per-patient", "per-reading"]);
});
