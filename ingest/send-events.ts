import { decodeOne } from "../core/decode.ts";
import { TidelineError } from "../core/errors.ts";
import type { Stream } from "../core/stream.ts";
import { type EventRecord, openProducer } from "../store/producer.ts";
import type { AvroEncoder } from "./avro-encoder.ts";
import type { Source, SourceRow } from "./send-rows.ts";

/** The first so many rows are looked at before anything is sent: a file of another kind is refused as a whole. */
export const LOOK_AHEAD_ROWS = 1_000;

export interface InvalidRow {
  readonly line: number;
  readonly reason: string;
}

export interface SendOptions {
  readonly brokers: string;
  readonly stream: Stream;
  readonly topic: string;
  /** Writes the events anew; without it they are sent as they came. */
  readonly encode?: AvroEncoder;
  /** Sends nothing. */
  readonly dryRun: boolean;
  /** Leaves out rows that the contract refuses, instead of stopping at the first one. */
  readonly skipInvalid: boolean;
  readonly stop: AbortSignal;
  readonly onInvalid: (row: InvalidRow) => void;
  readonly onProgress: (done: number) => void;
}

export interface SendResult {
  /** Rows that were read. */
  readonly rows: number;
  readonly valid: number;
  readonly invalid: number;
  /** Records that Kafka has acknowledged. */
  readonly sent: number;
  readonly seconds: number;
}

/**
 * Sends a source's events, keyed as the contract says. An invalid row among the first 1000 stops it before anything is sent; a later
 * one stops it there, and what came before has been sent: sending the corrected file again sends that twice, which the stream's
 * dedup window sees as duplicates where it reaches. Throws BAD_REQUEST for an invalid row, what `EventProducer.send` throws.
 */
export async function sendEvents(source: Source, options: SendOptions): Promise<SendResult> {
  const { brokers, dryRun, topic, stop, onProgress } = options;
  const producer = dryRun ? null : await openProducer({ brokers });
  const beganMs = performance.now();
  const sending = new Sending(options);
  let sent = 0;
  try {
    const flush = async () => {
      const records = sending.take();
      await producer?.send(topic, records);
      sent += dryRun ? 0 : records.length;
    };
    for await (const { rows, done } of source.pieces) {
      for (const row of rows) sending.look(row);
      if (sending.rows >= LOOK_AHEAD_ROWS) await flush();
      onProgress(done);
      if (stop.aborted) break;
    }
    await flush();
  } finally {
    await producer?.close();
  }
  const { rows, invalid } = sending;
  return { rows, valid: rows - invalid, invalid, sent, seconds: (performance.now() - beganMs) / 1000 };
}

/** What was read and not sent yet. */
class Sending {
  rows = 0;
  invalid = 0;
  readonly #options: SendOptions;
  #records: EventRecord[] = [];
  #sentBefore = 0;

  constructor(options: SendOptions) {
    this.#options = options;
  }

  /** Validates one row. Throws BAD_REQUEST unless invalid rows are to be skipped. */
  look({ line, value, refused }: SourceRow): void {
    const { stream, skipInvalid, dryRun, onInvalid } = this.#options;
    this.rows += 1;
    const made = refused ?? this.#record(value);
    if (typeof made !== "string") {
      this.#records.push(made);
      return;
    }
    this.invalid += 1;
    onInvalid({ line, reason: made });
    if (skipInvalid || dryRun) return;
    const before = this.#sentBefore === 0 ? "nothing was sent" : `the ${this.#sentBefore} valid rows before were sent`;
    throw new TidelineError(
      "BAD_REQUEST",
      `row ${line} does not fit the contract of ${stream.name}: ${made}; ${before}`,
      "Correct it, or leave invalid rows out with --skip-invalid; --dry-run lists them all. An instant is a number of epoch milliseconds, in CSV and Parquet also an ISO 8601 time; a missing value is an empty one, not NA.",
    );
  }

  /** The record of a row, or why there is none. */
  #record(value: Buffer): EventRecord | string {
    const { stream, encode } = this.#options;
    const decoded = decodeOne(stream, value);
    if (!decoded.ok) return decoded.reject;
    const event = JSON.parse(value.toString()) as Record<string, unknown>;
    const key = event[stream.key];
    if (key === undefined)
      return `version ${decoded.version} has no ${stream.key}, which is the key: send the newest version`;
    return { key: String(key), value: encode === undefined ? value : encode(decoded.version, event) };
  }

  take(): EventRecord[] {
    const taken = this.#records;
    this.#records = [];
    this.#sentBefore += taken.length;
    return taken;
  }
}
