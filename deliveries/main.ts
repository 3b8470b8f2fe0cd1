import { AlertStates } from "../core/alerts/alert-states.ts";
import { positionsKey } from "../core/alerts/rule-positions.ts";
import { positionsOf } from "../core/alerts/undelivered.ts";
import { alerts } from "../core/contract/alerts.ts";
import { type Delivery, withEscalation } from "../core/definition/delivery.ts";
import { TidelineError } from "../core/errors.ts";
import type { Failure } from "../core/failures.ts";
import { at, type Cut, type Position, ZERO } from "../core/log/position.ts";
import { AlertFeed } from "../store/alerts/alert-feed.ts";
import { readRulePositions } from "../store/alerts/read-positions.ts";
import { Archive } from "../store/archive/archive.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { rulePositionsTopic, topicName, undeliveredTopic } from "../store/kafka/cluster/topics.ts";
import { Membership } from "../store/kafka/group/membership.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { pause } from "../store/pause.ts";
import { FailureTracker } from "../store/redis/failure-tracker.ts";
import { Failures } from "../store/redis/failures.ts";
import { openRedis } from "../store/redis/redis.ts";
import { openRegistry } from "../store/registry/registry-open.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import type { RoleOptions } from "../store/role-options.ts";
import { Attempts, PACE, type Pace } from "./attempts.ts";
import { deliverEach } from "./deliver-each.ts";
import { deliverGroups } from "./deliver-groups.ts";
import { type DeliveryMetrics, deliveryMetrics } from "./metrics.ts";
import type { MailSettings } from "./sender.ts";
import { senderOf } from "./senders.ts";

export interface DeliveriesOptions extends RoleOptions {
  readonly definitions: Definitions;
  readonly schemaRegistry?: string | null;
  readonly mail: MailSettings;
  readonly pace?: Pace;
}

export interface RunningDeliveries {
  /** Returns the failures that repeat. */
  problems(): readonly Failure[];
  /** Stops the deliveries. An alert that was not taken yet is handed over later. */
  close(): Promise<void>;
}

const NO_DELIVERIES: RunningDeliveries = { problems: () => [], close: async () => undefined };
const RETRY_MS = { first: 200, last: 5_000 };
const WAIT_MS = 1_000;
const NO_STATES = new AlertStates(0);
/** A delivery that groups alerts reads all partitions in the process that has this one. */
const GROUPING_PARTITION = 0;
const LOOK_EVERY_MS = 50;

/** The name of the group's failures, which are failed heartbeats. */
const GROUP = { kind: "reader", name: "deliveries (group)", views: [] } as const;

/**
 * Hands alerts over by every delivery of `definitions`. Each works on its own; none waits for another. Opens no
 * connections if there are no deliveries.
 */
export async function startDeliveries(options: DeliveriesOptions): Promise<RunningDeliveries> {
  const defined = [...(options.definitions.deliveries ?? new Map<string, Delivery>()).values()];
  const deliveries = defined.flatMap(withEscalation);
  if (deliveries.length === 0) return NO_DELIVERIES;
  const running = await Deliveries.open(options, deliveries);
  running.start();
  return { problems: () => running.failures.problems(), close: () => running.close() };
}

class Deliveries {
  readonly failures: FailureTracker;
  readonly #options: DeliveriesOptions;
  readonly #deliveries: readonly Delivery[];
  readonly #pool: DuckPool;
  readonly #redis: ReturnType<typeof openRedis>;
  readonly #log: LogReader;
  readonly #membership: Membership;
  readonly #attempts = new Map<Delivery, Attempts>();
  readonly #stopping = new AbortController();
  #changed = new AbortController();
  readonly #metrics: DeliveryMetrics;
  #running: Promise<unknown> = Promise.resolve();
  /** The silenced rules and the acknowledged alerts. */
  #feed: AlertFeed | null = null;

