import { setTimeout as sleep } from "node:timers/promises";
import type { Stream } from "../../core/contract/stream.ts";
import { partOf } from "../../core/contract/wire.ts";
import { TidelineError } from "../../core/errors.ts";
import { type Cut, position } from "../../core/log/position.ts";
import {
  type Acknowledged,
  type EventProducer,
  type EventRecord,
  openProducer,
} from "../../store/kafka/produce/producer.ts";
import type { AvroEncoder } from "./avro-encoder.ts";
import { EventMaker, isRefusal } from "./event-maker.ts";
import { type InvalidRow, type Refusal, refusalText } from "./refusal.ts";
import type { Source, SourceRow } from "./source.ts";
import { PLAIN_FORMS, type ValueForms } from "./value-forms.ts";

/** Rows that are checked before the first one is sent, so that a file of another kind is refused as a whole. */
export const LOOK_AHEAD_ROWS = 1_000;

/** The most pieces of records that may wait for Kafka while more rows are read. */
const PIECES_UNDER_WAY = 512;
/** The most bytes of these pieces. */
const BYTES_UNDER_WAY = 64 * 1024 * 1024;

/** How long the first rows of a pipe wait for further rows to be checked together with them. */
const LIVE_PATIENCE_MS = 500;

export interface SendOptions {
  readonly brokers: string;
  readonly stream: Stream;
  readonly topic: string;
  /** The name of the source, for errors. */
  readonly file: string;
  /** How values are written in the source. */
  readonly forms?: ValueForms;
  /** Encodes the events as Avro; absent: events are sent as JSON. */
  readonly encode?: AvroEncoder;
  /** Sends nothing. */
  readonly dryRun: boolean;
  /** Leaves out rows that the contract refuses, instead of stopping at the first one. */
  readonly skipInvalid: boolean;
  readonly stop: AbortSignal;
  /** Called for an invalid row that is left out. */
  readonly onInvalid: (row: InvalidRow) => void;
  readonly onProgress: (done: number) => void;
  /** Called for something that is allowed, but is probably wrong. */
  readonly onWarning?: (warning: string) => void;
}

export interface SendResult {
  /** The number of rows that were read. */
  readonly rows: number;
  readonly valid: number;
  readonly invalid: number;
  /** The number of records that Kafka has acknowledged. */
  readonly sent: number;
  readonly seconds: number;
  /**
   * The position behind the last record in each partition that got one. An answer that has reached these positions
   * includes all sent records.
   */
  readonly reached: Cut;
}

/** Throws BAD_REQUEST for a stream with fields outside of its records' values. */
function requireValues({ name, fields }: Stream): void {
  const part = Object.values(fields).find(({ spec }) => partOf(spec) !== null);
  if (part === undefined) return;
  const message = `${name} reads fields from keys, headers or other parts of records, which only their producer writes`;
  throw new TidelineError("BAD_REQUEST", message, "Send its records with a Kafka client.");
}

/**
 * Sends a source's events, keyed as the contract says. An invalid row among the first 1000 stops it before anything is
 * sent. A later invalid row stops it there, after all rows before were sent. Sending the corrected file then sends
 * those rows again; the stream's dedup window finds them as duplicates as far as it reaches. For a pipe, only the rows
 * of the first half second are checked before the first is sent, and at most 1000; later rows are sent as they come.
 * Throws BAD_REQUEST for an invalid row, and the errors of `EventProducer.send`.
 */
export async function sendEvents(source: Source, options: SendOptions): Promise<SendResult> {
  const { brokers, dryRun, topic, stop, onProgress } = options;
  requireValues(options.stream);
  const producer = dryRun ? null : await openProducer({ brokers });
  const beganMs = performance.now();
  const rows = new Rows(options, source.columns);
  const sending = new Sending(producer, topic);
  try {
    const patience = () => (source.isLive ? rows.patienceMs() : null);
    for await (const step of untilStopped(source.pieces, stop, patience)) {
      if (step === "late") {
        await sending.send(rows.take());
        continue;
      }
      const { rows: piece, done } = step;
      try {
        for (const row of piece) rows.add(row);
      } catch (error) {
        // The rows before are sent, unless they were only checked. If Kafka refuses them, its error is thrown instead.
        if (rows.isUnderWay) await sending.send(rows.take());
        await sending.end();
        throw error;
      }
      if (rows.isUnderWay || rows.read >= LOOK_AHEAD_ROWS) await sending.send(rows.take());
      onProgress(done);
    }
    await sending.send(rows.take());
    await sending.end();
  } finally {
    await producer?.close();
  }
  const { read, invalid } = rows;
  const seconds = (performance.now() - beganMs) / 1_000;
  return { rows: read, valid: read - invalid, invalid, sent: sending.sent, seconds, reached: sending.reached };
}

/**
 * Yields the values of `pieces` until `stop` is aborted, even while the next one is awaited. Yields "late" when the
 * next one takes longer than `patience` returns, in milliseconds; null: no limit. This does not close `pieces`: the
 * caller that opened it does.
 */
async function* untilStopped<T>(
  pieces: AsyncIterable<T>,
  stop: AbortSignal,
  patience: () => number | null,
): AsyncIterable<T | "late"> {
  const stopped = new Promise<null>((resolve) => stop.addEventListener("abort", () => resolve(null), { once: true }));
  const source = pieces[Symbol.asyncIterator]();
  let next: Promise<IteratorResult<T>> | null = null;
  while (!stop.aborted) {
    next ??= source.next();
    // After a stop the input is closed, and this promise is not awaited.
    next.catch(() => {});
    const ms = patience();
    const step = await Promise.race(
      ms === null ? [next, stopped] : [next, stopped, sleep(ms, "late" as const, { ref: false })],
    );
    if (step === null || (step !== "late" && step.done === true)) return;
    if (step !== "late") next = null;
    yield step === "late" ? step : step.value;
  }
}

