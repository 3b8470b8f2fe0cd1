import type { ArchiveEntry } from "../../core/log/documents.ts";
import { at, type Cut, type Position, partitionsOf } from "../../core/log/position.ts";

/** A contiguous span of one partition. Positions are text, because a plan travels as JSON. */
export interface RebuildSpan {
  readonly partition: number;
  readonly from: string;
  readonly to: string;
}

/** The spans that one step builds: at most one of each partition. */
export interface RebuildPart {
  readonly spans: readonly RebuildSpan[];
}

/**
 * About how many records a part has. Each further part has to be merged with the others, but a large part has to be
 * redone whole when it fails.
 */
const PART_RECORDS = 4_000_000;

/**
 * Divides `[start, cut)` into parts along the borders of archive files. Every part takes the same share of each
 * partition, in order. So events of about the same time, which share cells, are in the same part.
 */
export function planRebuild(
  entries: ReadonlyMap<number, readonly ArchiveEntry[]>,
  start: Cut,
  cut: Cut,
  partRecords: number = PART_RECORDS,
): RebuildPart[] {
  const partitions = partitionsOf(start, cut).map((partition) => {
    const [from, end] = [at(start, partition), at(cut, partition)];
    const held = (entries.get(partition) ?? []).filter((entry) => entry.to > from && entry.from < end);
    return { partition, from, end, held, records: sumOf(held) };
  });
  const total = partitions.reduce((sum, { records }) => sum + records, 0);
  const count = Math.max(1, Math.ceil(total / partRecords));
  const borders = partitions.map(({ from, end, held, records }) =>
    bordersOf(held, { from, end }, (part) => (records * part) / count, count),
  );
  return Array.from({ length: count }, (_, part) => ({
    spans: partitions.flatMap(({ partition }, index) => {
      const [from, to] = [borders[index]?.[part] ?? 0n, borders[index]?.[part + 1] ?? 0n];
      return from < to ? [{ partition, from: String(from), to: String(to) }] : [];
    }),
  })).filter(({ spans }) => spans.length > 0);
}

/**
 * Returns where the parts of a partition begin and end: `count + 1` positions. Each inner one is the end of the file
 * with which a part has reached `wanted` records.
 */
function bordersOf(
  entries: readonly ArchiveEntry[],
  { from, end }: { readonly from: Position; readonly end: Position },
  wanted: (part: number) => number,
  count: number,
): Position[] {
  const borders = [from];
  let records = 0;
  for (const { records: more, to } of entries) {
    records += more;
    while (borders.length < count && records >= wanted(borders.length)) borders.push(to < end ? to : end);
  }
  while (borders.length <= count) borders.push(end);
  return borders;
}

function sumOf(entries: readonly ArchiveEntry[]): number {
  return entries.reduce((sum, { records }) => sum + records, 0);
}
