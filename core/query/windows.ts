import { componentsOf, type NamedComponent } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import type { EpochMs } from "../log/position.ts";
import type { Item, StateValue } from "../measures/measure.ts";
import { type Cell, CellTable, copyOf, type GroupKey, groupKey } from "../state/cells.ts";
import { weightOf } from "./sessions.ts";
import { STEP, sorting, type Work } from "./work.ts";

/**
 * The windows of an answer. One ends with each bucket from `fromMs` to before `toMs`, and covers `windowMs` up to the
 * bucket's end.
 */
export interface Windows {
  readonly everyMs: number;
  readonly windowMs: number;
  /** The start of the first bucket that has a row. */
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
}

export interface SlideOptions {
  /** The components to merge. The others are missing in the windows. */
  readonly components: ReadonlySet<string>;
  /** Returns the wanted windows of a group, null for none of them. Absent: all. */
  readonly rangeOf?: (key: GroupKey) => { readonly fromMs: EpochMs; readonly toMs: EpochMs } | null;
  /**
   * Called with each window that is not empty, group by group and ascending. The cell is valid during the call only:
   * its contents change afterwards.
   */
  readonly onWindow: (window: Cell) => void;
}

/**
 * Slides windows over buckets at the cost of about one merge a bucket, however wide the windows are. Sums are added
 * when a bucket enters a window and subtracted when it leaves. Values that cannot be subtracted (min, max, first, last,
 * registers) go through a queue made of two stacks.
 *
 * @param cells single buckets of `everyMs` in `[fromMs - windowMs + everyMs, toMs)`
 */
export function* slide(view: View, cells: readonly Cell[], windows: Windows, options: SlideOptions): Work<void> {
  const { components, rangeOf, onWindow } = options;
  const wanted = componentsOf(view).filter(({ key }) => components.has(key));
  for (const [key, buckets] of yield* groupsOf(cells)) {
    const range = rangeOf === undefined ? windows : rangeOf(key);
    if (range === null) continue;
    const ascending = buckets.length > STEP ? yield* sorting(buckets, byBucket) : buckets.sort(byBucket);
    yield* slideGroup(new WindowQueue(view, wanted), ascending, { ...windows, ...range }, onWindow);
  }
}

function byBucket(a: Cell, b: Cell): number {
  return a.bucket - b.bucket;
}

function* groupsOf(cells: readonly Cell[]): Work<Map<GroupKey, Cell[]>> {
  const groups = new Map<GroupKey, Cell[]>();
  for (const [index, cell] of cells.entries()) {
    if (index % STEP === STEP - 1) yield STEP;
    const held = groups.get(cell.key);
    if (held === undefined) groups.set(cell.key, [cell]);
    else held.push(cell);
  }
  return groups;
}

/** @param queue empty */
function* slideGroup(
  queue: WindowQueue,
  buckets: readonly Cell[],
  { everyMs, windowMs, fromMs, toMs }: Windows,
  onWindow: (window: Cell) => void,
): Work<void> {
  const reachMs = windowMs - everyMs;
  let next = buckets.findIndex(({ bucket }) => bucket >= fromMs - reachMs);
  if (next < 0) return;
  let merges = 0;
  for (let end = fromMs; end < toMs; end += everyMs) {
    const following = buckets[next];
    if (queue.size === 0) {
      if (following === undefined) break;
      if (following.bucket > end) end = following.bucket;
      if (end >= toMs) break;
    }
    for (let cell = buckets[next]; cell !== undefined && cell.bucket <= end; cell = buckets[next]) {
      merges += queue.push(cell);
      next += 1;
    }
    merges += yield* queue.dropBefore(end - reachMs);
    if (queue.size > 0) {
      const window = queue.window(end);
      merges += weightOf(window);
      onWindow(window);
    }
    if (merges < STEP) continue;
    yield merges;
    merges = 0;
  }
  yield merges;
}

/**
 * A sum over the buckets in the queue, and the number of buckets with a value. If no bucket has a value, there is no
 * sum; that is not zero.
 */
interface Sum {
  value: bigint;
  buckets: number;
}

/** The buckets of one window of one group, oldest first, and their merge. */
class WindowQueue {
  readonly #table: CellTable;
  readonly #sums: ReadonlySet<string>;
  readonly #others: ReadonlySet<string>;
  /** By component. */
  readonly #integers = new Map<string, Sum>();
  readonly #items = new Map<string, Map<Item, bigint>>();
  readonly #itemBuckets = new Map<string, Map<Item, number>>();
  readonly #queue: Cell[] = [];
  #head = 0;
  /** Merged suffixes of the older buckets: the last one covers them all, and the first only the newest of them. */
  readonly #front: Cell[] = [];
  /** The newer buckets. */
  #back: Cell[] = [];
  #backMerged: Cell | null = null;

