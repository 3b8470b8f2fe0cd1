import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { Redis } from "ioredis";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { parse } from "yaml";
import type { Trouble } from "../../serving/common/trouble.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { firing, samplesOf } from "../fixtures/oracles/promql.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

/**
 * Four things that never get on, one of each kind, on real servers: each is a named problem wherever people and
 * programs look, and is gone when it has been mended.
 */

const brokers = inject("kafkaBrokers");
const root = process.cwd();
const admin = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING }).admin();
const redis = new Redis(inject("redisUrl"));

let tideline: Installation;
let folder: string;
let temporal: Connection;
let client: Client;
let mark: string;
let speed: ReturnType<Installation["begin"]> | null = null;

const viewFile = (name: string, stream: string, file: string) => `
import { count } from "../../core/measures/kinds/count.ts";
import { view } from "../../core/definition/view.ts";
import { ${stream} } from "../../schemas/${file}.ts";
export const made = view("${name}", { stream: ${stream}, every: "1 day", measures: { lines: count() } });
`;

beforeAll(async () => {
  folder = join(root, ".tideline", `stuck-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "stands.ts"), viewFile("stands", "orderCompleted", "order-completed"));
  await writeFile(join(folder, "stops.ts"), viewFile("stops", "userActivity", "user-activity"));
  tideline = await Installation.open("stuck", { TIDELINE_VIEWS: folder });
  await admin.connect();
  temporal = await Connection.connect({ address: inject("temporalAddress") });
  client = new Client({ connection: temporal });
  const { views } = await loadDefinitions({ schemas: [join(root, "schemas")], views: [folder] });
  mark = `tl:{${tideline.namespace}/${views.get("stands")?.generation}}:mark`;
});

afterAll(async () => {
  speed?.kill();
  await speed;
  await tideline.close();
  await temporal.close();
  await admin.disconnect();
  redis.disconnect();
  await rm(folder, { recursive: true });
});

const json = async (url: string) => (await (await fetch(url)).json()) as { readonly problems?: readonly Trouble[] };
const health = (variable: string) => `http://127.0.0.1:${tideline.env[variable]}/health`;
const named = (problems: readonly Trouble[] = []) => problems.map(({ kind, name, code }) => `${kind} ${name} ${code}`);
const run = (...args: string[]) => tideline.begin(...args);

const LANE = "lane order-completed UNEXPECTED";
const VIEW = "view stops TOPIC_RECREATED";
const SCHEDULE = "schedule settle-user-activity TOPIC_RECREATED";
const WORKFLOW = "workflow rebuild/stands WORKFLOW_TASK_FAILED";

const LIMIT_MS = 120_000;
const includes =
  (...wanted: string[]) =>
  (found: readonly string[]) =>
    wanted.every((one) => found.includes(one));

function activity(index: number) {
  const user = `u${index % 7}`;
  const value = {
    event_id: `a${index}`,
    user_id: user,
    occurred_at: Date.now(),
    kind: "view",
    page: "/",
    region: "eu",
    device: "phone",
  };
  return { key: user, value: Buffer.from(JSON.stringify(value)) };
}

/** Runs a schedule now, and waits until that run has failed. */
async function failOnce(schedule: string): Promise<void> {
  const query = `TemporalScheduledById = '${tideline.namespace}/${schedule}' AND ExecutionStatus = 'Failed'`;
  const count = async () => (await client.workflow.count(query)).count;
  const before = await count();
  await tideline.run("schedules", "trigger", schedule);
  await until(`${schedule} fails`, count, (now) => now > before, LIMIT_MS);
}

test("a lane, a view, a schedule and a workflow task that fail again and again are named everywhere", {
  timeout: 600_000,
}, async () => {
  await Promise.all([tideline.start("speed"), tideline.start("serve"), tideline.start("worker")]);
  await produce(brokers, tideline.topic("order-completed"), messyOrders(7, 300, Date.now()));
  await produce(
    brokers,
    tideline.topic("user-activity"),
    Array.from({ length: 50 }, (_, index) => activity(index)),
  );
  for (const view of ["stands", "stops"])
    await until(
      `${view} answers`,
      () => tideline.ask(view),
      ({ rows, complete }) => complete && rows.length > 0,
    );
  const whole = await fetch(`${tideline.apiUrl}/views/stands`);
  const etag = whole.headers.get("etag") ?? "";
  expect(etag).not.toBe("");
  expect(await whole.json()).not.toHaveProperty("problems");
  await tideline.run("schedules", "trigger", "settle-user-activity");
  const archive = client.workflow.getHandle(workId(tideline.namespace, "settle", "user-activity"));
  await until(
    "the archive begins",
    () => archive.describe().catch(() => null),
    (found) => found !== null,
  );
  await archive.result();

  // The lane: what it reads of its view is not a hash. The view and the schedule: their topic is another one. The
  // workflow: no worker knows it.
  await tideline.stop("speed");
  await redis.set(mark, "not a hash");
  const topic = tideline.topic("user-activity");
  await admin.deleteTopics({ topics: [topic] });
  await until(
    "the topic is gone",
    () => admin.listTopics(),
    (topics) => !topics.includes(topic),
  );
  await ensureTopics(brokers, [{ name: topic, partitions: 3 }]);
  await client.workflow.start("rebuildOfAnOlderRelease", {
    workflowId: workId(tideline.namespace, "rebuild", "stands"),
    workflowIdConflictPolicy: "TERMINATE_EXISTING",
    taskQueue: taskQueueOf(tideline.namespace),
  });
  // Not started as a role: it is not healthy, and nobody is to wait until it is.
  speed = tideline.begin("speed");
  for (let times = 0; times < 3; times++) await failOnce("settle-user-activity");

  const all = [LANE, VIEW, SCHEDULE, WORKFLOW];
  const told = async (variable: string) => named((await json(health(variable))).problems);
  await until("the speed layer says so", () => told("TIDELINE_SPEED_PORT"), includes(LANE, VIEW), LIMIT_MS);
  await until("the worker says so", () => told("TIDELINE_WORKER_PORT"), includes(SCHEDULE, WORKFLOW), LIMIT_MS);
  await until("the API says so", () => told("TIDELINE_API_PORT"), includes(...all), LIMIT_MS);

  const status = await run("status");
  expect(status.exitCode).toBe(1);
  expect(status.stdout).not.toContain("all healthy");
  expect(status.stdout).toMatch(/! the speed layer fails to read order-completed since .* UNEXPECTED: .*WRONGTYPE/);
  expect(status.stdout).toMatch(/! view stops is stopped since .* TOPIC_RECREATED/);
  expect(status.stdout).toMatch(/! the runs of schedule settle-user-activity fail since .* TOPIC_RECREATED/);
  expect(status.stdout).toMatch(/! rebuild\/stands does not get on since .*rebuildOfAnOlderRelease.*tideline runs end/);

  const doctor = await run("doctor", "--json");
  expect(doctor.exitCode).toBe(1);
  const { findings } = JSON.parse(doctor.stdout) as { findings: { check: string; level: string; todo?: string }[] };
  for (const kind of ["lane", "view", "schedule", "workflow"])
    expect(findings).toContainEqual(
      expect.objectContaining({ check: `failing.${kind}`, level: "problem", todo: expect.stringMatching(/\w/) }),
    );

  const { groups } = parse(await readFile(join(root, "deploy/prometheus/alerts.yml"), "utf8")) as {
    groups: readonly { rules: readonly { alert: string; expr: string }[] }[];
  };
  const rule = groups.flatMap(({ rules }) => rules).find(({ alert }) => alert === "KeepsFailing");
  const scrape = async (variable: string) => (await fetch(health(variable).replace("/health", "/metrics"))).text();
  const fires = async (...variables: string[]) => {
    const scrapes = await Promise.all(variables.map(scrape));
    const found = firing(rule?.expr ?? "", scrapes.flatMap(samplesOf));
    return found.map(({ kind, name, code }) => `${kind} ${name} ${code}`);
  };
  expect(await fires("TIDELINE_SPEED_PORT", "TIDELINE_WORKER_PORT")).toEqual(expect.arrayContaining(all));
  expect(await fires("TIDELINE_API_PORT")).toEqual(expect.arrayContaining(all));

  const stands = await fetch(`${tideline.apiUrl}/views/stands`, { headers: { "if-none-match": etag } });
  expect(stands.status).toBe(200);
  expect(stands.headers.get("etag")).toBeNull();
  expect(named(((await stands.json()) as { problems: Trouble[] }).problems)).toEqual(
    expect.arrayContaining([LANE, WORKFLOW]),
  );
  const stops = await json(`${tideline.apiUrl}/views/stops`);
  expect(named(stops.problems)).toEqual(expect.arrayContaining([VIEW, SCHEDULE]));
  const csv = await fetch(`${tideline.apiUrl}/views/stops?format=csv`);
  expect(csv.headers.get("tideline-problems")).toContain("TOPIC_RECREATED");
  expect(named((await json(`${tideline.apiUrl}/views`)).problems)).toEqual(expect.arrayContaining(all));

  // What is mended is not told any longer, and the others still are.
  await tideline.run("views", "reset", "stands", "--yes");
  const { stdout: runs } = await tideline.run("runs");
  expect(runs).toMatch(/rebuild\/stands .*WORKFLOW_TASK_FAILED/);
  await tideline.run("runs", "end", "rebuild/stands");
  const left = await until(
    "lane and workflow get on",
    () => told("TIDELINE_API_PORT"),
    (found) => !found.includes(LANE) && !found.includes(WORKFLOW),
    LIMIT_MS,
  );
  expect(left).toEqual(expect.arrayContaining([VIEW, SCHEDULE]));
  expect(await fires("TIDELINE_SPEED_PORT", "TIDELINE_WORKER_PORT")).not.toContain(LANE);
});
