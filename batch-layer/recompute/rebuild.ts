import { join } from "node:path";
import type { Generation } from "../../core/definition/generation.ts";
import { isTidelineError } from "../../core/errors.ts";
import type { ArchiveEntry, Manifest } from "../../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER, type Ledger, ledgersEqual } from "../../core/log/ledger.ts";
import { type Cut, cutsEqual, position } from "../../core/log/position.ts";
import { type Delta, type DeltaSpan, writeDelta } from "../refresh/delta.ts";
import { requireBalance } from "../refresh/ledger-check.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { joinParts } from "../versions/join-parts.ts";
import { newestOf, readNewest, replaceNewest, requireCutReached } from "../versions/newest.ts";
import { versionPrefix } from "../versions/publish.ts";
import { stateHash } from "../versions/state-hash.ts";
import { planRebuild, type RebuildPart } from "./rebuild-plan.ts";

/**
 * A rebuild computes the states of `[start, cut)` from the whole archive, and compares them with those that the
 * settlements have added up.
 *
 *   pinVersion     notes the newest version and the hash of its state, before its files can be deleted
 *   planParts      divides the archive into parts
 *   rebuildPart    computes the states of each part, in parallel, in a folder of this run
 *   finishRebuild  hashes their merge, and publishes it with the newest cut; events that were refreshed in the meantime
 *                  come from the archive
 */

/**
 * A version and the hash of its state. The hash is null if the version's files are damaged; a rebuild restores them.
 */
export interface PinnedVersion {
  readonly hash: string | null;
  readonly version: number;
  readonly topicId: string;
  readonly start: Cut;
  readonly cut: Cut;
  readonly ledger: Ledger;
}

/** Returns the newest version and the hash of its state, if the state can be read. */
export async function pinVersion(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  watch: Watch,
): Promise<PinnedVersion> {
  const pin = async ({ version, topicId, base, cut, ledger }: Manifest, hash: string | null) => {
    const start = (await stores.manifests.version(generation, 0))?.cut ?? base;
    return { version, topicId, start, cut, ledger, hash };
  };
  try {
    return await readNewest(stores, generation, async (newest) =>
      pin(newest, (await stateHash(stores, view, newest.files, watch)).hash),
    );
  } catch (error) {
    if (isTidelineError(error, "ARCHIVE_DAMAGED")) return pin(await newestOf(stores, generation), null);
    throw error;
  }
}

export async function planParts(
  { archive }: BatchStores,
  { topic }: ViewTarget,
  { topicId, start, cut }: PinnedVersion,
  partRecords?: number,
): Promise<RebuildPart[]> {
  const entries = new Map<number, readonly ArchiveEntry[]>();
  for (const partition of await archive.partitions(topic))
    entries.set(partition, await archive.entries(topic, topicId, partition));
  return planRebuild(entries, start, cut, partRecords);
}

/** The states and the ledger of a part; the file is in the run's own folder. */
export type BuiltPart = Pick<Delta, "file"> & { readonly ledger: Ledger };

/** Builds one part in the folder of the run. */
export async function rebuildPart(
  stores: BatchStores,
  target: ViewTarget,
  { topicId, part, run }: { readonly topicId: string; readonly part: RebuildPart; readonly run: string },
  watch: Watch,
): Promise<BuiltPart> {
  const from = new Map(part.spans.map((span) => [span.partition, position(span.from)]));
  const to = new Map(part.spans.map((span) => [span.partition, position(span.to)]));
  return build(stores, target, { topicId, from, to, run }, watch);
}

async function build(
  stores: BatchStores,
  target: ViewTarget,
  { run, ...span }: DeltaSpan & { readonly run: string },
  watch: Watch,
): Promise<BuiltPart> {
  const { file, ledgers, entries } = await writeDelta(
    stores,
    target,
    { ...span, folder: runFolder(target.generation, run), prefix: "part" },
    watch,
  );
  requireBalance({ view: target.view.name, archive: ledgers, entries, segments: null });
  return { file, ledger: [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER) };
}

export interface RebuildResult {
  /** The published version. */
  readonly version: number;
  /** The version that it was compared with, at this version's cut. */
  readonly compared: number;
  readonly cut: Cut;
  /** Whether state and ledger are the same as those that the refreshes added up. */
  readonly equal: boolean;
  readonly rows: number;
  readonly hash: string;
  /** Null if that state was damaged. */
  readonly comparedHash: string | null;
}

/** The parts that a run has built, and the version that they are compared with. */
export interface BuiltParts {
  readonly pinned: PinnedVersion;
  readonly parts: readonly BuiltPart[];
  readonly run: string;
  readonly createdBy: string;
}

export async function finishRebuild(
  stores: BatchStores,
  target: ViewTarget,
  { pinned, parts, run, createdBy }: BuiltParts,
  watch: Watch,
): Promise<RebuildResult> {
  const { view, generation } = target;
  const files = parts.flatMap(({ file }) => (file === null ? [] : [file]));
  let ledger = parts.reduce((sum, part) => addLedgers(sum, part.ledger), EMPTY_LEDGER);
  const rebuilt = await stateHash(stores, view, files, watch);
  const equal = rebuilt.hash === pinned.hash && ledgersEqual(ledger, pinned.ledger);
  let covered = pinned.cut;
  const published = await replaceNewest(stores, generation, createdBy, async (newest) => {
    const { version, cut } = newest;
    requireCutReached(newest, covered);
    if (!cutsEqual(covered, cut)) {
      const late = { topicId: pinned.topicId, from: covered, to: cut, run };
      const extra = await build(stores, target, late, watch);
      if (extra.file !== null) files.push(extra.file);
      ledger = addLedgers(ledger, extra.ledger);
      covered = cut;
    }
    const place = { folder: stores.manifests.stateFolder(generation), prefix: versionPrefix(version + 1) };
    return { files: await joinParts(stores, { view, files }, place, watch), ledger };
  });
  return {
    version: published.version,
    compared: pinned.version,
    cut: pinned.cut,
    equal,
    rows: rebuilt.rows,
    hash: rebuilt.hash,
    comparedHash: pinned.hash,
  };
}

/**
 * Deletes the parts of a run, and those of ended runs that did not delete theirs: only one rebuild of a generation runs
 * at a time.
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
