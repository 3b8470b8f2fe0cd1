import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Admin } from "@platformatic/kafka";
import { Client, Connection } from "@temporalio/client";
import type { Command } from "commander";
import { execa } from "execa";
import { Redis } from "ioredis";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { createProgram } from "../../cli/tideline.ts";
import { topicName } from "../../core/contract/topic-names.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { ordersOf } from "../../systems/shop/orders/orders.ts";
import { taskQueueOf } from "../../workflows/shared/names.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

const SLOW_MS = 180_000;
const order = ordersOf(11);
const now = Date.now();
const events = Array.from({ length: 1_500 }, (_, index) => order(index, now - index * 1_000));

let tideline: Installation;

beforeAll(async () => {
  tideline = await Installation.open("cli", { TIDELINE_SMTP_URL: "smtp://me:secret@mail.example:25" });
  await mkdir(tideline.home, { recursive: true });
});

afterAll(() => tideline.close());

interface Finding {
  readonly check: string;
  readonly level: string;
  readonly message: string;
}

async function doctor(): Promise<{ healthy: boolean; findings: Finding[]; exitCode: number | undefined }> {
  const { stdout, exitCode } = await tideline.begin("doctor", "--json");
  return { ...(JSON.parse(stdout) as { healthy: boolean; findings: Finding[] }), exitCode };
}

const levels = (findings: readonly Finding[], level: string) =>
  findings.filter((finding) => finding.level === level).map(({ check }) => check);

test("every command's help has a description and an example", async () => {
  const program = await createProgram();
  const lacking: string[] = [];
  const walk = (command: Command, path: string) => {
    let help = "";
    command.configureOutput({ writeOut: (text) => (help += text) }).outputHelp();
    if (command.description() === "" || !/[$|] .*tideline/.test(help)) lacking.push(path);
    for (const one of command.commands) if (one.name() !== "complete") walk(one, `${path} ${one.name()}`);
  };
  walk(program, "tideline");
  expect(lacking).toEqual([]);
  expect(program.commands.length).toBeGreaterThan(15);
});

test("a command whose output nobody reads on ends without a word", async () => {
  const child = spawn(process.execPath, ["cli/tideline.js", "--help"], { stdio: ["ignore", "pipe", "pipe"] });
  child.stdout.destroy();
  let said = "";
  child.stderr.on("data", (text) => (said += text));
  const [code] = await once(child, "close");
  expect({ code, said }).toEqual({ code: 0, said: "" });
});

test("a wrong call is exit code 2, and config shows every setting with passwords masked", async () => {
  const wrong = await Promise.all([tideline.begin("sned"), tideline.begin("watch", "--interval", "soon")]);
  expect(wrong.map(({ exitCode }) => exitCode)).toEqual([2, 2]);
  const { stdout } = await tideline.run("config", "--json");
  const settings = JSON.parse(stdout) as { variable: string; value: string | null; origin: string }[];
  const byName = new Map(settings.map((one) => [one.variable, one]));
  expect(byName.get("TIDELINE_HOME")).toMatchObject({ value: tideline.home, origin: "environment" });
  expect(byName.get("TIDELINE_LOG_LEVEL")).toMatchObject({ value: "info", origin: "default" });
  expect(byName.get("TIDELINE_SMTP_URL")).toMatchObject({ value: "smtp://***@mail.example:25" });
  expect(stdout).not.toContain("secret");
});

