import { type AlertEvent, alertEventFrom } from "../core/alerts/alert.ts";
import { type GroupSeal, sealFrom, sealKey, sealText } from "../core/alerts/group-seal.ts";
import { positionsKey, positionsText, type RulePosition, startOf } from "../core/alerts/rule-positions.ts";
import { isFor, positionsOf } from "../core/alerts/undelivered.ts";
import { alerts } from "../core/contract/alerts.ts";
import type { Delivery } from "../core/definition/delivery.ts";
import { isDuring } from "../core/definition/during.ts";
import { TidelineError } from "../core/errors.ts";
import { at, type Cut, type Position } from "../core/log/position.ts";
import { VALID } from "../core/state/compile.ts";
import { readPositionRecord, readRulePositions } from "../store/alerts/read-positions.ts";
import type { DecodedBatch } from "../store/decode/decoded-batch.ts";
import { Decoder } from "../store/decode/decoder.ts";
import { type DedupSources, warmDedup } from "../store/decode/warm-dedup.ts";
import type { Duck } from "../store/duckdb/duck.ts";
import { TransactionalProducer, type TransactionRecord } from "../store/kafka/produce/transactional.ts";
import type { FetchedPartition, LogReader } from "../store/kafka/read/log.ts";

export interface AlertLogDeps {
  readonly delivery: Delivery;
  readonly brokers: string;
  readonly topics: { readonly alerts: string; readonly positions: string; readonly undelivered: string };
  /** A reader of this delivery alone, because its fetches wait. */
  readonly log: LogReader;
  readonly duck: Duck;
  readonly dedup: DedupSources;
}

/** An alert for the delivery, with its place in the log. */
export interface FoundAlert {
  readonly event: AlertEvent;
  readonly partition: number;
  readonly offset: bigint;
  readonly writtenAtMs: number;
}

const FETCH_BYTES = 1024 * 1024;
/** The least time between two writes of a position that moved without an alert for the delivery. */
const POSITION_EVERY_MS = 5_000;

/**
 * The alerts that a delivery reads of some partitions, and its positions. If several processes read the same partition,
 * only the last one to open it can write a position.
 */
export class AlertLog {
  readonly #deps: AlertLogDeps;
  readonly #decoder: Decoder;
  readonly #topicId: string;
  readonly #producers: ReadonlyMap<number, TransactionalProducer>;
  readonly #held = new Map<number, RulePosition>();
  /** The positions that are stored in Kafka. */
  readonly #written = new Map<number, Position>();
  #flushedAtMs = Number.NEGATIVE_INFINITY;

  private constructor(
    deps: AlertLogDeps,
    decoder: Decoder,
    topicId: string,
    producers: ReadonlyMap<number, TransactionalProducer>,
  ) {
    this.#deps = deps;
    this.#decoder = decoder;
    this.#topicId = topicId;
    this.#producers = producers;
  }

  /**
   * Ends other processes' writers of the partitions, reads the positions, and passes the log to `work`. Throws
   * LOG_TRUNCATED, and errors of Kafka and DuckDB.
   */
  static async use(
    deps: AlertLogDeps,
    partitions: readonly number[],
    signal: AbortSignal,
    work: (log: AlertLog) => Promise<void>,
  ): Promise<void> {
    const { delivery, brokers, topics, log, dedup, duck } = deps;
    const producers = new Map<number, TransactionalProducer>();
    try {
      for (const partition of partitions) {
        const id = `tideline-deliveries-${topics.alerts}-${delivery.name}-${partition}`;
        producers.set(partition, await TransactionalProducer.open(brokers, "tideline-deliveries", id));
      }
      const { id: topicId } = await log.topic(topics.alerts);
      const decoder = await Decoder.open(duck, alerts, dedup.schemas);
      try {
        const opened = new AlertLog(deps, decoder, topicId, producers);
        await opened.#begin(signal);
        await work(opened);
      } finally {
        decoder.close();
      }
    } finally {
      await Promise.all([...producers.values()].map((producer) => producer.close()));
    }
  }

