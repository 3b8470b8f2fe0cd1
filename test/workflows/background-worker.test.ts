import { pino } from "pino";
import { Registry } from "prom-client";
import { expect, inject, test } from "vitest";
import { startBackgroundWorker } from "../../activities/worker/background-worker.ts";
import { startWorker } from "../../activities/worker/worker.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import type { compactArchive } from "../../workflows/compact-archive.ts";
import type { compactViews } from "../../workflows/compact-views.ts";
import type { settleStream } from "../../workflows/settle-stream.ts";
import { SEARCH_ATTRIBUTES, settlementStart } from "../../workflows/shared/names.ts";
import { produce } from "../fixtures/events/produce.ts";
import { client, openPlace, shopDefinitions, useTemporal } from "../fixtures/servers/batch-worker.ts";

const STREAM = "order-completed";
/** Of Temporal: no worker has taken it. */
const SCHEDULED = 1;

const orders = Array.from({ length: 20 }, (_, index) => {
  const order = ordersOf(1)(index, Date.now());
  return { key: order.order_id, value: Buffer.from(JSON.stringify(order)) };
});

useTemporal();

test("long work waits for the background worker, and a settlement does not wait for long work", async () => {
  const definitions = await shopDefinitions();
  const here = await openPlace([STREAM], 1);
  const { namespace, taskQueue, data } = here;
  const options = {
    ...{ brokers: inject("kafkaBrokers"), redisUrl: inject("redisUrl"), retentionWarnHours: 24 },
    ...{ temporalAddress: inject("temporalAddress"), temporalNamespace: "default" },
    ...{ taskQueue, dataDir: data.root, namespace, definitions, logger: pino({ level: "silent" }) },
  };
  const worker = await startWorker({
    ...options,
    ...{ registry: new Registry(), searchAttributes: Object.values(SEARCH_ATTRIBUTES), schedules: null },
  });
  const start = { taskQueue, workflowId: `${namespace}/compact` };
  try {
    // More of it than the worker does at once: on its own queue it would leave no room for the settlement.
    const runs = await Promise.all(
      Array.from({ length: 6 }, (_, index) =>
        client.workflow.start<typeof compactArchive>("compactArchive", {
          ...{ taskQueue, workflowId: `${namespace}/compact-archive/${index}`, args: [{ stream: STREAM }] },
        }),
      ),
    );
    const views = await client.workflow.start<typeof compactViews>("compactViews", {
      ...{ ...start, args: [{ stream: STREAM, views: [{ view: "revenue", generation: "revenue" }] }] },
    });
    const pending = async () => (await views.describe()).raw.pendingActivities ?? [];
    await expect.poll(async () => (await pending()).length).toBe(1);
    await produce(inject("kafkaBrokers"), `${namespace}.${STREAM}`, orders);
    const settlement = await client.workflow.start<typeof settleStream>(
      "settleStream",
      settlementStart(namespace, STREAM),
    );
    expect((await settlement.result()).archived).toBe(orders.length);
    expect(await pending()).toMatchObject([{ activityType: { name: "compact" }, attempt: 1, state: SCHEDULED }]);
    const background = await startBackgroundWorker({ ...options, registry: new Registry() });
    try {
      expect(await views.result()).toMatchObject({ files: 0, versions: 0 });
      for (const run of runs) expect(await run.result()).toMatchObject({ merged: 0 });
    } finally {
      await background.close();
    }
  } finally {
    await worker.close();
  }
});