test("demo: lists the systems; runs one in a namespace of its own, and leaves nothing of it on the servers", {
  timeout: SLOW_MS,
}, async () => {
  const { stdout: list } = await tideline.run("demo");
  expect(list).toMatch(/^shop {2,}\S/m);
  expect(await tideline.begin("demo", "none")).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("shop") });

  const home = join(tideline.home, "for-demos");
  const demos = join(home, "demo");
  const namespaces = async () => (await readdir(demos)).filter((name) => name.startsWith("demo-"));
  // One that was killed has left a topic.
  const killed = "demo-shop-000000";
  await mkdir(join(demos, killed), { recursive: true });
  await ensureTopics(inject("kafkaBrokers"), [{ name: topicName(killed, "lost"), partitions: 1 }]);
  const args = ["cli/tideline.js", "demo", "shop", "--rate", "20"];
  const demo = execa(process.execPath, args, { env: { ...tideline.env, TIDELINE_HOME: home }, reject: false });
  const ended = demo.then(({ stdout, stderr }) => Promise.reject(new Error(`it has ended: ${stdout}${stderr}`)));
  let said = "";
  demo.stdout?.on("data", (text) => (said += text));
  const started = until(
    "the demo has started",
    async () => said,
    (text) => text.includes("Ctrl+C removes all"),
  );
  await Promise.race([started, ended]);
  const [namespace = ""] = await namespaces();
  expect([await namespaces(), said]).toEqual([
    [expect.stringMatching(/^demo-shop-[0-9a-f]{6}$/)],
    expect.stringContaining(killed),
  ]);
  const api = /TIDELINE_API_PORT='(\d+)'/.exec(said)?.[1];
  const orders = async () => {
    const response = await fetch(`http://127.0.0.1:${api}/views/revenue?every=1d&by=`);
    return ((await response.json()) as Answer).rows?.[0]?.orders ?? 0;
  };
  await until("its shop sells", orders, (count) => Number(count) > 0);
  demo.kill("SIGINT");
  const { exitCode, stderr } = await demo;
  expect([exitCode, stderr]).toEqual([0, ""]);

  expect(await namespaces()).toEqual([]);
  const admin = new Admin({ clientId: "test", bootstrapBrokers: [inject("kafkaBrokers")] });
  const redis = new Redis(inject("redisUrl"));
  const connection = await Connection.connect({ address: inject("temporalAddress") });
  const { schedule, workflow } = new Client({ connection });
  const schedules: string[] = [];
  for await (const { scheduleId } of schedule.list()) schedules.push(scheduleId);
  const runs: string[] = [];
  for await (const { workflowId } of workflow.list({ query: `TaskQueue = "${taskQueueOf(namespace)}"` }))
    runs.push(workflowId);
  const left = [...(await admin.listTopics()), ...(await redis.keys("tl:*")), ...schedules];
  expect([runs, left.filter((name) => name.includes(namespace) || name.includes(killed))]).toEqual([[], []]);
  await Promise.all([admin.close(), connection.close(), redis.quit()]);
});

test("send: an invalid row among the first stops all of it, --skip-invalid leaves it out", {
  timeout: SLOW_MS,
}, async () => {
  const file = join(tideline.home, "orders.ndjson");
  const lines = events.slice(0, 1_200).map((event) => JSON.stringify(event));
  await writeFile(file, [...lines.slice(0, 700), '{"event_id":1}', "", ...lines.slice(700)].join("\n"));
  const stopped = await tideline.begin("send", "order-completed", file);
  expect([stopped.exitCode, stopped.stderr]).toEqual([
    1,
    expect.stringMatching(/row 701, order_id: is missing.*nothing was sent/s),
  ]);
  const topic = tideline.topic("order-completed");
  const sentRecords = async () => [...(await readLog(inject("kafkaBrokers"), topic)).values()].flat();
  expect(await sentRecords()).toEqual([]);

  const sent = await tideline.run("send", "order-completed", file, "--skip-invalid", "--json");
  const log = await readLog(inject("kafkaBrokers"), topic);
  const ends = [...log].filter(([, records]) => records.length > 0).toSorted(([a], [b]) => a - b);
  const last = ends.map(([partition, records]) => `${topic}:${partition}:${records.at(-1)?.offset}`).join(",");
  expect(JSON.parse(sent.stdout)).toMatchObject({ rows: 1_201, valid: 1_200, invalid: 1, sent: 1_200, position: last });
  const records = await sentRecords();
  expect(new Set(records.map(({ value }) => String(value)))).toEqual(new Set(lines));
});

