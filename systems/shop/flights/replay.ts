import { flights } from "../../../schemas/flights.ts";
import { deadLetterTopic, ensureTopics, topicName } from "../../../store/kafka/cluster/topics.ts";
import { partitionOf } from "../../../store/kafka/produce/partitioner.ts";
import { type EventProducer, type EventRecord, openProducer } from "../../../store/kafka/produce/producer.ts";
import { LogReader } from "../../../store/kafka/read/log.ts";
import { pause } from "../../../store/pause.ts";
import { type FlightsSource, flightsFile, openFlights, type SourceFlight } from "./flights.ts";
import { heldRows, type LastRows, restartsTopic, startOver } from "./replayed.ts";

/**
 * Replays the flights of 2001, and continues where an earlier replay was cut off, even in the middle of a batch
 * (replayed.ts says how). One thing is left to the stream's dedup window: a batch that a killed process had handed to
 * the network may be appended after the next replay has looked. Its rows are sent again then, at most one batch behind,
 * far within the window.
 */

/** How fast event time passes: as fast as possible, or a multiple of the clock. */
export type ReplaySpeed = number | "max";

export interface ReplayOptions {
  readonly brokers: string;
  readonly namespace: string;
  readonly speed: ReplaySpeed;
  /** The number of rows from the start of the source; all by default. */
  readonly limit?: number;
  /** Starts again from row 0, although the topic holds rows already. */
  readonly again: boolean;
  readonly stop: AbortSignal;
  readonly onProgress?: (progress: ReplayProgress) => void;
}

export interface ReplayProgress {
  /** Rows of the source that this replay is about. */
  readonly total: number;
  /** Rows dealt with so far, `skipped` + `sent`: the next row's number. */
  readonly row: number;
  /** Rows that the topic held already. */
  readonly skipped: number;
  readonly sent: number;
  readonly acknowledged: number;
  readonly seconds: number;
}

/** Replays `flights`. On `stop` it waits for what was sent; the next replay continues from there. */
export async function replayFlights(options: ReplayOptions): Promise<ReplayProgress> {
  const source = await openFlights(flightsFile());
  try {
    return await replayFrom(source, options);
  } finally {
    source.close();
  }
}

async function replayFrom(source: FlightsSource, options: ReplayOptions): Promise<ReplayProgress> {
  const { brokers, namespace, again, limit = Number.POSITIVE_INFINITY } = options;
  const topic = topicName(namespace, flights.name);
  await ensureTopics(brokers, [
    { name: topic, partitions: flights.partitions },
    { name: deadLetterTopic(topic), partitions: 1 },
    { name: restartsTopic(topic), partitions: 1 },
  ]);
  const producer = await openProducer({ brokers });
  const log = new LogReader({ brokers, clientId: "tideline-replay" });
  try {
    const lastRows = await (again ? startOver(log, producer, topic) : heldRows(log, topic));
    const replay = new Replay({ source, producer, topic, lastRows, total: Math.min(limit, source.rows) }, options);
    await replay.run();
    return replay.progress();
  } finally {
    await Promise.all([producer.close(), log.close()]);
  }
}

/** Records per `send` at full speed. The next ones are read at the same time. */
const recordsPerSend = 10_000;
const tickMs = 20;

/** What is replayed, and where to. */
interface ReplayWork {
  readonly source: FlightsSource;
  readonly producer: EventProducer;
  readonly topic: string;
  /** The last row that each partition holds. */
  readonly lastRows: LastRows;
  readonly total: number;
}

class Replay {
  readonly #source: FlightsSource;
  readonly #producer: EventProducer;
  readonly #topic: string;
  readonly #lastRows: LastRows;
  readonly #total: number;
  readonly #speed: ReplaySpeed;
  readonly #stop: AbortSignal;
  readonly #onProgress: (progress: ReplayProgress) => void;
  /** Airport -> partition: a hash an airport instead of one a row. */
  readonly #partitions = new Map<string, number>();
  readonly #beganMs = performance.now();
  #waiting: EventRecord[] = [];
  #underWay = Promise.resolve();
  #row: number;
  #sent = 0;
  #acknowledged = 0;

  constructor(
    { source, producer, topic, lastRows, total }: ReplayWork,
    { speed, stop, onProgress = () => {} }: ReplayOptions,
  ) {
    this.#source = source;
    this.#producer = producer;
    this.#topic = topic;
    this.#lastRows = lastRows;
    this.#total = total;
    this.#speed = speed;
    this.#stop = stop;
    this.#onProgress = onProgress;
    this.#row = Math.min(total, Math.min(...lastRows) + 1);
  }

  progress(): ReplayProgress {
    return {
      total: this.#total,
      row: this.#row,
      skipped: this.#row - this.#sent - this.#waiting.length,
      sent: this.#sent,
      acknowledged: this.#acknowledged,
      seconds: (performance.now() - this.#beganMs) / 1000,
    };
  }

  async run(): Promise<void> {
    const pace = this.#speed === "max" ? () => Number.POSITIVE_INFINITY : pacer(this.#speed);
    const least = this.#speed === "max" ? recordsPerSend : 1;
    for await (const chunk of this.#source.read(this.#row, this.#total)) {
      let rest = chunk;
      while (rest.length > 0 && !this.#stop.aborted) {
        rest = this.#take(rest, pace);
        if (this.#waiting.length >= least) await this.#send();
        this.#onProgress(this.progress());
        if (rest.length > 0) await pause(tickMs, { signal: this.#stop });
      }
      if (this.#stop.aborted) break;
    }
    await this.#send();
    await this.#underWay;
  }

  /**
   * Takes the flights that are due, those of them to be sent that their partition does not hold; gives back the others.
   */
  #take(flights: readonly SourceFlight[], pace: (eventMs: number) => number): readonly SourceFlight[] {
    const dueMs = pace(flights[0]?.departedAt ?? 0);
    const later = flights.findIndex(({ departedAt }) => departedAt > dueMs);
    const due = later < 0 ? flights : flights.slice(0, later);
    for (const { row, origin: key, json: value } of due) {
      const partition = this.#partitionOf(key);
      if (row > (this.#lastRows[partition] ?? -1)) this.#waiting.push({ key, value, partition });
    }
    this.#row += due.length;
    return flights.slice(due.length);
  }

  #partitionOf(airport: string): number {
    const partition = this.#partitions.get(airport) ?? partitionOf(airport, this.#lastRows.length);
    this.#partitions.set(airport, partition);
    return partition;
  }

  /**
   * Hands over what waits, and continues; waits for what was handed over before, so that nothing is sent behind
   * a gap.
   */
  async #send(): Promise<void> {
    await this.#underWay;
    const records = this.#waiting;
    if (records.length === 0) return;
    this.#waiting = [];
    this.#sent += records.length;
    this.#underWay = this.#producer.send(this.#topic, records).then(() => {
      this.#acknowledged += records.length;
    });
    this.#underWay.catch(() => {}); // thrown where it is awaited
  }
}

/**
 * Event time (epoch ms) that has come by now, when it passes `speed` times as fast as the clock, starting with the
 * first call's.
 */
function pacer(speed: number): (eventMs: number) => number {
  const beganMs = performance.now();
  let first: number | undefined;
  return (eventMs) => {
    first ??= eventMs;
    return first + (performance.now() - beganMs) * speed;
  };
}
