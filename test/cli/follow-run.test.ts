import { randomBytes } from "node:crypto";
import type { Client } from "@temporalio/client";
import { pino } from "pino";
import { afterAll, describe, expect, inject, it } from "vitest";
import { lookAfterTemporal } from "../../activities/worker/temporal-setup.ts";
import { followRun } from "../../cli/runs/follow-run.ts";
import { connectTemporal } from "../../cli/setup/temporal.ts";
import { schedulesOf } from "../../cli/status/schedules.ts";
import { RedisProxy } from "../../faults/deployment/redis-proxy.ts";
import { scheduleId } from "../../workflows/shared/names.ts";
import { client, useTemporal } from "../fixtures/servers/batch-worker.ts";

/** Commands that ask Temporal: `rebuild`, `backfill` and `report`, which wait for a run, and `status`. */

useTemporal();

const namespace = `t${randomBytes(4).toString("hex")}`;
const unknown = async () => ({ done: 0, total: 0 });
const connect = (temporalAddress = inject("temporalAddress")) =>
  connectTemporal({ temporalAddress, temporalNamespace: "default" });

/** A run that no worker ever completes. */
const start = ({ workflow }: Client, name: string) =>
  workflow.start("waits", { workflowId: `${namespace}/${name}`, taskQueue: namespace });

describe("a command that follows a run", () => {
  it("ends when it is interrupted between two questions", async () => {
    const asking = await connect();
    const stop = new AbortController();
    try {
      const run = await start(asking, "interrupted");
      const handle = {
        workflowId: run.workflowId,
        result: () => run.result(),
        describe: async () => {
          const described = await run.describe();
          stop.abort();
          return described;
        },
      };
      expect(await followRun(asking, { handle, progress: unknown }, "steps", stop.signal)).toBeNull();
      expect((await run.describe()).status.name).toBe("RUNNING");
      await run.terminate();
    } finally {
      await asking.connection.close();
    }
  });

  it("has no question open when it returns, also while Temporal is away", async () => {
    const proxy = await RedisProxy.open(`redis://${inject("temporalAddress")}`);
    const asking = await connect(proxy.url.slice("redis://".length));
    const stop = new AbortController();
    const run = await start(asking, "away");
    let open = 0;
    let asked = 0;
    const counted = async <T>(question: () => Promise<T>): Promise<T> => {
      open += 1;
      asked += 1;
      try {
        return await question();
      } finally {
        open -= 1;
      }
    };
    const handle = {
      workflowId: run.workflowId,
      result: () => counted(() => run.result()),
      describe: async () => {
        if (asked === 1) await proxy.close();
        const answer = counted(() => run.describe());
        if (asked === 3) stop.abort();
        return answer;
      },
    };
    expect(await followRun(asking, { handle, progress: unknown }, "steps", stop.signal)).toBeNull();
    expect({ open, asked }).toEqual({ open: 0, asked: 3 });
    await asking.connection.close();
    await client.workflow.getHandle(run.workflowId).terminate();
  });

  it("says what ended the run", async () => {
    const asking = await connect();
    try {
      const run = await start(asking, "ended");
      await run.terminate("a test");
      const followed = followRun(asking, { handle: run, progress: unknown }, "steps", new AbortController().signal);
      await expect(followed).rejects.toMatchObject({ code: "RUN_FAILED", message: `${run.workflowId} was terminated` });
    } finally {
      await asking.connection.close();
    }
  });
});

describe("a client of Temporal", () => {
  it("answers a question at once when Temporal is away, and does not repeat it when it was closed", async () => {
    const proxy = await RedisProxy.open(`redis://${inject("temporalAddress")}`);
    const { connection } = await connect(proxy.url.slice("redis://".length));
    await proxy.close();
    const asked = connection.workflowService.describeNamespace({ namespace: "default" });
    const failed = expect(asked).rejects.toThrow("UNAVAILABLE");
    await connection.close();
    await failed;
  });
});

describe("a worker that looks after Temporal", () => {
  it("goes on when Temporal goes away between two questions that it asks at once", async () => {
    const proxy = await RedisProxy.open(`redis://${inject("temporalAddress")}`);
    const ways = {
      temporalAddress: proxy.url.slice("redis://".length),
      temporalNamespace: "default",
      taskQueue: namespace,
    };
    let asked: Promise<unknown> | null = null;
    const failed = await new Promise((resolve) => {
      const stop = lookAfterTemporal(
        { ...ways, searchAttributes: [], schedules: null, logger: pino({ level: "silent" }) },
        {
          everyMs: 10,
          check: async ({ connection }) => {
            await proxy.close();
            asked = connection.workflowService.describeNamespace({ namespace: "default" }).catch((error) => error);
            throw new Error("another question failed");
          },
          ended: (error) => {
            stop();
            resolve(error);
          },
        },
      );
    });
    expect(failed).toMatchObject({ message: "another question failed" });
    expect(await asked).toMatchObject({ message: expect.stringMatching(/UNAVAILABLE|CANCELLED/) });
  });
});

describe("the schedules of an installation", () => {
  const ids = [scheduleId(namespace, "settle", "a"), scheduleId(`${namespace}x`, "settle", "a"), `settle-${namespace}`];
  afterAll(() => Promise.all(ids.map((id) => client.schedule.getHandle(id).delete())));

  it("are not those of another one whose namespace begins alike, or of one without a namespace", async () => {
    for (const id of ids)
      await client.schedule.create({
        scheduleId: id,
        spec: {},
        state: { paused: true },
        action: { type: "startWorkflow", workflowType: "waits", workflowId: `${id}-run`, taskQueue: namespace },
      });
    const found = async (name: string) => {
      const config = { temporalAddress: inject("temporalAddress"), temporalNamespace: "default", namespace: name };
      const { schedules } = await schedulesOf(config);
      return schedules.map(({ schedule }) => schedule).filter((id) => ids.includes(id));
    };
    await expect.poll(() => found(namespace), { timeout: 20_000 }).toEqual([ids[0]]);
    await expect.poll(() => found(""), { timeout: 20_000 }).toEqual([ids[2]]);
  });
});
