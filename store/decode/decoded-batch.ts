import type { Reject } from "../../core/codec/decode/decode.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import { at, type Cut, type Position } from "../../core/log/position.ts";
import { batchLedgerSql, singleLedgerSql } from "../../core/state/compile.ts";
import type { KeptStatements } from "../duckdb/kept-statements.ts";
import type { FetchedPartition } from "../kafka/read/log.ts";

/** A record that was refused, with its original bytes: what goes to the dead letters. */
export interface Rejected {
  readonly partition: number;
  readonly offset: Position;
  readonly reject: Reject;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/**
 * Nearly all of what a small batch costs is per statement, so it goes another way to the same result
 * (docs/internals/speed-layer.md, "Lanes").
 */
export type BatchSize = "small" | "large";

/** Up to this many records a batch is small. */
const SMALL_BATCH_RECORDS = 200;

export function sizeOf(records: number): BatchSize {
  return records <= SMALL_BATCH_RECORDS ? "small" : "large";
}

/** What became of a batch's records, the same for every view. */
export type BatchLedger = Pick<Ledger, "records" | "duplicates" | "rejects">;

/** What a decoder has made of a batch. */
interface Decoded {
  /** SQL for the events, with the columns of `eventColumns`. */
  readonly relation: string;
  readonly statements: KeptStatements;
  readonly records: number;
  readonly rejected: readonly Rejected[];
}

/**
 * A decoded batch. Its rows are in the decoder's connection until the decoder begins the next batch; SQL for them is
 * refused afterwards, because it would read the rows of another batch.
 */
export class DecodedBatch {
  readonly size: BatchSize;
  readonly rejected: readonly Rejected[];
  readonly #decoded: Decoded;
  readonly #ledgers = new Map<string, Promise<ReadonlyMap<number, BatchLedger>>>();
  #isReleased = false;

  constructor(decoded: Decoded) {
    this.size = sizeOf(decoded.records);
    this.rejected = decoded.rejected;
    this.#decoded = decoded;
  }

  /** SQL for its events, with the columns of `eventColumns`. Throws when the decoder has begun the next batch. */
  get relation(): string {
    if (this.#isReleased) throw new RangeError("the rows of this batch are gone: its decoder has begun the next one");
    return this.#decoded.relation;
  }

  /**
   * SQL for its events without those before `positions` in the partitions of `fetched`: `relation` itself when there
   * are none. Throws as `relation`.
   */
  from(positions: Cut, fetched: readonly Pick<FetchedPartition, "partition" | "from">[]): string {
    const ahead = fetched.filter(({ partition, from }) => at(positions, partition) > from);
    if (ahead.length === 0) return this.relation;
    const skip = ahead.map(({ partition }) => `(_partition = ${partition} AND _offset < ${at(positions, partition)})`);
    return `(SELECT * FROM ${this.relation} WHERE NOT (${skip.join(" OR ")}))`;
  }

  /** What became of the records of some of its events, by partition. DuckDB is asked once for each text. */
  ledger(events: string): Promise<ReadonlyMap<number, BatchLedger>> {
    const asked = this.#ledgers.get(events) ?? batchLedgers(this.#decoded.statements, events, this.size);
    this.#ledgers.set(events, asked);
    return asked;
  }

  /** Called by its decoder, which needs the place of its rows. */
  release(): void {
    this.#isReleased = true;
  }
}

/** What became of the records of a relation of events, by partition. */
export async function batchLedgers(
  statements: KeptStatements,
  events: string,
  size: BatchSize,
): Promise<Map<number, BatchLedger>> {
  const ledgers = new Map<number, BatchLedger>();
  const rows = await statements.rows(size === "small" ? singleLedgerSql(events) : batchLedgerSql(events));
  for (const [key, records, duplicates, rejects] of rows) {
    const held = ledgers.get(Number(key)) ?? { records: 0, duplicates: 0, rejects: 0 };
    ledgers.set(Number(key), {
      records: held.records + Number(records),
      duplicates: held.duplicates + Number(duplicates),
      rejects: held.rejects + Number(rejects),
    });
  }
  return ledgers;
}
