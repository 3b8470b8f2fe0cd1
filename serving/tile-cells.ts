import { setImmediate as turn } from "node:timers/promises";
import { type Cell, type CellTable, type GroupValue, groupFromKey, groupKey } from "../core/cells.ts";
import { componentsOf } from "../core/components.ts";
import { type Registers, registersFromRedis } from "../core/hll.ts";
import type { Item, StateValue } from "../core/measures/measure.ts";
import type { EpochMs } from "../core/position.ts";
import { answerTable, groupMatches, type Query, type TimeRange } from "../core/query.ts";
import type { View } from "../core/view.ts";
import { type BucketCells, splitCellField } from "../store/chain-state.ts";
import { tooLarge } from "./problem.ts";

/** A component's registers as the layer holds them: a Redis string, or `register * 64 + rank` of each that is set. */
export type Sketch = Buffer | readonly number[];

/** One group of one bucket in a tile's state. Immutable: tiles are cached. */
export interface GroupCells {
  readonly group: readonly GroupValue[];
  readonly values: readonly (readonly [component: string, value: StateValue])[];
  readonly items: readonly (readonly [component: string, item: Item, value: bigint])[];
  readonly sketches: readonly (readonly [component: string, sketch: Sketch])[];
}

export interface BucketTile {
  readonly bucket: EpochMs;
  readonly groups: readonly GroupCells[];
}

/** How much one answer may merge. */
export interface AnswerLimits {
  readonly maxCells: number;
  /** Registers of distinct counts, and items. */
  readonly maxPieces: number;
}

/** How many fields are remembered before they are forgotten. */
const MAX_FIELDS = 50_000;

/** Makes tiles of what Redis holds of a view: its fields `<component> <group>` gathered by group. */
export class Tiler {
  readonly #dimensions: number;
  readonly #items: ReadonlySet<string>;
  /** The same fields come with every read and in every bucket: taking one apart costs ten times a look at this. */
  readonly #fields = new Map<string, Field>();

  constructor(view: View) {
    this.#dimensions = Object.keys(view.by).length;
    this.#items = new Set(componentsOf(view).flatMap(({ key, form }) => (form === "items" ? [key] : [])));
  }

  tile({ bucket, values, sketches }: BucketCells): BucketTile {
    const groups = new Map<string, Gathering>();
    const gathering = ({ key, group }: Field) => {
      let held = groups.get(key);
      if (held === undefined) {
        held = { group, values: [], items: [], sketches: [] };
        groups.set(key, held);
      }
      return held;
    };
    for (const [text, value] of values) {
      const field = this.#field(text);
      if (field.item === undefined) gathering(field).values.push([field.component, value]);
      else gathering(field).items.push([field.component, field.item, value as bigint]);
    }
    for (const [text, bytes] of sketches) {
      const field = this.#field(text);
      gathering(field).sketches.push([field.component, bytes]);
    }
    return { bucket, groups: [...groups.values()] };
  }

