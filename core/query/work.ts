/**
 * A computation in steps. It yields the number of merges (or operations of that size) since its last yield, about every
 * thousand, so that the caller can count them against a budget and let others run in between. The result does not
 * depend on the caller.
 */
export type Work<T> = Generator<number, T, void>;

/** The approximate number of merges between two yields: well below a millisecond. */
export const STEP = 1_000;

/** Runs work to its end at once. */
export function finish<T>(work: Work<T>): T {
  for (;;) {
    const { done, value } = work.next();
    if (done) return value;
  }
}

/**
 * Sorts values in the order of `compare`, equal ones in their old order, by a merge sort that yields. Returns a new
 * array.
 */
export function* sorting<T>(values: readonly T[], compare: (a: T, b: T) => number): Work<T[]> {
  let runs: T[][] = [];
  for (let at = 0; at < values.length; at += STEP) {
    runs.push(values.slice(at, at + STEP).sort(compare));
    yield STEP;
  }
  while (runs.length > 1) {
    const merged: T[][] = [];
    for (let at = 0; at < runs.length; at += 2)
      merged.push(yield* merging(runs[at] ?? [], runs[at + 1] ?? [], compare));
    runs = merged;
  }
  return runs[0] ?? [];
}

function* merging<T>(left: T[], right: readonly T[], compare: (a: T, b: T) => number): Work<T[]> {
  if (right.length === 0) return left;
  const merged: T[] = [];
  let [l, r] = [0, 0];
  while (l < left.length && r < right.length) {
    const [a, b] = [left[l] as T, right[r] as T];
    if (compare(a, b) <= 0) {
      merged.push(a);
      l += 1;
    } else {
      merged.push(b);
      r += 1;
    }
    if (merged.length % STEP === 0) yield STEP;
  }
  for (; l < left.length; l++) merged.push(left[l] as T);
  for (; r < right.length; r++) merged.push(right[r] as T);
  return merged;
}
