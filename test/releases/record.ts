import { cp, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { execa } from "execa";
import { Redis } from "ioredis";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { produce } from "../fixtures/events/produce.ts";
import { broken, DEFINITIONS, packHome, READINGS, type Release, releaseFiles } from "./release.ts";

/**
 * Runs a release on a small shop, some flights and a user's own stream, ends it in the middle of its work, and keeps
 * everything that it had stored, for the test that the next release opens it: `npm run release-fixture -- <commit>`. To
 * be done for each release, in the commit after it. A folder behind the commit is its program where that is checked out
 * already, with its packages; a file of it is changed.
 */

const [commit, installed] = process.argv.slice(2);
if (commit === undefined) throw new Error("which release? npm run release-fixture -- <commit>");
const say = (line: string) => process.stdout.write(`${new Date().toISOString().slice(11, 19)} ${line}\n`);

const { stdout: sha } = await execa("git", ["rev-parse", "--short=7", `${commit}^{commit}`]);
const place = await mkdtemp(join(tmpdir(), "tideline-release-"));
const [program, home, own] = [installed ?? join(place, "program"), join(place, "home"), join(place, "definitions")];
const ports = await freePorts();
const roles = new Map<string, ProcessHandle>();
try {
  await record();
} finally {
  for (const role of roles.values()) await role.stop();
  if (installed === undefined) await execa("git", ["worktree", "remove", "--force", program], { reject: false });
  await rm(place, { recursive: true, force: true });
}

async function record(): Promise<void> {
  say(`release ${sha}: its program`);
  if (installed === undefined) {
    await execa("git", ["worktree", "add", "--detach", program, sha]);
    await execa("npm", ["ci", "--no-audit", "--no-fund"], { cwd: program });
  }
  await liftLimits();
  await cp(DEFINITIONS, own, { recursive: true });
  await define("weather.ts", "1 hour", "1 day");
  await define("gusts.ts", "1 day", "1 hour");
  const { startServers } = (await import(
    join(program, "stack/servers/servers.ts")
  )) as typeof import("../../stack/servers/servers.ts");
  const servers = await startServers({ home, ports, report: (server, line) => say(`${server}: ${line}`) });
  const connection = await Connection.connect({ address: servers.temporal.address });
  try {
    const client = new Client({ connection, identity: "recorder" });
    const { brokers } = servers.kafka;
    await tideline("init");
    await Promise.all([start("speed"), start("worker"), start("serve")]);
    await work(client, brokers);
    const release = await interrupted(client, servers.kafka);
    for (const role of ["serve", "speed"]) await roles.get(role)?.stop();
    await rewritten(servers.redis.url);
    await servers.stop();
    const { archive, description } = releaseFiles(sha);
    await writeFile(description, `${JSON.stringify(release, null, 2)}\n`);
    await packHome(home, archive);
    say(`${archive}: ${((await stat(archive)).size / 1e6).toFixed(1)} MB`);
  } finally {
    await connection.close();
    await servers.stop();
  }
}

/**
 * Lets runs of the release last for months. As they are, Temporal would end those under way a few hours after the
 * recording, and the next release would meet none.
 */
async function liftLimits(): Promise<void> {
  const file = join(program, "workflows/shared/names.ts");
  const text = await readFile(file, "utf8");
  const limit = "TIMEOUT_HOURS[kind] * HOUR_MS";
  if (!text.includes(limit)) throw new Error(`${file} says otherwise how long runs may last`);
  await writeFile(file, text.replace(limit, `${limit} * 1_000`));
}

/** Puts another grain into a definition of the user's: what it said before, or says next. */
async function define(file: string, from: string, to: string): Promise<void> {
  const name = join(own, "views", file);
  const text = await readFile(name, "utf8");
  if (!text.includes(`every: "${from}"`)) throw new Error(`${file} has no grain of ${from}`);
  await writeFile(name, text.replace(`every: "${from}"`, `every: "${to}"`));
}

function environment(): Record<string, string> {
  return {
    TIDELINE_HOME: home,
    KAFKA_BROKERS: `127.0.0.1:${ports.kafka}`,
    REDIS_URL: `redis://127.0.0.1:${ports.redis}`,
    TEMPORAL_ADDRESS: `127.0.0.1:${ports.temporal}`,
    TIDELINE_API_PORT: `${ports.api}`,
    TIDELINE_API_URL: `http://127.0.0.1:${ports.api}`,
    TIDELINE_SPEED_PORT: `${ports.speed}`,
    TIDELINE_WORKER_PORT: `${ports.worker}`,
    TIDELINE_SCHEMAS: [join(program, "schemas"), join(own, "schemas")].join(),
    TIDELINE_VIEWS: [join(program, "systems", "shop", "views"), join(own, "views")].join(),
  };
}

function command(): [string, string] {
  return [process.execPath, join(program, "cli", "tideline.js")];
}

/** Runs a command of the release to its end. */
async function tideline(...args: string[]): Promise<void> {
  say(`tideline ${args.join(" ")}`);
  const [node, script] = command();
  await execa(node, [script, ...args], { env: environment() });
}

/** Starts a role of the release, or starts it again. */
async function start(role: "speed" | "worker" | "serve"): Promise<void> {
  const { roleProcess } = (await import(join(program, "stack/role.ts"))) as typeof import("../../stack/role.ts");
  await roles.get(role)?.stop();
  const port = { speed: ports.speed, worker: ports.worker, serve: ports.api }[role];
  const healthUrl = `http://127.0.0.1:${port}/health`;
  const handle = roleProcess(
    { name: role, title: role, args: [role], healthUrl },
    { home, env: environment(), tideline: command() },
  );
  roles.set(role, handle);
  await handle.start();
}

/**
 * What an installation has behind it: several versions, dead letters, a backfill, a rebuild, a report, a view that was
 * changed.
 */
async function work(client: Client, brokers: string): Promise<void> {
  const shop = ["--rate", "20", "--duplicates", "2%", "--late", "5%", "--malformed", "1%", "--avro", "50%"];
  const yesterday = new Date(Date.now() - 40 * 3_600_000).toISOString().replace(/\.\d+/, "");
  await tideline("simulate", "shop", ...shop, "--seed", "1", "--from", yesterday, "--count", "300");
  await tideline("replay", "flights", "--limit", "3000");
  await produce(brokers, "readings", READINGS.slice(0, 400));
  await tideline("settle");
  await define("weather.ts", "1 day", "1 hour");
  await Promise.all([start("speed"), start("worker"), start("serve")]);
  await run(client, "adoptView", "adopt/weather", { view: "weather" });
  await tideline("simulate", "shop", ...shop, "--seed", "2", "--count", "40");
  await produce(brokers, "readings", READINGS.slice(400, 700));
  await produce(brokers, "readings", broken(10));
  await tideline("settle", "weather", "revenue", "conversion");
  await tideline("backfill", "flights-by-origin", "--from", "2001-01-01", "--to", "2001-01-01");
  await tideline("rebuild", "top-products");
  await tideline("report", "--date", new Date(Date.now() - 86_400_000).toISOString().slice(0, 10));
  await define("gusts.ts", "1 hour", "1 day");
  await start("worker");
  // Live state that no version has.
  await tideline("simulate", "shop", ...shop, "--seed", "3", "--count", "40");
  await produce(brokers, "readings", READINGS.slice(700));
}

async function run(client: Client, workflow: string, workflowId: string, input: object): Promise<void> {
  say(workflowId);
  await client.workflow.execute(workflow, {
    workflowId,
    taskQueue: "tideline",
    args: [input],
    workflowIdConflictPolicy: "USE_EXISTING",
  });
}

/** Ends the worker, as a crash would, while runs of each kind are under way: what they wait for does not answer. */
async function interrupted(client: Client, kafka: ProcessHandle): Promise<Release> {
  const begin = async (type: string, workflowId: string, input: object) => {
    const options = {
      workflowId,
      taskQueue: "tideline",
      args: [input],
      workflowIdConflictPolicy: "USE_EXISTING",
    } as const;
    const { firstExecutionRunId } = await client.workflow.start(type, options);
    return { type, workflowId, runId: firstExecutionRunId };
  };
  const runs: Release["runs"][number][] = [];
  const day = new Date().toISOString().slice(0, 10);
  const paused = "retention-flights";
  const generation = await servedGeneration("revenue");
  await client.schedule.getHandle(paused).pause("paused before the upgrade");
  runs.push(await begin("adoptView", "adopt/gusts", { view: "gusts" }));
  await reached(client, runs, 25);
  await roles.get("serve")?.kill("SIGSTOP");
  await kafka.kill("SIGSTOP");
  for (const [type, workflowId, input] of [
    ["settleStream", "settle/order-completed", { stream: "order-completed" }],
    ["archiveStream", "archive/readings", { stream: "readings" }],
    ["scheduledRun", "retention-user-activity-by-hand", { kind: "retention", target: "user-activity", namespace: "" }],
    ["guardRetention", "retention/readings", { stream: "readings" }],
    ["dailyReport", `report/daily/${day}`, { date: day, fresh: true, deliver: false }],
    ["deliverReport", `delivery/daily/${day}`, { date: day, atMs: Date.now() + 120_000 }],
    ["proveViews", "prove/views", { views: ["revenue", "weather"] }],
  ] as const)
    runs.push(await begin(type, workflowId, input));
  await reached(client, runs, 5);
  const days = { view: "flight-delays", from: "2001-01-01", to: "2001-01-31" };
  runs.push(await begin("backfillView", "backfill/flight-delays/2001-01-01..2001-01-31", days));
  runs.push(await begin("rebuildView", "rebuild/weather", { view: "weather" }));
  await reached(client, runs, 5, 1);
  await roles.get("worker")?.kill("SIGKILL");
  // These have not taken a step yet.
  runs.push(await begin("compactArchive", "compact-archive/flights", { stream: "flights" }));
  const merged = { stream: "order-completed", views: [{ view: "revenue", generation }] };
  runs.push(await begin("compactViews", "compact/order-completed", merged));
  runs.push(await begin("retireGenerations", "retire/generations", {}));
  await kafka.kill("SIGCONT");
  await roles.get("serve")?.kill("SIGCONT");
  const under: Release["runs"][number][] = [];
  for (const one of runs) {
    const { status, historyLength } = await client.workflow.getHandle(one.workflowId, one.runId).describe();
    say(`${one.workflowId}: ${status.name} after ${historyLength} events`);
    if (status.name === "RUNNING") under.push(one);
  }
  const schedules: string[] = [];
  for await (const { scheduleId } of client.schedule.list()) schedules.push(scheduleId);
  return { release: sha, runs: under, schedules: schedules.sort(), paused };
}

/** The name of the generation that answers for a view. */
async function servedGeneration(view: string): Promise<string> {
  const response = await fetch(`http://127.0.0.1:${ports.api}/views/${view}?limit=1`);
  return ((await response.json()) as { position: { generation: string } }).position.generation;
}

/** Waits until each of these runs has this many events behind it, or has ended. */
async function reached(
  client: Client,
  runs: readonly { workflowId: string; runId: string }[],
  events: number,
  everyMs = 50,
) {
  for (const { workflowId, runId } of runs)
    for (;;) {
      const { status, historyLength } = await client.workflow.getHandle(workflowId, runId).describe();
      if (status.name !== "RUNNING" || historyLength >= events) break;
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
}

/** Redis' file with each key once. */
async function rewritten(url: string): Promise<void> {
  const redis = new Redis(url);
  await redis.bgrewriteaof();
  while (/aof_rewrite_(in_progress|scheduled):1/.test(await redis.info("persistence")))
    await new Promise((resolve) => setTimeout(resolve, 100));
  redis.disconnect();
}
