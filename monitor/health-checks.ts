import type { Logger } from "pino";
import type { CheckResult, OwnProblem } from "../core/alerts/own-alerts.ts";
import {
  FOLLOWS_FROM,
  failureProblems,
  type LagLimits,
  lagProblems,
  type ReaderLag,
  readerLagProblems,
  retentionProblems,
  roleProblem,
  serverProblem,
  type ViewLag,
} from "../core/alerts/own-problems.ts";
import type { Stream } from "../core/contract/stream.ts";
import { isTidelineError } from "../core/errors.ts";
import type { Failure } from "../core/failures.ts";
import { type Cut, positionsBetween } from "../core/log/position.ts";
import { Archive } from "../store/archive/archive.ts";
import { Manifests } from "../store/archive/manifests.ts";
import { type Retention, retentionOf } from "../store/archive/retention.ts";
import type { Definition, Definitions } from "../store/definitions/definitions.ts";
import { Generations } from "../store/definitions/generations.ts";
import type { DataDirectory } from "../store/files/files.ts";
import { lostRoles } from "../store/files/running-roles.ts";
import { topicOf } from "../store/kafka/cluster/topics.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { Chain } from "../store/redis/chain.ts";
import { Failures } from "../store/redis/failures.ts";
import { openRedis, type TidelineRedis } from "../store/redis/redis.ts";
import { within } from "../store/time-limit.ts";
import { AlertLags } from "./alert-lags.ts";
import type { MonitorMetrics } from "./metrics.ts";

export interface HealthChecksOptions {
  readonly brokers: string;
  readonly redisUrl: string;
  readonly namespace: string;
  readonly data: DataDirectory;
  readonly definitions: Definitions;
  readonly limitsOf: (stream: string) => LagLimits;
  /** The value of TIDELINE_RETENTION_WARN_HOURS. */
  readonly retentionWarnHours: number;
  /** As in `MonitorPace`. */
  readonly positionsMs: number;
  readonly metrics: Pick<MonitorMetrics, "failedChecks">;
  readonly logger: Logger;
}

/** The result of a check, and whether Kafka answered. */
export interface Found extends CheckResult {
  readonly isKafkaThere: boolean;
}

/** A server that does not answer within this time is away. */
const ANSWER_MS = 4_000;
/** How often the served generations are read again: they change when a definition is adopted. */
const GENERATIONS_EVERY_MS = 30_000;
const RETENTION_EVERY_MS = 5 * 60_000;
/** The roles that a check misses when they were killed. Commands write notes too, but end by themselves. */
const ROLES = new Set(["speed", "worker", "serve"]);

/** The parts of a check that succeed or fail alone. `lag` is of views, `reader-lag` of rules and deliveries. */
type Part = "logs" | "failures" | "lag" | "reader-lag" | "retention";

/** A stream and the end of its log. Null if it has no topic. */
type End = { readonly stream: string; readonly end: Cut | null };

/** Checks the installation: servers, lag, retention, roles, and what the roles say fails. */
export class HealthChecks {
  readonly #options: HealthChecksOptions;
  readonly #log: LogReader;
  readonly #redis: TidelineRedis;
  readonly #failures: Failures;
  readonly #chains = new Map<string, Chain>();
  readonly #manifests: Manifests;
  readonly #generations: Generations;
  readonly #archive: Archive;
  readonly #alertLags: AlertLags;
  #served: readonly Definition[] = [];
  #servedAtMs = Number.NEGATIVE_INFINITY;
  /** The last result. Null before the first check, and if the newest check failed. */
  #retention: readonly OwnProblem[] | null = null;
  #retentionAtMs = Number.NEGATIVE_INFINITY;

  /** The parts of the last check that failed. */
  readonly #failing = new Set<Part>();

  constructor(options: HealthChecksOptions) {
    const { brokers, redisUrl, namespace, data } = options;
    this.#options = options;
    this.#log = new LogReader({ brokers, clientId: "tideline-monitor" });
    // No logging here: a check finds a Redis that is away, and the roles that use Redis log it.
    this.#redis = openRedis(redisUrl, () => undefined);
    this.#failures = new Failures(this.#redis, namespace);
    this.#manifests = new Manifests(data);
    this.#generations = new Generations(data);
    this.#archive = new Archive(data);
    this.#alertLags = new AlertLags({ ...options, log: this.#log });
  }

  async close(): Promise<void> {
    this.#redis.disconnect();
    await this.#log.close();
  }

