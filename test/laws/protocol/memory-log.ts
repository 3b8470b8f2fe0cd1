import { crc32c } from "@node-rs/crc32";
import { createRecordsBatch } from "@platformatic/kafka";
import { at, type Cut, type Position, position } from "../../../core/log/position.ts";
import type { FetchedPartition, LogSource } from "../../../store/kafka/read/log.ts";
import { batchesOf, expandLimits, type FetchedBatch } from "../../../store/kafka/read/record-batch.ts";
import type { OracleLog } from "../../fixtures/oracles/oracle.ts";
import type { Protocol } from "./modules.ts";
import { PARTITIONS } from "./parcels.ts";

const TRANSACTIONAL = 0x10;
const CONTROL = 0x20;

interface Transaction {
  readonly partition: number;
  readonly producerId: bigint;
  readonly firstOffset: bigint;
  /** The offset of its marker; null while it is open. */
  end: bigint | null;
  aborted: boolean;
}

/** A batch, and what its records hold. */
interface MemoryBatch extends FetchedBatch {
  readonly values: readonly (Buffer | null)[];
}

/**
 * A topic in memory: batches as Kafka keeps them, with transactions and their markers. What a fetch makes of them is
 * the program's own code.
 */
export class MemoryLog {
  readonly topicId = "topic-1";
  readonly #batches = new Map<number, MemoryBatch[]>(PARTITIONS.map((partition) => [partition, []]));
  readonly #transactions: Transaction[] = [];
  /** The leader's. */
  #epoch = 1;

  /** Appends records as one batch; of a producer's open transaction when it is given one. */
  append(partition: number, values: readonly (Buffer | null)[], producerId: bigint | null = null): void {
    if (producerId !== null && this.#open(partition, producerId) === undefined)
      this.#transactions.push({ partition, producerId, firstOffset: this.end(partition), end: null, aborted: false });
    this.#add(partition, values, producerId === null ? 0 : TRANSACTIONAL, producerId ?? -1n);
  }

  /** Ends a producer's open transaction, if there is one, by its marker. */
  finish(partition: number, producerId: bigint, committed: boolean): void {
    const open = this.#open(partition, producerId);
    if (open === undefined) return;
    open.end = this.end(partition);
    open.aborted = !committed;
    this.#add(partition, [null], TRANSACTIONAL | CONTROL, producerId, Buffer.from([0, 0, 0, committed ? 1 : 0]));
  }

  /**
   * An unclean leader election: the last batches are lost, and with them the transactions whose markers are; what is
   * appended from now on has a later epoch. Returns the first offset that was lost.
   */
  lose(partition: number, batches: number): Position {
    const held = this.#of(partition);
    let end = held.at(-batches)?.firstOffset ?? 0n;
    for (const { firstOffset, end: marker } of this.#transactions
      .filter((one) => one.partition === partition)
      .reverse())
      if ((marker === null || marker >= end) && firstOffset < end) end = firstOffset;
    this.#batches.set(
      partition,
      held.filter((batch) => batch.firstOffset < end),
    );
    const kept = this.#transactions.filter((one) => one.partition !== partition || one.firstOffset < end);
    this.#transactions.splice(0, this.#transactions.length, ...kept);
    this.#epoch += 1;
    return position(end);
  }

