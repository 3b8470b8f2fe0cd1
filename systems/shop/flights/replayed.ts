import { z } from "zod";
import { isTidelineError, TidelineError } from "../../../core/errors.ts";
import { flights } from "../../../schemas/flights.ts";
import { partitionOf } from "../../../store/kafka/produce/partitioner.ts";
import type { EventProducer } from "../../../store/kafka/produce/producer.ts";
import type { LogReader } from "../../../store/kafka/read/log.ts";
import { lastOfEachPartition } from "../../../store/kafka/read/topic-tail.ts";

/**
 * Which rows a topic holds already, read off Kafka alone.
 *
 * A replay sends rows in ascending order; the producer keeps that order within a partition and never sends a batch
 * before the one ahead of it is acknowledged; Kafka appends a batch as a whole or not at all. So at any moment
 * partition p holds a prefix of the rows that belong to p: with `last(p)` its last row, it holds exactly the rows r <=
 * last(p) whose key falls into p. Row r is therefore still to be sent iff r > last(partition of r). This needs nothing
 * from the other partitions: it does not matter that they were acknowledged unevenly.
 *
 * A replay that starts over (`--again`) ends that: the last row no longer is the highest one. So before it sends
 * anything it notes what the partitions held in a topic of its own, and from then on `last(p)` is the higher one of the
 * noted row and the row at the end of p. The next one that starts over notes that again, so the newest note is enough.
 */

/** Partition -> the highest row that it holds; -1 when it holds none. */
export type LastRows = readonly number[];

/** Where the notes go of replays that start over; it has one partition. */
export function restartsTopic(topic: string): string {
  return `${topic}.restarts`;
}

/** The topic's id is part of it: what a topic held that was deleted and made again says nothing about the new one. */
const note = z.object({ topicId: z.string(), lastRows: z.array(z.number()) });

interface Tail {
  readonly row: number;
  readonly origin: string;
}

/** The row that a record of the topic holds; undefined for a record that no replay has written. */
export const readTail = (value: Buffer): Tail | undefined => parse(flights.contract, value);

const readNote = (value: Buffer) => parse(note, value);

function parse<T>(shape: z.ZodType<T>, value: Buffer): T | undefined {
  try {
    return shape.safeParse(JSON.parse(value.toString())).data;
  } catch {
    return undefined;
  }
}

/**
 * What `topic` holds. Throws TidelineError BAD_REQUEST when that cannot be told, because its number of partitions was
 * changed.
 */
export async function heldRows(log: LogReader, topic: string): Promise<LastRows> {
  const { id } = await log.topic(topic);
  const noted = (await lastOfEachPartition(log, restartsTopic(topic), readNote)).get(0);
  const tails = await lastOfEachPartition(log, topic, readTail);
  return resumeAfter(topic, tails, noted?.topicId === id ? noted.lastRows : undefined);
}

/** Notes what `topic` holds, and treats it as empty from there on. */
export async function startOver(log: LogReader, producer: EventProducer, topic: string): Promise<LastRows> {
  const { id: topicId, partitions } = await log.topic(topic);
  const empty = partitions.map(() => -1);
  const lastRows = await heldRows(log, topic).catch((error) => {
    if (isTidelineError(error, "BAD_REQUEST")) return empty;
    throw error;
  });
  await producer.send(restartsTopic(topic), [{ key: topic, value: JSON.stringify({ topicId, lastRows }) }]);
  return empty;
}

/** The highest row of each partition, from the rows at their ends and those that were noted. */
export function resumeAfter(topic: string, tails: ReadonlyMap<number, Tail | undefined>, noted?: LastRows): LastRows {
  const strayed = [...tails].some(([partition, tail]) => tail && partitionOf(tail.origin, tails.size) !== partition);
  if (strayed || (noted !== undefined && noted.length !== tails.size)) {
    throw new TidelineError(
      "BAD_REQUEST",
      `${topic} has ${tails.size} partitions, but was replayed into when it had ` +
        "fewer: rows lie where their keys no longer belong",
      "replay into another installation (TIDELINE_NAMESPACE), or send everything once more with --again",
    );
  }
  return Array.from({ length: tails.size }, (_, partition) =>
    Math.max(tails.get(partition)?.row ?? -1, noted?.[partition] ?? -1),
  );
}
