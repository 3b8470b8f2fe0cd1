import { createHash, type Hash } from "node:crypto";
import type { View } from "../../core/definition/view.ts";
import type { StateFile } from "../../core/log/documents.ts";
import { cellColumns, mergeSql, stateColumns, stateOrder } from "../../core/state/compile.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { parquet, withDuck } from "../duck-run.ts";
import type { BatchStores, Watch } from "../stores.ts";
import { namingOverflow } from "./merge-overflow.ts";

export interface StateHash {
  /** SHA-256 over the merged state rows as JSON lines, sorted. */
  readonly hash: string;
  readonly rows: number;
}

/**
 * Returns the hash over the sorted rows of the merge of `files`. Two states are identical if their hashes are. Rows are
 * streamed, so that memory does not grow with the state.
 */
export async function stateHash(
  stores: BatchStores,
  view: View,
  files: readonly StateFile[],
  watch: Watch,
): Promise<StateHash> {
  return (await stateHashes(stores, { view, files, where: "true", partOf: () => "" }, watch)).get("") ?? NO_STATE;
}

/** The hash of no rows at all. */
export const NO_STATE: StateHash = { hash: createHash("sha256").digest("hex"), rows: 0 };

/** The rows of a state to hash, and how to divide them into parts. */
export interface HashedParts {
  readonly view: View;
  readonly files: readonly StateFile[];
  /** A condition in SQL. */
  readonly where: string;
  /** Returns the part that a bucket belongs to. */
  partOf(bucketMs: number): string;
}

/** Returns the hashes of the parts of a state, by part. */
export async function stateHashes(
  stores: BatchStores,
  { view, files, where, partOf }: HashedParts,
  watch: Watch,
): Promise<ReadonlyMap<string, StateHash>> {
  if (files.length === 0) return new Map();
  await stores.data.requireIntact(files);
  const rows = parquet(
    stores,
    files.map(({ file }) => file),
  );
  const states = `(SELECT * FROM ${rows} WHERE ${where})`;
  const merged = mergeSql(view, states, cellColumns(view), "stored");
  const values = stateColumns(view)
    .map((name) => `${name}: ${name}`)
    .join(", ");
  const parts = new Map<string, { readonly hash: Hash; rows: number }>();
  const hash = async (duck: Duck) => {
    const sql = `SELECT to_json({${values}})::VARCHAR, bucket FROM (${merged}) ORDER BY ${stateOrder(view)}`;
    const result = await duck.stream(sql);
    let hashed = 0;
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      const [lines, buckets] = [chunk.getColumnValues(0), chunk.getColumnValues(1)];
      // The rows of a bucket follow each other, and hashing one text of many lines costs less than many texts.
      for (let from = 0, to = 0; from < lines.length; from = to) {
        while (to < lines.length && buckets[to] === buckets[from]) to += 1;
        const name = partOf(Number(buckets[from]));
        const part = parts.get(name) ?? { hash: createHash("sha256"), rows: 0 };
        part.hash.update(`${lines.slice(from, to).join("\n")}\n`);
        part.rows += to - from;
        parts.set(name, part);
      }
      hashed += chunk.rowCount;
      watch.beat({ hashed });
    }
  };
  await withDuck(stores, watch, (duck) => namingOverflow(duck, view, states, () => hash(duck)));
  return new Map([...parts].map(([name, { hash, rows }]) => [name, { hash: hash.digest("hex"), rows }]));
}
