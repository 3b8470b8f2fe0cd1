import { SESSION_FIRST, SESSION_LAST } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import type { TimeRange } from "../interval.ts";
import type { EpochMs } from "../log/position.ts";
import { type Cell, CellTable, copyOf, type GroupKey } from "../state/cells.ts";
import { type Budget, REGISTERS_A_MERGE } from "./budget.ts";
import { STEP, type Work } from "./work.ts";

/** The newest session of a group while buckets are added. */
interface Run {
  /** The merged state. Null for a session that is not wanted. */
  readonly cell: Cell | null;
  lastMs: EpochMs;
}

/**
 * Sessions as merges of buckets. A session is successive events of one group, each less than the gap after the one
 * before. A bucket is no longer than the gap, so all of its events of a group belong together. Two neighbouring buckets
 * belong together when the last event of one and the first of the next are close enough. Merged state is enough to see
 * that, so it does not matter where batch and stream meet, or when events arrived.
 *
 * Buckets are added in ascending order, from one gap before the range on, with one merge each. After `toMs`, buckets
 * are added until `openGroups` is empty.
 */
export class SessionRuns {
  readonly #gapMs: number;
  readonly #range: TimeRange;
  readonly #budget: Budget;
  readonly #table: CellTable;
  readonly #open = new Map<GroupKey, Run>();
  readonly #sessions: Cell[] = [];

  /** @param range sessions that begin in it are wanted */
  constructor(view: View, gapMs: number, range: TimeRange, budget: Budget) {
    this.#gapMs = gapMs;
    this.#range = range;
    this.#budget = budget;
    this.#table = new CellTable(view);
  }

  /**
   * Adds cells of the view's own grain with all of its dimensions. No cell may be in a bucket before those added
   * earlier.
   */
  *add(cells: readonly Cell[]): Work<void> {
    let merges = 0;
    for (const cell of cells.toSorted((a, b) => a.bucket - b.bucket)) {
      this.#addOne(cell);
      merges += weightOf(cell);
      if (merges < STEP) continue;
      yield merges;
      merges = 0;
    }
    yield merges;
  }

  #addOne(cell: Cell): void {
    const run = this.#open.get(cell.key);
    const [startMs, lastMs] = [firstOf(cell), sessionEnd(cell)];
    if (run !== undefined && startMs - run.lastMs < this.#gapMs) {
      if (run.cell !== null) this.#absorb(run.cell, cell);
      run.lastMs = Math.max(run.lastMs, lastMs);
      return;
    }
    const wanted = startMs >= this.#range.fromMs && startMs < this.#range.toMs;
    const begun = wanted ? { ...copyOf(cell), bucket: startMs } : null;
    if (begun !== null) {
      this.#budget.spend("cells", 1);
      this.#spend(heldBy(begun), 1);
      this.#sessions.push(begun);
    }
    this.#open.set(cell.key, { cell: begun, lastMs });
  }

  /** Merges a bucket into a session, and counts the growth of the session. */
  #absorb(session: Cell, cell: Cell): void {
    const before = heldBy(session);
    this.#table.absorb(session, cell);
    this.#spend(before, -1);
    this.#spend(heldBy(session), 1);
  }

  #spend(held: Held, sign: 1 | -1): void {
    this.#budget.spend("items", sign * held.items);
    this.#budget.spend("sketchBytes", sign * held.sketchBytes);
  }

  /** Returns the groups whose wanted session may get an event at `timeMs` or later. */
  openGroups(timeMs: EpochMs): Cell["group"][] {
    const open: Cell["group"][] = [];
    for (const [key, { cell, lastMs }] of this.#open) {
      if (timeMs - lastMs >= this.#gapMs) this.#open.delete(key);
      else if (cell !== null) open.push(cell.group);
    }
    return open;
  }

  /**
   * The sessions that begin in the range, as cells: `bucket` is the time of the first event, `sessionEnd` that of the
   * last.
   */
  sessions(): readonly Cell[] {
    return this.#sessions;
  }
}

/** The contents of a cell other than its values, in the units of the budget. */
interface Held {
  readonly items: number;
  readonly sketchBytes: number;
}

function heldBy({ items, registers }: Cell): Held {
  let [count, sketchBytes] = [0, 0];
  for (const held of items.values()) count += held.size;
  for (const held of registers.values()) sketchBytes += held.sizeBytes;
  return { items: count, sketchBytes };
}

/** Returns the time of the last event in a cell of a view of sessions. */
export function sessionEnd({ values }: Cell): EpochMs {
  return Number(values.get(SESSION_LAST));
}

function firstOf({ values }: Cell): EpochMs {
  return Number(values.get(SESSION_FIRST));
}

/** Returns the cost of merging a cell into another, in merges. */
export function weightOf({ values, items, registers }: Cell): number {
  let weight = 1 + values.size;
  for (const held of items.values()) weight += held.size;
  for (const held of registers.values()) weight += held.size / REGISTERS_A_MERGE;
  return weight;
}
