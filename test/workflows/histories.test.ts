import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, Worker } from "@temporalio/worker";
import { DeterminismViolationError } from "@temporalio/workflow";
import { beforeAll, describe, expect, it } from "vitest";
import * as workflows from "../../workflows/index.ts";
import { installQuietRuntime } from "../fixtures/servers/temporal-runtime.ts";

const folder = fileURLToPath(new URL("../histories", import.meta.url));
const workflowsPath = fileURLToPath(new URL("../../workflows/index.ts", import.meta.url));
const changedPath = fileURLToPath(new URL("../histories/changed.ts", import.meta.url));

interface Event extends Record<string, unknown> {
  readonly eventId: string;
  readonly eventType: string;
}

/**
 * The history of a report whose archive run has timed out, up to its next step: it asks again what there is to archive.
 */
async function timedOutArchive(): Promise<{ events: Event[] }> {
  const recorded = JSON.parse(await readFile(join(folder, "dailyReport.fresh.json"), "utf8")) as { events: Event[] };
  const index = (what: string) => recorded.events.findIndex((event) => JSON.stringify(event).includes(what));
  const archived = index("EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED");
  const next = index('"name":"pinEdition"');
  const asked = recorded.events.findLastIndex((event) => JSON.stringify(event).includes('"name":"planArchive"'));
  return {
    events: recorded.events.slice(0, next + 1).map((event, at) => {
      const { eventId, eventTime, taskId } = event;
      if (at === archived) {
        const { result: _, ...child } = event.childWorkflowExecutionCompletedEventAttributes as Record<string, unknown>;
        const childWorkflowExecutionTimedOutEventAttributes = { ...child, retryState: "RETRY_STATE_TIMEOUT" };
        const eventType = "EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT";
        return { eventId, eventTime, taskId, eventType, childWorkflowExecutionTimedOutEventAttributes };
      }
      if (at !== next) return event;
      const scheduled = recorded.events[asked] as Event;
      const own = event.activityTaskScheduledEventAttributes as Record<string, unknown>;
      const { activityId, workflowTaskCompletedEventId } = own;
      const planned = scheduled.activityTaskScheduledEventAttributes as Record<string, unknown>;
      const activityTaskScheduledEventAttributes = { ...planned, activityId, workflowTaskCompletedEventId };
      return { ...scheduled, eventId, eventTime, taskId, activityTaskScheduledEventAttributes };
    }),
  };
}

/** Made once, for all replays. */
let bundle: ReturnType<typeof bundleWorkflowCode> | undefined;
const bundled = () => {
  bundle ??= bundleWorkflowCode({ workflowsPath });
  return bundle;
};

/** A malformed history makes a replay hang: the test's own time limit is what ends it. */
const LIMIT_MS = 60_000;

/** `<workflow>.json`, and `<workflow>.<case>.json` where one run does not take every way. */
const names = (await readdir(folder)).filter((name) => name.endsWith(".json")).sort();
const histories = await Promise.all(
  names.map(async (name) => ({
    workflowId: name.replace(/\.json$/, ""),
    history: JSON.parse(await readFile(join(folder, name), "utf8")) as unknown,
  })),
);

beforeAll(() => installQuietRuntime());

describe("the workflows", () => {
  it("each have a recorded history (`npm run histories` records them)", () => {
    const recorded = new Set(names.map((name) => name.split(".")[0]));
    expect([...recorded].sort()).toEqual(Object.keys(workflows).sort());
  });

  it(
    "replay every recorded history: what runs on an older worker can be taken over",
    async () => {
      const workflowBundle = await bundled();
      const failed: string[] = [];
      const seen: string[] = [];
      for await (const { workflowId, error } of Worker.runReplayHistories({ workflowBundle }, histories)) {
        seen.push(workflowId);
        if (error !== undefined) failed.push(`${workflowId}: ${error.message}`);
      }
      expect(failed).toEqual([]);
      expect(seen.sort()).toEqual(histories.map(({ workflowId }) => workflowId).sort());
    },
    LIMIT_MS,
  );

  it(
    "wait for the next archive run when one runs out of its time",
    async () => {
      const workflowBundle = await bundled();
      await Worker.runReplayHistory({ workflowBundle }, await timedOutArchive());
    },
    LIMIT_MS,
  );

  it(
    "do not replay when their steps have changed",
    async () => {
      const archived = histories.find(({ workflowId }) => workflowId === "archiveStream");
      const workflowBundle = await bundleWorkflowCode({ workflowsPath: changedPath });
      await expect(Worker.runReplayHistory({ workflowBundle }, archived?.history)).rejects.toThrow(
        DeterminismViolationError,
      );
    },
    LIMIT_MS,
  );

  it("have histories that say nothing of the machine they were recorded on", () => {
    const text = JSON.stringify(histories);
    expect(text).not.toMatch(/"identity":"(?!recorder")/);
    expect(text).not.toMatch(/\/(?:tmp|home|root|Users)\//);
  });
});
