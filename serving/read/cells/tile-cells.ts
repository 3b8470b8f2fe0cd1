import { componentsOf } from "../../../core/definition/components.ts";
import type { View } from "../../../core/definition/view.ts";
import type { TimeRange } from "../../../core/interval.ts";
import type { EpochMs } from "../../../core/log/position.ts";
import type { Item, StateValue } from "../../../core/measures/measure.ts";
import { type Registers, registersFromRedis } from "../../../core/numbers/hll.ts";
import { type Budget, REGISTERS_A_MERGE, type Spending } from "../../../core/query/budget.ts";
import type { Asked } from "../../../core/query/present.ts";
import { answerPlaces, groupMatches, type Query } from "../../../core/query/query.ts";
import { STEP, type Work } from "../../../core/query/work.ts";
import {
  type Cell,
  CellTable,
  type Group,
  type GroupKey,
  groupFromKey,
  groupKey,
  groupKeyWithout,
} from "../../../core/state/cells.ts";
import { type BucketCells, splitCellField } from "../../../store/redis/chain-state.ts";

/** A component's registers as a layer stores them: a Redis string, or registers that must not be changed. */
export type Sketch = Buffer | Registers;

/** One group of one bucket in a tile's state. Immutable: tiles are cached. */
export interface GroupCells extends Group {
  readonly values: readonly (readonly [component: string, value: StateValue])[];
  readonly items: readonly (readonly [component: string, item: Item, value: bigint])[];
  readonly sketches: readonly (readonly [component: string, sketch: Sketch])[];
}

/** A bucket of an answer: filtered, in the query's dimensions. */
export interface BucketTile {
  readonly bucket: EpochMs;
  readonly groups: readonly GroupCells[];
}

/** A bucket as the view stores it: its groups by their keys. */
export interface StoredTile {
  readonly bucket: EpochMs;
  readonly groups: ReadonlyMap<GroupKey, GroupCells>;
}

/** When more fields are cached than this, all are forgotten. */
const MAX_FIELDS = 50_000;

/** Makes tiles from a view's fields in Redis: collects the fields `<component> <group>` by group. */
export class Tiler {
  readonly #items: ReadonlySet<string>;
  /**
   * The same fields come with every read and in every bucket. Parsing a field takes ten times as long as this lookup.
   */
  readonly #fields = new Map<string, Field>();

  constructor(view: View) {
    this.#items = new Set(componentsOf(view).flatMap(({ key, form }) => (form === "items" ? [key] : [])));
  }

  *tile({ bucket, values, rows, sketches }: BucketCells): Work<StoredTile> {
    const groups = new Map<GroupKey, Gathering>();
    const gathering = ({ key, group }: Field) => {
      let held = groups.get(key);
      if (held === undefined) {
        held = { group, key, values: [], items: [], sketches: [] };
        groups.set(key, held);
      }
      return held;
    };
    let fields = 0;
    for (const [text, held] of rows) {
      const key = ownText(text);
      // A group has at most one row here. Its items and sketches are added below.
      groups.set(key, { group: groupFromKey(key), key, values: [...held], items: [], sketches: [] });
      fields += 1 + held.length;
      if (fields < STEP) continue;
      yield fields;
      fields = 0;
    }
    for (const [text, value] of values) {
      fields += 1;
      if (fields % STEP === 0) yield STEP;
      const field = this.#field(text);
      if (field.item === undefined) gathering(field).values.push([field.component, value]);
      else gathering(field).items.push([field.component, field.item, value as bigint]);
    }
    for (const [text, bytes] of sketches) {
      const field = this.#field(text);
      gathering(field).sketches.push([field.component, bytes]);
    }
    return { bucket, groups };
  }

  #field(text: string): Field {
    const held = this.#fields.get(text);
    if (held !== undefined) return held;
    const own = ownText(text);
    const { component, group: key } = splitCellField(own);
    const coordinates = groupFromKey(key);
    const item = this.#items.has(component) ? (coordinates.pop() as Item) : undefined;
    const field = {
      component,
      key: item === undefined ? key : groupKeyWithout(key, item),
      group: coordinates,
      item,
    };
    if (this.#fields.size >= MAX_FIELDS) this.#fields.clear();
    this.#fields.set(own, field);
    return field;
  }
}

/** Returns a copy of the text: a slice would keep the whole page of Redis in memory. */
function ownText<T extends string>(text: T): T {
  return Buffer.from(text).toString() as T;
}

interface Field extends Group {
  readonly component: string;
  readonly item: Item | undefined;
}

interface Gathering extends Group {
  readonly values: (readonly [string, StateValue])[];
  readonly items: [string, Item, bigint][];
  readonly sketches: [string, Sketch][];
}

/** The weight of tiles in a cache, in cells. */
export function tileWeight(buckets: readonly StoredTile[]): number {
  let weight = buckets.length;
  for (const { groups } of buckets) for (const group of groups.values()) weight += groupWeight(group);
  return weight;
}

/** The weight of a group in a cache, in cells; that of a sketch depends on its size. */
export function groupWeight({ values, items, sketches }: GroupCells): number {
  let weight = 1 + values.length + items.length;
  for (const [, sketch] of sketches) weight += 1 + Math.ceil(sketchBytes(sketch) / 32);
  return weight;
}

