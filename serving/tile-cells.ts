import { setImmediate as turn } from "node:timers/promises";
import { type CellTable, type GroupValue, groupFromKey } from "../core/cells.ts";
import { type Registers, registersFromRedis } from "../core/hll.ts";
import type { EpochMs } from "../core/position.ts";
import { answerTable, groupMatches, type Query } from "../core/query.ts";
import type { View } from "../core/view.ts";
import { type BucketCells, splitCellField } from "../store/chain-state.ts";
import { tooLarge } from "./problem.ts";

/** A component's registers as the layer holds them: a Redis string, or `register * 64 + rank` of each that is set. */
export type Sketch = Buffer | readonly number[];

/** One group of one bucket in a tile's state. Immutable: tiles are cached. */
export interface GroupCells {
  readonly group: readonly GroupValue[];
  readonly integers: readonly (readonly [component: string, value: bigint])[];
  readonly sketches: readonly (readonly [component: string, sketch: Sketch])[];
}

export interface BucketTile {
  readonly bucket: EpochMs;
  readonly groups: readonly GroupCells[];
}

/** How much one answer may merge. */
export interface AnswerLimits {
  readonly maxCells: number;
  readonly maxRegisters: number;
}

/** Redis's fields `<component> <group>` gathered by group: texts are split and parsed once per tile, not once per question. */
export function bucketTile({ bucket, integers, sketches }: BucketCells): BucketTile {
  const groups = new Map<string, { group: GroupValue[]; integers: [string, bigint][]; sketches: [string, Sketch][] }>();
  const of = (key: string) => {
    const held = groups.get(key) ?? { group: groupFromKey(key), integers: [], sketches: [] };
    groups.set(key, held);
    return held;
  };
  for (const [field, value] of integers) {
    const { component, group } = splitCellField(field);
    of(group).integers.push([component, value]);
  }
  for (const [field, bytes] of sketches) {
    const { component, group } = splitCellField(field);
    of(group).sketches.push([component, bytes]);
  }
  return { bucket, groups: [...groups.values()] };
}

/** What a cached tile costs, in cells; a sketch by its size. */
export function tileWeight(buckets: readonly BucketTile[]): number {
  const weigh = ({ integers, sketches }: GroupCells) =>
    1 + integers.length + sketches.reduce((sum, [, sketch]) => sum + 1 + Math.ceil(sketch.length / 32), 0);
  return buckets.reduce((sum, { groups }) => sum + groups.reduce((cells, group) => cells + weigh(group), 1), 0);
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
  #registers = 0;
  #slice = 0;

  constructor(view: View, query: Query, wanted: readonly string[], limits: AnswerLimits) {
    this.#view = view;
    this.#query = query;
    this.#limits = limits;
    this.#answer = answerTable(view, query);
    this.#wanted = new Set(wanted);
  }

  get table(): CellTable {
    return this.#answer.table;
  }

  /** State that is already filtered, and has the query's buckets and dimensions. */
  async addRolledUp(buckets: readonly BucketTile[]): Promise<void> {
    for (const { bucket, groups } of buckets) {
      for (const cells of groups) {
        this.#merge(bucket, cells.group, cells);
        await this.#breathe();
      }
    }
  }

  /** State as the view stores it; only buckets in `[fromMs, toMs)` count. */
  async addStored(buckets: readonly BucketTile[], fromMs: EpochMs, toMs: EpochMs): Promise<void> {
    for (const { bucket, groups } of buckets) {
      if (bucket < fromMs || bucket >= toMs) continue;
      const wider = this.#answer.bucket(bucket);
      for (const cells of groups) {
        if (groupMatches(this.#view, this.#query, cells.group))
          this.#merge(wider, this.#answer.group(cells.group), cells);
        await this.#breathe();
      }
    }
  }

  #merge(bucket: EpochMs, group: readonly GroupValue[], { integers, sketches }: GroupCells): void {
    const cell = this.table.cell(bucket, group);
    for (const [component, value] of integers)
      if (this.#wanted.has(component)) this.table.merge(cell, component, value);
    for (const [component, sketch] of sketches) {
      if (!this.#wanted.has(component)) continue;
      this.#registers += sketch.length;
      offer(this.table.sketch(cell, component), sketch);
    }
    if (this.table.size > this.#limits.maxCells)
      throw tooLarge(`the answer would have more than ${this.#limits.maxCells} cells`);
    if (this.#registers > this.#limits.maxRegisters) throw tooLarge("the answer would merge too many distinct counts");
  }

  async #breathe(): Promise<void> {
    this.#slice += 1;
    if (this.#slice % SLICE === 0) await turn();
  }
}

function offer(registers: Registers, sketch: Sketch): void {
  if (Buffer.isBuffer(sketch)) registers.merge(registersFromRedis(sketch));
  else for (const packed of sketch) registers.offer(packed >> 6, packed & 63);
}
