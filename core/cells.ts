import { componentKey, componentsOf } from "./components.ts";
import { Registers } from "./hll.ts";
import { type CellState, MERGE } from "./measures/measure.ts";
import type { EpochMs } from "./position.ts";
import type { View } from "./view.ts";

/** The value of one dimension. Types survive: true is not "true", null is null. */
export type GroupValue = string | number | boolean | null;

/** One cell of a view: a bucket, the values of the dimensions, and the state of every component. */
export interface Cell {
  readonly bucket: EpochMs;
  readonly group: readonly GroupValue[];
  readonly integers: Map<string, bigint>;
  readonly registers: Map<string, Registers>;
}

/**
 * State rows folded into cells. This is the merge of the whole system: batch rows and speed rows go into the same table, and because
 * every component merges commutatively and associatively, the order they come in cannot be seen in the result.
 */
export class CellTable {
  readonly #cells = new Map<string, Cell>();
  readonly #merge: ReadonlyMap<string, (a: bigint, b: bigint) => bigint>;

  constructor(view: View) {
    this.#merge = new Map(componentsOf(view).map(({ key, merge }) => [key, MERGE[merge]]));
  }

  /** Merges one integer into a cell. */
  add(bucket: EpochMs, group: readonly GroupValue[], component: string, value: bigint): void {
    this.merge(this.cell(bucket, group), component, value);
  }

  /** The registers of a cell's component, to merge into. */
  registers(bucket: EpochMs, group: readonly GroupValue[], component: string): Registers {
    return this.sketch(this.cell(bucket, group), component);
  }

  /** Merges one integer into a cell of this table. */
  merge({ integers }: Cell, component: string, value: bigint): void {
    const merge = this.#merge.get(component);
    const held = integers.get(component);
    integers.set(component, held === undefined || merge === undefined ? value : merge(held, value));
  }

  /** The registers of a component of a cell of this table, to merge into. */
  sketch({ registers }: Cell, component: string): Registers {
    const held = registers.get(component) ?? new Registers();
    registers.set(component, held);
    return held;
  }

  cells(): Cell[] {
    return [...this.#cells.values()];
  }

  get size(): number {
    return this.#cells.size;
  }

  /** The cell at these coordinates, made when it is new: one look-up for everything that goes into it. */
  cell(bucket: EpochMs, group: readonly GroupValue[]): Cell {
    const key = `${bucket}${groupKey(group)}`;
    const held = this.#cells.get(key);
    if (held !== undefined) return held;
    const cell: Cell = { bucket, group, integers: new Map(), registers: new Map() };
    this.#cells.set(key, cell);
    return cell;
  }
}

/** A group as text: the JSON array of its values, the same in Redis and in memory. */
export function groupKey(group: readonly GroupValue[]): string {
  return JSON.stringify(group);
}

export function groupFromKey(key: string): GroupValue[] {
  return JSON.parse(key) as GroupValue[];
}

/** A cell as the measure called `measure` sees it: by its own components' names. */
export function stateOf(cell: Cell, measure: string): CellState {
  return {
    integer: (component) => cell.integers.get(componentKey(measure, component)),
    registers: (component) => cell.registers.get(componentKey(measure, component)),
  };
}
