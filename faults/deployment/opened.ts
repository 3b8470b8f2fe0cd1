interface Closable {
  close(): Promise<void>;
}

/**
 * What somebody has opened and must close, whatever happens in between: sources and installations keep Node running.
 */
export class Opened {
  readonly #things: Closable[] = [];

  /** Returns `thing`, which `close` will close. */
  keep<T extends Closable>(thing: T): T {
    this.#things.push(thing);
    return thing;
  }

  /** Closes the last one first, and each of them even if another cannot be closed. Throws the first error. */
  async close(): Promise<void> {
    const errors: unknown[] = [];
    for (const thing of this.#things.splice(0).toReversed()) await thing.close().catch((error) => errors.push(error));
    if (errors.length > 0) throw errors[0];
  }
}
