import { mkdir, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import { WithStartWorkflowOperation } from "@temporalio/client";
import { historyToJSON } from "@temporalio/common/lib/proto-utils.js";
import { Worker } from "@temporalio/worker";
import { beforeAll, expect, inject, test } from "vitest";
import { failingWork } from "../../activities/worker/failing-work.ts";
import type { DesiredSchedule } from "../../activities/worker/schedules.ts";
import type { BatchWorker } from "../../activities/worker/worker.ts";
import { workflowCode } from "../../activities/worker/workflow-bundle.ts";
import { settled } from "../../cli/runs/settle.ts";
import { cutToJson } from "../../core/log/position.ts";
import { type Definitions, viewsOfStream } from "../../store/definitions/definitions.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import type { rebuildView } from "../../workflows/index.ts";
import { desiredSchedules } from "../../workflows/schedules.ts";
import { MOST_ROUNDS, type SettleStreamResult, settle, type settleStream } from "../../workflows/settle-stream.ts";
import { settlementStart, taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { completedOrders } from "../fixtures/events/completed-orders.ts";
import { produce } from "../fixtures/events/produce.ts";
import { client, openPlace, shopDefinitions, startWorkerIn, useTemporal } from "../fixtures/servers/batch-worker.ts";

/** Settlements: one run a stream, whatever the number of its views. */

const STREAM = "order-completed";
const brokers = inject("kafkaBrokers");

let definitions: Definitions;
let views: string[];

useTemporal();
beforeAll(async () => {
  definitions = await shopDefinitions();
  views = viewsOfStream(definitions, STREAM).sort();
});

async function place() {
  const here = await openPlace(definitions.streams.keys());
  return { ...here, topic: topicName(here.namespace, STREAM) };
}

type Place = Awaited<ReturnType<typeof place>>;

const workerIn = (here: Place, schedules: readonly DesiredSchedule[] | null = null): Promise<BatchWorker> =>
  startWorkerIn(here, { definitions, schedules, settleEveryMs: 15_000 });

const start = ({ namespace }: Place, wanted?: readonly string[]) =>
  client.workflow.start<typeof settleStream>("settleStream", settlementStart(namespace, STREAM, wanted));

const ask = ({ namespace }: Place, wanted?: readonly string[]): Promise<SettleStreamResult> =>
  client.workflow.executeUpdateWithStart(settle, {
    args: [wanted === undefined ? {} : { views: wanted }],
    startWorkflowOperation: new WithStartWorkflowOperation<typeof settleStream>(
      "settleStream",
      settlementStart(namespace, STREAM, []),
    ),
  });

const versionsOf = async ({ manifests }: Place) =>
  Object.fromEntries(
    await Promise.all(
      views.map(async (view) => {
        const generation = definitions.views.get(view)?.generation ?? "";
        return [view, await manifests.newest(generation)] as const;
      }),
    ),
  );

test("one run archives a stream once and publishes every view; what is read once is what each view reads alone", async () => {
  const here = await place();
  const worker = await workerIn(here);
  try {
    await produce(brokers, here.topic, completedOrders(0, 3_000));
    const first = await (await start(here)).result();
    expect(first).toMatchObject({ archived: 3_000, adopting: false });
    expect(first.views.map(({ view }) => view).sort()).toEqual(views);
    expect(
      first.views.every(({ version, published, records }) => version === 1 && published && records === 3_000),
    ).toBe(true);

    // One view goes ahead, so that the others' span is longer than its own.
    await produce(brokers, here.topic, completedOrders(3_000, 3_700));
    const ahead = await ask(here, ["revenue"]);
    expect(ahead.views).toMatchObject([{ view: "revenue", version: 2, records: 700 }]);
    await produce(brokers, here.topic, completedOrders(3_700, 4_000));
    const rest = await ask(here);
    const records = Object.fromEntries(rest.views.map((view) => [view.view, view.records]));
    expect(records).toEqual(Object.fromEntries(views.map((view) => [view, view === "revenue" ? 300 : 1_000])));
    const cuts = Object.values(await versionsOf(here)).map((manifest) =>
      JSON.stringify(cutToJson(manifest?.cut ?? new Map())),
    );
    expect(new Set(cuts).size).toBe(1);
    expect((await ask(here)).views).toEqual([]);

    // The oracle: each view by itself from the whole archive.
    for (const view of ["revenue", "top-products", "baskets"]) {
      const rebuilt = await client.workflow.execute<typeof rebuildView>("rebuildView", {
        workflowId: workId(here.namespace, "rebuild", view),
        taskQueue: taskQueueOf(here.namespace),
        args: [{ view }],
      });
      expect(rebuilt, view).toMatchObject({ equal: true });
    }

    const run = client.workflow.getHandle(workId(here.namespace, "settle", STREAM));
    const history: unknown = JSON.parse(historyToJSON(await run.fetchHistory()));
    await Worker.runReplayHistory(await workflowCode(), history, run.workflowId);
  } finally {
    await worker.close();
  }
});

test("a view that fails keeps its version and fails no other; its run fails and names it, three times make a problem", async () => {
  const here = await place();
  const [lost, broken] = ["baskets", "top-products"];
  const generation = (view: string) => definitions.views.get(view)?.generation ?? "";
  // The state of one comes from another topic, and the folder of the other's states is a file.
  await here.manifests.genesis(generation(lost), new Map(), "AAAAAAAAAAAAAAAAAAAAAA", "test");
  const states = here.data.path(here.manifests.stateFolder(generation(broken)));
  await mkdir(dirname(states), { recursive: true });
  await writeFile(states, "");
  const worker = await workerIn(here);
  try {
    await produce(brokers, here.topic, completedOrders(0, 500));
    const failure = { cause: { type: "TOPIC_RECREATED", details: [{ views: [lost, broken] }] } };
    await expect((await start(here)).result()).rejects.toMatchObject(failure);
    const published = await versionsOf(here);
    for (const view of views) expect(published[view]?.version, view).toBe(view === lost || view === broken ? 0 : 1);

    for (let run = 0; run < 2; run++) await expect((await start(here)).result()).rejects.toMatchObject(failure);
    const look = { namespace: here.namespace, taskQueue: taskQueueOf(here.namespace), viewsOf: () => views };
    await expect
      .poll(() => failingWork(client, look))
      .toMatchObject([{ kind: "workflow", name: `settle/${STREAM}`, code: "TOPIC_RECREATED", views: [lost, broken] }]);
  } finally {
    await worker.close();
  }
});

test("a run that has had many rounds takes no more, and who asks is served by the next one", async () => {
  const here = await place();
  const worker = await workerIn(here);
  try {
    const id = workId(here.namespace, "settle", STREAM);
    const runs = new Set<string | undefined>();
    let isAsking = true;
    // Somebody else asks all the time: the run never rests.
    const others = (async () => {
      while (isAsking) {
        await settled(client, here.namespace, STREAM, []);
        runs.add((await client.workflow.getHandle(id).describe()).runId);
      }
    })();
    for (let round = 0; round < MOST_ROUNDS + 5; round++) await settled(client, here.namespace, STREAM, []);
    isAsking = false;
    await others;
    expect(runs.size).toBeGreaterThan(1);
  } finally {
    await worker.close();
  }
});

test("a request while a run is under way gets a round that begins after that", async () => {
  const here = await place();
  const worker = await workerIn(here);
  try {
    await produce(brokers, here.topic, completedOrders(0, 200));
    const run = await start(here);
    // Accepted before the worker has done anything, or in the middle of its round: never lost, and never of the first
    // cut alone.
    await expect.poll(async () => (await run.fetchHistory()).events?.length).toBeGreaterThan(5);
    await produce(brokers, here.topic, completedOrders(200, 260));
    const asked = await ask(here);
    expect(asked.views.length === 0 || asked.views.every(({ version }) => version <= 2)).toBe(true);
    await run.result();
    const ledgers = Object.values(await versionsOf(here)).map((manifest) => manifest?.ledger.records);
    expect(new Set(ledgers)).toEqual(new Set([260]));
  } finally {
    await worker.close();
  }
});

test("a worker settles by itself: what is there when it starts, and what comes later", async () => {
  const here = await place();
  await produce(brokers, here.topic, completedOrders(0, 100));
  const worker = await workerIn(
    here,
    desiredSchedules(here.namespace, definitions.streams.keys(), definitions.views.keys()),
  );
  const counted = async () => Object.values(await versionsOf(here)).map((manifest) => manifest?.ledger.records ?? 0);
  try {
    await expect.poll(counted, { timeout: 120_000 }).toEqual(views.map(() => 100));
    await produce(brokers, here.topic, completedOrders(100, 150));
    await expect.poll(counted, { timeout: 120_000 }).toEqual(views.map(() => 150));
  } finally {
    await worker.close();
  }
});