  private constructor(options: DeliveriesOptions, deliveries: readonly Delivery[], pool: DuckPool) {
    const { brokers, redisUrl, namespace, logger, mail, pace = PACE } = options;
    this.#options = options;
    this.#deliveries = deliveries;
    this.#pool = pool;
    this.#redis = openRedis(redisUrl, (error) => logger.warn({ error: error.message }, "Redis connection failed"));
    this.failures = new FailureTracker(new Failures(this.#redis, namespace));
    this.#log = new LogReader({ brokers, clientId: "tideline-deliveries" });
    for (const one of deliveries) {
      const sender = senderOf(one.to, { delivery: one.name, mail, brokers, nowMs: Date.now });
      this.#attempts.set(one, new Attempts(sender, pace));
    }
    this.#metrics = deliveryMetrics(options.registry, () => this.#broken());
    const topic = topicName(namespace, alerts.name);
    this.#membership = new Membership({
      ...{ brokers, topic, groupId: `tideline-deliveries-${topic}`, clientId: "tideline-deliveries", logger },
      onChange: () => {
        this.#changed.abort();
        this.#changed = new AbortController();
      },
      onHeartbeat: (error) => (error === null ? this.failures.succeeded(GROUP) : this.failures.failed(GROUP, error)),
    });
  }

