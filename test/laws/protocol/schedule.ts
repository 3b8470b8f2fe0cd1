import { setTimeout as delay, setImmediate as turn } from "node:timers/promises";
import type fc from "fast-check";

/** After so long without anything to do a simulation is stuck. */
const STUCK_MS = 5_000;

/**
 * Who may continue, and when. Processes stop at gates; fast-check decides which one is opened next, and only when
 * everything that is under way in Redis, DuckDB and the file system has come back: so a seed gives the same
 * interleaving again.
 */
export class Schedule {
  readonly #scheduler: fc.Scheduler;
  #underWay = 0;
  #onCalm: () => void = () => undefined;
  #passed = 0;
  readonly trace: string[] = [];

  constructor(scheduler: fc.Scheduler) {
    this.#scheduler = scheduler;
  }

  /** How many gates have been passed. */
  get passed(): number {
    return this.#passed;
  }

  note(line: string): void {
    this.trace.push(line);
  }

  gate(label: string): Promise<void> {
    return this.#scheduler.schedule(Promise.resolve(), label).then(() => undefined);
  }

  /** Work outside of the program that has begun: nobody passes a gate before it is done. */
  async during<T>(work: Promise<T>): Promise<T> {
    this.#underWay += 1;
    try {
      return await work;
    } finally {
      this.#underWay -= 1;
      if (this.#underWay === 0) this.#onCalm();
    }
  }

  /** Opens one gate. */
  async step(): Promise<void> {
    await this.calm();
    const begunMs = performance.now();
    while (this.#scheduler.count() === 0) {
      // Somebody waits for a timer.
      if (performance.now() - begunMs > STUCK_MS) throw new Error("nobody goes on");
      await delay(1);
      await this.calm();
    }
    this.#passed += 1;
    await this.#scheduler.waitNext(1);
  }

  /** Waits until nothing is under way. */
  async calm(): Promise<void> {
    for (let calm = 0; calm < 2; calm++) {
      if (this.#underWay > 0) {
        await new Promise<void>((resolve) => {
          this.#onCalm = resolve;
        });
        calm = 0;
      }
      await turn();
    }
  }
}
