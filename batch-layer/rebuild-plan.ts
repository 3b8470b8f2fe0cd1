import type { ArchiveEntry } from "../core/documents.ts";
import { at, type Cut, partitionsOf, position } from "../core/position.ts";

/** A contiguous span of one partition whose states are built in one step. */
export interface RebuildPart {
  readonly partition: number;
  readonly from: string;
  readonly to: string;
}

/**
 * How many records a part holds at least, unless it is a partition's last: small parts cost a file each, large ones are
 * redone whole when one fails.
 */
const PART_RECORDS = 2_000_000;

/** Divides `[start, cut)` into parts along the borders of archive files: whole files, in order. */
export function planRebuild(
  entries: ReadonlyMap<number, readonly ArchiveEntry[]>,
  start: Cut,
  cut: Cut,
  partRecords: number = PART_RECORDS,
): RebuildPart[] {
  return partitionsOf(start, cut).flatMap((partition) => {
    const end = at(cut, partition);
    let from = at(start, partition);
    let records = 0;
    const parts: RebuildPart[] = [];
    const close = (to: bigint) => {
      if (to > from) parts.push({ partition, from: String(from), to: String(to) });
      from = position(to);
      records = 0;
    };
    for (const entry of entries.get(partition) ?? []) {
      if (position(entry.to) <= from || position(entry.from) >= end) continue;
      records += entry.records;
      if (records >= partRecords) close(position(entry.to) < end ? position(entry.to) : end);
    }
    close(end);
    return parts;
  });
}
