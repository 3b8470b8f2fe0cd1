import { randomNumbers, seedState } from "../../core/numbers/random.ts";

/** Chance from a seed: the same calls give the same answers. */
export class Chance {
  readonly #next: () => number;

  constructor(seed: number, purpose = 0) {
    this.#next = randomNumbers(seedState(seed), purpose);
  }

  /** A whole number from 0 below `below`. */
  below(below: number): number {
    return Math.floor(this.#next() * below);
  }

  /** True in `share` (0 to 1) of all calls. */
  happens(share: number): boolean {
    return this.#next() < share;
  }

  pick<T>(choices: readonly [T, ...T[]]): T {
    return choices[this.below(choices.length)] ?? choices[0];
  }

  shuffled<T>(values: readonly T[]): T[] {
    return values
      .map((value) => ({ value, order: this.#next() }))
      .sort((a, b) => a.order - b.order)
      .map(({ value }) => value);
  }
}
