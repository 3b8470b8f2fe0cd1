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
 * Step 5 of a settlement (docs/internals/settlement.md): throws LEDGER_UNBALANCED, or LOG_TRUNCATED when the log is no
 * longer the one that the chain was built from: the archive may then have other records of the span than the chain. V
 * stays. Returns whether the speed layer's reading was there to compare with.
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
  /** V: the version that the delta was built on, and its cut. */
  readonly version: number;
  readonly from: Cut;
  readonly to: Cut;
  readonly file: StateFile | null;
  readonly ledger: Ledger;
  readonly createdBy: string;
}

/** How many versions that only replace files may come between a delta's base and the delta. */
export const REPLACED_BETWEEN = 8;

/**
 * Step 6 of a settlement (docs/internals/settlement.md): V+1 = V and the delta. Where another writer has published V+1
 * with the cut of V, it has only replaced files: the delta goes on top of that. Returns the version that has it; null,
 * and the delta's file is deleted, when another writer has moved the cut. Null also when the data directory was
 * restored since the delta was begun: then V is not there any more, or another version has its number, or the delta's
 * file is gone, or the restored archive ends before the delta.
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

/** Whether the version after `previous` can be the first to name a file, which is there. */
async function canName({ data }: BatchStores, previous: Manifest, { file }: StateFile): Promise<boolean> {
  return (lastVersionOf(file) ?? 0) > previous.version && (await data.has(file));
}

/**
 * The version in which an earlier attempt of this run has published a delta. Null when none has; the delta's file is
 * deleted then.
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

/** Whether the archive reaches `to` where that lies after `from`. One that was restored since may not. */
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
 * Step 7 of a settlement (docs/internals/settlement.md), after every publish: pointer, trim below the versions in
 * grace, files that none of them names. A version with its predecessor's cut only moves the pointer: it is published a
 * moment after its predecessor, and a read that began before both of them is to end exactly.
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