/** Sends records to Kafka and counts those that are acknowledged. */
class Sending {
  readonly reached = new Map<number, ReturnType<typeof position>>();
  sent = 0;
  readonly #producer: EventProducer | null;
  readonly #topic: string;
  readonly #underWay: { readonly sent: Promise<void>; readonly bytes: number }[] = [];
  #bytes = 0;

  constructor(producer: EventProducer | null, topic: string) {
    this.#producer = producer;
    this.#topic = topic;
  }

  /** Sends records, and waits while too many are unacknowledged. */
  async send(records: readonly EventRecord[]): Promise<void> {
    if (this.#producer === null || records.length === 0) return;
    const sent = this.#producer
      .send(this.#topic, records)
      .then((acknowledged) => this.#acknowledged(records.length, acknowledged));
    // The promise is awaited later. Until then a failure must not count as unhandled.
    sent.catch(() => {});
    const bytes = records.reduce((sum, { value }) => sum + (value?.length ?? 0), 0);
    this.#underWay.push({ sent, bytes });
    this.#bytes += bytes;
    while (this.#underWay.length >= PIECES_UNDER_WAY || this.#bytes > BYTES_UNDER_WAY) await this.#first();
  }

  async end(): Promise<void> {
    while (this.#underWay.length > 0) await this.#first();
  }

  /** Waits until the oldest records are acknowledged. */
  async #first(): Promise<void> {
    const first = this.#underWay.shift();
    await first?.sent;
    this.#bytes -= first?.bytes ?? 0;
  }

  #acknowledged(count: number, acknowledged: Acknowledged): void {
    this.sent += count;
    for (const [partition, offset] of acknowledged) {
      const behind = position(offset + 1n);
      if (behind > (this.reached.get(partition) ?? -1n)) this.reached.set(partition, behind);
    }
  }
}

/** The rows that were read and not sent yet. */
class Rows {
  read = 0;
  invalid = 0;
  readonly #options: SendOptions;
  readonly #maker: EventMaker;
  #records: EventRecord[] = [];
  /** Since when there are unsent records; null if there are none. */
  #heldSinceMs: number | null = null;
  #takenBefore = 0;

  constructor(options: SendOptions, columns: readonly string[]) {
    this.#options = options;
    const { stream, encode, forms = PLAIN_FORMS } = options;
    this.#maker = new EventMaker({ stream, forms, ...(encode === undefined ? {} : { encode }) }, columns);
  }

  /** Makes a record of one row. Throws BAD_REQUEST for an invalid row, unless invalid rows are to be skipped. */
  add(row: SourceRow): void {
    this.read += 1;
    const made =
      "cells" in row ? this.#maker.ofCells(row.cells) : "json" in row ? this.#maker.ofJson(row.json) : row.refused;
    if (isRefusal(made)) this.#refuse(row, made);
    else this.#records.push(made);
    if (this.#records.length > 0) this.#heldSinceMs ??= performance.now();
  }

  /** Returns how long the unsent records may still wait, in milliseconds; null if there are none. */
  patienceMs(): number | null {
    if (this.#heldSinceMs === null) return null;
    return Math.max(0, this.#heldSinceMs + LIVE_PATIENCE_MS - performance.now());
  }

  /** Whether rows were taken to be sent. */
  get isUnderWay(): boolean {
    return this.#takenBefore > 0;
  }

  #refuse(source: SourceRow, refusal: Refusal): void {
    const { row, line } = source;
    const { stream, file, skipInvalid, dryRun, onInvalid } = this.#options;
    const isEnd = "isEnd" in source && source.isEnd === true;
    this.invalid += 1;
    const invalid = { row, ...(line === undefined ? {} : { line }), ...refusal };
    if ((skipInvalid || dryRun) && !isEnd) {
      onInvalid(invalid);
      return;
    }
    const sent = this.#takenBefore === 0 ? 0 : this.#takenBefore + this.#records.length;
    const before = sent === 0 || dryRun ? "nothing was sent" : `the ${sent} valid rows before were sent`;
    throw new TidelineError(
      "BAD_REQUEST",
      `${file}, ${refusalText(invalid)} ` +
        `(stream ${stream.name}; ${before}${isEnd ? ", and the rest was not read" : ""})`,
      isEnd
        ? "Correct it: what follows cannot be told apart, so it cannot be left out."
        : "Correct it, or leave invalid rows out with --skip-invalid; --dry-run lists them all.",
    );
  }

  /** Returns the records that were made since the last call. */
  take(): EventRecord[] {
    const taken = this.#records;
    this.#records = [];
    this.#heldSinceMs = null;
    if (this.#takenBefore === 0) this.#warn(taken);
    this.#takenBefore += taken.length;
    return taken;
  }

  /** Warns if all times are in January 1970: they may be seconds, or dates such as 20260301, taken for milliseconds. */
  #warn(records: readonly EventRecord[]): void {
    const { stream, encode, onWarning } = this.#options;
    if (encode !== undefined || records.length === 0) return;
    const times = records
      .slice(0, LOOK_AHEAD_ROWS)
      .map(({ value }) => (JSON.parse(String(value)) as Record<string, number>)[stream.eventTime]);
    if (times.every((time) => time !== undefined && time >= 0 && time < JANUARY_1970_ENDS_MS))
      onWarning?.(
        `the first ${times.length} events all lie in January 1970, the first ` +
          `${new Date(times[0] ?? 0).toISOString()}: if ${stream.eventTime} holds no milliseconds, say what with ` +
          "--times",
      );
  }
}

const JANUARY_1970_ENDS_MS = 31 * 86_400_000;