  #field(text: string): Field {
    const held = this.#fields.get(text);
    if (held !== undefined) return held;
    // A text of its own: `text` may be a slice, which would keep all that it was cut from.
    const own = Buffer.from(text).toString();
    const { component, group: key } = splitCellField(own);
    const coordinates = groupFromKey(key);
    const group = coordinates.slice(0, this.#dimensions);
    const field = this.#items.has(component)
      ? { component, key: groupKey(group), group, item: coordinates[this.#dimensions] as Item }
      : { component, key, group, item: undefined };
    if (this.#fields.size >= MAX_FIELDS) this.#fields.clear();
    this.#fields.set(own, field);
    return field;
  }
}

interface Field {
  readonly component: string;
  /** The group as text. */
  readonly key: string;
  readonly group: readonly GroupValue[];
  readonly item: Item | undefined;
}

interface Gathering {
  readonly group: readonly GroupValue[];
  readonly values: [string, StateValue][];
  readonly items: [string, Item, bigint][];
  readonly sketches: [string, Sketch][];
}

/** What a cached tile costs, in cells; a sketch by its size. */
export function tileWeight(buckets: readonly BucketTile[]): number {
  const weigh = ({ values, items, sketches }: GroupCells) =>
    1 + values.length + items.length + sketches.reduce((sum, [, sketch]) => sum + 1 + Math.ceil(sketch.length / 32), 0);
  return buckets.reduce((sum, { groups }) => sum + groups.reduce((cells, group) => cells + weigh(group), 1), 0);
}

/** Cells of an answer, merged from tiles that do not change. Immutable: they are cached. */
export interface AnswerBase {
  readonly cells: readonly Cell[];
  readonly pieces: number;
}

/** What a cached base costs, in cells. */
export function baseWeight({ cells }: AnswerBase): number {
  const weigh = ({ values, items, registers }: Cell) => {
    let weight = 1 + values.size;
    for (const held of items.values()) weight += held.size;
    for (const held of registers.values()) weight += 1 + Math.ceil(held.sizeBytes / 32);
    return weight;
  };
  return cells.reduce((sum, cell) => sum + weigh(cell), 1);
}

/** How many groups are merged before other requests get their turn. */
const SLICE = 5_000;

/** Merges tiles into one answer: the same merge for the batch version, closed segments and the open one. */
export class AnswerBuilder {
  readonly #view: View;
  readonly #query: Query;
  readonly #limits: AnswerLimits;
  readonly #answer: ReturnType<typeof answerTable>;
  readonly #wanted: ReadonlySet<string>;
  #pieces = 0;
  #slice = 0;

  constructor(view: View, query: Query, window: TimeRange, wanted: readonly string[], limits: AnswerLimits) {
    this.#view = view;
    this.#query = query;
    this.#limits = limits;
    this.#answer = answerTable(view, query, window);
    this.#wanted = new Set(wanted);
  }

  get table(): CellTable {
    return this.#answer.table;
  }

  /** What was merged so far, for other answers to begin with: nothing may be merged here any more. */
  base(): AnswerBase {
    return { cells: this.table.cells(), pieces: this.#pieces };
  }

  /** Begins with what was merged before, for an answer to the same question. */
  begin({ cells, pieces }: AnswerBase): void {
    this.table.adopt(cells);
    this.#pieces = pieces;
  }

  /** State that is already filtered, and has the query's buckets (not yet slid) and dimensions. */
  async addRolledUp(buckets: readonly BucketTile[]): Promise<void> {
    for (const { bucket, groups } of buckets) {
      const reached = this.#answer.buckets(bucket);
      for (const cells of groups) {
        for (const into of reached) this.#merge(into, cells.group, cells);
        await this.#breathe();
      }
    }
  }

  /** State as the view stores it; only buckets in `[fromMs, toMs)` count. */
  async addStored(buckets: readonly BucketTile[], fromMs: EpochMs, toMs: EpochMs): Promise<void> {
    for (const { bucket, groups } of buckets) {
      if (bucket < fromMs || bucket >= toMs) continue;
      const reached = this.#answer.buckets(bucket);
      for (const cells of groups) {
        if (groupMatches(this.#view, this.#query, cells.group))
          for (const into of reached) this.#merge(into, this.#answer.group(cells.group), cells);
        await this.#breathe();
      }
    }
  }

  #merge(bucket: EpochMs, group: readonly GroupValue[], { values, items, sketches }: GroupCells): void {
    const cell = this.table.cell(bucket, group);
    for (const [component, value] of values) if (this.#wanted.has(component)) this.table.merge(cell, component, value);
    for (const [component, item, value] of items) {
      if (!this.#wanted.has(component)) continue;
      this.#pieces += 1;
      this.table.mergeItem(cell, component, item, value);
    }
    for (const [component, sketch] of sketches) {
      if (!this.#wanted.has(component)) continue;
      this.#pieces += sketch.length;
      offer(this.table.sketch(cell, component), sketch);
    }
    if (this.table.size > this.#limits.maxCells)
      throw tooLarge(`the answer would have more than ${this.#limits.maxCells} cells`);
    if (this.#pieces > this.#limits.maxPieces) throw tooManyPieces();
  }

  async #breathe(): Promise<void> {
    this.#slice += 1;
    if (this.#slice % SLICE === 0) await turn();
  }
}

export function tooManyPieces(): Error {
  return tooLarge("the answer would merge too many distinct counts, quantiles or items");
}

function offer(registers: Registers, sketch: Sketch): void {
  if (Buffer.isBuffer(sketch)) registers.merge(registersFromRedis(sketch));
  else for (const packed of sketch) registers.offer(packed >> 6, packed & 63);
}
