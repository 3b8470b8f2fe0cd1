import { type AlertEvent, alertEventFrom } from "../core/alerts/alert.ts";
import { type AlertStates, shownAlert } from "../core/alerts/alert-states.ts";
import { positionsKey, positionsText, type RulePosition, startOf } from "../core/alerts/rule-positions.ts";
import { isFor, positionsOf, UNDELIVERED, undeliveredKey } from "../core/alerts/undelivered.ts";
import { alerts } from "../core/contract/alerts.ts";
import type { Delivery } from "../core/definition/delivery.ts";
import { TidelineError } from "../core/errors.ts";
import { at, type Position, position } from "../core/log/position.ts";
import { VALID } from "../core/state/compile.ts";
import { readRulePositions } from "../store/alerts/read-positions.ts";
import { Decoder } from "../store/decode/decoder.ts";
import { type DedupSources, warmDedup } from "../store/decode/warm-dedup.ts";
import type { Duck } from "../store/duckdb/duck.ts";
import { TransactionalProducer, type TransactionRecord } from "../store/kafka/produce/transactional.ts";
import type { FetchedPartition, LogReader } from "../store/kafka/read/log.ts";
import type { Attempts } from "./attempts.ts";
import type { DeliveryMetrics } from "./metrics.ts";

export interface DeliveryLaneDeps {
  readonly delivery: Delivery;
  readonly brokers: string;
  readonly topics: { readonly alerts: string; readonly positions: string; readonly undelivered: string };
  /** Its own: fetches wait. */
  readonly log: LogReader;
  readonly duck: Duck;
  readonly dedup: DedupSources;
  readonly attempts: Attempts;
  /** Which rules are silenced, and which alerts somebody looks after. */
  readonly states: () => AlertStates;
  readonly metrics: DeliveryMetrics;
  readonly onDone: (failure: string | null) => void;
  /** The receiver fails so often that nothing is tried for a while, and the alerts wait. */
  readonly onBroken: (reason: string) => void;
  readonly nowMs: () => number;
}

const WAIT_MS = 500;
const FETCH_BYTES = 1024 * 1024;

/**
 * One delivery on some partitions of the alerts. An alert is handed over, and then how far the delivery is, with the
 * dead letter if there is one, is written in one transaction. A process that is killed in between hands the alert over
 * again, with the same id.
 */
export class DeliveryLane {
  readonly #deps: DeliveryLaneDeps;
  readonly #decoder: Decoder;
  readonly #topicId: string;
  readonly #producers: ReadonlyMap<number, TransactionalProducer>;
  readonly #held = new Map<number, RulePosition>();

  private constructor(
    deps: DeliveryLaneDeps,
    decoder: Decoder,
    topicId: string,
    producers: ReadonlyMap<number, TransactionalProducer>,
  ) {
    this.#deps = deps;
    this.#decoder = decoder;
    this.#topicId = topicId;
    this.#producers = producers;
  }

  /** Works until `signal` is aborted; throws what fails in Kafka or DuckDB: begin again from what is stored then. */
  static async run(deps: DeliveryLaneDeps, partitions: readonly number[], signal: AbortSignal): Promise<void> {
    const { delivery, brokers, topics, log, dedup, duck } = deps;
    const producers = new Map<number, TransactionalProducer>();
    try {
      for (const partition of partitions) {
        const id = `tideline-deliveries-${topics.alerts}-${delivery.name}-${partition}`;
        producers.set(partition, await TransactionalProducer.open(brokers, "tideline-deliveries", id));
      }
      const { id: topicId } = await log.topic(topics.alerts);
      const lane = new DeliveryLane(deps, await Decoder.open(duck, alerts, dedup.schemas), topicId, producers);
      await lane.#begin(signal);
      while (!signal.aborted) await lane.#step(signal);
    } finally {
      await Promise.all([...producers.values()].map((producer) => producer.close()));
    }
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
      if (isNew || held !== found) await this.#commit(partition, held.next, []);
      const window = { topic: topics.alerts, topicId: this.#topicId, partition, stream: alerts, before: held.next };
      await warmDedup(dedup, this.#decoder, window);
    }
  }

  async #step(signal: AbortSignal): Promise<void> {
    const { log, topics } = this.#deps;
    const wanted = new Map([...this.#held].map(([partition, { next }]) => [partition, next]));
    const fetched = await log.fetch(topics.alerts, wanted, { maxWaitMs: WAIT_MS, maxBytes: FETCH_BYTES });
    const batch = fetched.filter(({ from, to }) => to > from);
    if (batch.length === 0) return;
    await this.#decoder.decode(batch);
    const valid = await this.#validOffsets();
    for (const one of batch) await this.#deliver(one, valid.get(one.partition) ?? new Set(), signal);
  }

  /** Offsets of the events that decode and are no duplicates, by partition. */
  async #validOffsets(): Promise<Map<number, Set<bigint>>> {
    const found = new Map<number, Set<bigint>>();
    for (const [partition, offset] of await this.#decoder.statements.rows(
      `SELECT _partition, _offset FROM events WHERE ${VALID}`,
    )) {
      const offsets = found.get(Number(partition)) ?? new Set();
      found.set(Number(partition), offsets.add(BigInt(offset as bigint)));
    }
    return found;
  }