  /** The next offset to read of each partition. */
  get positions(): Cut {
    return new Map([...this.#held].map(([partition, { next }]) => [partition, next]));
  }

  /** Does one fetch of the partitions in `from`. Returns the partitions that had records. */
  async fetch(from: Cut, maxWaitMs: number): Promise<FetchedPartition[]> {
    const limits = { maxWaitMs, maxBytes: FETCH_BYTES };
    const fetched = await this.#deps.log.fetch(this.#deps.topics.alerts, from, limits);
    return fetched.filter(({ from, to }) => to > from);
  }

  /**
   * Returns the alerts for this delivery among fetched records: records that decode, are not duplicates, and were
   * written in the interval that the delivery takes. Pass the records in the order of the log, each once.
   */
  async alertsIn(batch: readonly FetchedPartition[]): Promise<FoundAlert[]> {
    if (batch.length === 0) return [];
    const valid = await this.#validOffsets(await this.#decoder.decode(batch));
    return batch.flatMap(({ partition, records }) =>
      [...records.offsets.entries()].flatMap(([index, offset]) => {
        const event = valid.get(partition)?.has(offset) ? alertEventFrom(records.value(index)) : null;
        const writtenAtMs = records.timestampMs(index);
        return event !== null && this.#takes(event, writtenAtMs) ? [{ event, partition, offset, writtenAtMs }] : [];
      }),
    );
  }

  /** Returns the alerts from the positions up to `to`. */
  async alertsUpTo(to: Cut, signal: AbortSignal): Promise<FoundAlert[]> {
    const { log, topics } = this.#deps;
    const found: FoundAlert[] = [];
    for (const [partition, next] of this.positions) {
      const end = at(to, partition);
      if (next >= end) continue;
      const span = { partition, from: next, to: end };
      for await (const one of log.read(topics.alerts, span, { maxBytes: FETCH_BYTES, signal }))
        for (const alert of await this.alertsIn([one])) found.push(alert);
    }
    return found;
  }

  /**
   * Moves the position past events that are not for this delivery. `flush`, or the next `commit` of the partition,
   * writes it.
   */
  pass(partition: number, next: Position): void {
    const held = this.#held.get(partition);
    if (held !== undefined) this.#held.set(partition, { ...held, next });
  }

  /** Writes the positions moved by `pass`, every few seconds, so that other processes see the delivery's progress. */
  async flush(nowMs: number): Promise<void> {
    if (nowMs - this.#flushedAtMs < POSITION_EVERY_MS) return;
    this.#flushedAtMs = nowMs;
    // Write each position with its own partition's producer: another process may own some of the partitions by now.
    for (const [partition, next] of this.positions)
      if (next !== this.#written.get(partition)) await this.commit(new Map([[partition, next]]), []);
  }

  /**
   * Writes the positions, `records` and the groups' seal in one transaction. `seal`: null deletes the stored one,
   * absent leaves it.
   */
  async commit(moved: Cut, records: readonly TransactionRecord[], seal?: GroupSeal | null): Promise<void> {
    const { delivery, topics } = this.#deps;
    const next = new Map<number, RulePosition>();
    for (const [partition, to] of moved) {
      const held = this.#held.get(partition);
      if (held !== undefined) next.set(partition, to > held.next ? { ...held, next: to } : held);
    }
    const positions = [...next].map(([partition, held]) => {
      const stored = { stream: positionsOf(delivery.name), partition, rules: new Map([[delivery.name, held]]) };
      return { topic: topics.positions, partition: 0, key: positionsKey(stored), value: positionsText(stored) };
    });
    const sealed: TransactionRecord[] = seal === undefined ? [] : [this.#sealRecord(seal)];
    // Any producer will do: when several partitions move together, one process has all of them or none.
    const [first] = [...(moved.size > 0 ? moved.keys() : this.#producers.keys())];
    await this.#producers.get(first ?? -1)?.commit([...records, ...positions, ...sealed]);
    for (const [partition, held] of next) {
      this.#held.set(partition, held);
      this.#written.set(partition, held.next);
    }
  }

  /**
   * Returns the seal of groups that are being handed over. Null if there is none, or if it belongs to a topic that was
   * deleted and created again.
   */
  async seal(signal: AbortSignal): Promise<GroupSeal | null> {
    const { delivery, topics, log } = this.#deps;
    const seal = sealFrom(await readPositionRecord(log, topics.positions, sealKey(delivery.name), signal));
    return seal?.topicId === this.#topicId ? seal : null;
  }

  sealOf(to: Cut, done: readonly string[]): GroupSeal {
    return { delivery: this.#deps.delivery.name, topicId: this.#topicId, to, done };
  }

  #sealRecord(seal: GroupSeal | null): TransactionRecord {
    const place = { topic: this.#deps.topics.positions, partition: 0, key: sealKey(this.#deps.delivery.name) };
    return seal === null ? place : { ...place, value: sealText(seal) };
  }

  #takes(event: AlertEvent, writtenAtMs: number): boolean {
    const { delivery } = this.#deps;
    return isFor(delivery, event) && (delivery.during === null || isDuring(delivery.during, writtenAtMs));
  }

  async #begin(signal: AbortSignal): Promise<void> {
    const { delivery, topics, log, dedup } = this.#deps;
    const all = await readRulePositions(log, topics.positions, signal);
    const stored = [...all.values()].filter(({ stream }) => stream === positionsOf(delivery.name));
    const { start, stable } = await log.bounds(topics.alerts);
    const topic = { topicId: this.#topicId, partitions: stable.size };
    for (const partition of this.#producers.keys()) {
      const place = { rule: delivery.name, from: delivery.from, partition, stored, ...topic };
      const log = { start: at(start, partition), stable: at(stable, partition) };
      const { isNew, ...found } = startOf({ ...place, ...log });
      const held = heldIn(delivery, found, { partition, topicId: this.#topicId, ...log });
      this.#held.set(partition, held);
      this.#written.set(partition, held.next);
      if (isNew || held !== found) await this.commit(new Map([[partition, held.next]]), []);
      const window = { topic: topics.alerts, topicId: this.#topicId, partition, stream: alerts, before: held.next };
      await warmDedup(dedup, this.#decoder, window);
    }
  }

  /** Returns the offsets of the events that decode and are not duplicates, by partition. */
  async #validOffsets({ relation }: DecodedBatch): Promise<Map<number, Set<bigint>>> {
    const found = new Map<number, Set<bigint>>();
    const asked = `SELECT _partition, _offset FROM ${relation} WHERE ${VALID}`;
    for (const [partition, offset] of await this.#decoder.statements.rows(asked)) {
      const offsets = found.get(Number(partition)) ?? new Set();
      found.set(Number(partition), offsets.add(BigInt(offset as bigint)));
    }
    return found;
  }
}

/**
 * Returns the position at which a delivery continues. Alerts that Kafka has deleted, or that were lost with their
 * topic, cannot be handed over any more, so it continues at the first that is there. Throws LOG_TRUNCATED when the log
 * ends before the position.
 */
function heldIn(
  { name }: Delivery,
  held: RulePosition,
  log: { readonly partition: number; readonly topicId: string; readonly start: Position; readonly stable: Position },
): RulePosition {
  const { partition, topicId, start, stable } = log;
  if (held.topicId !== topicId) return { ...held, topicId, next: start };
  if (held.next < start) return { ...held, next: start };
  if (held.next <= stable) return held;
  throw new TidelineError(
    "LOG_TRUNCATED",
    `${name}: partition ${partition} of the alerts ends at ${stable}, below ` +
      `${held.next}, which the delivery had reached`,
    "See whether Kafka has lost records. Under another name the delivery begins again.",
  );
}
