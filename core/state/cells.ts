import { componentKey, componentsOf } from "../definition/components.ts";
import type { View } from "../definition/view.ts";
import type { EpochMs } from "../log/position.ts";
import {
  type CellState,
  type Item,
  MERGE,
  type PresentedField,
  pickedValue,
  presentInteger,
  type StateValue,
} from "../measures/measure.ts";
import { Registers } from "../numbers/hll.ts";
import { PICK_PLACE_DIGITS } from "./compile.ts";

/** The value of one dimension. Its type is kept: true is not "true", and null is null. */
export type GroupValue = string | number | boolean | null;

declare const groupKeyBrand: unique symbol;

/**
 * A group as text: the JSON array of its values, the same in Redis and in memory. It is made once, when a cell is made,
 * and kept with it.
 */
export type GroupKey = string & { readonly [groupKeyBrand]: true };

/** The values of the dimensions, and their text. */
export interface Group {
  readonly group: readonly GroupValue[];
  readonly key: GroupKey;
}

/** One cell of a view: a bucket, the values of the dimensions, and the state of every component. */
export interface Cell extends Group {
  readonly bucket: EpochMs;
  /** Integers, and the texts of picks. */
  readonly values: Map<string, StateValue>;
  readonly items: Map<string, Map<Item, bigint>>;
  readonly registers: Map<string, Registers>;
  /** The presented values of some measures. Null before any was presented. Absent while the cell may still change. */
  presented?: Map<string, PresentedField> | null;
}

/**
 * State rows merged into cells. This is the merge of the whole system: batch rows and speed rows go into the same
 * table. Every component merges commutatively and associatively, so the order of rows does not change the result.
 */
export class CellTable {
  readonly #cells = new Map<string, Cell>();
  /**
   * Finished cells of other tables, which may be read but not written. Merging into one copies it to `#cells` first.
   */
  #adopted: ReadonlyMap<string, Cell> = new Map();
  /** The number of copies in `#cells`. */
  #copied = 0;
  readonly #merge: ReadonlyMap<string, (a: StateValue, b: StateValue) => StateValue>;

  constructor(view: View) {
    this.#merge = new Map(componentsOf(view).map(({ key, merge }) => [key, MERGE[merge]]));
  }

  /** Merges one integer or pick into a cell of this table. */
  merge({ values }: Cell, component: string, value: StateValue): void {
    const merge = this.#merge.get(component);
    const held = values.get(component);
    values.set(component, held === undefined || merge === undefined ? value : merge(held, value));
  }

  /** Merges the integer of one item into a cell of this table. Returns whether the item is new there. */
  mergeItem({ items }: Cell, component: string, item: Item, value: bigint): boolean {
    const held = items.get(component) ?? new Map<Item, bigint>();
    items.set(component, held);
    const merge = this.#merge.get(component);
    const before = held.get(item);
    held.set(item, before === undefined || merge === undefined ? value : (merge(before, value) as bigint));
    return before === undefined;
  }

  /** Returns the registers of a component in a cell of this table, to merge into. */
  sketch({ registers }: Cell, component: string): Registers {
    const held = registers.get(component) ?? new Registers();
    registers.set(component, held);
    return held;
  }

  /** Merges the contents of another cell into a cell of this table. */
  absorb(cell: Cell, { values, items, registers }: Cell): void {
    for (const [component, value] of values) this.merge(cell, component, value);
    for (const [component, held] of items)
      for (const [item, value] of held) this.mergeItem(cell, component, item, value);
    for (const [component, held] of registers) this.sketch(cell, component).merge(held);
  }

  /** Fills an empty table with finished cells from `held`, which others use too. There is no cost per cell. */
  adopt(cells: ReadonlyMap<string, Cell>): void {
    this.#adopted = cells;
  }

