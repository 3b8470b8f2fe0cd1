import { concerns, type Failure, type Problem, problemOf } from "../core/failures.ts";
import type { FailureTracker } from "../store/failure-tracker.ts";
import type { Failures } from "../store/failures.ts";
import type { ViewStanding } from "./overview.ts";
import type { RedisGate } from "./redis-gate.ts";

const EVERY_MS = 1_000;
const PATIENCE_MS = 1_000;
/** Records were applied, and no version was published, for so long: refreshes run once a minute. */
const NOT_REFRESHED_MS = 20 * 60_000;
/** How often fields of processes that are gone are removed. */
const SWEEP_EVERY = 600;

const REDIS = { kind: "lane", name: "redis", views: [] } as const;

/**
 * What fails again and again in the installation, as this server knows it: what the speed layer and the worker have told Redis, read once a
 * second, and what this server has met itself.
 */
export class Problems {
  readonly #stored: Failures;
  readonly #gate: RedisGate;
  readonly #own: FailureTracker;
  #told: readonly Failure[] = [];
  #ofViews = new Map<string, readonly Problem[]>();
  #looks = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(stored: Failures, gate: RedisGate, own: FailureTracker) {
    this.#stored = stored;
    this.#gate = gate;
    this.#own = own;
  }

  /** Reads what was told, then again every second. Never rejects: without Redis what was told last holds until it is over. */
  async start(): Promise<void> {
    await this.#look();
    const again = async () => {
      await this.#look();
      if (!this.#closed) this.#timer = setTimeout(again, EVERY_MS).unref();
    };
    if (!this.#closed) this.#timer = setTimeout(again, EVERY_MS).unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** All of them, by kind and name. */
  all(): Failure[] {
    return [...this.#told, ...this.#own.problems()];
  }

  /** Those that keep the answers of a view's generation from growing. The same list for as long as they are the same. */
  of(generation: string): readonly Problem[] {
    if (this.#told.length === 0) return NONE;
    const known = this.#ofViews.get(generation);
    if (known !== undefined) return known;
    const view = generation.slice(0, generation.lastIndexOf("."));
    const found = this.#told.filter((one) => concerns(one, { view, generation })).map(problemOf);
    this.#ofViews.set(generation, found);
    return found;
  }

  async #look(): Promise<void> {
    const nowMs = Date.now();
    try {
      this.#told = await this.#own.watch(REDIS, () => this.#gate.ask(PATIENCE_MS, () => this.#stored.read(nowMs)));
      if (this.#looks++ % SWEEP_EVERY === 0) await this.#stored.sweep(nowMs);
    } catch {
      // Counted, and shown by `all`.
    }
    this.#ofViews = new Map();
  }
}

const NONE: readonly Problem[] = [];

/** Views of which nothing is published although records are applied: the worker is away, or its refreshes do not get through. */
export function notRefreshed(views: readonly ViewStanding[], nowMs: number): Failure[] {
  return views.flatMap(({ definition: { view }, standing }): Failure[] => {
    if (standing === null || standing.chain === null) return [];
    const { manifest, cut, applied } = standing;
    const grows = [...applied].some(([partition, position]) => position > (cut.get(partition) ?? 0n));
    if (!grows || nowMs - manifest.createdAtMs < NOT_REFRESHED_MS) return [];
    return [
      {
        kind: "view",
        name: view.name,
        views: [view.name],
        code: "NOT_REFRESHED",
        message: `version ${manifest.version} is ${Math.round((nowMs - manifest.createdAtMs) / 60_000)} minutes old, and records came in since`,
        hint: "See whether `tideline worker` runs and `tideline schedules` shows a refresh that is paused or fails.",
        failures: 1,
        sinceMs: manifest.createdAtMs,
        atMs: nowMs,
      },
    ];
  });
}