  constructor(view: View, wanted: readonly NamedComponent[]) {
    this.#table = new CellTable(view);
    const keys = (sums: boolean) => wanted.filter(({ merge }) => (merge === "sum") === sums).map(({ key }) => key);
    this.#sums = new Set(keys(true));
    this.#others = new Set(keys(false));
  }

  get size(): number {
    return this.#queue.length - this.#head;
  }

  /** Adds the newest bucket. Returns the number of merges. */
  push(cell: Cell): number {
    this.#queue.push(cell);
    this.#count(cell, 1);
    const other = this.#only(cell);
    this.#back.push(other);
    if (this.#backMerged === null) this.#backMerged = copyOf(other);
    else this.#table.absorb(this.#backMerged, other);
    return weightOf(cell);
  }

  /** Drops the buckets before `timeMs`. Returns the number of merges that it has not yielded. */
  *dropBefore(timeMs: EpochMs): Work<number> {
    let merges = 0;
    for (let oldest = this.#queue[this.#head]; oldest !== undefined; oldest = this.#queue[this.#head]) {
      if (oldest.bucket >= timeMs) break;
      this.#head += 1;
      this.#count(oldest, -1);
      merges += weightOf(oldest);
      if (this.#front.length === 0) merges += yield* this.#flip();
      this.#front.pop();
    }
    if (this.#head > 1_000) {
      this.#queue.splice(0, this.#head);
      this.#head = 0;
    }
    return merges;
  }

  /** Moves the newer buckets to the older side, each merged with all later ones. */
  *#flip(): Work<number> {
    let merges = 0;
    let merged: Cell | null = null;
    for (const cell of this.#back.toReversed()) {
      const longer: Cell = copyOf(cell);
      if (merged !== null) this.#table.absorb(longer, merged);
      merges += 2 * weightOf(longer);
      this.#front.push(longer);
      merged = longer;
      if (merges < STEP) continue;
      yield merges;
      merges = 0;
    }
    this.#back = [];
    this.#backMerged = null;
    return merges;
  }

  /** Returns all buckets of the queue merged, as the row of bucket `end`. */
  window(end: EpochMs): Cell {
    const older = this.#front.at(-1) ?? null;
    const newer = this.#backMerged;
    const either = older ?? newer;
    const merged = older !== null && newer !== null ? copyOf(older) : either;
    if (merged !== null && older !== null && newer !== null) this.#table.absorb(merged, newer);
    const values = new Map<string, StateValue>(merged?.values);
    for (const [component, { value }] of this.#integers) values.set(component, value);
    const items = new Map([...this.#items, ...(merged?.items ?? [])]);
    const { group, key } = this.#queue[this.#head] ?? NO_GROUP;
    return {
      bucket: end,
      group,
      key,
      values,
      items,
      registers: merged?.registers ?? new Map(),
    };
  }

  /** Adds the sums of a bucket, or subtracts them. */
  #count({ values, items }: Cell, sign: 1 | -1): void {
    for (const component of this.#sums) {
      const value = values.get(component);
      if (value !== undefined) this.#countInteger(component, value as bigint, sign);
      const held = items.get(component);
      if (held !== undefined) for (const [item, weight] of held) this.#countItem(component, item, weight, sign);
    }
  }

  #countInteger(component: string, value: bigint, sign: 1 | -1): void {
    const sum = this.#integers.get(component) ?? { value: 0n, buckets: 0 };
    sum.value += sign === 1 ? value : -value;
    sum.buckets += sign;
    if (sum.buckets === 0) this.#integers.delete(component);
    else this.#integers.set(component, sum);
  }

  #countItem(component: string, item: Item, weight: bigint, sign: 1 | -1): void {
    const weights = mapIn(this.#items, component);
    const buckets = mapIn(this.#itemBuckets, component);
    const left = (buckets.get(item) ?? 0) + sign;
    if (left === 0) {
      buckets.delete(item);
      weights.delete(item);
      return;
    }
    buckets.set(item, left);
    weights.set(item, (weights.get(item) ?? 0n) + (sign === 1 ? weight : -weight));
  }

  /** Returns the parts of a bucket that cannot be subtracted. */
  #only({ bucket, group, key, values, items, registers }: Cell): Cell {
    const of = <V>(held: ReadonlyMap<string, V>) =>
      new Map([...held].filter(([component]) => this.#others.has(component)));
    return { bucket, group, key, values: of(values), items: of(items), registers: of(registers) };
  }
}

const NO_GROUP = { group: [], key: groupKey([]) };

function mapIn<V>(maps: Map<string, Map<Item, V>>, component: string): Map<Item, V> {
  const held = maps.get(component) ?? new Map<Item, V>();
  maps.set(component, held);
  return held;
}
