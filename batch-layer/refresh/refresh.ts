import { isDeepStrictEqual } from "node:util";
import type { Manifest, StateFile } from "../../core/log/documents.ts";
import { addLedgers, type Ledger } from "../../core/log/ledger.ts";
import { at, type Cut, cutsEqual, partitionsOf } from "../../core/log/position.ts";
import type { Chain } from "../../store/redis/chain.ts";
import { requireOurLog } from "../log-checks.ts";
import type { BatchStores, ViewTarget } from "../stores.ts";
import { cutMarks } from "../versions/cut-marks.ts";
import { announce, lastVersionOf, nextManifest, stands, sweepStates, versionsInGrace } from "../versions/publish.ts";
import { removeStates } from "../versions/state-index.ts";
import type { Delta, DeltaSpan } from "./delta.ts";
import { requireBalance } from "./ledger-check.ts";
import { segmentLedgers } from "./segment-ledgers.ts";

/**
 * The steps of a settlement for one view (docs/internals/settlement.md); each may be repeated, run twice at once, or be
 * the last:
 *
 *   1 newest manifest (V, C)                            store/archive/generation-start.ts
 *   2 B: seal, or the log's end                         seal.ts
 *   3 archive to B                                      archive-stream.ts, archive-chunk.ts
 *   4 states of [C, B) in a new file                    delta.ts
 *   5 ledgers                                           checkDelta
 *   6 manifest V+1, exclusively                         publishDelta
 *   7 pointer, trim, files of versions before grace     finishPublish
 */

/**
 * Step 5 of a settlement (docs/internals/settlement.md). Throws LEDGER_UNBALANCED. Throws LOG_TRUNCATED when the log is
 * no longer the one that the chain was built from, because the archive may then have other records of the span than the
 * chain. Version V stays. Returns whether there was a ledger of the speed layer to compare with.
 */
export async function checkDelta(
  stores: Pick<BatchStores, "archive" | "log">,
  { view, topic }: ViewTarget,
  chain: Chain,
  { from, to, ledgers, entries }: Pick<DeltaSpan, "from" | "to"> & Omit<Delta, "file">,
): Promise<boolean> {
  await requireOurLog(stores, topic, chain);
  const segments = await segmentLedgers(chain, from, to);
  requireBalance({ view: view.name, archive: ledgers, entries, segments });
  return segments !== null;
}

export interface DeltaPublication {
  /** V, the version that the delta was built on, and its cut. */
  readonly version: number;
  readonly from: Cut;
  readonly to: Cut;
  readonly file: StateFile | null;
  readonly ledger: Ledger;
  readonly createdBy: string;
}

/** How many versions that only replace files may be published between a delta's base and the delta. */
export const REPLACED_BETWEEN = 8;

/**
 * Step 6 of a settlement (docs/internals/settlement.md): publishes V+1, which is V and the delta. If another writer has
 * published V+1 with the cut of V, it has only replaced files, and the delta is added to that version. Returns the
 * version with the delta. Returns null and deletes the delta's file when another writer has moved the cut. The same
 * happens when the data directory was restored since the delta was begun: V is gone, or another version has its number,
 * or the delta's file is gone, or the restored archive ends before the delta.
 */
export async function publishDelta(
  stores: BatchStores,
  target: ViewTarget,
  delta: DeltaPublication,
): Promise<number | null> {
  const { version, from, to, file, createdBy } = delta;
  const { manifests } = stores;
  let base = () => manifests.version(target.generation, version);
  for (let tries = 0; tries < REPLACED_BETWEEN; tries++) {
    const previous = await base();
    const continues = previous !== null && cutsEqual(previous.cut, from);
    const isHeld = continues && (await reachesTo(stores, target.topic, { ...previous, from, to }));
    if (!isHeld || (file !== null && !(await canName(stores, previous, file)))) break;
    const files = file === null ? previous.files : [...previous.files, file];
    const marks = await cutMarks(stores, target.topic, previous.topicId, to);
    const ledger = addLedgers(previous.ledger, delta.ledger);
    const next = nextManifest(previous, { files, ledger, createdBy, moved: { cut: to, marks } });
    if (await stands(stores, next)) return next.version;
    base = () => manifests.newest(target.generation);
  }
  return published(stores, target, delta);
}

/** Whether the file exists, and the version after `previous` may be the first to name it. */
async function canName({ data }: BatchStores, previous: Manifest, { file }: StateFile): Promise<boolean> {
  return (lastVersionOf(file) ?? 0) > previous.version && (await data.has(file));
}

/**
 * Returns the version in which an earlier attempt of this run published the delta. Returns null if there is none, and
 * then deletes the delta's file.
 */
async function published(
  { manifests, data }: BatchStores,
  { generation }: ViewTarget,
  { version, to, file, createdBy }: DeltaPublication,
): Promise<number | null> {
  const newest = await manifests.newest(generation);
  const after = newest === null ? [] : [newest];
  for (let next = version + 1; next <= version + REPLACED_BETWEEN; next++) {
    const one = await manifests.version(generation, next);
    if (one !== null) after.push(one);
  }
  const own = after.find((one) => one.createdBy === createdBy && cutsEqual(one.cut, to));
  if (own !== undefined) return own.version;
  const isNamed = after.some(({ files }) => files.some((held) => held.file === file?.file));
  if (file !== null && !isNamed) await removeStates(data, file);
  return null;
}

/** Whether the archive reaches `to` in all partitions in which `to` is after `from`. A restored archive may not. */
async function reachesTo(
  { archive }: BatchStores,
  topic: string,
  { topicId, from, to }: { readonly topicId: string; readonly from: Cut; readonly to: Cut },
): Promise<boolean> {
  const archived = await archive.archived(topic, topicId);
  return partitionsOf(to).every((partition) => {
    const end = at(to, partition);
    return end <= at(from, partition) || end <= at(archived, partition);
  });
}

/**
 * Step 7 of a settlement (docs/internals/settlement.md), after every publish: moves the pointer, trims segments below
 * the versions in grace, deletes files that no such version names. For a version with its predecessor's cut only the
 * pointer moves: it is published a moment after its predecessor, and reads that began before both still need their
 * segments and files.
 */
export async function finishPublish(
  stores: BatchStores,
  { generation }: ViewTarget,
  chain: Chain,
  version: number,
): Promise<{ announced: boolean; swept: number }> {
  const manifest = await stores.manifests.version(generation, version);
  if (manifest === null) return { announced: false, swept: 0 };
  if (isDeepStrictEqual(manifest.base, manifest.cut))
    return { announced: await announce(chain, version, null), swept: 0 };
  const oldest = (await versionsInGrace(stores, manifest)).at(-1);
  const cut = oldest === undefined ? manifest.base : oldest.cut;
  return {
    announced: await announce(chain, version, cut),
    swept: await sweepStates(stores, generation),
  };
}
