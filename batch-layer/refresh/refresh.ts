import type { StateFile } from "../../core/log/documents.ts";
import { addLedgers, type Ledger } from "../../core/log/ledger.ts";
import { at, type Cut, cutFromJson, cutsEqual, partitionsOf } from "../../core/log/position.ts";
import type { Chain } from "../../store/redis/chain.ts";
import { requireOurLog } from "../log-checks.ts";
import type { BatchStores, ViewTarget } from "../stores.ts";
import { cutMarks } from "../versions/cut-marks.ts";
import { announce, nextManifest, publishVersion, sweepStates } from "../versions/publish.ts";
import type { Delta, DeltaSpan } from "./delta.ts";
import { requireBalance } from "./ledger-check.ts";
import { segmentLedgers } from "./segment-ledgers.ts";

/**
 * A refresh, step by step, as the protocol numbers them; each step may be repeated, run twice at once, or be the last:
 *
 *   1 newest manifest (V, C)                            store/archive/generation-start.ts
 *   2 B: seal, or the log's end                         seal.ts
 *   3 archive to B                                      archive-stream.ts, archive-chunk.ts
 *   4 states of [C, B) in a new file                    delta.ts
 *   5 ledgers                                           checkDelta
 *   6 manifest V+1, exclusively                         publishDelta
 *   7 pointer, trim, files of versions before V         finishPublish
 */

/**
 * Step 5: throws LEDGER_UNBALANCED, or LOG_TRUNCATED when the log is no longer the one that the chain was built from:
 * the archive may then have other records of the span than the chain. V stays. Returns whether the speed layer's
 * reading was there to compare with.
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

/**
 * Step 6: V+1 = V and the delta. False, and the delta's file is deleted, when another writer was first. False also when
 * the data directory was restored since the delta was begun: then V is not there any more, or another version has its
 * number, or the delta's file is gone, or the restored archive ends before the delta.
 */
export async function publishDelta(
  stores: BatchStores,
  { generation, topic }: ViewTarget,
  { version, from, to, file, ledger, createdBy }: DeltaPublication,
): Promise<boolean> {
  const previous = await stores.manifests.version(generation, version);
  const continues = previous !== null && cutsEqual(cutFromJson(previous.cut), from);
  const isHeld = continues && (await reachesTo(stores, topic, { ...previous, from, to }));
  if (!isHeld || (file !== null && !(await stores.data.has(file.file)))) {
    const after = await stores.manifests.version(generation, version + 1);
    // An earlier attempt of this run published, and the restored directory begins with what it published.
    if (after?.createdBy === createdBy && cutsEqual(cutFromJson(after.cut), to)) return true;
    const newest = await stores.manifests.newest(generation);
    const isNamed = [after, newest].some((one) => one?.files.some((held) => held.file === file?.file));
    if (file !== null && !isNamed) await stores.data.remove(file.file);
    return false;
  }
  const files = file === null ? previous.files : [...previous.files, file];
  const marks = await cutMarks(stores, topic, previous.topicId, to);
  const next = { files, ledger: addLedgers(previous.ledger, ledger), createdBy, moved: { cut: to, marks } };
  return publishVersion(stores, nextManifest(previous, next));
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
 * Step 7, after every publish: pointer, trim below the version's base, files that no version within grace names. A
 * version with its predecessor's cut only moves the pointer: it is published a moment after its predecessor, and a read
 * that began before both of them is to end exactly.
 */
export async function finishPublish(
  stores: BatchStores,
  { generation }: ViewTarget,
  chain: Chain,
  version: number,
): Promise<{ announced: boolean; swept: number }> {
  const manifest = await stores.manifests.version(generation, version);
  if (manifest === null) return { announced: false, swept: 0 };
  const base = cutFromJson(manifest.base);
  const moved = !cutsEqual(base, cutFromJson(manifest.cut));
  return {
    announced: await announce(chain, version, moved ? base : null),
    swept: moved ? await sweepStates(stores, generation) : 0,
  };
}
