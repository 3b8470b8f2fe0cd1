import { join } from "node:path";
import { isMerged, type MergedEntry } from "../../core/log/documents.ts";
import { ZERO } from "../../core/log/position.ts";
import type { BatchStores, StreamTarget } from "../stores.ts";

/**
 * Deletes entries that a merged entry replaced so long ago that nobody reads them any more. Then deletes files that no
 * entry names and none ever will: the files of those entries, and of attempts that were killed or lost a race. Returns
 * how many files it deleted.
 *
 * A file that no entry names is kept while it may still be published. An archiver's file may be, if it begins at the
 * archive's end or later. A compactor's file may be, until its span lies within a merged entry whose time of grace is
 * over.
 */
export async function sweepArchive(
  { archive, data }: BatchStores,
  { topic }: StreamTarget,
  topicId: string,
): Promise<number> {
  let swept = 0;
  for (const partition of await archive.partitions(topic)) {
    const { entries, replaced } = await archive.list(topic, topicId, partition);
    const named = new Set(entries.map(({ file }) => file));
    const pastGrace: MergedEntry[] = [];
    for (const entry of entries)
      if (isMerged(entry) && (await archive.graceIsOver(topic, partition, entry))) pastGrace.push(entry);
    for (const { entry, by } of replaced) {
      if (pastGrace.includes(by)) await archive.removeReplaced(topic, partition, entry);
      else named.add(entry.file);
    }
    const end = entries.at(-1)?.to ?? ZERO;
    const folder = archive.fileFolder(topic, partition);
    for (const name of await data.list(folder)) {
      const file = join(folder, name);
      if (named.has(file) || !isDead(name, end, pastGrace)) continue;
      await data.remove(file);
      swept += 1;
    }
  }
  return swept;
}

/** Whether an attempt's file can no longer be published, or only under an entry that is never read. */
function isDead(name: string, end: bigint, merged: readonly MergedEntry[]): boolean {
  const attempt = /^merged-(\d{19})-(\d{19})-/.exec(name);
  if (attempt !== null) {
    const [from, to] = [BigInt(attempt[1] ?? 0), BigInt(attempt[2] ?? 0)];
    return merged.some((entry) => entry.from <= from && to <= entry.to);
  }
  return /^\d{19}-/.test(name) && BigInt(name.slice(0, 19)) < end;
}
