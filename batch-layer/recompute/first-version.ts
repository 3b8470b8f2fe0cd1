import type { ArchiveEntry } from "../../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { at, type Cut, cutWith, partitionsOf } from "../../core/log/position.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { cutMarks } from "../versions/cut-marks.ts";
import { joinParts } from "../versions/join-parts.ts";
import { newestOf } from "../versions/newest.ts";
import { nextManifest, publishVersion, versionPrefix } from "../versions/publish.ts";
import type { BuiltPart } from "./rebuild.ts";
import { planRebuild, type RebuildPart } from "./rebuild-plan.ts";

/**
 * The first version of a generation is built from the whole archive, so that these records need not go through Redis.
 */
export interface FirstVersion {
  readonly topicId: string;
  readonly cut: Cut;
  readonly parts: readonly RebuildPart[];
}

/** Returns null if the generation has a version already, or if nothing is archived that it could be built from. */
export async function planFirstVersion(
  stores: BatchStores,
  { generation, topic }: ViewTarget,
): Promise<FirstVersion | null> {
  const { version, cut: start, topicId } = await newestOf(stores, generation);
  if (version > 0) return null;
  const cut = atLeast(await stores.archive.archived(topic, topicId), start);
  const entries = new Map<number, readonly ArchiveEntry[]>();
  for (const partition of partitionsOf(cut))
    entries.set(partition, await stores.archive.entries(topic, topicId, partition));
  const parts = planRebuild(entries, start, cut);
  return parts.length === 0 ? null : { topicId, cut, parts };
}

/** Returns the archive's positions. A partition whose archive has not begun stays where the generation began. */
function atLeast(archived: Cut, start: Cut): Cut {
  let cut = start;
  for (const [partition, to] of archived) if (to > at(start, partition)) cut = cutWith(cut, partition, to);
  return cut;
}

/** A first version whose parts are built. */
export interface BuiltFirstVersion {
  readonly first: FirstVersion;
  readonly built: readonly BuiltPart[];
  readonly createdBy: string;
}

/** Publishes version 1 from its parts; returns false if another writer was first. */
export async function publishFirstVersion(
  stores: BatchStores,
  { view, generation, topic }: ViewTarget,
  { first, built, createdBy }: BuiltFirstVersion,
  watch: Watch,
): Promise<boolean> {
  const newest = await newestOf(stores, generation);
  const made = newest.version === 1 && newest.createdBy === createdBy;
  if (newest.version > 0) return made;
  const { topicId, cut } = first;
  const files = built.flatMap(({ file }) => (file === null ? [] : [file]));
  const place = { folder: stores.manifests.stateFolder(generation), prefix: versionPrefix(1) };
  const joined = await joinParts(stores, { view, files }, place, watch);
  const ledger = built.reduce((sum, part) => addLedgers(sum, part.ledger), EMPTY_LEDGER);
  const moved = { cut, marks: await cutMarks(stores, topic, topicId, cut) };
  const next = { files: joined, ledger, createdBy, moved };
  return publishVersion(stores, nextManifest(newest, next));
}