  /** Runs one check. It takes some seconds when servers are away. Throws if the data directory cannot be read. */
  async run(nowMs: number): Promise<Found> {
    const { data, limitsOf } = this.#options;
    const [ends, failures, roles] = await Promise.all([this.#ends(), this.#told(nowMs), lostRoles(data, nowMs)]);
    const lags = ends === null || failures === null ? null : await this.#lags(ends, nowMs);
    const readers = ends === null ? null : await this.#readerLags(ends, nowMs);
    if (ends !== null) this.#checkRetention(nowMs);
    const retention = ends === null ? null : this.#retention;
    const away = [...(ends === null ? (["kafka"] as const) : []), ...(failures === null ? (["redis"] as const) : [])];
    return {
      isKafkaThere: ends !== null,
      problems: [
        ...away.map(serverProblem),
        ...roles.filter((role) => ROLES.has(role)).map(roleProblem),
        ...failureProblems(failures ?? []),
        ...lagProblems(lags ?? [], limitsOf, failures ?? []),
        ...readerLagProblems(readers ?? [], limitsOf, failures ?? []),
        ...(retention ?? []),
      ],
      unknown: new Set<string>([
        ...away.flatMap((server) => FOLLOWS_FROM[server]),
        ...(lags === null ? ["lag"] : []),
        ...(readers === null ? ["rule-lag", "delivery-lag"] : []),
        ...(retention === null ? ["retention"] : []),
      ]),
    };
  }

  /**
   * Returns the result of a part of a check. Returns null if the part fails, which is counted, and logged once until
   * the part succeeds again.
   */
  async #part<T>(part: Part, work: () => Promise<T>): Promise<T | null> {
    try {
      const found = await work();
      this.#failing.delete(part);
      return found;
    } catch (error) {
      const { metrics, logger } = this.#options;
      metrics.failedChecks.inc({ part });
      if (!this.#failing.has(part)) logger.warn({ part, error: (error as Error).message }, "cannot check this");
      this.#failing.add(part);
      return null;
    }
  }

  /** Returns the end of each stream's log. Null when Kafka does not answer. */
  async #ends(): Promise<readonly End[] | null> {
    const { namespace, definitions } = this.#options;
    const streams = [...definitions.streams.values()];
    return this.#part("logs", () =>
      within(ANSWER_MS, () => Promise.all(streams.map((stream) => this.#end(namespace, stream)))),
    );
  }

  async #end(namespace: string, stream: Stream): Promise<End> {
    try {
      const { stable } = await this.#log.readableBounds(topicOf(namespace, stream));
      return { stream: stream.name, end: stable };
    } catch (error) {
      // Kafka answers, so this is not the monitor's failure: the speed layer reports the error of this topic.
      if (isTidelineError(error) && error.code !== "NOT_READY") return { stream: stream.name, end: null };
      throw error;
    }
  }

  /** Returns the failures that the roles report. Null when Redis does not answer. */
  async #told(nowMs: number): Promise<readonly Failure[] | null> {
    // Ask no command of a connection that is down: it would wait in a queue without limit.
    if (this.#redis.status !== "ready") return null;
    return this.#part("failures", () => within(ANSWER_MS, () => this.#failures.read(nowMs)));
  }

  /** Returns the lag of each served view. Null when Redis does not answer. */
  async #lags(ends: readonly End[], nowMs: number): Promise<readonly ViewLag[] | null> {
    const endOf = new Map(ends.map(({ stream, end }) => [stream, end]));
    return this.#part("lag", async () => {
      const served = await this.#definitions(nowMs);
      const lags = await within(ANSWER_MS, () =>
        Promise.all(served.map((definition) => this.#lag(definition, endOf.get(definition.view.stream.name) ?? null))),
      );
      return lags.filter((lag) => lag !== null);
    });
  }

  /** Returns the lags of rules and deliveries. Null when Kafka does not answer. */
  async #readerLags(ends: readonly End[], nowMs: number): Promise<readonly ReaderLag[] | null> {
    const known = new Map(ends.flatMap(({ stream, end }) => (end === null ? [] : [[stream, end] as const])));
    return this.#part("reader-lag", () => within(ANSWER_MS, () => this.#alertLags.measure(known, nowMs)));
  }

  async #lag({ view, generation }: Definition, end: Cut | null): Promise<ViewLag | null> {
    if (end === null) return null;
    const chain = this.#chains.get(generation) ?? new Chain(this.#redis, this.#options.namespace, generation);
    this.#chains.set(generation, chain);
    const state = await chain.load().catch((error: unknown) => {
      if (isTidelineError(error, "LIVE_STATE_UNREADABLE")) return "unreadable" as const;
      throw error;
    });
    // The speed layer reports what is wrong with this view's live state.
    if (state === "unreadable") return null;
    const applied = state?.applied ?? (await this.#cutOf(generation));
    if (applied === null) return null;
    return { stream: view.stream.name, view: view.name, generation, behind: positionsBetween(applied, end) };
  }

  /** Returns the positions of a view's newest version. Null before the first one. */
  async #cutOf(generation: string): Promise<Cut | null> {
    const newest = await this.#manifests.newest(generation);
    return newest?.cut ?? null;
  }

  async #definitions(nowMs: number): Promise<readonly Definition[]> {
    if (nowMs - this.#servedAtMs >= GENERATIONS_EVERY_MS) {
      const living = await this.#generations.all(this.#options.definitions);
      const served = living.filter(({ definition, part }) => part === "served" && definition.frozen !== true);
      this.#served = served.map(({ definition }) => definition);
      this.#servedAtMs = nowMs;
    }
    return this.#served;
  }

  /**
   * Checks retention every five minutes, and does not wait for the result, because the check makes many requests to
   * Kafka.
   */
  #checkRetention(nowMs: number): void {
    if (nowMs - this.#retentionAtMs < RETENTION_EVERY_MS) return;
    this.#retentionAtMs = nowMs;
    void this.#part("retention", () => this.#retentionProblems()).then((found) => {
      this.#retention = found;
      if (found === null) this.#retentionAtMs = Number.NEGATIVE_INFINITY;
    });
  }

  async #retentionProblems(): Promise<readonly OwnProblem[]> {
    const { definitions, retentionWarnHours } = this.#options;
    const found: OwnProblem[] = [];
    for (const stream of definitions.streams.values()) {
      const retention = await this.#retentionOf(stream);
      if (retention !== null) found.push(...retentionProblems(stream.name, retention, retentionWarnHours * 3_600));
    }
    return found;
  }

  async #retentionOf(stream: Stream): Promise<Retention | null> {
    const { brokers, namespace, definitions } = this.#options;
    const views = await this.#generations.reading(stream.name, definitions);
    const sources = { brokers, log: this.#log, archive: this.#archive, manifests: this.#manifests };
    try {
      return await within(5 * ANSWER_MS, () => retentionOf(sources, topicOf(namespace, stream), views));
    } catch (error) {
      if (isTidelineError(error) && error.code !== "NOT_READY") return null;
      throw error;
    }
  }
}
