import { createHash } from "node:crypto";
import { DuckDBBitValue, type DuckDBValue } from "@duckdb/node-api";
import { quoteName, quoteText } from "../../../core/contract/sql.ts";
import { componentsOf } from "../../../core/definition/components.ts";
import type { View } from "../../../core/definition/view.ts";
import type { StateFile } from "../../../core/log/documents.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import { filterParts } from "../../../core/query/filter.ts";
import { parquetRows } from "../../../store/duckdb/parquet.ts";
import type { BatchPlan, CellPlace, Statement } from "./batch-sql.ts";

/**
 * Bits of a filter for each key of a file. A key sets two of them, so about one in seventy keys that are not in the
 * file passes.
 */
const BITS_A_KEY = 16;
/**
 * The least and the most bits of a filter. In a file with more than eight million keys, more keys pass that are not in
 * it.
 */
const LEAST_BITS = 64;
const MOST_BITS = 2 ** 27;
/** The most bytes for the filters of all files. A filter that does not fit is not made again at once. */
const MOST_BYTES = 64 * 1024 * 1024;
/**
 * A filter that was not used for this long is dropped. A filter that could not be made is tried again after this time.
 */
const KEPT_MS = 10 * 60_000;
/** A query for more keys than this concerns most files anyway. */
const MOST_KEYS = 1_000;
/** For more keys than this, all files are read. */
const MOST_HELD = 100;
/** The character between the parts of a key. */
const BETWEEN = 31;

/** A Bloom filter of the keys in a state file; null: the file may have any key. */
type KeyFilter = DuckDBBitValue | null;

/**
 * Reads the only row of a statement over one file. Rejects when the file is gone or damaged, or when `stopped` is
 * aborted.
 */
export type ReadRow = (
  file: StateFile,
  statement: (path: string) => Statement,
  stopped: AbortSignal,
) => Promise<readonly DuckDBValue[]>;

interface Held {
  readonly filter: KeyFilter;
  readonly madeAtMs: number;
  usedAtMs: number;
}

/**
 * Finds the state files of a table that a query for single keys has to read. Looking for a key in a file takes
 * milliseconds even if it is not there, and most keys are in few files. A filter is made when a query for a key first
 * needs the file, one filter at a time. Until it is made, the file is read.
 */
export class KeyFilters {
  readonly #read: ReadRow;
  readonly #held = new Map<string, Held>();
  readonly #making = new Set<string>();
  readonly #closing = new AbortController();
  readonly #mostBytes: number;
  #bytes = 0;
  #last: Promise<unknown> = Promise.resolve();

  constructor(read: ReadRow, mostBytes = MOST_BYTES) {
    this.#read = read;
    this.#mostBytes = mostBytes;
  }

