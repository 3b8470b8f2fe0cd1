import type { ReaderLag } from "../core/alerts/own-problems.ts";
import { positionsFrom, positionsKey, type RulePositions } from "../core/alerts/rule-positions.ts";
import { positionsOf } from "../core/alerts/undelivered.ts";
import { alerts } from "../core/contract/alerts.ts";
import { withEscalation } from "../core/definition/delivery.ts";
import { isTidelineError } from "../core/errors.ts";
import { at, type Cut, type Position, ZERO } from "../core/log/position.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import { rulePositionsTopic, topicName } from "../store/kafka/cluster/topics.ts";
import type { LogReader } from "../store/kafka/read/log.ts";

export interface AlertLagsOptions {
  readonly log: LogReader;
  readonly namespace: string;
  readonly definitions: Definitions;
  /**
   * The age of positions that are still current, in milliseconds. Positions are written only from time to time, so
   * records that came since then do not count as lag.
   */
  readonly positionsMs: number;
}

/** The ends of the streams' logs at a check, by stream. */
interface Ends {
  readonly atMs: number;
  readonly ends: ReadonlyMap<string, Cut>;
}

const FETCH_BYTES = 1024 * 1024;

/** The lags of rules and deliveries, computed from the positions that they write. */
export class AlertLags {
  readonly #options: AlertLagsOptions;
  readonly #topics: { readonly alerts: string; readonly positions: string };
  /** The newest positions of each partition of each stream, and of each delivery, read up to `#next` of their topic. */
  #stored = new Map<string, RulePositions>();
  #next = new Map<number, Position>();
  #topicId: string | null = null;
  #reading: Promise<void> | null = null;
  /** The ends at the last checks, the oldest first. */
  #seen: readonly Ends[] = [];

  constructor(options: AlertLagsOptions) {
    this.#options = options;
    const name = topicName(options.namespace, alerts.name);
    this.#topics = { alerts: name, positions: rulePositionsTopic(name) };
  }

  /**
   * Returns the lag of each rule and delivery that has begun. `ends`: the current ends of the streams' logs. Throws
   * errors of Kafka.
   */
  async measure(ends: ReadonlyMap<string, Cut>, nowMs: number): Promise<ReaderLag[]> {
    const { definitions, positionsMs } = this.#options;
    this.#seen = [...this.#seen.filter(({ atMs }) => nowMs - atMs < 10 * positionsMs), { atMs: nowMs, ends }];
    if (!definitions.streams.has(alerts.name)) return [];
    try {
      this.#reading ??= this.#read().finally(() => (this.#reading = null));
      await this.#reading;
      return [...this.#rules(nowMs), ...(await this.#deliveries(ends, nowMs))];
    } catch (error) {
      // No rule has run yet.
      if (isTidelineError(error, "TOPIC_MISSING")) return [];
      throw error;
    }
  }

  /** Reads the positions that were written since the last check. */
  async #read(): Promise<void> {
    const { log } = this.#options;
    const topic = this.#topics.positions;
    const { id } = await log.topic(topic);
    const { start, stable } = await log.bounds(topic);
    if (id !== this.#topicId || [...this.#next].some(([partition, next]) => next > at(stable, partition))) {
      [this.#stored, this.#next, this.#topicId] = [new Map(), new Map(), id];
    }
    for (const [partition, end] of stable) {
      const first = at(start, partition);
      const next = this.#next.get(partition) ?? first;
      const span = { partition, from: next > first ? next : first, to: end };
      for await (const fetched of log.read(topic, span, { maxBytes: FETCH_BYTES })) {
        for (const value of fetched.records.values) {
          const positions = positionsFrom(value);
          if (positions !== null) this.#stored.set(positionsKey(positions), positions);
        }
        this.#next.set(partition, fetched.to);
      }
    }
  }

  #rules(nowMs: number): ReaderLag[] {
    const { definitions, positionsMs } = this.#options;
    const then = this.#seen.findLast(({ atMs }) => nowMs - atMs >= positionsMs);
    return [...(definitions.rules?.values() ?? [])].flatMap(({ name, on }) => {
      const end = then?.ends.get(on.name);
      const behind = end === undefined ? null : this.#behind(on.name, name, end);
      return behind === null ? [] : [{ kind: "rule" as const, name, stream: on.name, behind }];
    });
  }

  async #deliveries(ends: ReadonlyMap<string, Cut>, nowMs: number): Promise<ReaderLag[]> {
    const { definitions, positionsMs, log } = this.#options;
    const end = ends.get(alerts.name) ?? new Map<number, Position>();
    const found: ReaderLag[] = [];
    for (const { name, delayMs, group } of [...(definitions.deliveries?.values() ?? [])].flatMap(withEscalation)) {
      // An alert that waits for its escalation, or for its group to be complete, is not a lag.
      const dueMs = nowMs - positionsMs - delayMs - (group?.withinMs ?? 0);
      const due = await log.positionsAt(this.#topics.alerts, dueMs, [...end.keys()]);
      const dueEnd = new Map([...end].map(([partition, stable]) => [partition, due.get(partition) ?? stable]));
      const behind = this.#behind(positionsOf(name), name, dueEnd);
      if (behind !== null) found.push({ kind: "delivery", name, stream: alerts.name, behind });
    }
    return found;
  }

  /** Returns how many offsets below `end` a rule or delivery has not read. Null before it has begun. */
  #behind(stream: string, name: string, end: Cut): bigint | null {
    const next = [...this.#stored.values()].flatMap((one) => {
      const held = one.stream === stream ? one.rules.get(name) : undefined;
      return held === undefined ? [] : [[one.partition, held.next] as const];
    });
    if (next.length === 0) return null;
    const missing = next.map(([partition, held]) => (end.get(partition) ?? ZERO) - held);
    return missing.reduce((sum, one) => (one > 0n ? sum + one : sum), 0n);
  }
}
