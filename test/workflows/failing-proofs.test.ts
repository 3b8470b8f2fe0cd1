import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { expect, test } from "vitest";
import { FailingProofs } from "../../activities/worker/failing-proofs.ts";
import { viewsOfStream } from "../../store/definitions/definitions.ts";
import type { proveViews } from "../../workflows/prove-views.ts";
import { workId } from "../../workflows/shared/names.ts";
import { client, openPlace, shopDefinitions, startWorkerIn, useTemporal } from "../fixtures/servers/batch-worker.ts";

useTemporal();

test("a view whose newest proof differs is a problem, for every worker, until a proof of it holds", async () => {
  let different = 3;
  const api = createServer((_request, response) => {
    const fields = { orders: { different }, cents: { different: 0 } };
    const proof = { equal: different === 0, rows: 7, mismatches: different, fields, differences: [] };
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.end(`event: proof\ndata: ${JSON.stringify(proof)}\n\n`);
  });
  api.listen(0, "127.0.0.1");
  await once(api, "listening");
  const definitions = await shopDefinitions();
  const place = await openPlace(["order-completed"], 1);
  const apiUrl = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;
  const worker = await startWorkerIn(place, { definitions, apiUrl });
  const { namespace, taskQueue } = place;
  const work = { namespace, taskQueue, viewsOf: (stream: string) => viewsOfStream(definitions, stream) };
  const workflowId = workId(namespace, "prove", "views");
  const prove = () =>
    client.workflow.execute<typeof proveViews>("proveViews", {
      ...{ taskQueue, workflowId, args: [{ views: ["revenue"] }] },
    });
  /** A run is listed a moment after it has ended. */
  const found = (wanted: number) =>
    expect.poll(async () => (await new FailingProofs().find(client, work)).length, { timeout: 60_000 }).toBe(wanted);
  try {
    expect(await new FailingProofs().find(client, work)).toEqual([]);
    await prove();
    await found(1);
    const looks = new FailingProofs();
    const told = {
      kind: "proof",
      name: "revenue",
      code: "PROOF_DIFFERS",
      message: expect.stringContaining("3 values"),
    };
    expect(await looks.find(client, work)).toMatchObject([told]);
    different = 0;
    await prove();
    await found(0);
    expect(await looks.find(client, work)).toEqual([]);
  } finally {
    await worker.close();
    api.close();
  }
});
