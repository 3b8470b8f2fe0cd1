import { mix, normal, randomNumbers, seedState } from "../../../core/numbers/random.ts";

/** What is simulated. The same options give the same records. */
export interface ReadingsOptions {
  readonly seed: number;
  readonly patients: number;
  /** Readings a second, of all patients together. */
  readonly rate: number;
  /** When the first reading is measured, epoch milliseconds. */
  readonly fromMs: number;
  /** Shares of the readings, 0 to 1: delivered twice, measured up to ten minutes before, accompanied by a record that no contract accepts. */
  readonly duplicates: number;
  readonly late: number;
  readonly malformed: number;
}

export interface SimulatedRecord {
  readonly key: string;
  readonly value: string;
}

/** So many readings of a patient are alike in kind: an episode lasts as long. */
const EPISODE_READINGS = 40;
const MOST_LATE_MS = 600_000;

/** The records of the reading with this index, from 0: one, and what disorder adds. A pure function, so any part of a run can be made alone. */
export function recordsOf(options: ReadingsOptions, index: number): SimulatedRecord[] {
  const { seed, patients, rate, fromMs } = options;
  const random = randomNumbers(mix(seedState(seed)) ^ mix(index), Math.floor(index / 2 ** 32));
  const patient = index % patients;
  const key = `patient-${patient + 1}`;
  const lateMs = random() < options.late ? Math.ceil(random() * MOST_LATE_MS) : 0;
  const reading = {
    reading_id: `${seed.toString(36)}-${index.toString(36)}`,
    patient_id: key,
    measured_at: fromMs + Math.floor((index * 1_000) / rate) - lateMs,
    bpm: heartRate(seed, patient, Math.floor(index / patients), normal(random(), random())),
  };
  const record = { key, value: JSON.stringify(reading) };
  const again = random() < options.duplicates ? [record] : [];
  const bad = random() < options.malformed ? [{ key, value: malformed(reading, random()) }] : [];
  return [...bad, record, ...again];
}

/** A patient's own heart rate, which noise and now and then an episode move. */
function heartRate(seed: number, patient: number, nth: number, noise: number): number {
  const own = randomNumbers(mix(seedState(seed)) ^ mix(patient), 1);
  const usual = 66 + Math.floor(own() * 24);
  const episode = randomNumbers(mix(seedState(seed)) ^ mix(patient), 2 + Math.floor(nth / EPISODE_READINGS))();
  const shift = episode < 0.02 ? 45 : episode < 0.04 ? -25 : 0;
  return Math.max(20, Math.min(220, Math.round(usual + shift + 4 * noise)));
}

function malformed(reading: { readonly bpm: number }, chance: number): string {
  const kinds = ["{", JSON.stringify({ ...reading, bpm: "fast" }), JSON.stringify({ ...reading, bpm: 4_000 }), ""];
  return kinds[Math.floor(chance * kinds.length)] ?? "";
}
