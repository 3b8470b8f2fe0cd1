import type { ArchiveEntry } from "../core/log/documents.ts";

/**
 * A partition's log as a function of its offsets, in SQL and here, so that an archive of it can be written quickly and
 * checked.
 */

export const isControl = (offset: string): string => `(${offset} % 7 = 3)`;
export const isDuplicate = (offset: string): string => `(${offset} % 5 = 4)`;
export const isReject = (offset: string): string => `(${offset} % 11 = 6)`;

/** The offsets of `[from, to)` that hold a record. */
export function offsetsOf(from: number, to: number): number[] {
  return Array.from({ length: to - from }, (_, index) => from + index).filter((offset) => offset % 7 !== 3);
}

/** What the entry of `[from, to)` says but for its file. */
export function entryOf(from: number, to: number): ArchiveEntry {
  const offsets = offsetsOf(from, to);
  return {
    ...entry(from, to, offsets.length),
    duplicates: offsets.filter((offset) => offset % 5 === 4).length,
    rejects: offsets.filter((offset) => offset % 11 === 6).length,
    control: to - from - offsets.length,
  };
}

export function entry(from: number, to: number, records: number): ArchiveEntry {
  return {
    from: String(from),
    to: String(to),
    file: null,
    records,
    duplicates: 0,
    rejects: 0,
    control: 0,
    checksum: null,
    sizeBytes: records * 100,
    topicId: "topic-1",
    leaderEpoch: 0,
    contract: 1,
  };
}
