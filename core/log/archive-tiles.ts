import type { ArchiveEntry, MergedEntry } from "./documents.ts";
import { type Position, ZERO } from "./position.ts";
import type { Misfit } from "./spans.ts";

/** An entry that is not read any more, and the merged one that is read in its place. */
export interface Replaced<T extends ArchiveEntry = ArchiveEntry> {
  readonly entry: T;
  readonly by: MergedEntry;
}

export type ArchiveTiles =
  | { readonly ok: true; readonly entries: readonly ArchiveEntry[]; readonly replaced: readonly Replaced[] }
  | { readonly ok: false; readonly misfit: Pick<Misfit, "kind" | "expected" | "found"> };

/**
 * Which entries of a partition are read (invariant 1): from each position the longest merged one that begins there, or
 * else the archiver's. Merged entries lie apart or inside each other (`planMerges`), so whatever a merged one contains
 * is not needed, and what nothing contains has to be read. An archiver that slept may publish under a position that has
 * long been merged: a merged entry has precedence.
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

/** Those of a partition's entries, in order, that hold something of `[from, to)`; found by halving. */
export function entriesWithin(entries: readonly ArchiveEntry[], from: Position, to: Position): readonly ArchiveEntry[] {
  const first = firstWhere(entries, (entry) => entry.to > from);
  const beyond = firstWhere(entries, (entry) => entry.from >= to);
  return first < beyond ? entries.slice(first, beyond) : [];
}

/** The index of the first for which `holds`, which stays true from there on. */
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
