import { lengthBelow, type Positions } from "./view-fold.ts";

export type TableRow = Readonly<Record<string, unknown>>;

/** Where an event lies in the log; a tombstone has no time. */
export interface Place {
  readonly timeMs: number;
  readonly partition: number;
  readonly offset: bigint;
}

/** What readers ask about. */
interface AskedTable {
  readonly table: string;
  /** The parts of a key. */
  readonly key: readonly string[];
  /** Columns that rows are sorted by. */
  readonly numbers: readonly [string, ...string[]];
  /** Columns that rows are chosen by, with values for that. */
  readonly filters: Readonly<Record<string, readonly [string, ...string[]]>>;
}

/** A table of `views/` in plain TypeScript. `S` is what the events of a key come to; null of an event: a tombstone. */
export interface TableModel<E, S> extends AskedTable {
  /** The key of an event; null when the table does not count it. */
  readonly keyOf: (event: E) => readonly string[] | null;
  /** Whether a tombstone's key, which is a text, is a key of the table. */
  readonly countsTombstones: boolean;
  readonly of: (event: E | null, place: Place) => S;
  /** What comes of two pieces of a log; those of one partition are joined in their order. */
  readonly join: (a: S, b: S) => S;
  /** The columns beside the key; null when there is no row. */
  readonly row: (state: S) => TableRow | null;
}

/** A table's fold of the log, grown record by record, which answers for any position in it. */
export interface TableFold<E> extends AskedTable {
  /** Takes the next event of a partition, or the tombstone of a key; whether the table counts it. */
  add(taken: { readonly event: E } | { readonly tombstone: string }, place: Place): boolean;
  /** The rows at `cut`, by the JSON of their keys. */
  rows(cut: Positions): Map<string, TableRow>;
}

/** What a key's events of one partition come to, after each of them. */
interface Step<S> {
  readonly offset: bigint;
  readonly state: S;
}

export function tableFoldOf<E, S>(model: TableModel<E, S>): TableFold<E> {
  const { table, key: parts, numbers, filters, keyOf, countsTombstones, of, join, row } = model;
  const keys = new Map<string, Map<number, Step<S>[]>>();
  return {
    table,
    key: parts,
    numbers,
    filters,
    add(taken, place) {
      const isEvent = "event" in taken;
      const key = isEvent ? keyOf(taken.event) : countsTombstones ? [taken.tombstone] : null;
      if (key === null) return false;
      const text = JSON.stringify(key);
      const partitions = keys.get(text) ?? new Map<number, Step<S>[]>();
      keys.set(text, partitions);
      const steps = partitions.get(place.partition) ?? [];
      partitions.set(place.partition, steps);
      const before = steps.at(-1);
      const own = of(isEvent ? taken.event : null, place);
      steps.push({ offset: place.offset, state: before === undefined ? own : join(before.state, own) });
      return true;
    },
    rows(cut) {
      const found = new Map<string, TableRow>();
      for (const [text, partitions] of keys) {
        const states = [...partitions].flatMap(([partition, steps]) => {
          const last = steps[lengthBelow(steps, cut.get(partition) ?? 0n) - 1];
          return last === undefined ? [] : [last.state];
        });
        const [first, ...others] = states;
        const columns = first === undefined ? null : row(others.reduce(join, first));
        if (columns === null) continue;
        const key = JSON.parse(text) as string[];
        found.set(text, { ...Object.fromEntries(parts.map((part, index) => [part, key[index]])), ...columns });
      }
      return found;
    },
  };
}

/** The newest record of a key: the one with the highest position, of all partitions. */
export interface Newest<E> {
  readonly event: E | null;
  readonly place: Place;
}

export function newest<E>(a: Newest<E>, b: Newest<E>): Newest<E> {
  const [x, y] = [a.place, b.place];
  const isLater = x.partition === y.partition ? y.offset > x.offset : y.partition > x.partition;
  return isLater ? b : a;
}

/** The value with the latest event time, then partition, then offset. */
export interface Latest {
  readonly value: string | null;
  readonly place: Place;
}

export function latestOf(a: Latest, b: Latest): Latest {
  if (a.value === null || b.value === null) return a.value === null ? b : a;
  const [x, y] = [a.place, b.place];
  if (x.timeMs !== y.timeMs) return y.timeMs > x.timeMs ? b : a;
  return newest({ event: null, place: x }, { event: null, place: y }).place === y ? b : a;
}