function sketchBytes(sketch: Sketch): number {
  return Buffer.isBuffer(sketch) ? sketch.length : sketch.sizeBytes;
}

/** Cells of an answer, merged from tiles that do not change. Immutable, because they are cached. */
export interface AnswerBase {
  /** By their coordinates. */
  readonly cells: ReadonlyMap<string, Cell>;
  /** The cost of making them. */
  readonly spending: Spending;
}

/**
 * The weight of a base in a cache, in cells. It comes from what was counted while the base was made, so that the cells
 * need not be walked.
 */
export function baseWeight({ cells, spending }: AnswerBase): number {
  const [first] = cells.values();
  const values = first?.values.size ?? 0;
  return 1 + cells.size * (1 + values) + spending.items + Math.ceil(spending.sketchBytes / 32);
}

/** The parts of stored state that an answer is merged from. */
export interface AnswerNeeds {
  readonly components: readonly { readonly key: string }[];
  /** The keys of the only groups that can match; null: any group may match. */
  readonly groups: readonly GroupKey[] | null;
}

/**
 * Merges tiles into one answer, in the same way for the batch version, closed segments and the open one. All methods
 * throw OverBudget.
 */
export class AnswerBuilder {
  readonly table: CellTable;
  readonly #view: View;
  readonly #query: Query;
  readonly #budget: Budget;
  readonly #places: ReturnType<typeof answerPlaces>;
  readonly #wanted: ReadonlySet<string>;
  /** The keys of the only groups that can match; null if the query does not name its groups. */
  readonly #named: readonly GroupKey[] | null;

  /** Whether the answer has the view's dimensions, in their order. */
  readonly #keepsGroups: boolean;

  constructor({ view, query, window }: Asked, needs: AnswerNeeds, budget: Budget) {
    this.table = new CellTable(view);
    this.#view = view;
    this.#query = query;
    this.#budget = budget;
    this.#places = answerPlaces(view, query, window);
    this.#wanted = new Set(needs.components.map(({ key }) => key));
    this.#named = needs.groups;
    const dimensions = Object.keys(view.by);
    this.#keepsGroups = dimensions.length === query.by.length && dimensions.every((name, at) => name === query.by[at]);
  }

  /**
   * Returns what was merged so far, as a base for other answers. Nothing may be merged into this builder afterwards.
   */
  base(): AnswerBase {
    return { cells: this.table.held(), spending: this.#budget.spending() };
  }

  /** Begins with a base of the same query. */
  begin({ cells, spending }: AnswerBase): void {
    this.#budget.charge(spending);
    this.table.adopt(cells);
  }

  /** Adds state that is already filtered, and has the query's buckets and dimensions. */
  *addRolledUp(buckets: readonly BucketTile[]): Work<void> {
    for (const { bucket, groups } of buckets) {
      const into = this.#places.bucket(bucket);
      for (const cells of groups) yield* this.#merge(into, cells, cells);
    }
  }

  /** Adds state as the view stores it. Only buckets in `[fromMs, toMs)` count. */
  *addStored(buckets: readonly StoredTile[], { fromMs, toMs }: TimeRange): Work<void> {
    for (const { bucket, groups } of buckets) {
      if (bucket < fromMs || bucket >= toMs) continue;
      const into = this.#places.bucket(bucket);
      for (const cells of this.#candidates(groups))
        if (groupMatches(this.#view, this.#query, cells.group)) yield* this.#merge(into, this.#place(cells), cells);
        else yield 1;
    }
  }

  /** Returns the answer's group of a stored group. */
  #place(stored: Group): Group {
    if (this.#keepsGroups) return stored;
    const group = this.#places.group(stored.group);
    return { group, key: groupKey(group) };
  }

  /** Returns the groups of a bucket that may match. If the query names its groups, they are looked up. */
  #candidates(groups: StoredTile["groups"]): Iterable<GroupCells> {
    if (this.#named === null || this.#named.length >= groups.size) return groups.values();
    return this.#named.map((key) => groups.get(key)).filter((cells) => cells !== undefined);
  }

  /** Merges the state of one group into its cell. A group may have a million items, so this yields between items. */
  *#merge(bucket: EpochMs, { group, key }: Group, { values, items, sketches }: GroupCells): Work<void> {
    const before = this.table.size;
    const cell = this.table.cell(bucket, group, key);
    this.#budget.spend("cells", this.table.size - before);
    for (const [component, value] of values) if (this.#wanted.has(component)) this.table.merge(cell, component, value);
    let merges = 1 + values.length;
    for (const [component, item, value] of items) {
      if (!this.#wanted.has(component)) continue;
      merges += 1;
      if (this.table.mergeItem(cell, component, item, value)) this.#budget.spend("items", 1);
      if (merges < STEP) continue;
      yield merges;
      merges = 0;
    }
    for (const [component, sketch] of sketches)
      if (this.#wanted.has(component)) merges += this.#mergeSketch(cell, component, sketch);
    yield merges;
  }

  #mergeSketch(cell: Cell, component: string, sketch: Sketch): number {
    const held = this.table.sketch(cell, component);
    const beforeBytes = held.sizeBytes;
    const registers = Buffer.isBuffer(sketch) ? registersFromRedis(sketch) : sketch;
    held.merge(registers);
    this.#budget.spend("sketchBytes", held.sizeBytes - beforeBytes);
    return registers.size / REGISTERS_A_MERGE;
  }
}
