import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { Counter, Registry } from "prom-client";
import { afterEach, expect, test } from "vitest";
import { BackgroundProcess } from "../../activities/worker/background-process.ts";
import { FailureTracker } from "../../store/redis/failure-tracker.ts";

/** The process of a worker that does the long work, with a small program in its place. */

const program = fileURLToPath(new URL("../fixtures/servers/background-program.js", import.meta.url));
const logger = pino({ level: "silent" });

let children: ChildProcess[] = [];
let background: BackgroundProcess;
let failures: FailureTracker;

function open(arg = "works", limits: { readonly startLimitMs?: number } = {}): void {
  children = [];
  failures = new FailureTracker(null);
  const start = () => {
    const child = fork(program, [arg], { execArgv: [], serialization: "advanced" });
    children.push(child);
    return child;
  };
  background = new BackgroundProcess({ start, failures, logger, firstWaitMs: 1, ...limits });
}

const ready = () => expect.poll(() => children.at(-1)?.connected === true).toBe(true);

afterEach(async () => {
  await background.close();
  for (const child of children) expect(child.exitCode ?? child.signalCode).not.toBeNull();
});

test("its metrics and the worker's are one text: a label tells them apart, and no value is lost on the way", async () => {
  open();
  await ready();
  const own = new Registry();
  new Counter({ name: "failures_total", help: "failed", labelNames: ["view"], registers: [own] }).inc({
    view: "revenue",
  });
  const text = await background.metrics(own);
  expect(text).toContain('failures_total{view="revenue"} 1\n');
  expect(text).toContain('failures_total{view="revenue",process="background"} 3\n');
  expect(text).toContain('failures_total{view="visits",process="background"} 7\n');
  expect(text).toContain('wait_seconds{process="background"} +Inf\n');
  expect(text).toContain('start_seconds{process="background"} 5\n');
  expect(text.match(/# TYPE failures_total/g)).toHaveLength(1);
});

test("it is started again when it was killed", async () => {
  open();
  await ready();
  const [first] = children;
  first?.kill("SIGKILL");
  await expect.poll(() => children.length).toBe(2);
  await ready();
  expect(await background.metrics(new Registry())).toContain("wait_seconds");
  expect(failures.problems()).toEqual([]);
});

test.each([
  ["ends", "exit code 3"],
  ["ends when it is ready", "exit code 4"],
])("one that %s, each time, is a problem, and the worker's own metrics are there all the same", async (arg, how) => {
  open(arg);
  await expect
    .poll(() => failures.problems())
    .toMatchObject([{ name: "background process", message: `it ended: ${how}` }]);
  const own = new Registry();
  new Counter({ name: "failures_total", help: "failed", registers: [own] }).inc();
  expect(await background.metrics(own)).toContain("failures_total 1");
});

test("one that is never ready is killed, and is a problem", async () => {
  open("hangs", { startLimitMs: 1 });
  await expect.poll(() => failures.problems()).toMatchObject([{ message: "it ended: SIGKILL" }]);
});

test("one that cannot be started is a problem", async () => {
  failures = new FailureTracker(null);
  children = [];
  const start = () => {
    throw new Error("no more processes");
  };
  background = new BackgroundProcess({ start, failures, logger, firstWaitMs: 1 });
  await expect.poll(() => failures.problems()).toMatchObject([{ message: "it ended: no more processes" }]);
});

test("closing ends it, and it is not started again", async () => {
  open();
  await ready();
  const [child] = children as [ChildProcess];
  const exited = once(child, "exit");
  await background.close();
  expect(await exited).toEqual([0, null]);
  expect(children).toHaveLength(1);
});
