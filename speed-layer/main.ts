import type { Logger } from "pino";
import type { Stream } from "../core/contract/stream.ts";
import { isTidelineError } from "../core/errors.ts";
import type { Failure } from "../core/failures.ts";
import { positionsBetween } from "../core/log/position.ts";
import { Archive } from "../store/archive/archive.ts";
import { beginGeneration } from "../store/archive/generation-start.ts";
import { Manifests } from "../store/archive/manifests.ts";
import { DeadLetters } from "../store/dead-letters/letter-writer.ts";
import type { Definition, Definitions } from "../store/definitions/definitions.ts";
import { Generations } from "../store/definitions/generations.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { topicOf } from "../store/kafka/cluster/topics.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { Chain } from "../store/redis/chain.ts";
import { type FailureTracker, openTrackedRedis } from "../store/redis/failure-tracker.ts";
import { requireNoEviction } from "../store/redis/memory-policy.ts";
import { endRedis, type TidelineRedis } from "../store/redis/redis.ts";
import { SettleRequests } from "../store/redis/settle-requests.ts";
import { openRegistry } from "../store/registry/registry-open.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import type { RoleOptions } from "../store/role-options.ts";
import { STEADY_CLOCK } from "./clock.ts";
import { PACING, type Pacing } from "./fetches.ts";
import { type SpeedMetrics, type SpeedState, speedMetrics } from "./metrics.ts";
import { StreamConsumer } from "./stream-consumer.ts";
import { ViewTrack } from "./view-track.ts";

export interface SpeedOptions extends RoleOptions {
  readonly definitions: Definitions;
  /** The value of TIDELINE_SCHEMA_REGISTRY. Without one, the registry is in the data directory. */
  readonly schemaRegistry?: string | null;
  readonly pacing?: Pacing;
}

export interface SpeedHealth {
  /**
   * True if every view is either live or stopped by a named error. A restart of this process would not clear such an
   * error.
   */
  readonly ready: boolean;
  readonly streams: readonly { readonly stream: string; readonly partitions: readonly number[] }[];
  readonly views: readonly {
    readonly view: string;
    readonly generation: string;
    readonly phase: string;
    readonly code: string | null;
    readonly message: string | null;
  }[];
  /** Everything that is stopped or fails repeatedly. */
  readonly problems: readonly Failure[];
}

export interface SpeedLayer {
  health(): SpeedHealth;
  /** Finishes the batches under way and leaves the groups. */
  close(): Promise<void>;
}

/**
 * If the archive is longer than this, the batch layer makes a view's first version. Otherwise the speed layer reads the
 * log itself.
 */
const LONG_ARCHIVE_OFFSETS = 50_000n;
const RETIRED_EVERY_MS = 5_000;
/** How often to check whether Redis may evict keys. */
const GUARD_EVERY_MS = 10_000;
/** How long the process waits for Redis and Kafka when it ends. If Redis takes a batch after that, no harm is done. */
const LAST_BATCH_MS = 5_000;
/** The names of this process's failures outside its lanes. */
const REDIS = { kind: "reader", name: "redis", views: [] } as const;
const RETIRED = { kind: "reader", name: "retired generations", views: [] } as const;

/** Starts the speed layer for every view of `definitions`. `health` returns how far the views are. */
export async function startSpeedLayer(options: SpeedOptions): Promise<SpeedLayer> {
  const stores = await openStores(options);
  const { failures, generations } = stores;
  let consumers: readonly StreamConsumer[] = [];
  const metrics = speedMetrics(options.registry, () => ({ problems: failures.problems(), ...stateOf(consumers) }));
  const living = await livingDefinitions(generations, options.definitions);
  consumers = consumersOf(living, { options, stores, metrics });
  for (const consumer of consumers) consumer.start();
  failures.start(() => {
    for (const consumer of consumers) consumer.checkStalled();
  });
  const timers = [watchRetired(consumers, stores, options.logger), watchEviction(consumers, stores.redis)];
  return {
    health: () => ({ ...healthOf(consumers), problems: failures.problems() }),
    close: async () => {
      timers.forEach(clearInterval);
      await stop(consumers, stores.redis);
      await closeStores(stores);
    },
  };
}