  static async open(options: DeliveriesOptions, deliveries: readonly Delivery[]): Promise<Deliveries> {
    const directories = [new DataDirectory(options.dataDir).path("archive")];
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories, keepsPlans: true });
    return new Deliveries(options, deliveries, pool);
  }

  start(): void {
    this.failures.start();
    this.#running = this.#run();
  }

  async close(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#membership.leave();
    await Promise.all([...this.#attempts.values()].map((one) => one.close()));
    await this.failures.close();
    this.#redis.disconnect();
    await this.#log.close();
    this.#pool.close();
  }

  /** Joins the group, then runs each delivery on this process's partitions. */
  async #run(): Promise<void> {
    await this.#again("deliveries", this.#stopping.signal, async () => {
      await this.#log.topic(topicName(this.#options.namespace, alerts.name));
      await this.#membership.join(this.#stopping.signal);
    });
    const { brokers, namespace } = this.#options;
    const log = new LogReader({ brokers, clientId: "tideline-deliveries-states" });
    // Before anything is handed over, the silenced rules have to be known.
    await this.#again("deliveries", this.#stopping.signal, async () => {
      this.#feed = await AlertFeed.open(log, namespace, { from: await this.#escalated() });
    });
    const feed = this.#follow();
    const loops = this.#deliveries.map(async (one) => {
      while (!this.#stopping.signal.aborted) {
        const signal = AbortSignal.any([this.#stopping.signal, this.#changed.signal]);
        const shares = await this.#shares(one, signal);
        if (shares.length === 0) await pause(WAIT_MS, { signal });
        await Promise.all(
          shares.map((partitions) => this.#again(one.name, signal, () => this.#handOver(one, partitions, signal))),
        );
      }
    });
    await Promise.all([feed, ...loops]);
    await log.close();
  }

  /**
   * Returns the least position of an escalation in each partition. All acknowledgements after it have to be known,
   * however many alerts followed. A new escalation begins at the log's end or start.
   */
  async #escalated(): Promise<Cut> {
    const escalations = this.#deliveries.filter(({ delayMs }) => delayMs > 0);
    const least = new Map<number, Position>();
    if (escalations.length === 0) return least;
    const topic = topicName(this.#options.namespace, alerts.name);
    const { partitions } = await this.#log.topic(topic);
    const stored = await readRulePositions(this.#log, rulePositionsTopic(topic), this.#stopping.signal);
    for (const { name, from } of escalations) {
      for (const partition of partitions) {
        const held = stored.get(positionsKey({ stream: positionsOf(name), partition }))?.rules.get(name)?.next;
        const next = held ?? (from === "start" ? ZERO : null);
        if (next !== null && next < (least.get(partition) ?? next + 1n)) least.set(partition, next);
      }
    }
    return least;
  }

  async #follow(): Promise<void> {
    while (!this.#stopping.signal.aborted) {
      await this.#again("deliveries", this.#stopping.signal, async () => void (await this.#feed?.next(WAIT_MS)));
    }
  }

  /**
   * Returns the lists of partitions that a delivery reads in this process. An escalation has one list for each
   * partition, so that an alert of one partition that waits does not delay the others.
   */
  async #shares({ name, group, delayMs }: Delivery, signal: AbortSignal): Promise<(readonly number[])[]> {
    const { partitions } = this.#membership;
    if (group !== null) {
      if (!partitions.includes(GROUPING_PARTITION)) return [];
      const all: number[][] = [];
      await this.#again(name, signal, async () => {
        all.push([...(await this.#log.topic(topicName(this.#options.namespace, alerts.name))).partitions]);
      });
      return all;
    }
    if (delayMs > 0) return partitions.map((partition) => [partition]);
    return partitions.length === 0 ? [] : [partitions];
  }

  async #handOver(delivery: Delivery, partitions: readonly number[], signal: AbortSignal): Promise<void> {
    const { brokers, namespace, dataDir, schemaRegistry = null } = this.#options;
    const attempts = this.#attempts.get(delivery);
    if (attempts === undefined) return;
    const name = topicName(namespace, alerts.name);
    const topics = { alerts: name, positions: rulePositionsTopic(name), undelivered: undeliveredTopic(name) };
    const log = new LogReader({ brokers, clientId: `tideline-delivery-${delivery.name}` });
    const duck = await this.#pool.connect();
    const data = new DataDirectory(dataDir);
    const schemas = new Schemas(data, openRegistry(data, schemaRegistry));
    try {
      const deps = {
        ...{ delivery, brokers, topics, log, duck, attempts, metrics: this.#metrics, nowMs: Date.now },
        undelivered: topics.undelivered,
        dedup: { archive: new Archive(data), data, log: this.#log, schemas },
        states: () => this.#feed?.states ?? NO_STATES,
        caughtUp: (partition: number, until: AbortSignal) => this.#caughtUp(partition, until),
        onDone: (reason: string | null) => this.#done(delivery, reason),
        onBroken: (reason: string) => this.#broke(delivery, reason),
      };
      if (delivery.group === null) await deliverEach(deps, partitions, signal);
      else await deliverGroups(deps, partitions, delivery.group, signal);
    } finally {
      duck.closeSync();
      await log.close();
    }
  }

  /** Resolves when the states have read all events that a partition of the alerts has at the time of the call. */
  async #caughtUp(partition: number, signal: AbortSignal): Promise<void> {
    const { stable } = await this.#log.bounds(topicName(this.#options.namespace, alerts.name), [partition]);
    while (!signal.aborted && this.#feed?.hasReached(partition, at(stable, partition)) !== true)
      await pause(LOOK_EVERY_MS, { signal });
    signal.throwIfAborted();
  }

  #broken(): ReadonlyMap<string, boolean> {
    return new Map([...this.#attempts].map(([{ name }, attempts]) => [name, attempts.isBroken]));
  }

  #done({ name }: Delivery, reason: string | null): void {
    const failing = { kind: "delivery", name, views: [] } as const;
    if (reason === null) {
      this.failures.succeeded(failing);
      return;
    }
    this.failures.failed(failing, undelivered(name, reason));
    this.#options.logger.warn({ delivery: name, reason }, "alert not delivered");
  }

  /** Reports that alerts wait for their receiver. It is a problem at once, because nothing else would show it. */
  #broke({ name }: Delivery, reason: string): void {
    this.failures.stopped({ kind: "delivery", name, views: [] }, undelivered(name, reason));
  }

  /** Does some work until it succeeds once or `signal` is aborted. Counts each failure, and waits longer after each. */
  async #again(name: string, signal: AbortSignal, work: () => Promise<void>): Promise<void> {
    const failing = { kind: "reader", name: `${name} (deliveries)`, views: [] } as const;
    for (let failures = 0; !signal.aborted; failures++) {
      try {
        await work();
        return this.failures.succeeded(failing);
      } catch (error) {
        if (signal.aborted) return;
        this.failures.failed(failing, error);
        this.#options.logger.warn({ delivery: name, error: (error as Error).message }, "delivery interrupted");
        await pause(Math.min(RETRY_MS.first * 2 ** failures, RETRY_MS.last), { signal });
      }
    }
  }
}

function undelivered(name: string, reason: string): TidelineError {
  return new TidelineError(
    "NOT_DELIVERED",
    `${name}: ${reason}`,
    "See whether its receiver is well. `tideline deliveries failed` lists the " +
      "alerts, and `tideline deliveries replay --all` sends them again.",
  );
}
