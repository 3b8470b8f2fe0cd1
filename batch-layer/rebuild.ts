import { join } from "node:path";
import type { ArchiveEntry, Manifest, StateFile } from "../core/documents.ts";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import type { Generation } from "../core/generation.ts";
import { addLedgers, EMPTY_LEDGER, type Ledger, ledgersEqual } from "../core/ledger.ts";
import { type Cut, type CutJson, cutFromJson, cutsEqual, position } from "../core/position.ts";
import { mergeStates } from "./compact.ts";
import { type Delta, writeDelta } from "./delta.ts";
import { withDuck } from "./duck-run.ts";
import { requireBalance } from "./ledger-check.ts";
import { nextManifest, publishVersion, versionPrefix } from "./publish.ts";
import { planRebuild, type RebuildPart } from "./rebuild-plan.ts";
import { type StateHash, stateHash } from "./state-hash.ts";
import type { BatchStores, ViewTarget, Watch } from "./stores.ts";

/**
 * A rebuild: the states of `[start, cut)` from the whole archive, and whether they are those that the refreshes have
 * added up.
 *
 *   pinVersion     the newest version, with the hash of its state, before grace can take its files
 *   planParts      the archive in parts
 *   rebuildPart    the states of each, in parallel, in a folder of this run's own
 *   finishRebuild  hash of their merge, published with the newest cut: what was refreshed meanwhile comes from the archive
 */

/** A version and what identifies its state. */
export interface PinnedVersion extends StateHash {
  readonly version: number;
  readonly topicId: string;
  readonly start: CutJson;
  readonly cut: CutJson;
  readonly ledger: Ledger;
}

const TRIES = 5;

/** The newest version and the hash of its state. Starts over when two refreshes pass meanwhile and take its files. */
export async function pinVersion(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  watch: Watch,
): Promise<PinnedVersion> {
  for (let attempt = 1; ; attempt++) {
    const newest = await newestOf(stores, generation);
    const start = (await stores.manifests.version(generation, 0))?.cut ?? newest.base;
    const { version, topicId, cut, ledger } = newest;
    try {
      return { version, topicId, start, cut, ledger, ...(await stateHash(stores, view, newest.files, watch)) };
    } catch (error) {
      const moved =
        isTidelineError(error, "ARCHIVE_DAMAGED") && (await newestOf(stores, generation)).version > version + 1;
      if (!moved || attempt >= TRIES) throw error;
    }
  }
}

async function newestOf({ manifests }: BatchStores, generation: Generation): Promise<Manifest> {
  const newest = await manifests.newest(generation);
  if (newest === null)
    throw new TidelineError(
      "NOT_READY",
      `${generation}: nothing has been published yet`,
      "Wait for the first refresh.",
    );
  return newest;
}

export async function planParts(
  { archive }: BatchStores,
  { topic }: ViewTarget,
  { topicId, start, cut }: PinnedVersion,
  partRecords?: number,
): Promise<RebuildPart[]> {
  const entries = new Map<number, ArchiveEntry[]>();
  for (const partition of await archive.partitions(topic))
    entries.set(partition, await archive.entries(topic, topicId, partition));
  return planRebuild(entries, cutFromJson(start), cutFromJson(cut), partRecords);
}

/** A part's states and ledger; the file lies in the run's own folder. */
export type BuiltPart = Pick<Delta, "file"> & { readonly ledger: Ledger };

export async function rebuildPart(
  stores: BatchStores,
  target: ViewTarget,
  topicId: string,
  part: RebuildPart,
  run: string,
  watch: Watch,
): Promise<BuiltPart> {
  const span = {
    topicId,
    from: new Map([[part.partition, position(part.from)]]),
    to: new Map([[part.partition, position(part.to)]]),
  };
  return build(stores, target, span, run, watch);
}

async function build(
  stores: BatchStores,
  target: ViewTarget,
  span: { topicId: string; from: Cut; to: Cut },
  run: string,
  watch: Watch,
): Promise<BuiltPart> {
  const { file, ledgers, entries } = await writeDelta(
    stores,
    target,
    span,
    runFolder(target.generation, run),
    "part",
    watch,
  );
  requireBalance({ view: target.view.name, archive: ledgers, entries, segments: null });
  return { file, ledger: [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER) };
}

export interface RebuildResult {
  /** The version that was published. */
  readonly version: number;
  /** The version that it was compared with, at this version's cut. */
  readonly compared: number;
  readonly cut: CutJson;
  /** Whether state and ledger are those that the refreshes had added up. */
  readonly equal: boolean;
  readonly rows: number;
  readonly hash: string;
  readonly comparedHash: string;
}

export async function finishRebuild(
  stores: BatchStores,
  target: ViewTarget,
  pinned: PinnedVersion,
  parts: readonly BuiltPart[],
  identity: { run: string; createdBy: string },
  watch: Watch,
): Promise<RebuildResult> {
  const { view, generation } = target;
  const files = parts.flatMap(({ file }) => (file === null ? [] : [file]));
  let ledger = parts.reduce((sum, part) => addLedgers(sum, part.ledger), EMPTY_LEDGER);
  const rebuilt = await stateHash(stores, view, files, watch);
  const equal = rebuilt.hash === pinned.hash && ledgersEqual(ledger, pinned.ledger);
  let covered = pinned.cut;
  for (let attempt = 1; attempt <= TRIES; attempt++) {
    const newest = await newestOf(stores, generation);
    const cut = cutFromJson(newest.cut);
    if (!cutsEqual(cut, cutFromJson(covered))) {
      const extra = await build(
        stores,
        target,
        { topicId: pinned.topicId, from: cutFromJson(covered), to: cut },
        identity.run,
        watch,
      );
      if (extra.file !== null) files.push(extra.file);
      ledger = addLedgers(ledger, extra.ledger);
      covered = newest.cut;
    }
    const merged = await mergeFor(stores, target, files, newest.version + 1, watch);
    if (merged === null) continue;
    const manifest = nextManifest(newest, { files: merged, ledger, createdBy: identity.createdBy });
    if (await publishVersion(stores, manifest)) {
      return {
        version: manifest.version,
        compared: pinned.version,
        cut: pinned.cut,
        equal,
        rows: rebuilt.rows,
        hash: rebuilt.hash,
        comparedHash: pinned.hash,
      };
    }
  }
  throw new TidelineError(
    "NOT_READY",
    `${view.name}: ${TRIES} times another version was published while this one was written`,
    "Pause the view's refresh schedule and rebuild again.",
  );
}

/**
 * The merge of `files` for a version; null when another writer took that version meanwhile, whose sweep may have taken
 * the file.
 */
async function mergeFor(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  files: readonly StateFile[],
  version: number,
  watch: Watch,
): Promise<StateFile[] | null> {
  const folder = stores.manifests.stateFolder(generation);
  try {
    const merged = await withDuck(stores, watch, (duck) =>
      mergeStates(stores, duck, view, files, folder, versionPrefix(version)),
    );
    return merged === null ? [] : [merged];
  } catch (error) {
    if ((await newestOf(stores, generation)).version < version) throw error;
    return null;
  }
}

/**
 * Deletes the parts of a run, and of runs that ended without doing so: only one rebuild of a generation goes on at a
 * time.
 */
export async function clearRebuilds({ data }: BatchStores, generation: Generation): Promise<void> {
  for (const run of await data.list(join("views", generation, "rebuilds"))) {
    const folder = runFolder(generation, run);
    for (const name of await data.list(folder)) await data.remove(join(folder, name));
  }
}

function runFolder(generation: Generation, run: string): string {
  return join("views", generation, "rebuilds", run);
}
