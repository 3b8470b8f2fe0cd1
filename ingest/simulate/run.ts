import { open } from "node:fs/promises";
import type { Simulator } from "../../core/definition/simulator.ts";
import { deadLetterTopic, ensureTopics, topicOf } from "../../store/kafka/cluster/topics.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { pause } from "../../store/pause.ts";
import type { SimulatedRecord } from "./records.ts";

/** A simulated run. */
export interface Simulated {
  readonly steps: number;
  readonly records: number;
}

export interface Run {
  /**
   * Returns a function with the records of each step, for a run whose first step happens at `nowMs` (epoch
   * milliseconds).
   */
  readonly recordsFrom: (nowMs: number) => (step: number) => SimulatedRecord[];
  /** The number of steps. */
  readonly count: number;
  readonly stop: AbortSignal;
  readonly onProgress: (steps: number) => void;
}

const TICK_MS = 20;
/** After an outage of Kafka, the events of this time are sent late. Events before that are never made. */
const CATCH_UP_LIMIT_MS = 10_000;
/** Late events are sent in pieces of this length. */
const PIECE_MS = 1_000;
const LINES_A_WRITE = 5_000;

/** Writes the records of all streams, one a line. A malformed record that is empty is an empty line. */
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
  /** The number of steps a second. */
  readonly rate: number;
}

/**
 * Sends events to their topics as they happen. When `stop` is aborted, waits until the sent records are acknowledged.
 */
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
  // Connecting took a while, so event times begin with the first record that can be sent.
  const records = recordsFrom(Date.now());
  const beganMs = performance.now();
  let [steps, sent, next] = [0, 0, 0];
  try {
    for (; steps < count && !stop.aborted; await pause(TICK_MS, { signal: stop })) {
      const due = dueSteps({ next, rate, elapsedMs: performance.now() - beganMs });
      const size = Math.min(due.size, count - steps);
      if (size <= 0) continue;
      const made = Array.from({ length: size }, (_, index) => records(due.first + index)).flat();
      next = due.first + size;
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

/**
 * Returns the steps to make now, `elapsedMs` after step 0: from `next` on, or from a later one, so that no step is made
 * more than ten seconds late. Event times follow from the step, so they keep up with the clock.
 */
export function dueSteps({
  next,
  rate,
  elapsedMs,
}: {
  readonly next: number;
  readonly rate: number;
  readonly elapsedMs: number;
}): { readonly first: number; readonly size: number } {
  const end = Math.floor((elapsedMs * rate) / 1_000);
  const first = Math.max(next, end - Math.ceil((CATCH_UP_LIMIT_MS * rate) / 1_000));
  return { first, size: Math.min(end - first, Math.max(1, Math.ceil((PIECE_MS * rate) / 1_000))) };
}
