import { isDeepStrictEqual } from "node:util";
import type { View } from "../../core/definition/view.ts";
import type { Manifest, StateFile } from "../../core/log/documents.ts";
import { cellColumns, mergeSql } from "../../core/state/compile.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { parquet, withDuck } from "../duck-run.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { COMPACT_LIMITS, type CompactLimits, filesToCompact } from "./compact-plan.ts";
import { namingOverflow } from "./merge-overflow.ts";
import { nextManifest, stands, versionPrefix } from "./publish.ts";
import { writeStates } from "./state-file.ts";
import { removeStates, type StatePlace } from "./state-index.ts";

export interface Compaction {
  readonly version: number;
  /** How many files were merged. The name is that of earlier releases' results. */
  readonly folded: number;
  readonly rows: number;
}

/** A merge is given up when this many versions were published since it began. */
const VERSIONS_MEANWHILE = 200;

/**
 * Merges small files of the newest version into one. Then publishes the newest version of that moment with this file in
 * their place, at the same cut. Returns null if no compaction is due, or if another writer has replaced one of the
 * files.
 */
export async function compact(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  { createdBy, limits = COMPACT_LIMITS }: { readonly createdBy: string; readonly limits?: CompactLimits },
  watch: Watch,
): Promise<Compaction | null> {
  const { manifests, data } = stores;
  const begun = await manifests.newest(generation);
  if (begun === null) return null;
  const small = filesToCompact(begun.files, limits);
  // An earlier attempt of this run has done it, but its result was lost.
  const done = begun.createdBy === createdBy && isDeepStrictEqual(begun.base, begun.cut);
  if (small.length === 0) return done ? { version: begun.version, folded: 0, rows: 0 } : null;
  const last = begun.version + VERSIONS_MEANWHILE;
  const merged = await withDuck(stores, watch, (duck) =>
    mergeStates(
      stores,
      duck,
      { view, files: small },
      { folder: manifests.stateFolder(generation), prefix: versionPrefix(last) },
    ),
  );
  let newest: Manifest | null = begun;
  while (newest !== null && newest.version < last && names(newest, small)) {
    const rest = newest.files.filter(({ file }) => !small.some((gone) => gone.file === file));
    const files = merged === null ? rest : [merged, ...rest];
    const next = nextManifest(newest, { files, ledger: newest.ledger, createdBy });
    if (await stands(stores, next)) return { version: next.version, folded: small.length, rows: merged?.rows ?? 0 };
    watch.signal.throwIfAborted();
    newest = await manifests.newest(generation);
  }
  if (merged !== null) await removeStates(data, merged);
  return null;
}

function names({ files }: Manifest, small: readonly StateFile[]): boolean {
  const held = new Set(files.map(({ file }) => file));
  return small.every(({ file }) => held.has(file));
}

/** State files, and the view that they belong to. */
export interface ViewFiles {
  readonly view: View;
  readonly files: readonly StateFile[];
}

/** Merges `files` into one file; returns null if they have no rows. Throws STATE_OVERFLOW with the cell. */
export async function mergeStates(
  stores: BatchStores,
  duck: Duck,
  { view, files }: ViewFiles,
  place: StatePlace,
): Promise<StateFile | null> {
  if (files.length === 0) return null;
  await stores.data.requireIntact(files);
  const rows = parquet(
    stores,
    files.map(({ file }) => file),
  );
  const merged = mergeSql(view, rows, cellColumns(view), "stored");
  return namingOverflow(duck, view, rows, () => writeStates(stores, duck, { view, select: merged }, place));
}