  /** Returns the files that may have a key of `plan`; all of them if `plan` does not ask for single keys. */
  among(files: readonly StateFile[], plan: BatchPlan): readonly StateFile[] {
    const keys = keysOf(plan);
    if (keys === null) return files;
    const hashes = keys.map(keyHash);
    const filters = files.map((file) => this.#filterOf(file, plan.view));
    return files.filter((_, index) => {
      const filter = filters[index] ?? null;
      return filter === null || hashes.some((hash) => hasAll(filter, hash));
    });
  }

  /**
   * Returns for each file those of `keys` that it may contain. Null for more than `MOST_HELD` keys: they lie in most
   * row groups, so that nothing would be saved.
   */
  held(files: readonly StateFile[], view: View, keys: readonly CellPlace[]): (readonly CellPlace[])[] | null {
    if (keys.length > MOST_HELD) return null;
    const hashes = keys.map(({ group }) => keyHash(group.map(String)));
    return files.map((file) => {
      const filter = this.#filterOf(file, view);
      return filter === null ? keys : keys.filter((_, index) => hasAll(filter, hashes[index] ?? 0n));
    });
  }

  /** Resolves when no filter is being made. */
  async idle(): Promise<void> {
    while (this.#making.size > 0) await this.#last;
  }

  /** Makes no more filters, and ends the one that is being made. */
  async close(): Promise<void> {
    this.#closing.abort();
    await this.idle();
  }

  /** Returns null if there is no filter, or none yet, and begins to make one. */
  #filterOf(file: StateFile, view: View): KeyFilter {
    const nowMs = performance.now();
    const held = this.#held.get(file.file);
    if (held !== undefined && (held.filter !== null || nowMs - held.madeAtMs < KEPT_MS)) {
      held.usedAtMs = nowMs;
      return held.filter;
    }
    if (!this.#making.has(file.file) && !this.#closing.signal.aborted) this.#make(file, view);
    return null;
  }

  #make(file: StateFile, view: View): void {
    const { signal } = this.#closing;
    this.#making.add(file.file);
    this.#last = this.#last
      .then(async () => {
        if (signal.aborted) return;
        const [found] = await this.#read(file, (path) => keyFilterSql(path, view, bitsOf(file, view)), signal);
        this.#hold(file.file, found instanceof DuckDBBitValue ? found : null);
      })
      // An error of the file or the server is not reported here. The query that reads the file reports it.
      .catch(() => this.#hold(file.file, null))
      .finally(() => this.#making.delete(file.file));
  }

  #hold(name: string, made: KeyFilter): void {
    const nowMs = performance.now();
    this.#letGo(name);
    for (const [other, { usedAtMs }] of this.#held) if (nowMs - usedAtMs >= KEPT_MS) this.#letGo(other);
    const filter = this.#bytes + bytesOf(made) > this.#mostBytes ? null : made;
    this.#held.set(name, { filter, madeAtMs: nowMs, usedAtMs: nowMs });
    this.#bytes += bytesOf(filter);
  }

  #letGo(name: string): void {
    this.#bytes -= bytesOf(this.#held.get(name)?.filter ?? null);
    this.#held.delete(name);
  }
}

function bytesOf(filter: KeyFilter): number {
  return filter?.data.length ?? 0;
}

/**
 * Returns the keys that a plan asks for, as texts of their parts; null if it does not ask for single keys of a table.
 */
function keysOf({ view, where }: BatchPlan): string[][] | null {
  if (view.table === null) return null;
  let keys: string[][] = [[]];
  for (const part of Object.keys(view.by)) {
    const allowed = where.get(part);
    if (allowed === undefined) return null;
    const { texts, orNull } = filterParts(allowed);
    if (orNull || keys.length * texts.length > MOST_KEYS) return null;
    keys = keys.flatMap((key) => texts.map((text) => [...key, text]));
  }
  return keys;
}

function bitsOf({ rows }: StateFile, view: View): number {
  const keys = Math.ceil(rows / componentsOf(view).length);
  return Math.min(Math.max(keys * BITS_A_KEY, LEAST_BITS), MOST_BITS);
}

/**
 * Selects a filter of the keys in one file, as one value. Every cell has `rows`, so the rows of that component have
 * every key.
 */
function keyFilterSql(path: string, { by }: View, bits: number): Statement {
  const parts = Object.keys(by).map((name) => `CAST(_state.${quoteName(name)} AS VARCHAR)`);
  const hashes =
    `SELECT md5_number_lower(concat_ws(chr(${BETWEEN}), ${parts.join(", ")})) AS _hash ` +
    `FROM ${parquetRows([path])} AS _state WHERE component = ${quoteText(ROWS.name)}`;
  const places = ["_hash", "_hash >> 32"].map((hash) => `bitstring_agg(((${hash}) % ${bits})::BIGINT, 0, ${bits - 1})`);
  return { sql: `SELECT ${places.join(" | ")} FROM (${hashes})`, values: [] };
}

/** Returns the same hash of a key as `md5_number_lower` in SQL. */
function keyHash(key: readonly string[]): bigint {
  return createHash("md5")
    .update(key.join(String.fromCharCode(BETWEEN)))
    .digest()
    .readBigUInt64LE(8);
}

function hasAll(filter: DuckDBBitValue, hash: bigint): boolean {
  const bits = BigInt(filter.length);
  return [hash, hash >> 32n].every((one) => filter.getBool(Number(one % bits)));
}
