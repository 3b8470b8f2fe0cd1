import type { GroupValue } from "../../core/state/cells.ts";
import { type Model, type OracleRow, type Placed, rowKey, rowOf } from "../../test/fixtures/oracles/oracle.ts";

export type Positions = ReadonlyMap<number, bigint>;

/** A way to ask a view: how wide a row is in event time, and which of its dimensions it keeps. */
export interface Shape {
  readonly everyMs: number;
  readonly by: readonly string[];
}

/** A view's fold of the log, grown record by record, which answers for any position in it. */
export interface ViewFold<E> {
  readonly view: string;
  readonly dimensions: readonly string[];
  readonly shapes: readonly Shape[];
  /** Takes the next event of a partition; whether the view counts it. */
  add(event: E, partition: number, offset: bigint): boolean;
  /** The rows of `[fromMs, toMs)` at `cut`, by `rowKey`. */
  rows(shape: Shape, fromMs: number, toMs: number, cut: Positions): Map<string, OracleRow>;
}

export interface ViewModel<E, L> {
  readonly view: string;
  readonly model: Model<E, L>;
  readonly dimensions: readonly string[];
  /** Beside the view's own grain and dimensions. */
  readonly shapes: readonly Shape[];
}

export function foldOf<E, L>({ view, model, dimensions, shapes }: ViewModel<E, L>): ViewFold<E> {
  const tables = new Map<Shape, Map<number, Map<string, RowHistory<E, L>>>>();
  for (const shape of [{ everyMs: model.grainMs, by: dimensions }, ...shapes]) tables.set(shape, new Map());

  const place = (placed: Placed<L>) => {
    const group = model.group(placed.line);
    for (const [{ everyMs, by }, buckets] of tables) {
      const bucket = Math.floor(placed.timeMs / everyMs) * everyMs;
      const key = rowKey(
        bucket,
        by.map((name): GroupValue => group[dimensions.indexOf(name)] ?? null),
      );
      const rows = buckets.get(bucket) ?? new Map<string, RowHistory<E, L>>();
      buckets.set(bucket, rows);
      const row = rows.get(key) ?? new RowHistory(model, key);
      rows.set(key, row);
      row.add(placed);
    }
  };

  return {
    view,
    dimensions,
    shapes: [...tables.keys()],
    add(event, partition, offset) {
      if (!model.counted(event)) return false;
      const timeMs = model.timeMs(event);
      const lines = model.lines?.(event) ?? [event as unknown as L];
      for (const [index, line] of lines.entries()) place({ line, timeMs, partition, offset, index });
      return true;
    },
    rows(shape, fromMs, toMs, cut) {
      const expected = new Map<string, OracleRow>();
      const buckets = tables.get(shape);
      for (let bucket = Math.floor(fromMs / shape.everyMs) * shape.everyMs; bucket < toMs; bucket += shape.everyMs) {
        for (const [key, history] of buckets?.get(bucket) ?? []) {
          const row = history.at(cut);
          if (row !== null) expected.set(key, row);
        }
      }
      return expected;
    },
  };
}

/**
 * Every line of one row, in the order of its partitions: what the row is at any position is a fold of their beginnings.
 */
class RowHistory<E, L> {
  readonly #model: Model<E, L>;
  readonly #key: string;
  readonly #partitions = new Map<number, Placed<L>[]>();
  #known: { readonly lengths: string; readonly row: OracleRow | null } | null = null;

  constructor(model: Model<E, L>, key: string) {
    this.#model = model;
    this.#key = key;
  }

  add(placed: Placed<L>): void {
    const lines = this.#partitions.get(placed.partition);
    if (lines === undefined) this.#partitions.set(placed.partition, [placed]);
    else lines.push(placed);
  }

  /** Most rows do not change between two answers: the last one is kept. */
  at(cut: Positions): OracleRow | null {
    const lengths = [...this.#partitions].map(([partition, lines]) => lengthBelow(lines, cut.get(partition) ?? 0n));
    const name = lengths.join();
    if (this.#known?.lengths !== name) {
      const lines = [...this.#partitions.values()].flatMap((all, index) => all.slice(0, lengths[index]));
      this.#known = { lengths: name, row: lines.length === 0 ? null : rowOf(this.#model, this.#key, lines) };
    }
    return this.#known.row;
  }
}

/** How many of `lines`, which are in the order of their offsets, lie below `position`. */
export function lengthBelow(lines: readonly { readonly offset: bigint }[], position: bigint): number {
  let [low, high] = [0, lines.length];
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((lines[middle]?.offset ?? position) < position) low = middle + 1;
    else high = middle;
  }
  return low;
}
