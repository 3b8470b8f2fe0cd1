import { describe, expect, test } from "vitest";
import { problemsOf } from "../../../cli/status/problems.ts";
import { TidelineError } from "../../../core/errors.ts";
import type { Failure } from "../../../core/failures.ts";
import type { Lane } from "../../../speed-layer/lane.ts";
import { LaneWatch } from "../../../speed-layer/lane-watch.ts";
import type { ViewTrack } from "../../../speed-layer/view-track.ts";
import { ViewWatch } from "../../../speed-layer/view-watch.ts";
import { FailureTracker } from "../../../store/redis/failure-tracker.ts";
import { Failures } from "../../../store/redis/failures.ts";
import { openRedis } from "../../../store/redis/redis.ts";

/** A lane as its watch sees it, with one view. */
function lane() {
  const track = { name: "revenue", generation: "revenue.1", phase: "live", error: null as TidelineError | null };
  const seen = { confirmed: 0, tracks: new Set([track]) };
  const failures = new FailureTracker(null);
  const views = new ViewWatch(failures, ({ name }: ViewTrack) => name);
  let nowMs = 0;
  const watch = new LaneWatch({ failures, name: "orders", views, nowMs: () => nowMs });
  const asLane = seen as unknown as Lane;
  return {
    track,
    failures,
    problems: () => failures.problems().map(({ kind, name, code }) => `${kind} ${name} ${code}`),
    /** A step that sent a batch to Redis. */
    sent: () => watch.returned(asLane, 10),
    idle: () => watch.returned(asLane, 0),
    fails: (error: Error) => watch.interrupted(asLane, error),
    confirm: () => {
      seen.confirmed += 1;
    },
    hangs: (durationMs: number) => {
      watch.begins();
      nowMs += durationMs;
      watch.checkStalled(asLane);
    },
    stop: (error: TidelineError) => {
      track.phase = "stopped";
      track.error = error;
    },
    attach: () => {
      track.phase = "live";
      track.error = null;
    },
  };
}

const LANE = "lane orders UNEXPECTED";
const broken = () => new Error("WRONGTYPE");

describe("a lane", () => {
  test("whose steps return between failures, while Redis takes nothing, fails again and again", () => {
    const one = lane();
    for (let times = 0; times < 3; times++) {
      // What this step sends fails in the next one.
      expect(one.sent()).toBe(times === 0);
      one.fails(broken());
    }
    expect(one.problems()).toEqual([LANE]);
    expect(one.failures.problems()).toMatchObject([{ views: ["revenue.1"], failures: 3 }]);
  });

  test("that gets a batch through, or has nothing left to do, is well again", () => {
    for (const wellAgain of ["confirm", "idle"] as const) {
      const one = lane();
      for (let times = 0; times < 3; times++) one.fails(broken());
      expect(one.sent()).toBe(false);
      expect(one.problems()).toEqual([LANE]);
      one[wellAgain]();
      one.sent();
      expect(one.problems()).toEqual([]);
    }
  });

  test("whose step does not end is a problem after two minutes, and no longer when it ends", () => {
    const one = lane();
    one.hangs(119_000);
    expect(one.problems()).toEqual([]);
    one.hangs(120_000);
    expect(one.problems()).toEqual(["lane orders NOT_READY"]);
    one.idle();
    expect(one.problems()).toEqual([]);
  });
});

describe("a stopped view", () => {
  const error = () => new TidelineError("VIEW_TOO_LARGE", "too many cells", "Fewer dimensions.");
  const VIEW = "view revenue VIEW_TOO_LARGE";

  test("is told at once, with its own hint", () => {
    const one = lane();
    one.stop(error());
    one.idle();
    expect(one.failures.problems()).toMatchObject([{ kind: "view", name: "revenue", hint: "Fewer dimensions." }]);
  });

  test("that attaches, and is stopped by the next batch again, is told all the time", () => {
    const one = lane();
    for (let times = 0; times < 5; times++) {
      one.stop(error());
      one.confirm();
      one.sent();
      expect(one.problems()).toEqual([VIEW]);
      one.attach();
      // Redis has taken a batch of the views beside it; its own is on its way.
      one.confirm();
      one.sent();
      expect(one.problems()).toEqual([VIEW]);
    }
    one.confirm();
    one.sent();
    expect(one.problems()).toEqual([]);
  });
});

test("what a process has met is told by itself while Redis is away", async () => {
  const redis = openRedis("redis://127.0.0.1:1", () => {});
  const tracker = new FailureTracker(new Failures(redis, "nowhere"));
  for (let times = 0; times < 3; times++) tracker.failed({ kind: "lane", name: "orders", views: [] }, broken());
  expect(tracker.problems()).toMatchObject([{ name: "orders", code: "UNEXPECTED" }]);
  await tracker.close();
  redis.disconnect();
});

test("a process ends although Redis takes its last write and never answers", async () => {
  const silent = { write: () => new Promise(() => {}) } as unknown as Failures;
  const tracker = new FailureTracker(silent);
  for (let times = 0; times < 3; times++) tracker.failed({ kind: "lane", name: "orders", views: [] }, broken());
  await tracker.close();
  expect(tracker.problems()).toEqual([]);
});

test("what was looked up is replaced by the next look, and what was counted stays", () => {
  const tracker = new FailureTracker(null);
  const found = (name: string): Failure => ({
    kind: "schedule",
    name,
    views: [],
    code: "TIMED_OUT",
    message: "late",
    hint: "Look.",
    failures: 3,
    sinceMs: 0,
    atMs: 0,
  });
  for (let times = 0; times < 3; times++) tracker.failed({ kind: "workflow", name: "temporal", views: [] }, broken());
  const names = () => tracker.problems().map(({ name }) => name);
  tracker.takeOver([found("archive-a"), found("archive-b")]);
  expect(names()).toEqual(["archive-a", "archive-b", "temporal"]);
  tracker.takeOver([found("archive-b")]);
  expect(names()).toEqual(["archive-b", "temporal"]);
  tracker.succeeded({ kind: "workflow", name: "temporal" });
  tracker.takeOver([]);
  expect(names()).toEqual([]);
});

test("status is not healthy while something fails again and again, or no worker asks for work", () => {
  const well = { servers: [], streams: [], views: [], schedules: [], failures: [], workers: 1 };
  const one = lane();
  for (let times = 0; times < 3; times++) one.fails(broken());
  expect(problemsOf(well)).toEqual([]);
  const failures = one.failures.problems();
  expect(problemsOf({ ...well, failures })).toEqual([
    expect.stringMatching(
      /^the speed layer fails to read orders since .*, 3 times in a row: UNEXPECTED: WRONGTYPE\. See /,
    ),
  ]);
  expect(problemsOf({ ...well, workers: 0 })).toHaveLength(1);
  expect(problemsOf({ ...well, workers: null })).toEqual([]);
});
