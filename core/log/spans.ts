import { at, type Cut, cutsEqual, type Position, partitionsOf } from "./position.ts";

/** A half-open range of positions `[from, to)` for each partition of one topic. */
export interface Span {
  readonly from: Cut;
  readonly to: Cut;
}

/** The place where two neighbouring tiles do not meet, and how. */
export interface Misfit {
  readonly kind: "gap" | "overlap";
  /** The index of the tile that does not begin where the ones before it end. */
  readonly index: number;
  readonly partition: number;
  readonly expected: Position;
  readonly found: Position;
}

export type Tiling = { readonly ok: true; readonly to: Cut } | { readonly ok: false; readonly misfit: Misfit };

/**
 * Invariant 1, in one place: checks that `tiles`, in order, cover the log from `start` without gap or overlap. Returns
 * the position where the last one ends, or the first misfit.
 */
export function tile(start: Cut, tiles: readonly Span[]): Tiling {
  let end = start;
  for (const [index, span] of tiles.entries()) {
    for (const partition of partitionsOf(end, span.from, span.to)) {
      const expected = at(end, partition);
      const found = at(span.from, partition);
      if (found !== expected) {
        return { ok: false, misfit: { kind: found > expected ? "gap" : "overlap", index, partition, expected, found } };
      }
      const to = at(span.to, partition);
      if (to < found) {
        return { ok: false, misfit: { kind: "overlap", index, partition, expected: found, found: to } };
      }
    }
    end = span.to;
  }
  return { ok: true, to: end };
}

/**
 * Returns the run of `tiles` that begins at `start` and continues to the last one, or the reason why there is none. A
 * chain in Redis may still hold older segments in front (grace): they are skipped.
 */
export function tilesFrom<T extends Span>(
  start: Cut,
  tiles: readonly T[],
):
  | { readonly ok: true; readonly tiles: readonly T[]; readonly to: Cut }
  | { readonly ok: false; readonly misfit: Misfit } {
  const first = tiles.findIndex((candidate) => cutsEqual(candidate.from, start));
  const run = first < 0 ? tiles : tiles.slice(first);
  const tiling = tile(start, run);
  if (!tiling.ok) return tiling;
  if (run.length === 0) {
    return { ok: false, misfit: { kind: "gap", index: 0, partition: 0, expected: at(start, 0), found: at(start, 0) } };
  }
  return { ok: true, tiles: run, to: tiling.to };
}
