import type { Logger } from "pino";
import type { Registry } from "prom-client";
import { Archive } from "../store/archive.ts";
import { Chain } from "../store/chain.ts";
import type { Definitions } from "../store/definitions.ts";
import { DuckPool } from "../store/duck.ts";
import { DataDirectory } from "../store/files.ts";
import { beginGeneration } from "../store/generation-start.ts";
import { LogReader } from "../store/log.ts";
import { Manifests } from "../store/manifests.ts";
import { openRedis } from "../store/redis.ts";
import { topicName } from "../store/topics.ts";
import { DeadLetters } from "./dead-letters.ts";
import { speedMetrics } from "./metrics.ts";
import { StreamConsumer } from "./stream-consumer.ts";
import { ViewTrack } from "./view-track.ts";

export interface SpeedOptions {
  readonly brokers: string;
  readonly redisUrl: string;
  readonly dataDir: string;
  readonly namespace: string;
  readonly definitions: Definitions;
  readonly registry: Registry;
  readonly logger: Logger;
}

export interface SpeedHealth {
  /** Every view is either live or stopped by a named error, which restarting this process would not cure. */
  readonly ready: boolean;
  readonly streams: readonly { readonly stream: string; readonly partitions: readonly number[] }[];
  readonly views: readonly {
    readonly view: string;
    readonly phase: string;
    readonly code: string | null;
    readonly message: string | null;
  }[];
}

export interface SpeedLayer {
  health(): SpeedHealth;
  /** Finishes the batches under way and leaves the groups. */
  close(): Promise<void>;
}

/** Starts the speed layer for every view of `definitions`; `health` tells how far they are. */
export async function startSpeedLayer(options: SpeedOptions): Promise<SpeedLayer> {
  const { brokers, definitions, namespace, logger } = options;
  const data = new DataDirectory(options.dataDir);
  const archive = new Archive(data);
  const manifests = new Manifests(data);
  const redis = openRedis(options.redisUrl, (error) => logger.warn({ error: error.message }, "redis"));
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 1_024, directories: [data.path("archive")] });
  const log = new LogReader({ brokers, clientId: "tideline-speed" });
  const deadLetters = new DeadLetters(brokers);
  const metrics = speedMetrics(options.registry);

  const consumers = [...definitions.streams.values()].map((stream) => {
    const topic = topicName(namespace, stream.name);
    const tracks = [...definitions.views.values()]
      .filter(({ view }) => view.stream === stream)
      .map((definition) => {
        const chain = new Chain(redis, namespace, definition.generation);
        const newestManifest = () =>
          beginGeneration({ manifests, archive, log }, definition.generation, topic, "speed-layer");
        return new ViewTrack({ definition, chain, newestManifest, metrics, logger });
      });
    return new StreamConsumer(
      { stream, topic, brokers, pool, deadLetters, dedup: { archive, data, log }, metrics, logger },
      tracks,
    );
  });
  for (const consumer of consumers) consumer.start();

  return {
    health: () => healthOf(consumers, definitions),
    close: async () => {
      await Promise.all(consumers.map((consumer) => consumer.stop()));
      await Promise.all([deadLetters.close(), log.close(), redis.quit()]);
      pool.close();
    },
  };
}

function healthOf(consumers: readonly StreamConsumer[], definitions: Definitions): SpeedHealth {
  const streams = [...definitions.streams.keys()].map((stream, index) => ({
    stream,
    partitions: consumers[index]?.partitions ?? [],
  }));
  const views = consumers
    .flatMap(({ tracks }) => tracks)
    .map((track) => ({
      view: track.name,
      phase: track.phase,
      code: track.error?.code ?? null,
      message: track.error?.message ?? null,
    }));
  return { ready: views.every(({ phase }) => phase !== "detached"), streams, views };
}
