import { idFields, type Stream } from "../../core/contract/stream.ts";
import type { SimulatedEvent, SimulationOptions, Simulator } from "../../core/definition/simulator.ts";
import { mix, randomNumbers, seedState } from "../../core/numbers/random.ts";

/** Shares of the events, 0 to 1, with the faults of bad networks and careless producers. */
export interface Disorder {
  /** Events that are delivered twice. */
  readonly duplicates: number;
  /** Events that happened up to ten minutes before they are sent. */
  readonly late: number;
  /** Events that are followed by a record that no contract accepts. */
  readonly malformed: number;
}

export interface SimulatedRecord {
  readonly stream: Stream;
  readonly key: string;
  readonly value: string;
}

const MOST_LATE_MS = 600_000;

/** Returns the records of each step of a run. A pure function. */
export function simulatedRecords(
  { events }: Simulator,
  options: SimulationOptions,
  disorder: Disorder,
): (step: number) => SimulatedRecord[] {
  const stepOf = events(options);
  return (step) => {
    const random = randomNumbers(mix(seedState(options.seed)) ^ mix(step), 0x7fff_0000 ^ Math.floor(step / 2 ** 32));
    return stepOf(step).flatMap((one) => disordered(one, disorder, random));
  };
}

function disordered({ stream, event }: SimulatedEvent, disorder: Disorder, random: () => number): SimulatedRecord[] {
  const time = event[stream.eventTime];
  const isLate = random() < disorder.late;
  const lateMs = Math.ceil(random() * MOST_LATE_MS);
  const sent = isLate && typeof time === "number" ? { ...event, [stream.eventTime]: time - lateMs } : event;
  const key = String(event[stream.key]);
  const record = { stream, key, value: JSON.stringify(sent) };
  const again = random() < disorder.duplicates ? [record] : [];
  const [isBad, kind] = [random() < disorder.malformed, random()];
  return [...(isBad ? [{ stream, key, value: malformed(stream, event, kind) }] : []), record, ...again];
}

/** Returns a malformed record: cut off, with an invalid event time, without its event id, or empty. */
function malformed(stream: Stream, event: SimulatedEvent["event"], chance: number): string {
  const withoutId = Object.fromEntries(idFields(stream).map((name) => [name, null]));
  const kinds = [
    "{",
    JSON.stringify({ ...event, [stream.eventTime]: "soon" }),
    JSON.stringify({ ...event, ...withoutId }),
    "",
  ];
  return kinds[Math.floor(chance * kinds.length)] ?? "";
}
