import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pino } from "pino";
import { Registry } from "prom-client";
import { inject } from "vitest";
import { archiveChunk } from "../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../batch-layer/archive/archive-stream.ts";
import { writeDelta } from "../batch-layer/refresh/delta.ts";
import { checkDelta, finishPublish, publishDelta } from "../batch-layer/refresh/refresh.ts";
import { type BatchStores, UNWATCHED, type ViewTarget } from "../batch-layer/stores.ts";
import { versionPrefix } from "../batch-layer/versions/publish.ts";
import { generationOf } from "../core/definition/generation.ts";
import type { View } from "../core/definition/view.ts";
import { addLedgers, EMPTY_LEDGER } from "../core/log/ledger.ts";
import { cutFromJson, cutToJson } from "../core/log/position.ts";
import type { AnswerBody } from "../serving/answer/answer.ts";
import { type RunningServing, type ServingOptions, startServing } from "../serving/main.ts";
import { type SpeedLayer, startSpeedLayer } from "../speed-layer/main.ts";
import { Archive } from "../store/archive/archive.ts";
import { beginGeneration } from "../store/archive/generation-start.ts";
import { Manifests } from "../store/archive/manifests.ts";
import type { Definitions } from "../store/definitions/definitions.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { ensureTopics, topicName } from "../store/kafka/cluster/topics.ts";
import { LogReader } from "../store/kafka/read/log.ts";
import { Chain } from "../store/redis/chain.ts";
import { Failures } from "../store/redis/failures.ts";
import { openRedis } from "../store/redis/redis.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
import { produce } from "./produce.ts";

const logger = pino({ level: "silent" });

/** The stored failures of an installation, and what lets go of them. A write waits for the connection. */
export function failuresOf(namespace: string): [Pick<Failures, "write">, () => void] {
  const redis = openRedis(inject("redisUrl"), () => {});
  const failures = new Failures(redis, namespace);
  const write: Failures["write"] = async (...what) => {
    if (redis.status !== "ready") await once(redis, "ready");
    await failures.write(...what);
  };
  return [{ write }, () => redis.disconnect()];
}

/**
 * All layers over some views in this process, on the shared servers: events go in, refreshes happen when a test says
 * so.
 */
export class Layers {
  readonly namespace = `layers-${randomUUID().slice(0, 8)}`;
  dataDir = "";
  readonly #definitions: Definitions;
  readonly #closing: (() => unknown)[] = [];
  #stores: BatchStores | null = null;
  #chain: (view: View) => Chain = () => {
    throw new Error("not open");
  };
  #speed: SpeedLayer | null = null;
  startSpeed: () => Promise<void> = async () => {};
  serving: RunningServing | null = null;
  port = 0;

  private constructor(views: readonly View[]) {
    this.#definitions = {
      views: new Map(views.map((view) => [view.name, { view, generation: generationOf(view), file: "test" }])),
      streams: new Map(views.map(({ stream }) => [stream.name, stream])),
    };
  }

  static async open(views: readonly View[], options: Partial<ServingOptions> = {}): Promise<Layers> {
    const layers = new Layers(views);
    const { namespace } = layers;
    const brokers = inject("kafkaBrokers");
    const redisUrl = inject("redisUrl");
    const dataDir = await mkdtemp(join(tmpdir(), "tideline-layers-"));
    layers.dataDir = dataDir;
    const specs = views.map(({ stream }) => ({ name: layers.topic(stream.name), partitions: stream.partitions }));
    await ensureTopics(brokers, [...new Map(specs.map((spec) => [spec.name, spec])).values()]);
    const data = new DataDirectory(dataDir);
    const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [dataDir] });
    const log = new LogReader({ brokers, clientId: "layers" });
    const redis = openRedis(redisUrl, () => {});
    const schemas = Schemas.inFiles(data);
    layers.#stores = {
      data,
      archive: new Archive(data),
      manifests: new Manifests(data),
      log,
      schemas,
      pool,
      readersMs: 0,
    };
    layers.#chain = (view) => new Chain(redis, namespace, generationOf(view));
    const common = { redisUrl, dataDir, namespace, definitions: layers.#definitions, logger };
    layers.startSpeed = async () => {
      layers.#speed = await startSpeedLayer({ ...common, brokers, registry: new Registry() });
    };
    await layers.startSpeed();
    const start = async (port: number) => {
      layers.serving = await startServing({
        ...common,
        kafkaBrokers: brokers,
        port,
        host: "127.0.0.1",
        requestsPerMinute: 0,
        ...options,
      });
      layers.port = layers.serving.port;
    };
    layers.restart = () => start(layers.port);
    await start(0);
    layers.#closing.push(
      () => layers.serving?.close(),
      () => layers.#speed?.close(),
      () => log.close(),
      () => redis.disconnect(),
      () => pool.close(),
      () => rm(dataDir, { recursive: true, force: true }),
    );
    return layers;
  }

  /** Starts the API again on its port. */
  restart: () => Promise<void> = async () => {};

  async stopSpeed(): Promise<void> {
    await this.#speed?.close();
    this.#speed = null;
  }

  topic(stream: string): string {
    return topicName(this.namespace, stream);
  }

  url(path: string): string {
    return `http://127.0.0.1:${this.port}${path}`;
  }

  chain(view: View): Chain {
    return this.#chain(view);
  }

  produce(stream: string, events: readonly { readonly id: string }[]): Promise<void> {
    const records = events.map((event) => ({ key: event.id, value: Buffer.from(JSON.stringify(event)) }));
    return produce(inject("kafkaBrokers"), this.topic(stream), records);
  }

  async answer(view: string, query = ""): Promise<AnswerBody> {
    const response = await fetch(this.url(`/views/${view}?${query}`));
    if (response.status !== 200) throw new Error(`${response.status} ${await response.text()}`);
    return (await response.json()) as AnswerBody;
  }

  /** A refresh: seal, archive, states, ledgers, publish. False when there was nothing to publish. */
  async refresh(view: View): Promise<boolean> {
    const stores = this.#stores;
    if (stores === null) throw new Error("not open");
    const chain = this.chain(view);
    const target: ViewTarget = {
      stream: view.stream,
      view,
      generation: generationOf(view),
      topic: this.topic(view.stream.name),
    };
    const manifest = await beginGeneration(stores, target.generation, target.topic, "test");
    const version = manifest.version + 1;
    const to = await chain.seal(String(version));
    if (to === null) return false;
    for (;;) {
      const plan = await planStream(stores, target, cutToJson(to));
      const [chunk] = plan.chunks;
      if (chunk === undefined) break;
      await archiveChunk(stores, target, plan.topicId, chunk, UNWATCHED);
    }
    const from = cutFromJson(manifest.cut);
    const folder = stores.manifests.stateFolder(target.generation);
    const span = { topicId: manifest.topicId, from, to };
    const delta = await writeDelta(stores, target, span, folder, versionPrefix(version), UNWATCHED);
    await checkDelta(stores, target, chain, { from, to, ...delta });
    const ledger = [...delta.ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
    const publication = { version: manifest.version, from, to, file: delta.file, ledger, createdBy: "test" };
    const published = await publishDelta(stores, target, publication);
    await finishPublish(stores, target, chain, published ?? version);
    return published !== null;
  }

  async close(): Promise<void> {
    for (const close of this.#closing) await close();
  }
}