test("send: a CSV's columns become what the contract says", { timeout: SLOW_MS }, async () => {
  const file = join(tideline.home, "orders.csv");
  const rows = events.slice(1_200, 1_203);
  const first = [...Object.keys(rows[0] ?? {})].filter(
    (name) => !Array.isArray((rows[0] as Record<string, unknown>)[name]),
  );
  const cell = (event: Record<string, unknown>, name: string) =>
    name === "completed_at" ? new Date(Number(event[name])).toISOString() : String(event[name] ?? "");
  await writeFile(
    file,
    [
      [...first, "unknown"].join(","),
      ...rows.map((event) => [...first.map((name) => cell(event, name)), "x"].join(",")),
    ].join("\n"),
  );
  const { stdout } = await tideline.run("send", "order-completed", file, "--json");
  expect(JSON.parse(stdout)).toMatchObject({ rows: 3, valid: 3, sent: 3 });
  const all = [...(await readLog(inject("kafkaBrokers"), tideline.topic("order-completed"))).values()].flat();
  const found = all.map(({ value }) => JSON.parse(String(value)) as Record<string, unknown>);
  for (const event of rows) {
    const sent = found.find(({ event_id }) => event_id === event.event_id);
    for (const name of first)
      expect([name, sent?.[name] ?? null]).toEqual([name, (event as Record<string, unknown>)[name] ?? null]);
  }
});

test("doctor names what does not run, then finds it healthy; the other commands show it", {
  timeout: SLOW_MS * 2,
}, async () => {
  const before = await doctor();
  expect(before.exitCode).toBe(1);
  expect(levels(before.findings, "problem")).toEqual(
    expect.arrayContaining(["temporal.worker", "api.connect", "view.version"]),
  );

  await Promise.all([tideline.start("speed"), tideline.start("worker"), tideline.start("serve")]);
  await tideline.run("schedules", "trigger", "settle-order-completed");
  const served = async () => {
    const answer = await fetch(`${tideline.apiUrl}/streams/order-completed/quality`);
    const { spans } = (await answer.json()) as { spans: { records: number }[] };
    return spans.map(({ records }) => records);
  };
  const archived = await until(
    "all is archived",
    served,
    (records) => records.reduce((sum, count) => sum + count, 0) === 1_203,
    SLOW_MS,
  );
  const { stdout: printed } = await tideline.run("streams", "quality", "order-completed", "--json");
  const quality = JSON.parse(printed) as { records: number; score: number }[];
  expect(quality.every(({ score }) => score === 1)).toBe(true);
  expect(quality.map(({ records }) => records)).toEqual(archived);
  const healthy = await until("no problem", doctor, ({ healthy }) => healthy, SLOW_MS);
  expect(healthy.exitCode).toBe(0);

  const late = join(tideline.home, "late.ndjson");
  await writeFile(late, JSON.stringify({ ...events[0], event_id: "late", order_id: "late" }));
  const waited = await tideline.run("send", "order-completed", late, "--wait");
  expect(waited.stdout).toMatch(/revenue.* has all of it/);
  const [, asked = ""] = /^answers with all of it: tideline (.*)$/m.exec(waited.stdout) ?? [];
  const whole = await tideline.run(...asked.split(" "), "--json", "--by", "", "--every", "7d");
  expect(JSON.parse(whole.stdout)).toMatchObject({ complete: true });

  const pause = await tideline.run("schedules", "pause", "settle-order-completed", "--reason", "test");
  expect(pause.stdout).toContain("paused");
  // Temporal's list of schedules follows a moment later.
  const warned = ({ findings }: Awaited<ReturnType<typeof doctor>>) =>
    levels(findings, "warning").includes("schedule.runs");
  await until("the pause is a warning", doctor, warned, SLOW_MS);
  await tideline.run("schedules", "resume", "settle-order-completed");
  const { stdout } = await tideline.run("watch", "revenue", "--every", "7d", "--by", "", "--count", "1");
  expect(JSON.parse(stdout)).toMatchObject({ complete: true });
  const { stdout: views } = await tideline.run("views", "--json");
  expect((JSON.parse(views) as { view: string }[]).map(({ view }) => view)).toContain("revenue");
  const completed = await tideline.run("complete", "--", "query", "rev");
  expect(completed.stdout).toContain("revenue");
});