  /** Returns the cells by their coordinates, for `adopt`. Nothing may be merged into this table afterwards. */
  held(): ReadonlyMap<string, Cell> {
    for (const cell of this.#cells.values()) cell.presented = null;
    return this.#adopted.size === 0 ? this.#cells : new Map([...this.#adopted, ...this.#cells]);
  }

  cells(): Cell[] {
    if (this.#copied === 0) return [...this.#adopted.values(), ...this.#cells.values()];
    const untouched = [...this.#adopted].flatMap(([key, cell]) => (this.#cells.has(key) ? [] : [cell]));
    return [...untouched, ...this.#cells.values()];
  }

  get size(): number {
    return this.#adopted.size + this.#cells.size - this.#copied;
  }

  /**
   * Returns the cell at these coordinates, and makes it if it is new. One look-up serves everything that goes into it.
   */
  cell(bucket: EpochMs, group: readonly GroupValue[], key: GroupKey = groupKey(group)): Cell {
    const place = placeKey(bucket, key);
    const held = this.#cells.get(place);
    if (held !== undefined) return held;
    const adopted = this.#adopted.get(place);
    const cell = adopted === undefined ? emptyCell(bucket, group, key) : copyOf(adopted);
    if (adopted !== undefined) this.#copied += 1;
    this.#cells.set(place, cell);
    return cell;
  }
}

/** Returns the coordinates of a cell as text. */
export function placeKey(bucket: EpochMs, key: GroupKey): string {
  return `${bucket}${key}`;
}

function emptyCell(bucket: EpochMs, group: readonly GroupValue[], key: GroupKey): Cell {
  return { bucket, group, key, values: new Map(), items: new Map(), registers: new Map() };
}

/** Returns a copy of a cell. Merging into the copy does not change the original. */
export function copyOf({ bucket, group, key, values, items, registers }: Cell): Cell {
  return {
    bucket,
    group,
    key,
    values: new Map(values),
    items: new Map([...items].map(([component, held]) => [component, new Map(held)])),
    registers: new Map([...registers].map(([component, held]) => [component, held.copy()])),
  };
}

/** Merges a stored state row (bucket, dimensions, component, item, label, value: `stateColumns`) into `table`. */
export function mergeStateRow(table: CellTable, view: View, row: readonly unknown[]): void {
  const next = 1 + Object.keys(view.by).length;
  const cell = table.cell(Number(row[0]), row.slice(1, next).map(groupValue));
  const [name, item, label, value] = [String(row[next]), row[next + 1], row[next + 2], row[next + 3]];
  const component = componentsOf(view).find(({ key }) => key === name);
  if (component === undefined) return;
  if (component.form === "registers") table.sketch(cell, name).offer(Number(item), Number(value));
  else if (component.form === "pick") table.merge(cell, name, String(label));
  else if (component.form === "integer") table.merge(cell, name, BigInt(value as bigint));
  else table.mergeItem(cell, name, (label ?? Number(item)) as Item, BigInt(value as bigint));
}

/**
 * Returns a dimension's value as JSON has it: text, a boolean, an integer (as text where a double would round it), or
 * null.
 */
export function groupValue(value: unknown): GroupValue {
  return typeof value === "bigint" ? presentInteger(value) : ((value ?? null) as GroupValue);
}

export function groupKey(group: readonly GroupValue[]): GroupKey {
  return JSON.stringify(group) as GroupKey;
}

/** Returns the key of a group with one more value at its end, from the group's key. */
export function groupKeyWith(key: GroupKey, value: GroupValue): GroupKey {
  return `${key === "[]" ? "[" : `${key.slice(0, -1)},`}${JSON.stringify(value)}]` as GroupKey;
}

/** Returns the key of a group without its last value, which is `value`. The opposite of `groupKeyWith`. */
export function groupKeyWithout(key: GroupKey, value: GroupValue): GroupKey {
  const end = key.length - JSON.stringify(value).length - 2;
  return (end <= 0 ? "[]" : `${key.slice(0, end)}]`) as GroupKey;
}

export function groupFromKey(key: GroupKey): GroupValue[] {
  return JSON.parse(key) as GroupValue[];
}

/** Returns a cell's state for the measure called `measure`, by the measure's own component names. */
export function stateOf(cell: Cell, measure: string): CellState {
  const key = (component: string) => componentKey(measure, component);
  return {
    integer: (component) => cell.values.get(key(component)) as bigint | undefined,
    items: (component) => cell.items.get(key(component)) ?? NO_ITEMS,
    pick: (component) => {
      const text = cell.values.get(key(component)) as string | undefined;
      return text === undefined ? undefined : pickedValue(text.slice(PICK_PLACE_DIGITS));
    },
    registers: (component) => cell.registers.get(key(component)),
  };
}

const NO_ITEMS: ReadonlyMap<Item, bigint> = new Map();
