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
/** Records may wait this long for a version before a problem is reported. Refreshes run once a minute. */
const NOT_REFRESHED_MS = 20 * 60_000;
/** How often the fields of ended processes are removed from Redis. */
const SWEEP_EVERY = 600;

const REDIS = { kind: "reader", name: "redis", views: [] } as const;

/**
 * Everything that fails again and again in the installation. The speed layer and the worker report their failures in
 * Redis, which is read once a second; this server adds its own.
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
   * Reads the reported failures, then again every second. Never rejects: without Redis, the last reported failures are
   * kept until they expire.
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

  /** Records which views have a newest version or live state that cannot be read, and which can be read again. */
  observe(views: readonly ViewOverview[]): void {
    for (const { definition, damage } of views) {
      const { name } = definition.view;
      if (damage === undefined) this.#own.succeeded({ kind: "view", name });
      else this.#own.stopped({ kind: "view", name, views: [name] }, damage);
    }
  }

  /** Returns all failures, by kind and name. */
  all(): Failure[] {
    return [...this.#told, ...this.#own.problems()];
  }

  /**
   * Returns the failures that keep the answers of a view's generation from growing. Returns the same list as long as
   * nothing changes.
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
      // The failure is counted, and `all` shows it.
    }
    this.#ofViews = new Map();
  }
}

const NONE: readonly Trouble[] = [];

/** A version, and when records after it were first seen. */
interface Grown {
  readonly version: number;
  readonly sinceMs: EpochMs;
}

/**
 * Reports views that get records but no new version: the worker is away, or its refreshes fail. Time counts from when
 * this process first saw records after the newest version, because a version may be old only because no records came
 * in. Kept in memory only.
 */
export class RefreshWatch {
  #grown: ReadonlyMap<string, Grown> = new Map();

  /** Records how far all served views are; returns those that have waited for 20 minutes. */
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
