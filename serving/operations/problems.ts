import { concerns, type Failure } from "../../core/failures.ts";
import type { EpochMs } from "../../core/log/position.ts";
import type { FailureTracker } from "../../store/redis/failure-tracker.ts";
import type { Failures } from "../../store/redis/failures.ts";
import { type Trouble, troubleOf } from "../common/trouble.ts";
import type { RedisGate } from "../read/live/redis-gate.ts";
import type { ViewStatus } from "../read/live/view-status.ts";
import type { ViewOverview } from "./overview.ts";

const EVERY_MS = 1_000;
const PATIENCE_MS = 1_000;
/** Records wait for a version for so long before it is told: refreshes run once a minute. */
const NOT_REFRESHED_MS = 20 * 60_000;
/** How often fields of processes that are gone are removed. */
const SWEEP_EVERY = 600;

const REDIS = { kind: "reader", name: "redis", views: [] } as const;

/**
 * What fails again and again in the installation, as this server knows it: what the speed layer and the worker have
 * told Redis, read once a second, and what this server has met itself.
 */
export class Problems {
  readonly #stored: Failures;
  readonly #gate: RedisGate;
  readonly #own: FailureTracker;
  #told: readonly Failure[] = [];
  #ofViews = new Map<string, readonly Trouble[]>();
  #refreshes = 0;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(stored: Failures, gate: RedisGate, own: FailureTracker) {
    this.#stored = stored;
    this.#gate = gate;
    this.#own = own;
  }

  /**
   * Reads what was told, then again every second. Never rejects: without Redis what was told last holds until it is
   * over.
   */
  async start(): Promise<void> {
    await this.#refresh();
    const again = async () => {
      await this.#refresh();
      if (!this.#closed) this.#timer = setTimeout(again, EVERY_MS).unref();
    };
    if (!this.#closed) this.#timer = setTimeout(again, EVERY_MS).unref();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Takes note of views whose newest version or live state cannot be read, and of those that can be read again. */
  observe(views: readonly ViewOverview[]): void {
    for (const { definition, damage } of views) {
      const { name } = definition.view;
      if (damage === undefined) this.#own.succeeded({ kind: "view", name });
      else this.#own.stopped({ kind: "view", name, views: [name] }, damage);
    }
  }

  /** All of them, by kind and name. */
  all(): Failure[] {
    return [...this.#told, ...this.#own.problems()];
  }

  /**
   * Those that keep the answers of a view's generation from growing. The same list for as long as they are the same.
   */
  of(generation: string): readonly Trouble[] {
    if (this.#told.length === 0) return NONE;
    const known = this.#ofViews.get(generation);
    if (known !== undefined) return known;
    const view = generation.slice(0, generation.lastIndexOf("."));
    const found = this.#told.filter((one) => concerns(one, { view, generation })).map(troubleOf);
    this.#ofViews.set(generation, found);
    return found;
  }

  async #refresh(): Promise<void> {
    const nowMs = Date.now();
    try {
      this.#told = await this.#own.watch(REDIS, () => this.#gate.ask(PATIENCE_MS, () => this.#stored.read(nowMs)));
      if (this.#refreshes++ % SWEEP_EVERY === 0) await this.#stored.sweep(nowMs);
    } catch {
      // Counted, and shown by `all`.
    }
    this.#ofViews = new Map();
  }
}

const NONE: readonly Trouble[] = [];

/** Since when the records that came in after a version are there. */
interface Grown {
  readonly version: number;
  readonly sinceMs: EpochMs;
}

/**
 * Tells views of which nothing is published although records are applied: the worker is away, or its refreshes do not
 * get through. Time counts from when records were first seen after the newest version: that one may be old because
 * nothing came in. Kept in memory only.
 */
export class RefreshWatch {
  #grown: ReadonlyMap<string, Grown> = new Map();

  /** Notes how far all served views are; returns those that wait for 20 minutes. */
  observe(views: readonly ViewOverview[], nowMs: EpochMs): Failure[] {
    const grown = new Map<string, Grown>();
    const late: Failure[] = [];
    for (const { definition, status } of views) {
      const { view, generation } = definition;
      if (status === null || status.chain === null || !grows(status)) continue;
      const { version } = status.manifest;
      const before = this.#grown.get(generation);
      const now = before?.version === version ? before : { version, sinceMs: nowMs };
      grown.set(generation, now);
      if (nowMs - now.sinceMs >= NOT_REFRESHED_MS) late.push(notRefreshed(view.name, now, nowMs));
    }
    this.#grown = grown;
    return late;
  }
}

function grows({ cut, applied }: ViewStatus): boolean {
  return [...applied].some(([partition, position]) => position > (cut.get(partition) ?? 0n));
}

function notRefreshed(name: string, { version, sinceMs }: Grown, nowMs: EpochMs): Failure {
  const minutes = Math.round((nowMs - sinceMs) / 60_000);
  return {
    kind: "view",
    name,
    views: [name],
    code: "NOT_REFRESHED",
    message: `records came in after version ${version} for ${minutes} minutes, and no newer version is published`,
    hint: "See whether `tideline worker` runs and `tideline schedules` shows a settlement that is paused or fails.",
    failures: 1,
    sinceMs,
    atMs: nowMs,
  };
}
