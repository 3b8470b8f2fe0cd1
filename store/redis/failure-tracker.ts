import { setTimeout } from "node:timers/promises";
import type { Logger } from "pino";
import { isTidelineError } from "../../core/errors.ts";
import {
  counted,
  type Failure,
  type FailureKind,
  type FailureLog,
  type FailureReport,
  failed,
  failureKey,
  NO_FAILURES,
  problemsIn,
  SAME_REASON,
  succeeded,
} from "../../core/failures.ts";
import { Failures } from "./failures.ts";
import { openRedis } from "./redis.ts";

/** A thing that may fail. */
export interface Failing {
  readonly kind: FailureKind;
  readonly name: string;
  readonly views: readonly string[];
  /** The hint for an error without one. */
  readonly hint?: string;
}

/** The counting methods of a tracker. */
export type FailureCounter = Pick<FailureTracker, "failed" | "stopped" | "succeeded">;

/** The address of Redis, and the logger for a Redis that cannot be reached. */
interface RedisPlace {
  readonly redisUrl: string;
  readonly namespace: string;
  readonly logger: Logger;
}

/** Opens a client of Redis, and a tracker that counts failures of its connection as failures of `thing`. */
export function openTrackedRedis({ redisUrl, namespace, logger }: RedisPlace, thing: Failing) {
  const redis = openRedis(redisUrl, (error) => {
    failures.failed(thing, error);
    logger.warn({ error: error.message }, "Redis connection failed");
  });
  const failures = new FailureTracker(new Failures(redis, namespace));
  redis.on("ready", () => failures.succeeded(thing));
  return { redis, failures };
}

/** How often problems are written again, well before readers ignore them. */
const RENEW_EVERY_MS = 15_000;
const LAST_WRITE_MS = 1_000;

/**
 * Counts the failures of one process, and shows those that are problems: in its own /health and metrics at once, and to
 * other processes in Redis when it is there.
 */
export class FailureTracker {
  readonly #stored: Failures | null;
  readonly #now: () => number;
  #log: FailureLog = NO_FAILURES;
  /** Keys that this process has written. It removes no others. */
  readonly #written = new Set<string>();
  /** Keys of the failures from the last `takeOver`. */
  #takenOver: ReadonlySet<string> = new Set();
  #timer: NodeJS.Timeout | undefined;
  #writing = Promise.resolve();

  /** Without `stored`, failures are shown in this process only. */
  constructor(stored: Failures | null, now: () => number = Date.now) {
    this.#stored = stored;
    this.#now = now;
  }

  /** Begins to renew the stored failures. `check` is called before each time. */
  start(check: () => void = () => {}): void {
    this.#timer = setInterval(() => {
      check();
      this.#write();
    }, RENEW_EVERY_MS).unref();
  }

  /**
   * Removes the failures that this process has stored, because another process may do its work now. Waits at most a
   * second, as Redis may be away.
   */
  async close(): Promise<void> {
    clearInterval(this.#timer);
    this.#log = NO_FAILURES;
    this.#write();
    const late = new AbortController();
    await Promise.race([this.#writing, setTimeout(LAST_WRITE_MS, undefined, late).catch(() => {})]);
    late.abort();
  }

  /** Counts a failure with any error. `failures`: the number of failures, if the caller knows of more than one. */
  failed({ kind, name, views, hint = LOOK }: Failing, error: unknown, failures = 1): void {
    this.#count({ kind, name, views, ...reasonOf(error, hint), failures });
  }

  /** Counts a failure that is a problem at once, because a stopped thing does not try three times. */
  stopped(thing: Failing, error: unknown): void {
    const known = this.#log.get(failureKey(thing))?.failures ?? 0;
    this.failed(thing, error, known >= SAME_REASON ? 1 : SAME_REASON);
  }

  /** Takes over failures that were counted elsewhere. They replace those taken over before. */
  takeOver(failures: readonly Failure[]): void {
    const keys = new Set(failures.map(failureKey));
    for (const [key, one] of this.#log)
      if (this.#takenOver.has(key) && !keys.has(key)) this.#log = succeeded(this.#log, one);
    for (const failure of failures) this.#log = counted(this.#log, failure);
    this.#takenOver = keys;
    this.#write();
  }

  /** Clears the failures of a thing that has succeeded. */
  succeeded(thing: Pick<Failing, "kind" | "name">): void {
    const before = this.#log;
    this.#log = succeeded(before, thing);
    if (this.#log !== before && this.#written.has(failureKey(thing))) this.#write();
  }

  /** Runs a step that is tried again when it fails, and counts its result. Throws the step's error. */
  async watch<T>(thing: Failing, step: () => Promise<T>): Promise<T> {
    try {
      const result = await step();
      this.succeeded(thing);
      return result;
    } catch (error) {
      this.failed(thing, error);
      throw error;
    }
  }

  /** Returns the failures that are problems. */
  problems(): Failure[] {
    return problemsIn(this.#log);
  }

  #count(report: FailureReport): void {
    this.#log = failed(this.#log, report, this.#now());
    const key = failureKey(report);
    if (!this.#written.has(key) && this.problems().some((one) => failureKey(one) === key)) this.#write();
  }

  /** Writes the problems, one write at a time. The next write makes up for one that fails. */
  #write(): void {
    const problems = this.problems().map((one) => ({ ...one, atMs: this.#now() }));
    const keys = new Set(problems.map(failureKey));
    const gone = [...this.#written].filter((key) => !keys.has(key));
    for (const key of keys) this.#written.add(key);
    this.#writing = this.#writing
      .then(async () => {
        await this.#stored?.write(problems, gone);
        for (const key of gone) if (!this.problems().some((one) => failureKey(one) === key)) this.#written.delete(key);
      })
      .catch(() => {});
  }
}

const LOOK =
  "Run `tideline doctor`, which checks the servers; the log of the role that reports this has the whole error.";

/** Returns code, message and hint of any error. `hint` is for an error without one. */
function reasonOf(error: unknown, hint: string): Pick<Failure, "code" | "message" | "hint"> {
  if (isTidelineError(error)) return { code: error.code, message: error.message, hint: error.hint };
  const [message = ""] = (error instanceof Error ? error.message : String(error)).split("\n");
  return { code: "UNEXPECTED", message: message === "" ? "an error without a message" : message, hint };
}
