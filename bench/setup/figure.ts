/**
 * One line of the result, made of several rounds of the same run; what is shown is their median.
 *
 *   ratio   `ours` as a share of `ceiling`; it should be at least `bar`
 *   limit   `ours` by itself, where there is no natural ceiling (latencies, times); it should be at most `bar`
 */
export type Figure = RatioFigure | LimitFigure;

interface Measured {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** What we hold ourselves to; null for a figure that is there to compare with. */
  readonly bar: number | null;
}

export interface RatioFigure extends Measured {
  readonly kind: "ratio";
  readonly ceiling: number;
  readonly ratio: number;
  readonly rounds: readonly { readonly ours: number; readonly ceiling: number }[];
}

export interface LimitFigure extends Measured {
  readonly kind: "limit";
  readonly rounds: readonly number[];
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** The value of that rank (nearest rank); NaN of no values. */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

/** A figure against a ceiling of the same run: more is better. */
export function figure(what: string, unit: string, bar: number | null, rounds: RatioFigure["rounds"]): RatioFigure {
  const ours = median(rounds.map((round) => round.ours));
  const ceiling = median(rounds.map((round) => round.ceiling));
  return { kind: "ratio", what, unit, ours, ceiling, ratio: ours / ceiling, bar, rounds };
}

/** A figure that stands by itself: less is better. */
export function limit(what: string, unit: string, bar: number | null, rounds: readonly number[]): LimitFigure {
  return { kind: "limit", what, unit, ours: median(rounds), bar, rounds };
}

export function reachesBar(made: Figure): boolean {
  if (made.bar === null) return true;
  return made.kind === "ratio" ? made.ratio >= made.bar : made.ours <= made.bar;
}
