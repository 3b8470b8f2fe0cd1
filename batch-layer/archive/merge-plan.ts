import type { ArchiveEntry } from "../../core/log/documents.ts";
import { ZERO } from "../../core/log/position.ts";

export interface MergeLimits {
  /** The most records, and the most bytes, of a merged file. */
  readonly records: number;
  readonly sizeBytes: number;
  /** How many of the newest entries are left as they are: the next refreshes read exactly these. */
  readonly newest: number;
}

export const MERGE_LIMITS: MergeLimits = { records: 4_000_000, sizeBytes: 256 * 1024 * 1024, newest: 3 };

/** A span of one partition whose entries become one. Positions are text, because a plan travels as JSON. */
export interface ArchiveMerge {
  readonly partition: number;
  readonly from: string;
  readonly to: string;
  readonly entries: number;
  readonly records: number;
}

/**
 * The sizes of blocks as powers of two, by tier: 16, 128, 1,024 … 4,194,304 offsets. A row is rewritten at most once a
 * tier.
 */
const TIERS = [22n, 19n, 16n, 13n, 10n, 7n, 4n];

/**
 * Returns the successive entries to merge. A block of a tier is an aligned range of offsets. The entries that *begin*
 * in a complete block, and were decoded by one revision of the contract, become one. So the span of a merged entry
 * follows from the archiver's entries alone, whichever process merges them and when. Two compactors, one of which may
 * have slept for hours, make the same entry or one inside the other, but never two that overlap. The largest tier
 * within the limits is used at once. At most 7 entries a tier are left, and one for each full block: their number grows
 * with the logarithm of a short history, and with the size of a long one.
 */
export function planMerges(
  partition: number,
  entries: readonly ArchiveEntry[],
  limits: MergeLimits = MERGE_LIMITS,
): ArchiveMerge[] {
  const older = entries.slice(0, Math.max(0, entries.length - limits.newest));
  const complete = entries[older.length]?.from ?? older.at(-1)?.to ?? ZERO;
  return mergesOf(older, 0, { partition, complete, limits });
}

interface Situation {
  readonly partition: number;
  /** A block that ends at or before this position gets no more entries. */
  readonly complete: bigint;
  readonly limits: MergeLimits;
}

function mergesOf(entries: readonly ArchiveEntry[], tier: number, situation: Situation): ArchiveMerge[] {
  const bits = TIERS[tier];
  if (bits === undefined) return [];
  const { partition, complete, limits } = situation;
  return runs(entries, bits).flatMap((run) => {
    const [first, last] = [run[0], run.at(-1)];
    if (first === undefined || last === undefined || run.length < 2) return [];
    const records = sum(run, "records");
    const blockEnd = ((first.from >> bits) + 1n) << bits;
    if (blockEnd > complete || records > limits.records || sum(run, "sizeBytes") > limits.sizeBytes)
      return mergesOf(run, tier + 1, situation);
    return [{ partition, from: String(first.from), to: String(last.to), entries: run.length, records }];
  });
}

/**
 * Returns the runs of successive entries that begin in the same block of `1 << bits` offsets and have the same
 * contract.
 */
function runs(entries: readonly ArchiveEntry[], bits: bigint): ArchiveEntry[][] {
  const found: ArchiveEntry[][] = [];
  let current = "";
  for (const entry of entries) {
    const block = `${entry.from >> bits} ${entry.contract}`;
    if (block === current) found.at(-1)?.push(entry);
    else found.push([entry]);
    current = block;
  }
  return found;
}

function sum(entries: readonly ArchiveEntry[], field: "records" | "sizeBytes"): number {
  return entries.reduce((total, entry) => total + entry[field], 0);
}
