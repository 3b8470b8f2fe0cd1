import { createHash } from "node:crypto";
import { mergeSql, stateOrder } from "../core/compile.ts";
import type { StateFile } from "../core/documents.ts";
import { quoteName, quoteText } from "../core/sql.ts";
import type { View } from "../core/view.ts";
import { parquet, withDuck } from "./duck-run.ts";
import { cellColumns } from "./state-file.ts";
import type { BatchStores, Watch } from "./stores.ts";

export interface StateHash {
  /** SHA-256 over the merged state rows as JSON lines, sorted. */
  readonly hash: string;
  readonly rows: number;
}

/**
 * What "identical state" means: the hash over the sorted rows of the merge of `files`. Streamed, so that memory does
 * not grow with the state.
 */
export async function stateHash(
  stores: BatchStores,
  view: View,
  files: readonly StateFile[],
  watch: Watch,
): Promise<StateHash> {
  const hash = createHash("sha256");
  if (files.length === 0) return { hash: hash.digest("hex"), rows: 0 };
  const merged = mergeSql(
    view,
    parquet(
      stores,
      files.map(({ file }) => file),
    ),
    cellColumns(view),
  );
  const values = ["bucket", ...Object.keys(view.by), "component", "item", "value"]
    .map((name) => `${quoteText(name)}: ${quoteName(name)}`)
    .join(", ");
  return withDuck(stores, watch, async (duck) => {
    const result = await duck.stream(
      `SELECT to_json({${values}})::VARCHAR FROM (${merged}) ORDER BY ${stateOrder(view)}`,
    );
    let rows = 0;
    for (
      let chunk = await result.fetchChunk();
      chunk !== null && chunk.rowCount > 0;
      chunk = await result.fetchChunk()
    ) {
      hash.update(`${chunk.getColumnValues(0).join("\n")}\n`);
      rows += chunk.rowCount;
      watch.beat({ hashed: rows });
    }
    return { hash: hash.digest("hex"), rows };
  });
}
