import { setTimeout as sleep } from "node:timers/promises";
import { TidelineError } from "../core/errors.ts";
import { flights } from "../schemas/flights.ts";
import { type EventProducer, type EventRecord, openProducer, partitionOf } from "../store/producer.ts";
import { deadLetterTopic, ensureTopics, lastOfEachPartition, topicName } from "../store/topics.ts";
import { type FlightsChunk, type FlightsSource, flightsFile, openFlights } from "./flights.ts";

/**
 * Replays the flights of 2001, and goes on where an earlier replay was cut off, even in the middle of a batch.
 *
 * What is still to be sent is read off the topic itself. A replay sends rows in ascending order; the producer keeps
 * that order within a partition and never sends a batch before the one ahead of it is acknowledged; Kafka appends a batch as a
 * whole or not at all. So at any moment partition p holds a prefix of the rows that belong to p: with `last(p)` its last row,
 * it holds exactly the rows r <= last(p) whose key falls into p. Row r is therefore sent iff r > last(partition of r), and this
 * needs nothing from the other partitions: it does not matter that they were acknowledged unevenly.
 *
 * One thing is left to the stream's dedup window: a batch that the killed process had handed to the network may be appended
 * after the next replay has looked. Its rows are sent again then, at most one batch behind, far within the window.
 */

/** How fast event time passes: as fast as it goes, or so many times as fast as the clock. */
export type ReplaySpeed = number | "max";

export interface ReplayOptions {
  readonly brokers: string;
  readonly namespace: string;
  readonly speed: ReplaySpeed;
  /** Only the first so many rows of the source; by default all. */
  readonly limit?: number;
  /** Sends what the topic holds already once more, from row 0. */
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

/** Partition -> the last row that it holds; -1 when it holds none. */
export type LastRows = readonly number[];

/** Replays `flights`. On `stop` it waits for what was sent; the next replay goes on from there. */
export async function replayFlights(options: ReplayOptions): Promise<ReplayProgress> {
  const { brokers, namespace, again, limit = Number.POSITIVE_INFINITY } = options;
  const source = await openFlights(flightsFile());
  try {
    const topic = topicName(namespace, flights.name);
    await ensureTopics(brokers, [
      { name: topic, partitions: flights.partitions },
      { name: deadLetterTopic(topic), partitions: 1 },
    ]);
    const tails = await lastOfEachPartition(brokers, topic, readTail);
    const lastRows = again ? Array.from(tails, () => -1) : resumeAfter(topic, tails);
    const producer = await openProducer({ brokers });
    const replay = new Replay(source, producer, topic, lastRows, Math.min(limit, source.rows), options);
    try {
      await replay.run();
    } finally {
      await producer.close();
    }
    return replay.progress();
  } finally {
    source.close();
  }
}

interface Tail {
  readonly row: number;
  readonly origin: string;
}

/** The row that a record of the topic holds; undefined for a record that no replay has written. */
export function readTail(value: Buffer): Tail | undefined {
  try {
    const flight = flights.contract.safeParse(JSON.parse(value.toString()));
    return flight.success ? flight.data : undefined;
  } catch {
    return undefined;
  }
}

/**
 * The last row of each partition. Throws TidelineError BAD_REQUEST when a partition ends with a row that belongs to another:
 * the number of partitions was changed, and what the topic holds cannot be told from its tails.
 */
export function resumeAfter(topic: string, tails: ReadonlyMap<number, Tail | undefined>): LastRows {
  return Array.from({ length: tails.size }, (_, partition) => {
    const tail = tails.get(partition);
    if (tail === undefined) return -1;
    const home = partitionOf(tail.origin, tails.size);
    if (home === partition) return tail.row;
    throw new TidelineError(
      "BAD_REQUEST",
      `partition ${partition} of ${topic} ends with row ${tail.row} (${tail.origin}), which belongs to partition ${home}: ` +
        "partitions were added to the topic after a replay",
      "replay into another installation (TIDELINE_NAMESPACE), or send everything once more with --again",
    );
  });
}

/** Records per `send`; the producer cuts them into batches of at most 1 MB. */
const recordsPerSend = 5_000;
const tickMs = 20;

class Replay {
  readonly #source: FlightsSource;
  readonly #producer: EventProducer;
  readonly #topic: string;
  readonly #lastRows: LastRows;
  readonly #total: number;
  readonly #speed: ReplaySpeed;
  readonly #stop: AbortSignal;
  readonly #onProgress: (progress: ReplayProgress) => void;
  /** Airport -> partition: a murmur2 an airport instead of one a row. */
  readonly #partitions: readonly number[];
  readonly #waiting: EventRecord[][];
  readonly #beganMs = performance.now();
  #row: number;
  #sent = 0;
  #acknowledged = 0;

  constructor(
    source: FlightsSource,
    producer: EventProducer,
    topic: string,
    lastRows: LastRows,
    total: number,
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
    this.#partitions = source.airports.map((airport) => partitionOf(airport, lastRows.length));
    this.#waiting = lastRows.map(() => []);
    this.#row = Math.min(total, Math.min(...lastRows) + 1);
  }

  progress(): ReplayProgress {
    return {
      total: this.#total,
      row: this.#row,
      skipped: this.#row - this.#sent,
      sent: this.#sent,
      acknowledged: this.#acknowledged,
      seconds: (performance.now() - this.#beganMs) / 1000,
    };
  }

  async run(): Promise<void> {
    const pace = this.#speed === "max" ? () => Number.POSITIVE_INFINITY : pacer(this.#speed);
    const least = this.#speed === "max" ? recordsPerSend : 1;
    for await (const chunk of this.#source.read(this.#row, this.#total)) {
      for (let i = 0; i < chunk.size && !this.#stop.aborted; ) {
        const dueMs = pace(chunk.departedAt(i));
        const now = Date.now();
        for (; i < chunk.size && chunk.departedAt(i) <= dueMs; i++) this.#take(chunk, i, now);
        await this.#flush(least);
        this.#onProgress(this.progress());
        if (i < chunk.size) await sleep(tickMs, undefined, { signal: this.#stop }).catch(() => {});
      }
      if (this.#stop.aborted) break;
    }
    await this.#flush(1);
  }

  /** Puts flight `i` of `chunk` where it will be sent from, unless its partition holds it already. */
  #take(chunk: FlightsChunk, i: number, timestamp: number): void {
    const row = chunk.firstRow + i;
    const airport = chunk.origin(i);
    const partition = this.#partitions[airport] ?? 0;
    this.#row = row + 1;
    if (row <= (this.#lastRows[partition] ?? -1)) return;
    this.#sent++;
    const key = this.#source.airports[airport] ?? "";
    this.#waiting[partition]?.push({ key, value: chunk.json(i), partition, timestamp });
  }

  /** Sends what waits for each partition for which at least `least` records wait. */
  async #flush(least: number): Promise<void> {
    for (const [partition, records] of this.#waiting.entries()) {
      if (records.length < least) continue;
      this.#waiting[partition] = [];
      await this.#producer.ready();
      const acknowledge = () => {
        this.#acknowledged += records.length;
      };
      this.#producer.send(this.#topic, records).then(acknowledge, () => {}); // what fails here is thrown by ready() or close()
    }
  }
}

/** Event time (epoch ms) that has come by now, when it passes `speed` times as fast as the clock, starting with the first call's. */
function pacer(speed: number): (eventMs: number) => number {
  const beganMs = performance.now();
  let first: number | undefined;
  return (eventMs) => {
    first ??= eventMs;
    return first + (performance.now() - beganMs) * speed;
  };
}
