import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection } from "@temporalio/client";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, inject } from "vitest";
import { startBackgroundWorker } from "../activities/worker/background-worker.ts";
import { type BatchWorker, startWorker, type WorkerOptions } from "../activities/worker/worker.ts";
import { Archive } from "../store/archive/archive.ts";
import { Manifests } from "../store/archive/manifests.ts";
import { type Definitions, loadDefinitions } from "../store/definitions/definitions.ts";
import { DataDirectory } from "../store/files/files.ts";
import { ensureTopics, topicName } from "../store/kafka/cluster/topics.ts";
import { SEARCH_ATTRIBUTES, taskQueueOf } from "../workflows/shared/names.ts";
import { installQuietRuntime } from "./temporal-runtime.ts";

/** Workflows on the shared Temporal, with a worker in the test's own process. */

const root = fileURLToPath(new URL("..", import.meta.url));

/** A client of Temporal, between the hooks of `useTemporal`. */
export let client: Client;
let folder = "";

/** Connects to Temporal for a test file, and removes the file's data directories at its end. */
export function useTemporal(): void {
  beforeAll(async () => {
    installQuietRuntime();
    folder = await mkdtemp(join(tmpdir(), "tideline-worker-"));
    client = new Client({ connection: await Connection.connect({ address: inject("temporalAddress") }) });
  });
  afterAll(async () => {
    await client?.connection.close();
    await rm(folder, { recursive: true, force: true });
  });
}

/** The streams of `schemas/` and the views of the shop. */
export const shopDefinitions = (): Promise<Definitions> =>
  loadDefinitions({ schemas: [join(root, "schemas")], views: [join(root, "systems/shop/views")] });

/** An installation of its own: a namespace with topics and a data directory, and no roles. */
export interface Place {
  readonly namespace: string;
  readonly taskQueue: string;
  readonly home: string;
  readonly data: DataDirectory;
  readonly archive: Archive;
  readonly manifests: Manifests;
}

/** Makes a place with the topics of these streams. */
export async function openPlace(streams: Iterable<string>, partitions = 3): Promise<Place> {
  const namespace = `t${randomBytes(4).toString("hex")}`;
  const topics = [...streams].map((stream) => ({ name: topicName(namespace, stream), partitions }));
  await ensureTopics(inject("kafkaBrokers"), topics);
  const home = join(folder, namespace);
  const data = new DataDirectory(join(home, "data"));
  const taskQueue = taskQueueOf(namespace);
  return { namespace, taskQueue, home, data, archive: new Archive(data), manifests: new Manifests(data) };
}

type Chosen = Pick<WorkerOptions, "definitions"> & Partial<WorkerOptions>;

/**
 * Starts a worker of a place, and beside it in this process the one that does its long work: without schedules, unless
 * `options` has some.
 */
export async function startWorkerIn(
  { namespace, taskQueue, data }: Pick<Place, "namespace" | "taskQueue" | "data">,
  options: Chosen,
): Promise<BatchWorker> {
  const all: WorkerOptions = {
    brokers: inject("kafkaBrokers"),
    redisUrl: inject("redisUrl"),
    temporalAddress: inject("temporalAddress"),
    temporalNamespace: "default",
    taskQueue,
    dataDir: data.root,
    namespace,
    searchAttributes: Object.values(SEARCH_ATTRIBUTES),
    schedules: null,
    retentionWarnHours: 24,
    registry: new Registry(),
    logger: pino({ level: "silent" }),
    ...options,
  };
  const worker = await startWorker(all);
  const background = await startBackgroundWorker({ ...all, registry: new Registry() });
  return {
    ...worker,
    close: async () => {
      await Promise.all([worker.close(), background.close()]);
    },
  };
}
