import { createHash } from "node:crypto";
import type { RawRecord } from "./produce.ts";

const QUIET_MS = 60_000;
const START_MS = Date.UTC(2026, 4, 1);

/** Heart rates that a rule `high` alerts on outside of 60 to 100, once a minute for each patient. */
export const HIGH_RULE = `
  import { rule, sql } from "../../core/definition/builders.ts";
  import { heartRates } from "../../systems/patients/schemas/heart-rates.ts";
  const when = sql\`bpm < 60 OR bpm > 100\`;
  export const high = rule("high", { on: heartRates, key: sql\`patient_id\`, when, quiet: "1 minute", from: "start" });
`;

/** Readings of a round: some twice, some late, some malformed. `random` returns numbers from 0 to below 1. */
export function readings(round: number, random: () => number, count = 60): RawRecord[] {
  return Array.from({ length: count }, (_, index) => {
    const patient = `${round}-${index % 12}`;
    const measured_at = START_MS + index * 5_000 - (index % 9 === 0 ? 600_000 : 0);
    const bpm = 90 + Math.floor(random() * 30);
    const reading = { reading_id: `${round}-${index}`, patient_id: patient, measured_at, bpm };
    const one = { key: patient, value: Buffer.from(JSON.stringify(reading)) };
    const bad = { key: patient, value: Buffer.from("{") };
    return [...(index % 20 === 0 ? [bad] : []), one, ...(index % 7 === 0 ? [one] : [])];
  }).flat();
}

interface Reading {
  readonly reading_id: string;
  readonly patient_id: string;
  readonly measured_at: number;
  readonly bpm: number;
}

/** The readings that decode, each once. */
export function readingsIn(values: readonly (Buffer | null)[]): Reading[] {
  const found = values.filter((value) => String(value) !== "{").map((value) => JSON.parse(String(value)) as Reading);
  return [...new Map(found.map((reading) => [reading.reading_id, reading])).values()];
}

/** The ids of alerts that readings ask for: a fold without a line of the engine. */
export function wantedIds(values: readonly (Buffer | null)[]): Set<string> {
  const high = readingsIn(values).filter(({ bpm }) => bpm < 60 || bpm > 100);
  return new Set(
    high.map(({ patient_id, measured_at }) => {
      const from = Math.floor(measured_at / QUIET_MS) * QUIET_MS;
      const hash = createHash("sha256")
        .update(JSON.stringify(["high", patient_id, from]))
        .digest("hex");
      return `high-${hash.slice(0, 20)}`;
    }),
  );
}
