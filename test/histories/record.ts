import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Client, Connection, ScheduleOverlapPolicy } from "@temporalio/client";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { pino } from "pino";
import { Registry } from "prom-client";
import { startBackgroundWorker } from "../../activities/worker/background-worker.ts";
import { installRuntime, startWorker, type WorkerOptions } from "../../activities/worker/worker.ts";
import { startServing } from "../../serving/main.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { startServers } from "../../stack/servers/servers.ts";
import { ensureTopics, topicName } from "../../store/kafka/cluster/topics.ts";
import { report } from "../../systems/shop/report/report.ts";
import { desiredSchedules } from "../../workflows/schedules.ts";
import { SEARCH_ATTRIBUTES, scheduleId, taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { produce } from "../fixtures/events/produce.ts";
import { DATE, definitions, sale, sales } from "../fixtures/events/sales.ts";

/**
 * Runs each workflow on real servers and keeps its history beside this file, for the replay test: `npm run histories`,
 * or `npm run histories -- settleStream` to keep one of them. To be done again when a workflow's commands change on
 * purpose, and no run of the old one is under way anywhere. `backfillView.failed-day.json` is of another view, and
 * kept.
 */

const folder = fileURLToPath(new URL(".", import.meta.url));
const NAMESPACE = "histories";
const VIEW = "revenue";
const STREAM = sales.name;
/** Histories to keep; all when none is named. */
const wanted = process.argv.slice(2);
const NIGHT = Date.parse(DATE) + 26 * 3_600_000;

const home = await mkdtemp(join(tmpdir(), "tideline-histories-"));
const say = (line: string) => process.stdout.write(`${line}\n`);
const servers = await startServers({
  home,
  ports: await freePorts(),
  report: (server, line) => say(`${server}: ${line}`),
});
const logger = pino({ level: "warn" });
const taskQueue = taskQueueOf(NAMESPACE);
const topic = topicName(NAMESPACE, STREAM);
try {
  const { brokers } = servers.kafka;
  await ensureTopics(brokers, [{ name: topic, partitions: sales.partitions }]);
  installRuntime(logger);
  const { api: apiPort } = await freePorts();
  const options: WorkerOptions = {
    brokers,
    redisUrl: servers.redis.url,
    temporalAddress: servers.temporal.address,
    temporalNamespace: "default",
    taskQueue,
    dataDir: join(home, "data"),
    namespace: NAMESPACE,
    definitions,
    searchAttributes: Object.values(SEARCH_ATTRIBUTES),
    report,
    schedules: desiredSchedules(NAMESPACE, [], definitions.views.keys(), report.views).filter(
      ({ input }) => input.kind === "report",
    ),
    retentionWarnHours: 24,
    apiUrl: `http://127.0.0.1:${apiPort}`,
    registry: new Registry(),
    logger,
  };
  const worker = await startWorker(options);
  const background = await startBackgroundWorker({ ...options, registry: new Registry() });
  const serving = await startServing({
    redisUrl: servers.redis.url,
    kafkaBrokers: brokers,
    dataDir: join(home, "data"),
    namespace: NAMESPACE,
    definitions,
    port: apiPort,
    host: "127.0.0.1",
    logger,
  });
  const connection = await Connection.connect({ address: servers.temporal.address });
  try {
    await recordAll(new Client({ connection }), brokers);
  } finally {
    await connection.close();
    await serving.close();
    await Promise.all([worker.close(), background.close()]);
  }
} finally {
  await servers.stop();
  await rm(home, { recursive: true, force: true });
}

async function recordAll(client: Client, brokers: string): Promise<void> {
  let sent = 0;
  const send = (count: number) => {
    const made = Array.from({ length: count }, () => sale(0, sent++));
    return produce(
      brokers,
      topic,
      made.map((one) => ({ key: one.id, value: Buffer.from(JSON.stringify(one)) })),
    );
  };
  const start = async (workflow: string, workflowId: string, input: object) => {
    const handle = await client.workflow.start(workflow, {
      workflowId,
      taskQueue,
      args: [input],
      workflowRunTimeout: "1 minute",
    });
    await handle.result();
    return workflowId;
  };
  const keep = async (name: string, workflowId: string) => {
    const handle = client.workflow.getHandle(workflowId);
    await handle.result();
    if (wanted.length > 0 && !wanted.includes(name)) return;
    const history = historyToJSON(await handle.fetchHistory());
    await writeFile(join(folder, `${name}.json`), told(history));
    say(`${name}: ${workflowId}`);
  };
  const record = async (name: string, workflowId: string, input: object) =>
    keep(name, await start(name.replace(/\..*$/, ""), workflowId, input));

  await send(300);
  await record("archiveStream", workId(NAMESPACE, "archive", STREAM), { stream: STREAM });
  await send(100);
  const scheduled = { kind: "settle", target: STREAM, namespace: NAMESPACE };
  await record("scheduledRun", `${NAMESPACE}/settle-${STREAM}-run`, scheduled);
  await send(10);
  await record("settleStream", workId(NAMESPACE, "settle", STREAM), { stream: STREAM });
  const compaction = workId(NAMESPACE, "compact", STREAM);
  while (!(await exists(client, compaction))) {
    await send(1);
    await start("settleStream", workId(NAMESPACE, "settle", STREAM), { stream: STREAM });
  }
  await keep("settleStream.compacts", workId(NAMESPACE, "settle", STREAM));
  await keep("compactViews", compaction);
  await record("rebuildView", workId(NAMESPACE, "rebuild", VIEW), { view: VIEW });
  const interval = { view: VIEW, from: DATE, to: DATE };
  await record("backfillView", workId(NAMESPACE, "backfill", `${VIEW}/${DATE}..${DATE}`), { ...interval, force: true });
  await record("guardRetention", workId(NAMESPACE, "retention", STREAM), { stream: STREAM });
  await record("adoptView", workId(NAMESPACE, "adopt", VIEW), { view: VIEW });
  await record("proveViews", workId(NAMESPACE, "prove", "views"), {});
  await record("retireGenerations", workId(NAMESPACE, "retire", "generations"), {});
  for (let entry = 0; entry < 5; entry++) {
    await send(20);
    await start("archiveStream", workId(NAMESPACE, "archive", STREAM), { stream: STREAM });
  }
  await record("compactArchive", workId(NAMESPACE, "compact-archive", STREAM), { stream: STREAM });

  const nightly = client.schedule.getHandle(scheduleId(NAMESPACE, "report", "daily"));
  const around = { start: new Date(NIGHT - 60_000), end: new Date(NIGHT + 60_000) };
  await nightly.backfill([{ ...around, overlap: ScheduleOverlapPolicy.ALLOW_ALL }]);
  const report = workId(NAMESPACE, "report", `daily/${DATE}`);
  await keep("scheduledRun.report", await runOf(nightly));
  await keep("dailyReport", report);
  await keep("deliverReport", workId(NAMESPACE, "delivery", `daily/${DATE}`));
  await send(10);
  await record("dailyReport.fresh", report, { date: DATE, fresh: true });
  const later = { date: DATE, deliverAt: new Date(Date.now() + 5_000).toISOString() };
  await record("dailyReport.later", report, later);
  await keep("deliverReport.later", workId(NAMESPACE, "delivery", `daily/${DATE}`));
}

async function exists(client: Client, workflowId: string): Promise<boolean> {
  return client.workflow
    .getHandle(workflowId)
    .describe()
    .then(
      () => true,
      () => false,
    );
}

/** The id of the run that a schedule has started, when it has. */
async function runOf(schedule: ReturnType<Client["schedule"]["getHandle"]>): Promise<string> {
  for (;;) {
    const { info } = await schedule.describe();
    const action = info.recentActions.at(-1)?.action;
    if (action !== undefined) return action.workflow.workflowId;
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}

/** A history as text, an event a line, without what says on which machine it was made. */
function told(history: string): string {
  const { events } = JSON.parse(history, withoutMachine) as { events: object[] };
  return `{"events":[\n${events.map((event) => JSON.stringify(event)).join(",\n")}\n]}\n`;
}

function withoutMachine(key: string, value: unknown): unknown {
  if (key === "identity" || key === "stickyAttributes") return "recorder";
  const queue = value as { kind?: unknown; name?: unknown } | null;
  if (key === "taskQueue" && queue?.kind === "TASK_QUEUE_KIND_STICKY") return { ...queue, name: "sticky" };
  return value;
}
