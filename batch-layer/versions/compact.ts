import { isDeepStrictEqual } from "node:util";
import type { View } from "../../core/definition/view.ts";
import type { StateFile } from "../../core/log/documents.ts";
import { cellColumns, mergeSql } from "../../core/state/compile.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { parquet, withDuck } from "../duck-run.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { FOLD_LIMITS, type FoldLimits, planFold } from "./fold-plan.ts";
import { namingOverflow } from "./merge-overflow.ts";
import { nextManifest, publishVersion, versionPrefix } from "./publish.ts";
import { writeStates } from "./state-file.ts";

export interface Compaction {
  readonly version: number;
  readonly folded: number;
  readonly rows: number;
}

/**
 * Folds the newest version's small files into one, published as a version with the same cut; null when that is not due,
 * or another writer was first.
 */
export async function compact(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  createdBy: string,
  watch: Watch,
  limits: FoldLimits = FOLD_LIMITS,
): Promise<Compaction | null> {
  const newest = await stores.manifests.newest(generation);
  if (newest === null) return null;
  const folded = planFold(newest.files, limits);
  // An earlier attempt of this run has done it, and its answer was lost.
  const done = newest.createdBy === createdBy && isDeepStrictEqual(newest.base, newest.cut);
  if (folded.length === 0) return done ? { version: newest.version, folded: 0, rows: 0 } : null;
  const version = newest.version + 1;
  const merged = await withDuck(stores, watch, (duck) =>
    mergeStates(stores, duck, view, folded, stores.manifests.stateFolder(generation), versionPrefix(version)),
  );
  const rest = newest.files.filter((file) => !folded.includes(file));
  const files = merged === null ? rest : [merged, ...rest];
  const published = await publishVersion(stores, nextManifest(newest, { files, ledger: newest.ledger, createdBy }));
  return published ? { version, folded: folded.length, rows: merged?.rows ?? 0 } : null;
}

/** One file that holds the merge of `files`; null when they hold nothing. Throws STATE_OVERFLOW with the cell. */
export async function mergeStates(
  stores: BatchStores,
  duck: Duck,
  view: View,
  files: readonly StateFile[],
  folder: string,
  prefix: string,
): Promise<StateFile | null> {
  if (files.length === 0) return null;
  await stores.data.requireIntact(files);
  const rows = parquet(
    stores,
    files.map(({ file }) => file),
  );
  const merged = mergeSql(view, rows, cellColumns(view), "stored");
  return namingOverflow(duck, view, rows, () => writeStates(stores, duck, { view, select: merged }, folder, prefix));
}
