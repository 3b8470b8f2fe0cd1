import { z } from "zod";
import type { Stream } from "../../core/contract/stream.ts";
import { isTidelineError } from "../../core/errors.ts";
import { list } from "../../core/json-parts.ts";
import type { Position } from "../../core/log/position.ts";
import type { DuckPool } from "../../store/duckdb/duck.ts";
import { topicOf, unreachable } from "../../store/kafka/cluster/topics.ts";
import { type FetchedPartition, LogReader } from "../../store/kafka/read/log.ts";
import { followTopic } from "../../store/records/follow.ts";
import { type LogStart, positionsText, spanFrom } from "../../store/records/log-start.ts";
import { RecordJson, recordJson } from "../../store/records/record-json.ts";
import { openRecordReader, type ReadRecord } from "../../store/records/record-reader.ts";
import type { SchemaSource } from "../../store/registry/registry-schemas.ts";
import { OneByOne } from "../common/one-by-one.ts";
import { badRequest } from "../common/refusals.ts";

export interface StreamRecordsOptions {
  readonly brokers: string;
  readonly namespace: string;
  readonly pool: DuckPool;
  readonly schemas: SchemaSource;
}

export interface RecordsRequest {
  readonly stream: Stream;
  readonly start: LogStart;
  /** An SQL condition over the fields; null: every record. */
  readonly where: string | null;
  /** The most records on the page. */
  readonly limit: number;
}

/** The answer of GET /streams/:name/records. */
export const RecordsPage = z.object({
  stream: z.string(),
  topic: z.string(),
  records: list(RecordJson),
  next: z.string().describe("the value of at for the next page"),
  /** The end that the log had when the page was asked for. */
  atEnd: z.boolean().describe("whether the page reaches the end of the log"),
});
export type RecordsPage = z.infer<typeof RecordsPage>;

/** How many records a page has, and how far back it begins. */
export const RECORDS = { byDefault: 50, most: 1_000, mostLast: 100_000 } as const;

const MAX_WAITING = 8;
/** The most records that one page reads, and the most bytes that it has. `next` says where to continue. */
const MAX_SCANNED = 100_000;
const MAX_BYTES = 8_000_000;
const TIMEOUT_MS = 20_000;

/** Reads the records of the streams in the order of the log, a page at a time. One page is read after the other. */
export class StreamRecords {
  readonly #options: StreamRecordsOptions;
  readonly #log: LogReader;
  readonly #stopped = new AbortController();
  readonly #queue = new OneByOne(MAX_WAITING, "too many pages of records are waiting");

  constructor(options: StreamRecordsOptions) {
    this.#options = options;
    // A reader of its own, because a fetch delays the requests behind it on its connection.
    this.#log = new LogReader({ brokers: options.brokers, clientId: "tideline-serve-records" });
  }

  /** Throws BAD_REQUEST, NOT_READY while Kafka does not answer, TOO_MANY_REQUESTS when too many wait. */
  page(request: RecordsRequest): Promise<RecordsPage> {
    return this.#queue.run(() => this.#page(request));
  }

  async close(): Promise<void> {
    this.#stopped.abort();
    await this.#queue.drain();
    await this.#log.close();
  }

  async #page({ stream, start, where, limit }: RecordsRequest): Promise<RecordsPage> {
    const { pool, schemas, namespace, brokers } = this.#options;
    const topic = topicOf(namespace, stream);
    const stop = AbortSignal.any([this.#stopped.signal, AbortSignal.timeout(TIMEOUT_MS)]);
    const duck = await pool.connect();
    try {
      const reader = await openRecordReader(duck, stream, schemas, where);
      const span = await spanFrom(this.#log, topic, start);
      const page = new Page(limit);
      const positions = new Map(span.from);
      for await (const batch of followTopic(this.#log, topic, span, { stop, follow: false })) {
        page.add(batch, await reader.read(batch), positions);
        if (page.isFull) break;
      }
      const atEnd = !page.isFull && !stop.aborted;
      const next = positionsText(atEnd ? span.to : positions);
      return { stream: stream.name, topic, records: page.records, next, atEnd };
    } catch (error) {
      throw refused(error, brokers);
    } finally {
      duck.closeSync();
    }
  }
}

/** A page while it is being filled. */
class Page {
  readonly records: RecordJson[] = [];
  readonly #limit: number;
  #scanned = 0;
  #bytes = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.records.length >= this.#limit || this.#scanned >= MAX_SCANNED || this.#bytes >= MAX_BYTES;
  }

  /** Adds the records of a batch that fit, and moves `positions` to where the next page begins. */
  add(batch: readonly FetchedPartition[], found: readonly ReadRecord[], positions: Map<number, Position>): void {
    for (const { partition, records, to } of batch) {
      positions.set(partition, to);
      this.#scanned += records.length;
    }
    const left = new Set<number>();
    for (const record of found) {
      const { partition, offset, original, key } = record;
      if (left.has(partition)) continue;
      if (this.records.length < this.#limit && this.#bytes < MAX_BYTES) {
        this.records.push(recordJson(record));
        this.#bytes += (original?.length ?? 0) + (key?.length ?? 0);
      } else {
        left.add(partition);
        positions.set(partition, offset);
      }
    }
  }
}

function refused(error: unknown, brokers: string): unknown {
  if (isTidelineError(error, "BAD_REQUEST")) {
    const parameter = error.message.startsWith("where") ? "where" : "at";
    return badRequest([{ parameter, problem: error.message, allowed: error.hint }]);
  }
  return String((error as { code?: unknown }).code).startsWith("PLT_KFK") ? unreachable(brokers, error) : error;
}
