import { type OpenedAlert, openedEvent } from "../core/alerts/alert.ts";
import { positionsKey, positionsText, type RulePosition } from "../core/alerts/rule-positions.ts";
import { alerts } from "../core/contract/alerts.ts";
import type { Position } from "../core/log/position.ts";
import { rulePositionsTopic, topicName } from "../store/kafka/cluster/topics.ts";
import { partitionOf } from "../store/kafka/produce/partitioner.ts";
import { TransactionalProducer, type TransactionRecord } from "../store/kafka/produce/transactional.ts";
import type { LogSource } from "../store/kafka/read/log.ts";

/** Where alerts and positions go. */
export interface RuleTopics {
  readonly alerts: string;
  readonly alertPartitions: number;
  readonly positions: string;
}

/** Throws TOPIC_MISSING. */
export async function ruleTopics(log: Pick<LogSource, "topic">, namespace: string): Promise<RuleTopics> {
  const name = topicName(namespace, alerts.name);
  const { partitions } = await log.topic(name);
  return { alerts: name, alertPartitions: partitions.length, positions: rulePositionsTopic(name) };
}

export interface PartitionWriterOptions {
  readonly brokers: string;
  /** Of what belongs to the stream in this installation (`topicName`). */
  readonly name: string;
  readonly stream: string;
  readonly partition: number;
  readonly topics: RuleTopics;
}

/**
 * A position alone, without alerts, is written so often at most: what lies behind it is read again after a crash, and
 * opens the same alerts.
 */
const POSITION_EVERY_MS = 5_000;

/**
 * Alerts that one transaction holds at most, and their bytes: a batch stays below Kafka's default for
 * `max.message.bytes`. An alert alone has fewer: its texts are cut off (`ALERT_TEXT`).
 */
const TRANSACTION = { alerts: 200, bytes: 700_000 };

/**
 * Writes what the rules of a stream find in one partition: alerts, and how far the rules have read, in one transaction.
 * Its transactional id is the partition's, so of several processes that believe they own the partition the last one to
 * open it is the only one that can write.
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

  /** Ends every other writer of the partition. What is stored of it has to be read after that. Throws NOT_READY. */
  static async open(options: PartitionWriterOptions): Promise<PartitionWriter> {
    const { brokers, name, partition } = options;
    const id = `tideline-rules-${name}-${partition}`;
    return new PartitionWriter(options, await TransactionalProducer.open(brokers, "tideline-rules", id));
  }

  /** Takes over what was stored. Positions of rules that this process does not know stay what they are. */
  adopt(stored: ReadonlyMap<string, RulePosition>): void {
    this.#held = stored;
  }

  /** Notes at once where rules begin, so that a crash does not move that. */
  begin(rules: ReadonlyMap<string, RulePosition>): Promise<void> {
    return this.#serially(() => this.#commit([], new Map([...this.#held, ...rules])));
  }

  /**
   * Resolves when the alerts that rules have opened below `moved`, their next offsets, are committed. Without alerts it
   * only notes the offsets, unless they were last written some seconds ago. Throws as `TransactionalProducer.commit`.
   */
  write(opened: readonly OpenedAlert[], moved: ReadonlyMap<string, Position>, nowMs: number): Promise<void> {
    return this.#serially(async () => {
      const held = this.#moved(moved);
      if (opened.length > 0 || nowMs - this.#writtenAtMs >= POSITION_EVERY_MS) {
        // In pieces that Kafka takes. The positions move with the last piece. After a crash in between, the alerts of
        // the first pieces are written again, with the same ids.
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

  /** Writes positions that were only noted, when it is time. */
  flush(nowMs: number): Promise<void> {
    return this.#isDirty ? this.write([], new Map(), nowMs) : Promise.resolve();
  }

  /** Writes what was only noted, unless an earlier write has failed. */
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

/** Records in their order, in pieces within `TRANSACTION`; no piece is empty. */
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
