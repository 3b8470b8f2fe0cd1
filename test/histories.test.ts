import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { bundleWorkflowCode, Worker } from "@temporalio/worker";
import { DeterminismViolationError } from "@temporalio/workflow";
import { pino } from "pino";
import { beforeAll, describe, expect, it } from "vitest";
import { installRuntime } from "../activities/worker.ts";
import * as workflows from "../workflows/index.ts";

const folder = fileURLToPath(new URL("histories", import.meta.url));
const workflowsPath = fileURLToPath(new URL("../workflows/index.ts", import.meta.url));
const changedPath = fileURLToPath(new URL("histories/changed.ts", import.meta.url));

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

beforeAll(() => installRuntime(pino({ level: "silent" })));

describe("the workflows", () => {
  it("each have a recorded history (`npm run histories` records them)", () => {
    const recorded = new Set(names.map((name) => name.split(".")[0]));
    expect([...recorded].sort()).toEqual(Object.keys(workflows).sort());
  });

  it(
    "replay every recorded history: what runs on an older worker can be taken over",
    async () => {
      const workflowBundle = await bundleWorkflowCode({ workflowsPath });
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
