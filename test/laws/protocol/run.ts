/** A run of a workflow: what its steps have returned, as Temporal keeps it when the worker that works on it ends. */
export class Run {
  readonly #returned: unknown[];
  /** Whether it continues with another data directory than the one that it was begun with. */
  readonly wentOnElsewhere: boolean;
  #step = 0;

  constructor(returned: readonly unknown[] = [], wentOnElsewhere = false) {
    this.#returned = [...returned];
    this.wentOnElsewhere = wentOnElsewhere;
  }

  /**
   * The same run for another worker: it begins from the top, and steps that have returned are not done again. The
   * worker before may still end a step.
   */
  goOnElsewhere(): Run {
    return new Run(this.#returned, true);
  }

  async step<T>(work: () => Promise<T>): Promise<T> {
    const step = this.#step++;
    if (step < this.#returned.length) return this.#returned[step] as T;
    const result = await work();
    this.#returned.push(result);
    return result;
  }
}
