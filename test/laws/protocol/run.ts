/** A run of a workflow: what its steps have returned, as Temporal keeps it when the worker that works on it ends. */
export class Run {
  readonly #returned: unknown[] = [];
  #elsewhere = false;
  #step = 0;

  /** Whether it goes on with another data directory than the one that it was begun with. */
  get wentOnElsewhere(): boolean {
    return this.#elsewhere;
  }

  /** Begins from the top: steps that have returned are not done again. */
  goOnElsewhere(): void {
    this.#elsewhere = true;
    this.#step = 0;
  }

  async step<T>(work: () => Promise<T>): Promise<T> {
    const step = this.#step++;
    if (step < this.#returned.length) return this.#returned[step] as T;
    const result = await work();
    this.#returned.push(result);
    return result;
  }
}
