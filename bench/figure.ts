/** One line of the result: `ours` and `ceiling` are medians in `unit`, from the same run; `bar` is the ratio we hold ourselves to. */
export interface Figure {
  readonly what: string;
  readonly ours: number;
  readonly ceiling: number;
  readonly unit: string;
  readonly bar: number | null;
  readonly rounds: readonly { readonly ours: number; readonly ceiling: number }[];
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

export function figure(what: string, unit: string, bar: number | null, rounds: Figure["rounds"]): Figure {
  return {
    what,
    unit,
    bar,
    rounds,
    ours: median(rounds.map(({ ours }) => ours)),
    ceiling: median(rounds.map(({ ceiling }) => ceiling)),
  };
}
