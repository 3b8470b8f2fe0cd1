import type { Reject } from "../../core/codec/decode/decode.ts";
import type { Ledger } from "../../core/log/ledger.ts";
import { at, type Cut, type Position } from "../../core/log/position.ts";
import { batchLedgerSql, singleLedgerSql } from "../../core/state/compile.ts";
import type { KeptStatements } from "../duckdb/kept-statements.ts";
import type { FetchedPartition } from "../kafka/read/log.ts";

/** A refused record with its original bytes, for the dead letters. */
export interface Rejected {
  readonly partition: number;
  readonly offset: Position;
  readonly reject: Reject;
  readonly key: Buffer | null;
  readonly value: Buffer | null;
}

/**
 * A small batch costs mostly a fixed amount per statement, so it is processed in another way, with the same result
 * (docs/internals/speed-layer.md, "Lanes").
 */
export type BatchSize = "small" | "large";

/** The most records of a small batch. */
const SMALL_BATCH_RECORDS = 200;

export function sizeOf(records: number): BatchSize {
  return records <= SMALL_BATCH_RECORDS ? "small" : "large";
}

/** The counts of a batch's records, the same for every view. */
export type BatchLedger = Pick<Ledger, "records" | "duplicates" | "rejects">;

/** The parts of a decoded batch. */
interface Decoded {
  /** SQL of the events, with the columns of `eventColumns`. */
  readonly relation: string;
  readonly statements: KeptStatements;
  readonly records: number;
  readonly rejected: readonly Rejected[];
}

/**
 * A decoded batch. Its rows are in the decoder's connection until the decoder begins the next batch. After that its SQL
 * is refused, because it would read the rows of another batch.
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

  /** SQL of its events, with the columns of `eventColumns`. Throws when the decoder has begun the next batch. */
  get relation(): string {
    if (this.#isReleased) throw new RangeError("the rows of this batch are gone: its decoder has begun the next one");
    return this.#decoded.relation;
  }

  /**
   * SQL of its events at or after `positions` in the partitions of `fetched`. It is `relation` itself when no events
   * are before them. Throws as `relation`.
   */
  from(positions: Cut, fetched: readonly Pick<FetchedPartition, "partition" | "from">[]): string {
    const ahead = fetched.filter(({ partition, from }) => at(positions, partition) > from);
    if (ahead.length === 0) return this.relation;
    const skip = ahead.map(({ partition }) => `(_partition = ${partition} AND _offset < ${at(positions, partition)})`);
    return `(SELECT * FROM ${this.relation} WHERE NOT (${skip.join(" OR ")}))`;
  }

  /** Returns the ledger of some of its events, by partition. DuckDB runs one statement for each text. */
  ledger(events: string): Promise<ReadonlyMap<number, BatchLedger>> {
    const asked = this.#ledgers.get(events) ?? batchLedgers(this.#decoded.statements, events, this.size);
    this.#ledgers.set(events, asked);
    return asked;
  }

  /** Called by its decoder when it needs the place of the rows. */
  release(): void {
    this.#isReleased = true;
  }
}

/** Returns the ledger of a relation of events, by partition. */
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
