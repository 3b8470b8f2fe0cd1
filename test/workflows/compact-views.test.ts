import { expect, inject, test } from "vitest";
import { withDuck } from "../../batch-layer/duck-run.ts";
import { type BatchStores, UNWATCHED } from "../../batch-layer/stores.ts";
import { nextManifest, publishVersion, versionPrefix } from "../../batch-layer/versions/publish.ts";
import { writeStates } from "../../batch-layer/versions/state-file.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { topicName } from "../../store/kafka/cluster/topics.ts";
import type { compactViews, rebuildView, settleStream } from "../../workflows/index.ts";
import { settlementStart, workId } from "../../workflows/shared/names.ts";
import { completedOrders } from "../fixtures/events/completed-orders.ts";
import { produce } from "../fixtures/events/produce.ts";
import { client, openPlace, shopDefinitions, startWorkerIn, useTemporal } from "../fixtures/servers/batch-worker.ts";

const STREAM = "order-completed";
const VIEW = "revenue";
const FILES = 26;

useTemporal();

test("a settlement has small files merged by a run of its own, and the view holds what its archive holds", async () => {
  const definitions = await shopDefinitions();
  const here = await openPlace(definitions.streams.keys());
  const topic = topicName(here.namespace, STREAM);
  const { view, generation } = definitions.views.get(VIEW) ?? {};
  if (view === undefined || generation === undefined) throw new Error("no view");
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 512, directories: [here.data.root] });
  const stores = { data: here.data, manifests: here.manifests, pool } as unknown as BatchStores;
  const worker = await startWorkerIn(here, { definitions });
  const settle = async () => {
    const input = settlementStart(here.namespace, STREAM, [VIEW]);
    return (await client.workflow.start<typeof settleStream>("settleStream", input)).result();
  };
  try {
    await produce(inject("kafkaBrokers"), topic, completedOrders(0, 3_000, 60_000));
    await settle();
    const first = (await here.manifests.newest(generation)) as Manifest;
    const [whole] = first.files.map(({ file }) => here.data.path(file));
    const files = await withDuck(stores, UNWATCHED, async (duck) => {
      const parts = [];
      for (let part = 0; part < FILES; part++) {
        const select = `SELECT * FROM read_parquet('${whole}') WHERE bucket // 3600000 % ${FILES} = ${part}`;
        const folder = here.manifests.stateFolder(generation);
        parts.push(
          await writeStates(stores, duck, { view, select }, { folder, prefix: versionPrefix(first.version + 1) }),
        );
      }
      return parts.filter((part) => part !== null);
    });
    const next = nextManifest(first, { files, ledger: first.ledger, createdBy: "test" });
    expect(await publishVersion(stores, next)).toBe(true);

    await produce(inject("kafkaBrokers"), topic, completedOrders(3_000, 3_100, 60_000));
    const { views } = await settle();
    expect(views).toMatchObject([{ view: VIEW, published: true, records: 100, foldable: true }]);
    const run = client.workflow.getHandle<typeof compactViews>(workId(here.namespace, "compact", STREAM));
    const { files: merged, versions } = await run.result();
    expect(versions).toBe(1);
    const newest = (await here.manifests.newest(generation)) as Manifest;
    expect(newest).toMatchObject({ version: (views[0]?.version ?? 0) + 1, ledger: { records: 3_100 } });
    expect(newest.files.length).toBe(FILES + 1 - merged + 1);
    expect(newest.files.length).toBeLessThanOrEqual(12);
    const rebuilt = await client.workflow.execute<typeof rebuildView>("rebuildView", {
      workflowId: workId(here.namespace, "rebuild", VIEW),
      taskQueue: here.taskQueue,
      args: [{ view: VIEW }],
    });
    expect(rebuilt).toMatchObject({ equal: true });
  } finally {
    await worker.close();
    pool.close();
  }
});
