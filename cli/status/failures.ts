import { once } from "node:events";
import { type Failure, failureKey } from "../../core/failures.ts";
import type { Definitions } from "../../store/definitions/definitions.ts";
import type { Config } from "../setup/config.ts";
import { inTime, PATIENCE_MS } from "../setup/patience.ts";
import { connectTemporal } from "../setup/temporal.ts";
import { pollersOf } from "./pollers.ts";

export interface FailuresFound {
  readonly failures: readonly Failure[];
  /** How many workers ask Temporal for work; null if that is unknown. */
  readonly workers: number | null;
}

/**
 * Returns everything that fails again and again. The speed layer and the worker report failures in Redis. Failures in
 * Temporal are read from Temporal itself, so they show even if no worker runs. A server that does not answer adds
 * nothing.
 */
export async function failuresOf(config: Config, definitions: Definitions): Promise<FailuresFound> {
  const [told, temporal] = await Promise.all([
    toldByRoles(config).catch(() => []),
    foundInTemporal(config, definitions).catch(() => null),
  ]);
  const found = new Map(told.map((one) => [failureKey(one), one]));
  for (const one of temporal?.failures ?? []) found.set(failureKey(one), one);
  return { failures: [...found.values()], workers: temporal?.workers ?? null };
}

async function toldByRoles({ redisUrl, namespace }: Config): Promise<Failure[]> {
  const [{ openRedis }, { Failures }] = await Promise.all([
    import("../../store/redis/redis.ts"),
    import("../../store/redis/failures.ts"),
  ]);
  const redis = openRedis(redisUrl, () => {});
  try {
    await once(redis, "ready", { signal: AbortSignal.timeout(PATIENCE_MS) });
    return await inTime(new Failures(redis, namespace).read(Date.now()));
  } finally {
    redis.disconnect();
  }
}

async function foundInTemporal(config: Config, definitions: Definitions): Promise<FailuresFound> {
  const [{ failingWork }, { taskQueueOf }, { viewsOfStream }] = await Promise.all([
    import("../../activities/worker/failing-work.ts"),
    import("../../workflows/shared/names.ts"),
    import("../../store/definitions/definitions.ts"),
  ]);
  const taskQueue = taskQueueOf(config.namespace);
  const client = await inTime(connectTemporal(config));
  try {
    const viewsOf = (stream: string) => viewsOfStream(definitions, stream);
    const [failures, workers] = await Promise.all([
      inTime(failingWork(client, { namespace: config.namespace, taskQueue, viewsOf })),
      inTime(pollersOf(client, taskQueue, "workflow")),
    ]);
    return { failures, workers };
  } finally {
    await client.connection.close();
  }
}
