import type { ArchiveEntry, MergedEntry } from "./documents.ts";
import { type Position, ZERO } from "./position.ts";
import type { Misfit } from "./spans.ts";

/** An entry that is no longer read, and the merged one that replaces it. */
export interface Replaced<T extends ArchiveEntry = ArchiveEntry> {
  readonly entry: T;
  readonly by: MergedEntry;
}

export type ArchiveTiles =
  | { readonly ok: true; readonly entries: readonly ArchiveEntry[]; readonly replaced: readonly Replaced[] }
  | { readonly ok: false; readonly misfit: Pick<Misfit, "kind" | "expected" | "found"> };

/**
 * Returns the entries of a partition that are read (invariant 1): from each position, the longest merged entry that
 * begins there, or else the archiver's. Merged entries lie apart or inside each other (`planMerges`). So an entry
 * inside a merged one is not needed, and any other entry has to be read. A merged entry has precedence, because a slow
 * archiver may publish an entry whose span was merged long ago.
 */
export function tileArchive(archived: readonly ArchiveEntry[], merged: readonly MergedEntry[]): ArchiveTiles {
  const longest = new Map<Position, MergedEntry>();
  for (const entry of merged) {
    const other = longest.get(entry.from);
    if (other === undefined || other.to < entry.to) longest.set(entry.from, entry);
  }
  const ascending = [...archived, ...merged];
  ascending.sort((a, b) => (a.from < b.from ? -1 : a.from > b.from ? 1 : 0));
  const entries: ArchiveEntry[] = [];
  const replaced: Replaced[] = [];
  let end = ascending[0]?.from ?? ZERO;
  let by: MergedEntry | undefined;
  for (const entry of ascending) {
    const { from } = entry;
    if (from < end) {
      if (by === undefined) return misfit("overlap", end, from);
      if (entry !== by) replaced.push({ entry, by });
      continue;
    }
    if (from > end) return misfit("gap", end, from);
    by = longest.get(from);
    const read = by ?? entry;
    if (read.to < from) return misfit("overlap", from, read.to);
    entries.push(read);
    end = read.to;
    if (by !== undefined && entry !== by) replaced.push({ entry, by });
  }
  return { ok: true, entries, replaced };
}

function misfit(kind: Misfit["kind"], expected: Position, found: Position): ArchiveTiles {
  return { ok: false, misfit: { kind, expected, found } };
}

/** Returns the ordered entries that contain a part of `[from, to)`. Binary search. */
export function entriesWithin(entries: readonly ArchiveEntry[], from: Position, to: Position): readonly ArchiveEntry[] {
  const first = firstWhere(entries, (entry) => entry.to > from);
  const beyond = firstWhere(entries, (entry) => entry.from >= to);
  return first < beyond ? entries.slice(first, beyond) : [];
}

/** Returns the index of the first item for which `holds`. It has to hold for all later items. */
function firstWhere<T>(items: readonly T[], holds: (item: T) => boolean): number {
  let low = 0;
  let high = items.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (holds(items[middle] as T)) high = middle;
    else low = middle + 1;
  }
  return low;
}
