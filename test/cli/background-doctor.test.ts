import { randomUUID } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import type { Connection } from "@temporalio/client";
import { NativeConnection, Worker } from "@temporalio/worker";
import { expect, inject, test } from "vitest";
import { registerSearchAttributes } from "../../activities/worker/search-attributes.ts";
import { workflowCode } from "../../activities/worker/workflow-bundle.ts";
import { backgroundFinding, checkBackground, LONG_WORKFLOWS, stepsUnderWay } from "../../cli/doctor/background.ts";
import type { compactViews } from "../../workflows/compact-views.ts";
import { backgroundQueueOf, SEARCH_ATTRIBUTES } from "../../workflows/shared/names.ts";
import { client, useTemporal } from "../fixtures/servers/batch-worker.ts";

useTemporal();

test("nobody who asks for long work is a problem that says what waits; a process that asks or works is none", async () => {
  const taskQueue = `t${randomUUID()}`;
  const connection = await NativeConnection.connect({ address: inject("temporalAddress") });
  const nobody = await checkBackground(client, taskQueue);
  expect(nobody).toMatchObject({ check: "temporal.background", level: "problem" });
  expect(nobody.message).toContain(`${taskQueue}.background for long work: compaction, backfills`);
  expect(nobody.todo).toContain("worker-background");

  await registerSearchAttributes(client.connection as Connection, "default", Object.values(SEARCH_ATTRIBUTES));
  const workflows = await Worker.create({ connection, taskQueue, ...(await workflowCode()) });
  let release = () => {};
  const released = new Promise<void>((resolve) => {
    release = resolve;
  });
  try {
    await workflows.runUntil(async () => {
      const run = await client.workflow.start<typeof compactViews>("compactViews", {
        ...{ taskQueue, workflowId: `${taskQueue}/compact` },
        args: [{ stream: "orders", views: [{ view: "revenue", generation: "revenue" }] }],
      });
      await expect.poll(async () => (await run.describe()).raw.pendingActivities?.length).toBe(1);
      expect(await stepsUnderWay(client, taskQueue)).toBe(0);
      const background = await Worker.create({
        connection,
        taskQueue: backgroundQueueOf(taskQueue),
        activities: { compact: () => released.then(() => null) },
      });
      await background.runUntil(async () => {
        await expect.poll(() => stepsUnderWay(client, taskQueue)).toBe(1);
        expect(await checkBackground(client, taskQueue)).toMatchObject({ level: "ok" });
        release();
        await run.result();
      });
    });
  } finally {
    await connection.close();
  }
});

test("a process that has as much long work as it does at once asks for no more, and is not a problem", () => {
  expect(backgroundFinding("q", { asking: 0, underWay: 1 })).toMatchObject({ level: "ok" });
  expect(backgroundFinding("q", { asking: 0, underWay: 0 })).toMatchObject({ level: "problem" });
});

test("every workflow with steps in the background is looked at", () => {
  const folder = new URL("../../workflows/", import.meta.url);
  const texts = readdirSync(folder)
    .filter((name) => name.endsWith(".ts"))
    .map((name) => readFileSync(new URL(name, folder), "utf8"));
  const long = texts
    .filter((text) => text.includes("inBackground()"))
    .flatMap((text) => /export async function (\w+)\(/.exec(text)?.[1] ?? []);
  expect(LONG_WORKFLOWS).toEqual(long.sort());
});
