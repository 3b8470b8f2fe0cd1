/** Repeatable random numbers: each is a function of its seed. */

/** Returns one of the choices. The probability of each is its share. */
export function pick<T extends { readonly share: number }>(choices: readonly T[], chance: number): T {
  const total = choices.reduce((sum, { share }) => sum + share, 0);
  let rest = chance * total;
  for (const choice of choices) {
    rest -= choice.share;
    if (rest < 0) return choice;
  }
  const [first] = choices;
  if (first === undefined) throw new RangeError("nothing to choose from");
  return first;
}

/** Returns the first state of a run's random numbers. Throws RangeError if the seed is not a whole number from 0. */
export function seedState(seed: number): number {
  if (!Number.isSafeInteger(seed) || seed < 0) throw new RangeError(`a seed is a whole number from 0, not ${seed}`);
  return mix(Math.floor(seed / 2 ** 32)) ^ (seed >>> 0);
}

/** The finalizer of MurmurHash3: every bit of `value` changes half of the bits. */
export function mix(value: number): number {
  let h = value | 0;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Returns a function that returns numbers in [0, 1): mulberry32 (Tommy Ettinger). */
export function randomNumbers(low: number, high: number): () => number {
  let state = (low + mix(high)) | 0;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Returns a number of the standard normal distribution, from two uniform ones (Box and Muller). */
export function normal(a: number, b: number): number {
  return Math.sqrt(-2 * Math.log(1 - a)) * Math.cos(2 * Math.PI * b);
}
