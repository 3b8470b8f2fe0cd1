import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Simulator } from "../../core/definition/simulator.ts";
import { deadLetterTopic, ensureTopics, topicOf } from "../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import type { SimulatedRecord } from "./records.ts";

/** What was made of a run. */
export interface Simulated {
  readonly steps: number;
  readonly records: number;
}

export interface Run {
  /** The records of each step of a run whose first step happens now: `nowMs`, epoch milliseconds. */
  readonly recordsFrom: (nowMs: number) => (step: number) => SimulatedRecord[];
  /** How many steps. */
  readonly count: number;
  readonly stop: AbortSignal;
  readonly onProgress: (steps: number) => void;
}

const TICK_MS = 20;
/** What could not be sent for so long is not sent afterwards. */
const CATCH_UP_LIMIT_MS = 1_000;
const LINES_A_WRITE = 5_000;

/** Writes a record a line, whatever its stream. A malformed record that is empty is an empty line. */
export async function writeSimulated(
  outfile: string,
  { recordsFrom, count, stop, onProgress }: Run,
): Promise<Simulated> {
  const records = recordsFrom(Date.now());
  const file = await open(outfile, "w");
  let [steps, written] = [0, 0];
  try {
    while (steps < count && !stop.aborted) {
      const size = Math.min(LINES_A_WRITE, count - steps);
      const made = Array.from({ length: size }, (_, index) => records(steps + index)).flat();
      await file.write(made.map(({ value }) => `${value}\n`).join(""));
      steps += size;
      written += made.length;
      onProgress(steps);
    }
  } finally {
    await file.close();
  }
  return { steps, records: written };
}

export interface Destination {
  readonly brokers: string;
  readonly namespace: string;
  /** Steps a second. */
  readonly rate: number;
}

/** Sends events to their topics as they happen. On `stop` it waits for what was sent. */
export async function sendSimulated(
  { streams }: Simulator,
  { brokers, namespace, rate }: Destination,
  { recordsFrom, count, stop, onProgress }: Run,
): Promise<Simulated> {
  const topics = new Map(streams.map((stream) => [stream, topicOf(namespace, stream)]));
  await ensureTopics(
    brokers,
    [...topics].flatMap(([{ partitions }, name]) => [
      { name, partitions },
      { name: deadLetterTopic(name), partitions: 1 },
    ]),
  );
  const producer = await openProducer({ brokers });
  // Connecting took a while: event times begin with the first record that can be sent.
  const records = recordsFrom(Date.now());
  let [steps, sent] = [0, 0];
  try {
    for (let sinceMs = performance.now(); steps < count && !stop.aborted; await pause(stop)) {
      const nowMs = performance.now();
      sinceMs = Math.max(sinceMs, nowMs - CATCH_UP_LIMIT_MS);
      const size = Math.min(Math.floor(((nowMs - sinceMs) * rate) / 1_000), count - steps);
      if (size <= 0) continue;
      sinceMs += (size * 1_000) / rate;
      const made = Array.from({ length: size }, (_, index) => records(steps + index)).flat();
      for (const [stream, topic] of topics) {
        const own = made.filter((record) => record.stream === stream);
        if (own.length > 0) await producer.send(topic, own);
      }
      steps += size;
      sent += made.length;
      onProgress(steps);
    }
  } finally {
    await producer.close();
  }
  return { steps, records: sent };
}

async function pause(stop: AbortSignal): Promise<void> {
  await sleep(TICK_MS, undefined, { signal: stop }).catch(() => {});
}
