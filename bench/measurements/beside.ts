import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection, type WorkflowHandle } from "@temporalio/client";
import { generationOf } from "../../core/definition/generation.ts";
import { DAY_MS, dayOf } from "../../core/interval.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { Manifests } from "../../store/archive/manifests.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";
import type { SettleStreamResult } from "../../workflows/settle-stream.ts";
import { taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { type Figure, limit, median } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";
import { sendOrders } from "../setup/prepared-batches.ts";

const RECORDS = 1_000_000;
const DAYS = 5;
const EVENTS_PER_SECOND = 200;
const SETTLE_EVERY_S = 15;
const MEASURED_MS = 90_000;
const STREAM = orderCompleted.name;

/**
 * How long a settlement takes alone, and beside a backfill, a rebuild, a proof, a compaction and a report that follow
 * each other without a pause: the shop's orders, a million of them in the archive, and 200 a second that come.
 */
export async function benchBeside(report: (line: string) => void): Promise<Figure[]> {
  const env = { TIDELINE_SETTLE_EVERY: `${SETTLE_EVERY_S}s` };
  return withInstallation({ temporal: true, env }, (installation) => measure(installation, report));
}

async function measure(installation: Installation, report: (line: string) => void): Promise<Figure[]> {
  const startMs = Math.floor(Date.now() / DAY_MS - DAYS) * DAY_MS;
  await sendOrders(installation.brokers, { records: RECORDS, startMs, lengthMs: DAYS * DAY_MS });
  for (const role of ["speed", "worker", "serve"] as const) await installation.role(role).start();
  const connection = await Connection.connect({ address: installation.config.temporalAddress });
  const client = new Client({ connection });
  const ending = new AbortController();
  const sending = send(installation.brokers, ending.signal);
  try {
    await firstVersion(installation);
    report("alone");
    const alone = await watched(client, installation);
    report(`beside the others: alone ${shown(alone)}`);
    const others = new AbortController();
    const days = { from: dayOf(startMs), to: dayOf(startMs + (DAYS - 1) * DAY_MS) };
    const counts = Promise.all(works(days).map((work) => again(client, work, others.signal)));
    const beside = await watched(client, installation);
    others.abort();
    report(`beside ${(await counts).join(", ")}: ${shown(beside)}`);
    const ratio = median(beside.seconds) / median(alone.seconds);
    return [
      limit("a settlement alone", "s", null, alone.seconds),
      limit("a settlement beside backfill, rebuild, proof, compaction and report", "s", null, beside.seconds),
      limit("the second as a multiple of the first", "times", 1.5, [ratio]),
      limit("longest without a new version beside them", "s", 2 * SETTLE_EVERY_S, [beside.longestS]),
    ];
  } finally {
    ending.abort();
    await sending;
    await connection.close();
  }
}

interface Watched {
  /** What each settlement took that ended in the meantime. */
  readonly seconds: readonly number[];
  /** The greatest age that the newest version of a view had. */
  readonly longestS: number;
}

const shown = ({ seconds, longestS }: Watched) => `${seconds.join(" ")} s, versions at most ${longestS} s old`;

async function watched(client: Client, { home }: Installation): Promise<Watched> {
  const sinceMs = Date.now();
  const manifests = new Manifests(new DataDirectory(join(home, "data")));
  let longestS = 0;
  while (Date.now() - sinceMs < MEASURED_MS) {
    await delay(500);
    const createdAtMs = (await manifests.newest(generationOf(revenue)))?.createdAtMs ?? 0;
    longestS = Math.max(longestS, Math.round((Date.now() - createdAtMs) / 1_000));
  }
  const seconds: number[] = [];
  const query =
    `WorkflowType = 'settleStream' AND WorkflowId = '${workId("", "settle", STREAM)}' AND ` +
    `ExecutionStatus = 'Completed' AND StartTime > '${new Date(sinceMs).toISOString()}'`;
  for await (const { workflowId, runId } of client.workflow.list({ query })) {
    const result = (await client.workflow.getHandle(workflowId, runId).result()) as SettleStreamResult;
    if (result.views.length > 0) seconds.push(result.seconds);
  }
  return { seconds, longestS };
}

interface LongWork {
  readonly workflow: string;
  readonly workflowId: string;
  readonly input: unknown;
}

function works({ from, to }: { readonly from: string; readonly to: string }): LongWork[] {
  const view = "revenue";
  return [
    {
      workflow: "backfillView",
      workflowId: workId("", "backfill", `${view}/${from}..${to}`),
      input: { view, from, to, force: true },
    },
    { workflow: "rebuildView", workflowId: workId("", "rebuild", "top-products"), input: { view: "top-products" } },
    { workflow: "proveViews", workflowId: workId("", "prove", "views"), input: { views: [view] } },
    { workflow: "compactArchive", workflowId: workId("", "compact-archive", STREAM), input: { stream: STREAM } },
    {
      workflow: "dailyReport",
      workflowId: workId("", "report", `daily/${from}`),
      input: { date: from, fresh: true, deliver: false },
    },
  ];
}

/** Does some work again and again until the signal; returns how often it was done. */
async function again(client: Client, { workflow, workflowId, input }: LongWork, signal: AbortSignal): Promise<string> {
  const stopped = new Promise<null>((resolve) => signal.addEventListener("abort", () => resolve(null)));
  let [done, failed] = [0, 0];
  let run: WorkflowHandle | null = null;
  while (!signal.aborted) {
    run = await client.workflow.start(workflow, { workflowId, taskQueue: taskQueueOf(""), args: [input] });
    const outcome = run.result().then(
      () => true,
      () => false,
    );
    const went = await Promise.race([outcome, stopped]);
    if (went === true) done += 1;
    if (went === false) failed += 1;
    // A compaction that finds nothing to do is over at once.
    await Promise.race([delay(1_000), stopped]);
  }
  await run?.terminate("the measurement is over").catch(() => undefined); // it may have ended
  return `${done} ${workflow}${failed > 0 ? ` and ${failed} that failed` : ""}`;
}

async function firstVersion({ home }: Installation): Promise<void> {
  const manifests = new Manifests(new DataDirectory(join(home, "data")));
  for (;;) {
    const newest = await manifests.newest(generationOf(revenue));
    if ((newest?.ledger.records ?? 0) >= RECORDS) return;
    await delay(500);
  }
}

/** Sends orders of now at an even rate until the signal. */
async function send(brokers: string, signal: AbortSignal): Promise<void> {
  const producer = await openProducer({ brokers });
  const make = ordersOf(2);
  for (let sent = 0; !signal.aborted; ) {
    const orders = Array.from({ length: EVENTS_PER_SECOND / 10 }, (_, index) => make(sent + index, Date.now()));
    await producer.send(
      STREAM,
      orders.map((order) => ({ key: order.order_id, value: JSON.stringify(order) })),
    );
    sent += orders.length;
    await delay(100);
  }
  await producer.close();
}