/** The stores of data, and the clients that read and write it. */
interface Stores {
  readonly data: DataDirectory;
  readonly archive: Archive;
  readonly manifests: Manifests;
  readonly generations: Generations;
  readonly log: LogReader;
  readonly schemas: Schemas;
  readonly deadLetters: DeadLetters;
  readonly redis: TidelineRedis;
  readonly requests: SettleRequests;
  readonly failures: FailureTracker;
  readonly pool: DuckPool;
}

async function openStores(options: SpeedOptions): Promise<Stores> {
  const { brokers, namespace } = options;
  const data = new DataDirectory(options.dataDir);
  const { redis, failures } = openTrackedRedis(options, REDIS);
  const directories = [data.path("archive")];
  return {
    data,
    archive: new Archive(data),
    manifests: new Manifests(data),
    generations: new Generations(data),
    log: new LogReader({ brokers, clientId: "tideline-speed" }),
    schemas: new Schemas(data, openRegistry(data, options.schemaRegistry ?? null)),
    deadLetters: new DeadLetters(brokers, namespace),
    redis,
    requests: new SettleRequests(redis, namespace),
    failures,
    pool: await DuckPool.open({ threads: 1, memoryLimitMb: 1_024, directories, keepsPlans: true }),
  };
}

/** Closes the stores. Failures first, because they are cleared in Redis. */
async function closeStores({ failures, redis, deadLetters, log, pool }: Stores): Promise<void> {
  await failures.close();
  redis.disconnect();
  await Promise.all([deadLetters.close(), log.close()]);
  pool.close();
}

/**
 * Returns every generation that is kept up to date: those of the definitions in files, and those that are still served.
 */
async function livingDefinitions(generations: Generations, definitions: Definitions): Promise<Definition[]> {
  await generations.register(definitions, "speed-layer");
  const stored = (await generations.all(definitions)).map(({ definition }) => definition);
  // Nothing is added to state of another release: its components may mean something else.
  return stored.filter(({ frozen }) => !frozen);
}

/** The dependencies of consumers and tracks. */
interface Parts {
  readonly options: SpeedOptions;
  readonly stores: Stores;
  readonly metrics: SpeedMetrics;
}

/** Returns one consumer for each contract of a stream, with the tracks of the views that are decoded by it. */
function consumersOf(living: readonly Definition[], parts: Parts): StreamConsumer[] {
  const { brokers, namespace, pacing = PACING, logger } = parts.options;
  const { archive, data, log, schemas, pool, deadLetters, failures } = parts.stores;
  const groups = [...byContract(living).values()];
  const nameOf = namesOf(living);
  return groups.map((sharing) => {
    const [{ view: first }] = sharing as [Definition, ...Definition[]];
    const topic = topicOf(namespace, first.stream);
    const tracks = sharing.map((definition) => trackOf(definition, topic, parts));
    return new StreamConsumer(
      {
        stream: first.stream,
        topic,
        brokers,
        pool,
        deadLetters,
        pacing,
        clock: STEADY_CLOCK,
        dedup: { archive, data, log, schemas },
        failures,
        name: contractName(groups, first.stream),
        nameOf,
        metrics: parts.metrics,
        logger,
      },
      tracks,
    );
  });
}

function trackOf(definition: Definition, topic: string, { options, stores, metrics }: Parts): ViewTrack {
  const { manifests, archive, log, redis, requests } = stores;
  const { generation } = definition;
  return new ViewTrack({
    definition,
    chain: new Chain(redis, options.namespace, generation),
    newestManifest: () => beginGeneration({ manifests, archive, log }, generation, topic, "speed-layer"),
    longArchive: async ({ cut, topicId }) =>
      positionsBetween(cut, await archive.archived(topic, topicId)) > LONG_ARCHIVE_OFFSETS,
    archiveTails: (topicId) => archive.tails(topic, topicId),
    requireRedis: () => requireNoEviction(redis),
    askToSettle: () => requests.add(definition.view.name),
    metrics,
    logger: options.logger,
  });
}

