import { type ChildProcess, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ApplicationFailure } from "@temporalio/common";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { NativeConnection, Worker } from "@temporalio/worker";
import { Kafka, logLevel, Partitioners, type Producer } from "kafkajs";
import { pino } from "pino";
import { Registry } from "prom-client";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { type DesiredSchedule, hasSchedule, reconcileSchedules } from "../../activities/worker/schedules.ts";
import { lookAfterTemporal } from "../../activities/worker/temporal-setup.ts";
import type { BatchWorker } from "../../activities/worker/worker.ts";
import { workflowCode } from "../../activities/worker/workflow-bundle.ts";
import { at, type CutJson, cutFromJson, position } from "../../core/log/position.ts";
import type { Definition, Definitions } from "../../store/definitions/definitions.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";
import type { archiveStream, scheduledRun, settleStream } from "../../workflows/index.ts";
import { desiredSchedules } from "../../workflows/schedules.ts";
import {
  backgroundQueueOf,
  executionTimeoutMs,
  SEARCH_ATTRIBUTES,
  scheduledTimeoutMs,
  settlementStart,
  workId,
} from "../../workflows/shared/names.ts";
import { completedOrders } from "../fixtures/events/completed-orders.ts";
import { client, openPlace, shopDefinitions, startWorkerIn, useTemporal } from "../fixtures/servers/batch-worker.ts";

const root = fileURLToPath(new URL("../..", import.meta.url));
const STREAM = "order-completed";
const VIEW = "revenue";

let definitions: Definitions;
let log: LogReader;
let redis: TidelineRedis;
let producer: Producer;

useTemporal();
beforeAll(async () => {
  definitions = await shopDefinitions();
  log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "workflows-test" });
  redis = openRedis(inject("redisUrl"), () => {});
  producer = new Kafka({ brokers: [inject("kafkaBrokers")], logLevel: logLevel.NOTHING }).producer({
    createPartitioner: Partitioners.DefaultPartitioner,
  });
  await producer.connect();
});

afterAll(async () => {
  await producer?.disconnect();
  redis?.disconnect();
  await log?.close();
});

async function produce(topic: string, from: number, to: number, partition?: number): Promise<void> {
  for (let first = from; first < to; first += 5_000) {
    const messages = completedOrders(first, Math.min(first + 5_000, to));
    await producer.send({
      topic,
      messages: partition === undefined ? messages : messages.map((message) => ({ ...message, partition })),
    });
  }
}

async function place() {
  const here = await openPlace([STREAM]);
  const { generation } = definitions.views.get(VIEW) as Definition;
  return { ...here, topic: topicName(here.namespace, STREAM), generation };
}

type Place = Awaited<ReturnType<typeof place>>;

const workerIn = (
  here: Place,
  registry = new Registry(),
  schedules: readonly DesiredSchedule[] | null = null,
): Promise<BatchWorker> => startWorkerIn(here, { definitions, registry, schedules });

const startArchive = ({ namespace, taskQueue }: Place) =>
  client.workflow.start<typeof archiveStream>("archiveStream", {
    workflowId: workId(namespace, "archive", STREAM),
    taskQueue,
    args: [{ stream: STREAM }],
  });

const startSettlement = ({ namespace }: Place) =>
  client.workflow.start<typeof settleStream>("settleStream", settlementStart(namespace, STREAM, [VIEW]));

