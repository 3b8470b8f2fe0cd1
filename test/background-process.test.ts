import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { pino } from "pino";
import { Counter, Registry } from "prom-client";
import { afterEach, expect, test } from "vitest";
import { BackgroundProcess } from "../activities/worker/background-process.ts";
import { FailureTracker } from "../store/redis/failure-tracker.ts";

/** The process of a worker that does the long work, with a small program in its place. */

const program = fileURLToPath(new URL("./background-program.js", import.meta.url));
const logger = pino({ level: "silent" });

let children: ChildProcess[] = [];
let background: BackgroundProcess;
let failures: FailureTracker;

function open(...args: string[]): void {
  children = [];
  failures = new FailureTracker(null);
  const start = () => {
    const child = fork(program, args, { execArgv: [], serialization: "advanced" });
    children.push(child);
    return child;
  };
  background = new BackgroundProcess({ start, failures, logger }, 1);
}

const ready = () => expect.poll(() => children.at(-1)?.connected === true).toBe(true);

afterEach(async () => {
  await background.close();
  for (const child of children) expect(child.exitCode ?? child.signalCode).not.toBeNull();
});

test("its metrics and the worker's are one text: counts are added, and no value is lost on the way", async () => {
  open();
  await ready();
  const own = new Registry();
  new Counter({ name: "failures_total", help: "failed", labelNames: ["view"], registers: [own] }).inc({
    view: "revenue",
  });
  const text = await background.metrics(own);
  expect(text).toContain('failures_total{view="revenue"} 4');
  expect(text).toContain('failures_total{view="visits"} 7');
  expect(text).toContain("wait_seconds +Inf");
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

test("one that ends each time is a problem, and the worker's own metrics are there all the same", async () => {
  open("ends");
  await expect.poll(() => failures.problems()).toMatchObject([{ name: "background process", message: /exit code 3/ }]);
  const own = new Registry();
  new Counter({ name: "failures_total", help: "failed", registers: [own] }).inc();
  expect(await background.metrics(own)).toContain("failures_total 1");
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
