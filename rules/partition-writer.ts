import { type OpenedAlert, openedEvent } from "../core/alerts/alert.ts";
import { positionsKey, positionsText, type RulePosition } from "../core/alerts/rule-positions.ts";
import { alerts } from "../core/contract/alerts.ts";
import type { Position } from "../core/log/position.ts";
import { rulePositionsTopic, topicName } from "../store/kafka/cluster/topics.ts";
import { partitionOf } from "../store/kafka/produce/partitioner.ts";
import { TransactionalProducer, type TransactionRecord } from "../store/kafka/produce/transactional.ts";
import type { LogSource } from "../store/kafka/read/log.ts";

/** The topics that alerts and positions are written to. */
export interface RuleTopics {
  readonly alerts: string;
  readonly alertPartitions: number;
  readonly positions: string;
}

/** Returns the topics of this installation. Throws TOPIC_MISSING. */
export async function ruleTopics(log: Pick<LogSource, "topic">, namespace: string): Promise<RuleTopics> {
  const name = topicName(namespace, alerts.name);
  const { partitions } = await log.topic(name);
  return { alerts: name, alertPartitions: partitions.length, positions: rulePositionsTopic(name) };
}

export interface PartitionWriterOptions {
  readonly brokers: string;
  /** The name of the stream in this installation (`topicName`). */
  readonly name: string;
  readonly stream: string;
  readonly partition: number;
  readonly topics: RuleTopics;
}

/**
 * The least time between two writes of a position without alerts. After a crash the records behind the stored position
 * are read again, and open the same alerts.
 */
const POSITION_EVERY_MS = 5_000;

/**
 * The most alerts, and bytes of alerts, in one transaction. A batch stays below Kafka's default for
 * `max.message.bytes`. A single alert is always smaller, because its texts are cut off (`ALERT_TEXT`).
 */
const TRANSACTION = { alerts: 200, bytes: 700_000 };

/**
 * Writes what the rules of a stream find in one partition: the alerts, and the rules' new positions, in one
 * transaction. The transactional id belongs to the partition. If several processes believe they own the partition, only
 * the last one that opened the id can write.
 */
export class PartitionWriter {
  readonly #options: PartitionWriterOptions;
  readonly #producer: Pick<TransactionalProducer, "commit" | "close">;
  #held: ReadonlyMap<string, RulePosition> = new Map();
  #writtenAtMs = Number.NEGATIVE_INFINITY;
  #isDirty = false;
  /** Lanes share the writer: one transaction at a time. */
  #writing: Promise<unknown> = Promise.resolve();

  constructor(options: PartitionWriterOptions, producer: Pick<TransactionalProducer, "commit" | "close">) {
    this.#options = options;
    this.#producer = producer;
  }

  /**
   * Opens the writer of a partition, which ends every other writer of it. Read the stored positions after that. Throws
   * NOT_READY.
   */
  static async open(options: PartitionWriterOptions): Promise<PartitionWriter> {
    const { brokers, name, partition } = options;
    const id = `tideline-rules-${name}-${partition}`;
    return new PartitionWriter(options, await TransactionalProducer.open(brokers, "tideline-rules", id));
  }

  /** Takes over the stored positions. Positions of rules that this process does not know stay unchanged. */
  adopt(stored: ReadonlyMap<string, RulePosition>): void {
    this.#held = stored;
  }

  /** Writes at once the positions at which rules begin, so that a crash does not change them. */
  begin(rules: ReadonlyMap<string, RulePosition>): Promise<void> {
    return this.#serially(() => this.#commit([], new Map([...this.#held, ...rules])));
  }

  /**
   * Writes the alerts that rules have opened below `moved` (the rules' next offsets), and resolves when they are
   * committed. Without alerts it only remembers the offsets, unless it last wrote them more than some seconds ago.
   * Throws the errors of `TransactionalProducer.commit`.
   */
  write(opened: readonly OpenedAlert[], moved: ReadonlyMap<string, Position>, nowMs: number): Promise<void> {
    return this.#serially(async () => {
      const held = this.#moved(moved);
      if (opened.length > 0 || nowMs - this.#writtenAtMs >= POSITION_EVERY_MS) {
        // Write pieces that are small enough for Kafka. The positions move with the last piece. After a crash in
        // between, the alerts of the first pieces are written again, with the same ids.
        const pieces = piecesOf(this.#recordsOf(opened));
        const last = pieces.pop() ?? [];
        for (const piece of pieces) await this.#commit(piece, this.#held);
        await this.#commit(last, held);
        this.#writtenAtMs = nowMs;
        return;
      }
      this.#held = held;
      this.#isDirty = true;
    });
  }

  /** Writes positions that were only remembered, when it is time. */
  flush(nowMs: number): Promise<void> {
    return this.#isDirty ? this.write([], new Map(), nowMs) : Promise.resolve();
  }

  /** Writes positions that were only remembered, unless an earlier write has failed. */
  async close(): Promise<void> {
    await this.#serially(async () => {
      if (this.#isDirty) await this.#commit([], this.#held);
    }).catch(() => undefined);
    await this.#producer.close();
  }

  #moved(moved: ReadonlyMap<string, Position>): ReadonlyMap<string, RulePosition> {
    const all = [...this.#held].map(([rule, held]) => [rule, { ...held, next: moved.get(rule) ?? held.next }] as const);
    return new Map(all);
  }

  #recordsOf(opened: readonly OpenedAlert[]): AlertRecord[] {
    const { topics } = this.#options;
    return opened.map((alert) => ({
      topic: topics.alerts,
      partition: partitionOf(alert.id, topics.alertPartitions),
      key: alert.id,
      value: Buffer.from(JSON.stringify(openedEvent(alert))),
    }));
  }

  async #commit(records: readonly TransactionRecord[], rules: ReadonlyMap<string, RulePosition>): Promise<void> {
    const { topics, stream, partition } = this.#options;
    const position = {
      topic: topics.positions,
      partition: 0,
      key: positionsKey({ stream, partition }),
      value: positionsText({ stream, partition, rules }),
    };
    await this.#producer.commit([...records, position]);
    this.#held = rules;
    this.#isDirty = false;
  }

  #serially<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#writing.then(work);
    this.#writing = done.catch(() => undefined);
    return done;
  }
}

export type AlertRecord = TransactionRecord & { readonly value: Buffer };

/** Splits records, in order, into pieces within `TRANSACTION`. No piece is empty. */
export function piecesOf(records: readonly AlertRecord[]): AlertRecord[][] {
  const pieces: AlertRecord[][] = [];
  let bytes = 0;
  for (const record of records) {
    const piece = pieces.at(-1);
    const size = record.value.length;
    if (piece !== undefined && piece.length < TRANSACTION.alerts && bytes + size <= TRANSACTION.bytes) {
      piece.push(record);
      bytes += size;
    } else {
      pieces.push([record]);
      bytes = size;
    }
  }
  return pieces;
}
