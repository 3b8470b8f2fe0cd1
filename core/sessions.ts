import { type Cell, CellTable } from "./cells.ts";
import { SESSION_FIRST, SESSION_LAST } from "./components.ts";
import type { EpochMs } from "./position.ts";
import type { View } from "./view.ts";

/** A session: successive events of one group, none further than the gap from the one before. */
export interface Session {
  readonly startMs: EpochMs;
  /** The time of its last event. */
  readonly endMs: EpochMs;
  /** Its state; `bucket` is `startMs`. */
  readonly cell: Cell;
}

/**
 * Sessions as merges of buckets. A bucket is no longer than the gap, so all of its events of a group belong together, and two
 * neighbouring buckets do when the last event of one and the first of the next are close enough. That is seen from merged state alone:
 * where batch and stream meet, and when events came, make no difference.
 *
 * @param cells of the view's own grain and all of its dimensions; of `[fromMs - gap, ∞)` for the answer to be exact
 * @returns the sessions that begin in `[fromMs, toMs)`
 */
export function sessionsOf(
  view: View,
  gapMs: number,
  cells: readonly Cell[],
  fromMs: EpochMs,
  toMs: EpochMs,
): Session[] {
  const groups = new Map<string, Cell[]>();
  for (const cell of cells) {
    const key = JSON.stringify(cell.group);
    groups.set(key, [...(groups.get(key) ?? []), cell]);
  }
  const table = new CellTable(view);
  const sessions: Session[] = [];
  for (const run of [...groups.values()].flatMap((group) => runs(group, gapMs))) {
    const startMs = Math.min(...run.map(firstMs));
    if (startMs < fromMs || startMs >= toMs) continue;
    const [{ group }] = run as [Cell, ...Cell[]];
    const cell = table.cell(startMs, group);
    for (const part of run) table.absorb(cell, part);
    sessions.push({ startMs, endMs: Math.max(...run.map(lastMs)), cell });
  }
  return sessions;
}

function runs(group: readonly Cell[], gapMs: number): Cell[][] {
  const found: Cell[][] = [];
  for (const cell of group.toSorted((a, b) => a.bucket - b.bucket)) {
    const before = found.at(-1)?.at(-1);
    if (before !== undefined && firstMs(cell) - lastMs(before) < gapMs) found.at(-1)?.push(cell);
    else found.push([cell]);
  }
  return found;
}

function firstMs({ values }: Cell): EpochMs {
  return Number(values.get(SESSION_FIRST));
}

function lastMs({ values }: Cell): EpochMs {
  return Number(values.get(SESSION_LAST));
}
