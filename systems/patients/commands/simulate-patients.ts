import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { loadConfig } from "../../../cli/setup/config.ts";
import { interruptible, showProgress } from "../../../cli/terminal/progress.ts";
import { heartRates } from "../schemas/heart-rates.ts";
import { type ReadingsOptions, recordsOf } from "../simulator/readings.ts";

export interface PatientsFlags extends Omit<ReadingsOptions, "seed" | "fromMs"> {
  readonly mode: "kafka" | "file";
  readonly outfile?: string;
  readonly count?: number;
  readonly seed?: number;
  readonly from?: number;
  readonly json: boolean;
}

const TICK_MS = 20;
/** A monitor does not measure afterwards what it could not send. */
const CATCH_UP_LIMIT_MS = 1_000;
const LINES_A_WRITE = 5_000;
/** When readings of a file begin unless a flag says so: the same seed makes the same bytes. */
const FILE_FROM_MS = Date.UTC(2026, 0, 1);

interface Sent {
  readonly readings: number;
  readonly records: number;
}

/** `tideline simulate patients`. */
export async function simulatePatients(flags: PatientsFlags, command: Command): Promise<void> {
  const { mode, outfile, count, seed = Math.floor(Math.random() * 2 ** 48), from } = flags;
  if (mode === "kafka" && outfile !== undefined) return command.error("error: --outfile needs --mode file");
  if (mode === "file" && outfile === undefined) return command.error("error: --mode file needs --outfile <path>");
  if (mode === "file" && count === undefined) return command.error("error: --mode file needs --count <n>");
  const options = { ...flags, seed, fromMs: from ?? (mode === "file" ? FILE_FROM_MS : Date.now()) };
  process.stderr.write(`seed ${seed}\n`);
  const line = showProgress("readings");
  const onProgress = (readings: number) => (count === undefined ? undefined : line.update(readings, count));
  const sent = await interruptible((stop) =>
    outfile === undefined
      ? sendReadings(options, count ?? Number.POSITIVE_INFINITY, { stop, onProgress })
      : writeReadings(options, count ?? 0, { stop, onProgress, outfile }),
  ).finally(() => line.stop());
  const text = `${sent.readings} readings of ${flags.patients} patients, ${sent.records} records, seed ${seed}`;
  process.stdout.write(`${flags.json ? JSON.stringify({ ...sent, seed }) : text}\n`);
}

interface Run {
  readonly stop: AbortSignal;
  readonly onProgress: (readings: number) => void;
}

/** Writes a record a line. A malformed record that is empty is an empty line. */
async function writeReadings(options: ReadingsOptions, count: number, run: Run & { outfile: string }): Promise<Sent> {
  const file = await open(run.outfile, "w");
  let [readings, records] = [0, 0];
  try {
    while (readings < count && !run.stop.aborted) {
      const size = Math.min(LINES_A_WRITE, count - readings);
      const made = Array.from({ length: size }, (_, index) => recordsOf(options, readings + index)).flat();
      await file.write(`${made.map(({ value }) => value).join("\n")}\n`);
      readings += size;
      records += made.length;
      run.onProgress(readings);
    }
  } finally {
    await file.close();
  }
  return { readings, records };
}

/** Sends readings to Kafka as they are measured. On `stop` it waits for what was sent. */
async function sendReadings(options: ReadingsOptions, count: number, { stop, onProgress }: Run): Promise<Sent> {
  const { deadLetterTopic, ensureTopics, topicName } = await import("../../../store/kafka/cluster/topics.ts");
  const { openProducer } = await import("../../../store/kafka/produce/producer.ts");
  const { kafkaBrokers: brokers, namespace } = loadConfig(process.env);
  const topic = topicName(namespace, heartRates.name);
  await ensureTopics(brokers, [
    { name: topic, partitions: heartRates.partitions },
    { name: deadLetterTopic(topic), partitions: 1 },
  ]);
  const producer = await openProducer({ brokers });
  let [readings, records] = [0, 0];
  try {
    for (let sinceMs = performance.now(); readings < count && !stop.aborted; await pause(stop)) {
      const nowMs = performance.now();
      sinceMs = Math.max(sinceMs, nowMs - CATCH_UP_LIMIT_MS);
      const size = Math.min(Math.floor(((nowMs - sinceMs) * options.rate) / 1_000), count - readings);
      if (size === 0) continue;
      sinceMs += (size * 1_000) / options.rate;
      const made = Array.from({ length: size }, (_, index) => recordsOf(options, readings + index)).flat();
      await producer.send(topic, made);
      readings += size;
      records += made.length;
      onProgress(readings);
    }
  } finally {
    await producer.close();
  }
  return { readings, records };
}

async function pause(stop: AbortSignal): Promise<void> {
  await sleep(TICK_MS, undefined, { signal: stop }).catch(() => {});
}