/** Runs a `tideline` command in a process of its own. */
function tideline(
  { namespace, home }: Place,
  command: "worker" | "rebuild",
  args: readonly string[],
  port: number,
): ChildProcess {
  const env = {
    ...process.env,
    KAFKA_BROKERS: inject("kafkaBrokers"),
    REDIS_URL: inject("redisUrl"),
    TEMPORAL_ADDRESS: inject("temporalAddress"),
    TIDELINE_NAMESPACE: namespace,
    TIDELINE_HOME: home,
    TIDELINE_WORKER_PORT: String(port),
    TIDELINE_LOG_LEVEL: "warn",
  };
  return spawn(process.execPath, [join(root, "cli/tideline.js"), command, ...args], {
    cwd: root,
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  return typeof address === "object" && address !== null ? address.port : 0;
}

const isHealthy = (port: number) =>
  fetch(`http://127.0.0.1:${port}/health`).then(
    ({ ok }) => ok,
    () => false,
  );

async function archivedRecords({ archive, topic }: Place): Promise<number> {
  const { id, partitions } = await log.topic(topic);
  const entries = await Promise.all(partitions.map((partition) => archive.entries(topic, id, partition)));
  return entries.flat().reduce((total, { records }) => total + records, 0);
}

describe("the workflows", () => {
  it("archive a stream, settle and rebuild a view, are found by their search attributes, and replay", async () => {
    const here = await place();
    const registry = new Registry();
    const worker = await workerIn(here, registry);
    try {
      await produce(here.topic, 0, 3_000);
      expect(await (await startArchive(here)).result()).toEqual({ records: 3_000, chunks: 3 });
      await produce(here.topic, 3_000, 4_000);
      const settlement = await startSettlement(here);
      expect(await settlement.result()).toMatchObject({
        archived: 1_000,
        views: [{ view: VIEW, version: 1, published: true, records: 4_000 }],
      });
      expect(await archivedRecords(here)).toBe(4_000);
      expect(await (await startSettlement(here)).result()).toMatchObject({ archived: 0, views: [] });

      await produce(here.topic, 4_000, 4_500);
      expect(await (await startSettlement(here)).result()).toMatchObject({
        archived: 500,
        views: [{ view: VIEW, version: 2, published: true, records: 500 }],
      });
      const manifest = await here.manifests.newest(here.generation);
      expect(manifest).toMatchObject({
        version: 2,
        ledger: { records: 4_500, counted: 4_050, filtered: 450, duplicates: 0, rejects: 0 },
      });
      expect(manifest?.createdBy).toMatch(new RegExp(`^${here.namespace}/settle/${STREAM}/`));
      expect(manifest?.files).toHaveLength(2);

      const rebuild = tideline(here, "rebuild", [VIEW, "--json"], await freePort());
      let printed = "";
      rebuild.stdout?.on("data", (chunk: Buffer) => {
        printed += chunk.toString();
      });
      expect(await once(rebuild, "close")).toEqual([0, null]);
      expect(JSON.parse(printed)).toMatchObject({ view: VIEW, equal: true, version: 3, compared: 2 });
      expect((await here.manifests.newest(here.generation))?.cut).toEqual(manifest?.cut);
      expect((await here.manifests.newest(here.generation))?.files).toHaveLength(1);

      const found = async (query: string) => {
        const ids: string[] = [];
        for await (const { workflowId } of client.workflow.list({
          query: `TaskQueue = "${here.taskQueue}" AND ${query}`,
        }))
          ids.push(workflowId);
        return ids;
      };
      await expect.poll(() => found(`TidelineKind = "settle" AND TidelineStream = "${STREAM}"`)).toHaveLength(3);
      await expect.poll(() => found('TidelineKind = "archive"')).toHaveLength(1);
      expect(await found(`TidelineKind = "rebuild" AND TidelineView = "${VIEW}"`)).toEqual([
        workId(here.namespace, "rebuild", VIEW),
      ]);
      expect(
        await (await client.workflow.getHandle(workId(here.namespace, "rebuild", VIEW)).describe()).staticSummary(),
      ).toContain("rebuilds view revenue");
      expect(await registry.metrics()).toMatch(/tideline_batch_version\{view="revenue"\} 3/);

      const handles = [
        settlement,
        client.workflow.getHandle(workId(here.namespace, "archive", STREAM)),
        client.workflow.getHandle(workId(here.namespace, "rebuild", VIEW)),
      ];
      for (const handle of handles) {
        const history: unknown = JSON.parse(historyToJSON(await handle.fetchHistory()));
        await Worker.runReplayHistory(await workflowCode(), history, handle.workflowId);
      }
    } finally {
      await worker.close();
    }
  });

  it("are joined, not run twice, by a schedule that finds the work running", async () => {
    const here = await place();
    const worker = await workerIn(here);
    try {
      await produce(here.topic, 0, 100);
      // A speed layer that does not move keeps the settlement waiting for a few seconds.
      await new Chain(redis, here.namespace, here.generation).reseed(
        cutFromJson({ "0": "0", "1": "0", "2": "0" }),
        0,
        null,
      );
      const scheduled = (name: string) =>
        client.workflow.start<typeof scheduledRun>("scheduledRun", {
          workflowId: `${here.namespace}/${name}`,
          taskQueue: here.taskQueue,
          args: [{ kind: "settle", target: STREAM, namespace: here.namespace }],
        });
      const first = await scheduled("first");
      const running = () =>
        client.workflow
          .getHandle(workId(here.namespace, "settle", STREAM))
          .describe()
          .then(
            ({ status }) => status.name,
            () => "NONE",
          );
      await expect.poll(running).toBe("RUNNING");
      expect(await (await scheduled("second")).result()).toBe("joined");
      expect(await first.result()).toBe("ran");
      expect(await here.manifests.newest(here.generation)).toMatchObject({ version: 1, ledger: { records: 100 } });
    } finally {
      await worker.close();
    }
  });

  it("end at once, under its code, with an error that another attempt cannot cure", async () => {
    const here = await place();
    const worker = await workerIn(here);
    try {
      const handle = await client.workflow.start("archiveStream", {
        workflowId: `${here.namespace}/wrong`,
        taskQueue: here.taskQueue,
        args: [{ stream: "nothing" }],
      });
      await expect(handle.result()).rejects.toMatchObject({
        cause: { cause: { type: "STREAM_UNKNOWN", nonRetryable: true } },
      });
    } finally {
      await worker.close();
    }
  });
});

describe("a compaction of the archive", () => {
  it("of which one merge fails does the others, deletes old files, and then fails under that merge's code", async () => {
    const taskQueue = `compaction-${randomBytes(4).toString("hex")}`;
    const merges = ["0", "16", "32"].map((from) => ({
      partition: 0,
      from,
      to: `${+from + 16}`,
      entries: 2,
      records: 16,
    }));
    const done: string[] = [];
    const activities = {
      planCompaction: async () => ({ topicId: "t", merges: merges.filter(({ from }) => !done.includes(from)) }),
      mergeEntries: async ({ merge }: { merge: { from: string } }) => {
        if (merge.from === "16") throw ApplicationFailure.nonRetryable("a file is damaged", "ARCHIVE_DAMAGED");
        done.push(merge.from);
        return { entries: 2, records: 16, sizeBytes: 1 };
      },
      sweepArchive: async () => done.push("swept"),
    };
    const own = await NativeConnection.connect({ address: inject("temporalAddress") });
    try {
      const worker = await Worker.create({ connection: own, taskQueue, ...(await workflowCode()) });
      const background = { connection: own, taskQueue: backgroundQueueOf(taskQueue), activities };
      const work = async () => {
        const input = { workflowId: taskQueue, taskQueue, args: [{ stream: STREAM }] };
        const run = client.workflow.execute("compactArchive", input);
        await expect(run).rejects.toMatchObject({ cause: { cause: { type: "ARCHIVE_DAMAGED" } } });
      };
      await (await Worker.create(background)).runUntil(() => worker.runUntil(work));
      expect(done).toEqual(["0", "32", "swept"]);
    } finally {
      await own.close();
    }
  });
});

describe("the schedules", () => {
  it("start the work under its plain id", async () => {
    const here = await place();
    const worker = await workerIn(here, new Registry(), desiredSchedules(here.namespace, [STREAM], []));
    const schedule = client.schedule.getHandle(`${here.namespace}/settle-${STREAM}`);
    try {
      await produce(here.topic, 0, 100);
      await schedule.trigger();
      await expect.poll(() => archivedRecords(here)).toBe(100);
      const settlement = client.workflow.getHandle(workId(here.namespace, "settle", STREAM));
      await settlement.result();
      const described = await settlement.describe();
      expect(await described.staticSummary()).toContain(STREAM);
      // Neither the work nor the schedule's run, which waits for it, can be under way for ever.
      const seconds = described.raw.executionConfig?.workflowExecutionTimeout?.seconds;
      expect(Number(seconds) * 1_000).toBe(executionTimeoutMs("settle"));
      const { action } = await schedule.describe();
      expect(action.workflowExecutionTimeout).toBe(scheduledTimeoutMs("settle"));
      expect(scheduledTimeoutMs("settle")).toBeGreaterThan(executionTimeoutMs("settle"));
    } finally {
      await worker.close();
      await schedule.delete();
    }
  });

  it("are made again when Temporal has lost them", async () => {
    const { namespace, taskQueue } = await place();
    const schedules = desiredSchedules(namespace, [STREAM], []);
    const leave = lookAfterTemporal(
      {
        temporalAddress: inject("temporalAddress"),
        temporalNamespace: "default",
        taskQueue,
        searchAttributes: Object.values(SEARCH_ATTRIBUTES),
        schedules,
        logger: pino({ level: "silent" }),
      },
      { everyMs: 100 },
    );
    const there = async () => {
      const found = await Promise.all(schedules.map(({ id }) => hasSchedule(client, id)));
      return found.every((one) => one);
    };
    try {
      await expect.poll(there).toBe(true);
      for (const { id } of schedules) await client.schedule.getHandle(id).delete();
      await expect.poll(there).toBe(true);
      // One alone, and not the first.
      await client.schedule.getHandle(schedules.at(-1)?.id ?? "").delete();
      await expect.poll(there).toBe(true);
    } finally {
      leave();
      for (const { id } of schedules) await client.schedule.getHandle(id).delete();
    }
  });

  it("become those that are wanted, and a paused one stays paused", async () => {
    const here = await place();
    const owner = { taskQueue: here.taskQueue, owner: here.taskQueue };
    const wanted = desiredSchedules(here.namespace, [STREAM], [VIEW, "old-view"]);
    const ids = (names: string[]) => names.map((name) => `${here.namespace}/${name}`);
    const kept = ids([`settle-${STREAM}`, `retention-${STREAM}`]);
    const all = wanted.map(({ id }) => id);
    expect(all).toEqual(expect.arrayContaining([...kept, ...ids([`compact-archive-${STREAM}`, "prove-views"])]));
    const dropped = all.filter((id) => !kept.includes(id));
    // Two workers begin at once: each schedule is made by one of them.
    const both = await Promise.all([1, 2].map(() => reconcileSchedules(client, wanted, owner)));
    expect(both.flatMap(({ created }) => created).toSorted()).toEqual(all.toSorted());
    expect(both.flatMap(({ deleted }) => deleted)).toEqual([]);
    const settle = client.schedule.getHandle(`${here.namespace}/settle-${STREAM}`);
    await settle.pause("looked at");
    // As the release before made it: a run without a time limit.
    await settle.update(({ spec, action, policies, state }) => {
      const { workflowExecutionTimeout: _, ...unlimited } = action;
      return { spec, action: unlimited, policies, state };
    });
    expect((await settle.describe()).action.workflowExecutionTimeout).toBeUndefined();
    const listed = async () => {
      const found: string[] = [];
      for await (const { scheduleId } of client.schedule.list())
        if (scheduleId.startsWith(`${here.namespace}/`)) found.push(scheduleId);
      return found.sort();
    };
    await expect.poll(listed).toEqual(all.toSorted());
    const slower = wanted.filter(({ id }) => kept.includes(id)).map((one) => ({ ...one, everyMs: 120_000 }));
    const reconciled = await reconcileSchedules(client, slower, owner);
    expect(reconciled).toEqual({ created: [], updated: kept, deleted: expect.any(Array) });
    expect(reconciled.deleted.toSorted()).toEqual(dropped.toSorted());
    const described = await settle.describe();
    expect(described.state).toMatchObject({ paused: true, note: "looked at" });
    expect(described.spec.intervals).toMatchObject([{ every: 120_000, offset: 0 }]);
    expect(described.policies.overlap).toBe("SKIP");
    expect(described.action.workflowExecutionTimeout).toBe(scheduledTimeoutMs("settle"));
    await expect.poll(listed).toEqual(kept.toSorted());
    await reconcileSchedules(client, [], owner);
    await expect.poll(listed).toEqual([]);
  });
});

describe("a worker", () => {
  it("that is killed in the middle of an archive leaves work that another finishes; SIGTERM drains (invariant 13)", async () => {
    const here = await place();
    const records = 300_000;
    await produce(here.topic, 0, records, 1);
    const ports = [await freePort(), await freePort()] as const;
    const first = tideline(here, "worker", ["--no-schedules"], ports[0]);
    const run = await startArchive(here);
    await expect.poll(() => archivedRecords(here), { interval: 20 }).toBeGreaterThan(0);
    first.kill("SIGKILL");
    await once(first, "close");
    const before = await archivedRecords(here);
    expect(before).toBeLessThan(records);
    const second = tideline(here, "worker", ["--no-schedules"], ports[1]);
    expect(await run.result()).toMatchObject({ records: expect.any(Number) });
    expect(await archivedRecords(here)).toBe(records);
    const { id } = await log.topic(here.topic);
    const archived: CutJson = { "1": String(at(await here.archive.archived(here.topic, id), 1)) };
    expect(archived).toEqual({ "1": String(records) });
    const named = (await here.archive.entries(here.topic, id, 1)).map(({ file }) => file?.split("/").at(-1));
    // What the killed one left is swept.
    expect(await here.data.list(here.archive.fileFolder(here.topic, 1))).toEqual(named.toSorted());
    await expect.poll(() => isHealthy(ports[1])).toBe(true);
    const metrics = await (await fetch(`http://127.0.0.1:${ports[1]}/metrics`)).text();
    expect(metrics).toContain(`tideline_archive_position{stream="${STREAM}",partition="1"} ${position(records)}`);
    second.kill("SIGTERM");
    expect(await once(second, "close")).toEqual([0, null]);
  });
});
