declare const positionBrand: unique symbol;

/** The next offset to read in a partition: always exclusive at the top, never negative. Offsets are not dense. */
export type Position = bigint & { readonly [positionBrand]: true };

/** Epoch milliseconds, UTC. */
export type EpochMs = number;

/** Partition -> position. An absent partition counts as 0: partitions that are added later start at 0. */
export type Cut = ReadonlyMap<number, Position>;

/** `[from, to)` of one partition. */
export interface PartitionSpan {
  readonly partition: number;
  readonly from: Position;
  readonly to: Position;
}

/** A `Cut` as it is stored and sent. Positions are decimal strings, because a JSON number cannot hold 64 bits. */
export type CutJson = Readonly<Record<string, string>>;

export const ZERO = 0n as Position;

/** Returns an offset as a position. Throws RangeError for a negative one. */
export function position(offset: bigint | number | string): Position {
  const value = BigInt(offset);
  if (value < 0n) throw new RangeError(`a position cannot be negative: ${value}`);
  return value as Position;
}

/** Returns the position of `partition` in `cut`. 0 if the cut does not have it. */
export function at(cut: Cut, partition: number): Position {
  return cut.get(partition) ?? ZERO;
}

/** Returns every partition that any of `cuts` has, ascending. */
export function partitionsOf(...cuts: Cut[]): number[] {
  return [...new Set(cuts.flatMap((cut) => [...cut.keys()]))].sort((a, b) => a - b);
}

export function cutsEqual(a: Cut, b: Cut): boolean {
  return partitionsOf(a, b).every((partition) => at(a, partition) === at(b, partition));
}

/** Whether `a` has reached `b` in every partition. */
export function cutReached(a: Cut, b: Cut): boolean {
  return partitionsOf(a, b).every((partition) => at(a, partition) >= at(b, partition));
}

/** Returns the least cut at or above all of them. */
export function farthest(...cuts: Cut[]): Cut {
  const ends = new Map<number, Position>();
  for (const cut of cuts) for (const [one, end] of cut) ends.set(one, end > at(ends, one) ? end : at(ends, one));
  return ends;
}

/** Returns the greatest cut at or below all of them. */
export function nearest(...cuts: Cut[]): Cut {
  const [first = new Map(), ...others] = cuts;
  const lower = (a: Cut, b: Cut): Cut =>
    partitionsOf(a, b).reduce((cut, one) => (at(b, one) < at(cut, one) ? cutWith(cut, one, at(b, one)) : cut), a);
  return others.reduce(lower, first);
}

/** Returns the same as `nearest`, with these partitions and no others. Empty without cuts. */
export function nearestIn(partitions: readonly number[], cuts: readonly Cut[]): Cut {
  const lower = new Map<number, Position>();
  for (const cut of cuts)
    for (const one of partitions) {
      const [held, least] = [at(cut, one), lower.get(one)];
      if (least === undefined || held < least) lower.set(one, held);
    }
  return lower;
}

/**
 * Returns how many positions `to` is beyond `from`, over all partitions of `to`. A partition in which `from` is further
 * counts 0.
 */
export function positionsBetween(from: Cut, to: Cut): bigint {
  let sum = 0n;
  for (const [partition, end] of to) {
    const length = end - at(from, partition);
    if (length > 0n) sum += length;
  }
  return sum;
}

/** Returns `cut` with another position of one partition. */
export function cutWith(cut: Cut, partition: number, to: Position): Cut {
  return new Map(cut).set(partition, to);
}

export function cutToJson(cut: Cut): CutJson {
  return Object.fromEntries(partitionsOf(cut).map((partition) => [String(partition), at(cut, partition).toString()]));
}

/** Returns a cut as JSON text, by partition: for scripts of Redis, keys and sentences. */
export function cutText(cut: Cut): string {
  return JSON.stringify(cutToJson(cut));
}

export function cutFromJson(json: CutJson): Cut {
  return new Map(Object.entries(json).map(([partition, offset]) => [Number(partition), position(offset)]));
}
