import type { Rule } from "../core/definition/rule.ts";
import type { Failure } from "../core/failures.ts";
import { Archive } from "../store/archive/archive.ts";
import { DeadLetters } from "../store/dead-letters/letter-writer.ts";
import { type Definitions, viewsOfStream } from "../store/definitions/definitions.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { topicOf } from "../store/kafka/cluster/topics.ts";
import { type FetchWatch, LogReader } from "../store/kafka/read/log.ts";
import { FailureTracker } from "../store/redis/failure-tracker.ts";
import { Failures } from "../store/redis/failures.ts";
import { openRedis } from "../store/redis/redis.ts";
import { openRegistry } from "../store/registry/registry-open.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import type { RoleOptions } from "../store/role-options.ts";
import { AlertMemory } from "./alert-memory.ts";
import { ruleMetrics } from "./metrics.ts";
import { StreamRules } from "./stream-rules.ts";

export interface RulesOptions extends RoleOptions {
  readonly definitions: Definitions;
  /** The value of TIDELINE_SCHEMA_REGISTRY. Without one, the registry is in the data directory. */
  readonly schemaRegistry?: string | null;
}

export interface RulesHealth {
  readonly rules: readonly {
    readonly rule: string;
    readonly stream: string;
    readonly partitions: readonly number[];
    readonly code: string | null;
    readonly message: string | null;
  }[];
  /** Everything that is stopped or fails repeatedly. */
  readonly problems: readonly Failure[];
}

export interface RunningRules {
  health(): RulesHealth;
  /** Finishes the micro-batches under way and leaves the groups. */
  close(): Promise<void>;
}

const NO_RULES: RunningRules = { health: () => ({ rules: [], problems: [] }), close: async () => undefined };

/**
 * Evaluates every rule of `definitions` on this process's share of the partitions. Opens no connections if there are no
 * rules.
 */
export async function startRules(options: RulesOptions): Promise<RunningRules> {
  const { brokers, namespace, definitions, logger } = options;
  const groups = byStream([...(definitions.rules ?? new Map<string, Rule>()).values()]);
  if (groups.length === 0) return NO_RULES;
  const data = new DataDirectory(options.dataDir);
  const archive = new Archive(data);
  const directories = [data.path("archive")];
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories, keepsPlans: true });
  const schemas = new Schemas(data, openRegistry(data, options.schemaRegistry ?? null));
  // Redis only gets the failures: alerts and positions do not need it.
  const redis = openRedis(options.redisUrl, (error) =>
    logger.warn({ error: error.message }, "Redis connection failed"),
  );
  const failures = new FailureTracker(new Failures(redis, namespace));
  const watch = watchOf(failures);
  const log = new LogReader({ brokers, clientId: "tideline-rules", watch });
  const metrics = ruleMetrics(options.registry);
  const deadLetters = new DeadLetters(brokers, namespace);
  const streams = groups.map(
    ([stream, rules]) =>
      new StreamRules({
        ...{
          stream,
          rules,
          topic: topicOf(namespace, stream),
          namespace,
          brokers,
          pool,
          failures,
          metrics,
          logger,
          watch,
        },
        dedup: { archive, data, log, schemas },
        memory: new AlertMemory(),
        deadLetters: viewsOfStream(definitions, stream.name).length === 0 ? deadLetters : null,
      }),
  );
  for (const one of streams) one.start();
  failures.start();
  return {
    health: () => ({ rules: streams.flatMap(healthOf), problems: failures.problems() }),
    close: async () => {
      await Promise.all(streams.map((one) => one.stop()));
      await failures.close();
      redis.disconnect();
      await Promise.all([deadLetters.close(), log.close()]);
      pool.close();
    },
  };
}

/** Reports a partition that cannot be read as a problem, although the others continue. */
function watchOf(failures: FailureTracker): FetchWatch {
  const failing = (topic: string, partition: number) =>
    ({ kind: "reader", name: `${topic}/${partition} (rules)`, views: [] }) as const;
  return {
    failed: (topic, partition, error) => failures.failed(failing(topic, partition), error),
    answered: (topic, partition) => failures.succeeded(failing(topic, partition)),
  };
}

function byStream(rules: readonly Rule[]): (readonly [Rule["on"], readonly Rule[]])[] {
  const streams = new Map(rules.map(({ on }) => [on.name, on]));
  return [...streams.values()].map((stream) => [stream, rules.filter(({ on }) => on.name === stream.name)]);
}

function healthOf(one: StreamRules): RulesHealth["rules"] {
  return one.rules.map((rule) => {
    const error = one.errorOf(rule);
    const { stream, partitions } = one;
    return { rule: rule.name, stream, partitions, code: error?.code ?? null, message: error?.message ?? null };
  });
}