  /** Commits whatever is open. */
  commitOpen(): void {
    for (const { partition, producerId } of this.#transactions.filter(({ end }) => end === null))
      this.finish(partition, producerId, true);
  }

  end(partition: number): bigint {
    const last = this.#of(partition).at(-1);
    return last === undefined ? 0n : last.firstOffset + BigInt(last.lastOffsetDelta) + 1n;
  }

  /** The last stable offsets. */
  get stable(): Cut {
    return new Map(PARTITIONS.map((partition) => [partition, position(this.#stable(partition))]));
  }

  /** Every committed record, for the oracle. */
  committed(): OracleLog {
    return new Map(
      PARTITIONS.map((partition) => [
        partition,
        this.#of(partition)
          .filter(({ attributes }) => (attributes & CONTROL) === 0)
          .filter((batch) => !this.#isAborted(partition, batch))
          .flatMap(({ firstOffset, values }) =>
            values.map((value, delta) => ({ offset: firstOffset + BigInt(delta), value })),
          ),
      ]),
    );
  }

  /** The log as one process reads it: `gate` is passed before every request, `batches` says how many a fetch gives. */
  source(
    { fetchedPartition, readSpan }: Protocol,
    gate: (label: string) => Promise<void>,
    batches: () => number,
    idle: (waitMs: number) => void,
  ): LogSource {
    const source: LogSource = {
      topic: async () => {
        await gate("topic");
        return { id: this.topicId, partitions: PARTITIONS };
      },
      bounds: async () => {
        await gate("bounds");
        return { start: new Map(PARTITIONS.map((partition) => [partition, position(0)])), stable: this.stable };
      },
      readableBounds: async (name) => ({ ...(await source.bounds(name)), leaderless: [] }),
      fetch: async (_topic, positions, { maxWaitMs }) => {
        await gate("fetch");
        const answers = [...positions.keys()].map((partition): FetchedPartition => {
          const from = at(positions, partition);
          const answer = this.#answer(partition, from, batches());
          return fetchedPartition(answer, from, 0);
        });
        if (answers.every(({ from, to }) => from === to)) idle(maxWaitMs);
        return answers;
      },
      read: (topic, span, limits) => readSpan(source, topic, span, limits),
    };
    return source;
  }

  /** What a broker answers: whole batches, the first of which may begin before `from`, below the last stable offset. */
  #answer(partition: number, from: Position, atMost: number) {
    const stable = this.#stable(partition);
    const wanted = this.#of(partition).filter((batch) => lastOf(batch) >= from && lastOf(batch) < stable);
    const batches = wanted.slice(0, atMost);
    const last = batches.at(-1);
    const end = last === undefined ? from : lastOf(last) + 1n;
    const abortedTransactions = this.#transactions.filter(
      (one) =>
        one.partition === partition && one.aborted && one.end !== null && one.end >= from && one.firstOffset < end,
    );
    return {
      partitionIndex: partition,
      batches,
      abortedTransactions,
      lastStableOffset: stable,
      logStartOffset: 0n,
    };
  }

  #stable(partition: number): bigint {
    const open = this.#transactions.filter((one) => one.partition === partition && one.end === null);
    return open.reduce((least, { firstOffset }) => (firstOffset < least ? firstOffset : least), this.end(partition));
  }

  #isAborted(partition: number, batch: MemoryBatch): boolean {
    return this.#transactions.some(
      (one) =>
        one.partition === partition &&
        one.producerId === batch.producerId &&
        one.firstOffset <= batch.firstOffset &&
        (one.end === null || (one.aborted && batch.firstOffset < one.end)),
    );
  }

  #open(partition: number, producerId: bigint): Transaction | undefined {
    return this.#transactions.find(
      (one) => one.partition === partition && one.producerId === producerId && one.end === null,
    );
  }

  #of(partition: number): MemoryBatch[] {
    return this.#batches.get(partition) ?? [];
  }

  #add(
    partition: number,
    values: readonly (Buffer | null)[],
    attributes: number,
    producerId: bigint,
    key: Buffer | null = null,
  ): void {
    const messages = values.map((value) => ({ topic: "", key, value, timestamp: 0n }));
    const bytes = Buffer.from(createRecordsBatch(messages as Parameters<typeof createRecordsBatch>[0]).buffer);
    bytes.writeBigInt64BE(this.end(partition), 0);
    bytes.writeInt32BE(this.#epoch, 12);
    bytes.writeInt16BE(attributes, 21);
    bytes.writeBigInt64BE(producerId, 43);
    bytes.writeUInt32BE(crc32c(bytes.subarray(21)), 17);
    for (const batch of batchesOf(bytes, 0n, expandLimits(bytes.length)))
      this.#of(partition).push({ ...batch, values });
  }
}

function lastOf({ firstOffset, lastOffsetDelta }: MemoryBatch): bigint {
  return firstOffset + BigInt(lastOffsetDelta);
}