/** Removes retired generations at an interval. Returns the timer. */
function watchRetired(
  consumers: readonly StreamConsumer[],
  { failures, generations }: Stores,
  logger: Logger,
): NodeJS.Timeout {
  return setInterval(() => {
    failures
      .watch(RETIRED, () => removeRetired(consumers, generations))
      .catch((error: unknown) =>
        logger.warn({ error: (error as Error).message }, "cannot see which generations are retired"),
      );
  }, RETIRED_EVERY_MS);
}

/** Stops the views when Redis may evict keys. Checks at an interval, and returns the timer. */
function watchEviction(consumers: readonly StreamConsumer[], redis: TidelineRedis): NodeJS.Timeout {
  return setInterval(() => {
    requireNoEviction(redis).catch((error: unknown) => {
      if (!isTidelineError(error)) return; // Redis is away: every apply reports it
      // A view that has this error already attaches again by itself, and logs the error once.
      for (const { tracks } of consumers)
        for (const track of tracks) if (track.error?.code !== error.code) track.stop(error, STEADY_CLOCK.nowMs());
    });
  }, GUARD_EVERY_MS);
}

/**
 * Stops the consumers when the batches under way are finished. After `LAST_BATCH_MS` it disconnects Redis and Kafka, so
 * that late batches end.
 */
async function stop(consumers: readonly StreamConsumer[], redis: TidelineRedis): Promise<void> {
  const late = setTimeout(() => {
    endRedis(redis);
    for (const consumer of consumers) void consumer.hurry();
  }, LAST_BATCH_MS);
  await Promise.all(consumers.map((consumer) => consumer.stop()));
  clearTimeout(late);
}

/** Groups definitions that are decoded alike: of one stream under one revision of its contract. */
function byContract(definitions: readonly Definition[]): Map<string, Definition[]> {
  const groups = new Map<string, Definition[]>();
  for (const definition of definitions) {
    const { name, revision } = definition.view.stream;
    const key = `${name} ${revision}`;
    groups.set(key, [...(groups.get(key) ?? []), definition]);
  }
  return groups;
}

/** Returns a stream's name, with the revision of its contract if this process reads the stream under several. */
function contractName(groups: readonly (readonly Definition[])[], { name, revision }: Stream): string {
  const alike = groups.filter(([first]) => first?.view.stream.name === name);
  return alike.length > 1 ? `${name} r${revision}` : name;
}

/** Returns a function that names a view: by its name, or by its generation if this process has several of the view. */
function namesOf(living: readonly Definition[]): (track: ViewTrack) => string {
  const once = new Set<string>();
  const more = new Set<string>();
  for (const { view } of living) (once.has(view.name) ? more : once).add(view.name);
  return ({ name, generation }) => (more.has(name) ? generation : name);
}

async function removeRetired(consumers: readonly StreamConsumer[], generations: Generations): Promise<void> {
  for (const consumer of consumers)
    for (const track of [...consumer.tracks])
      if ((await generations.retiredAtMs(track.generation)) !== null) consumer.remove(track);
}

/** Returns the stopped views, and the lag of each partition. */
function stateOf(consumers: readonly StreamConsumer[]): Omit<SpeedState, "problems"> {
  const stopped = consumers
    .flatMap(({ tracks }) => [...tracks])
    .flatMap(({ name, error }) => (error === null ? [] : [{ view: name, code: error.code }]));
  const lags = consumers
    .flatMap(({ stream, lags }) => [...lags].map(([partition, offsets]) => ({ stream, partition, offsets })))
    // A stream that is read under two contracts has two lags with the same labels. The larger one comes last, and the
    // metric keeps it.
    .sort((a, b) => a.offsets - b.offsets);
  return { stopped, lags };
}

function healthOf(consumers: readonly StreamConsumer[]): Omit<SpeedHealth, "problems"> {
  const streams = consumers.map(({ stream, partitions }) => ({ stream, partitions }));
  const views = consumers
    .flatMap(({ tracks }) => [...tracks])
    .map((track) => ({
      view: track.name,
      generation: track.generation,
      phase: track.phase,
      code: track.error?.code ?? null,
      message: track.error?.message ?? null,
    }));
  return { ready: views.every(({ phase }) => phase !== "detached"), streams, views };
}