  async #deliver(
    { partition, to, records }: FetchedPartition,
    valid: ReadonlySet<bigint>,
    signal: AbortSignal,
  ): Promise<void> {
    for (const [index, offset] of records.offsets.entries()) {
      const event = valid.has(offset) ? alertEventFrom(records.value(index)) : null;
      if (event === null || !isFor(this.#deps.delivery, event)) continue;
      const failed = await this.#handOver(event, records.timestampMs(index), signal);
      await this.#commit(partition, position(offset + 1n), failed);
    }
    // Written with the next alert: nothing that lies behind it was for this delivery.
    const held = this.#held.get(partition);
    if (held !== undefined) this.#held.set(partition, { ...held, next: to });
  }

  /**
   * Returns the dead letter of an alert that was not taken; none for one that was, or that nobody wants to be told of.
   */
  async #handOver(event: AlertEvent, writtenAtMs: number, signal: AbortSignal): Promise<TransactionRecord[]> {
    const { delivery, attempts, metrics, topics, onDone, onBroken, nowMs } = this.#deps;
    const states = this.#deps.states();
    const acknowledged = states.get(event.subject)?.acknowledged ?? null;
    const alert = { id: event.subject, opened: event, writtenAtMs, acknowledged };
    if (states.stateOf(alert, nowMs()) !== "open") {
      metrics.alerts.inc({ delivery: delivery.name, outcome: "silenced" });
      return [];
    }
    const reason = await attempts.deliver(shownAlert(states, alert, nowMs()), signal, onBroken);
    metrics.alerts.inc({ delivery: delivery.name, outcome: reason === null ? "delivered" : "failed" });
    onDone(reason);
    if (reason === null) return [];
    const headers = { [UNDELIVERED.kind]: "failed", [UNDELIVERED.reason]: reason };
    const key = undeliveredKey(delivery.name, event.subject);
    return [{ topic: topics.undelivered, partition: 0, key, value: JSON.stringify(event), headers }];
  }

  async #commit(partition: number, next: Position, letters: readonly TransactionRecord[]): Promise<void> {
    const { delivery, topics } = this.#deps;
    const held = this.#held.get(partition);
    if (held === undefined) return;
    const moved = { ...held, next };
    const stored = { stream: positionsOf(delivery.name), partition, rules: new Map([[delivery.name, moved]]) };
    const record = { topic: topics.positions, partition: 0, key: positionsKey(stored), value: positionsText(stored) };
    await this.#producers.get(partition)?.commit([...letters, record]);
    this.#held.set(partition, moved);
  }
}

/**
 * Where a delivery goes on. Alerts that Kafka has deleted, or that went with their topic, cannot be handed over any more: it
 * goes on with the first that there is. Throws LOG_TRUNCATED when the log ends before the position.
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
    `${name}: partition ${partition} of the alerts ends at ${stable}, below ${held.next}, which the delivery had reached`,
    "See whether Kafka has lost records. Under another name the delivery begins anew.",
  );
}
