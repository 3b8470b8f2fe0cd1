import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection } from "@temporalio/client";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { openRedis } from "../../store/redis/redis.ts";
import { settlementStart } from "../../workflows/shared/names.ts";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";
import { copyOf } from "../fixtures/servers/redis-copy.ts";

/**
 * The documented restore, by the commands, of an installation at work: a backup while records arrive and versions are
 * published, more of both, and back again, with a Redis that is ahead of the restored directory, as old as it, and
 * empty. The oracle is a proof: the same rows by plain SQL from the raw log.
 */

const brokers = inject("kafkaBrokers");
const VIEWS = ["revenue", "active-buyers"];
/**
 * A view without end reseeds thousands of times a second; one that attaches does so once, or a few times while others
 * publish.
 */
const FEW_RESEEDS = 10;

let tideline: Installation;
let folder: string;
let backups: string;
let temporal: Connection;
const redis = openRedis(inject("redisUrl"), () => undefined);
const stop = new AbortController();
let arriving: Promise<void>;

beforeAll(async () => {
  folder = join(process.cwd(), ".tideline", `restore-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  for (const view of VIEWS)
    await writeFile(join(folder, `${view}.ts`), `export * from "../../systems/shop/views/${view}.ts";\n`);
  backups = await mkdtemp(join(tmpdir(), "tideline-backups-"));
  tideline = await Installation.open("restore", { TIDELINE_VIEWS: folder });
  temporal = await Connection.connect({ address: inject("temporalAddress") });
  arriving = recordsArrive();
  await Promise.all([
    tideline.start("speed"),
    tideline.start("worker", { args: ["--no-schedules"] }),
    tideline.start("serve"),
  ]);
});

afterAll(async () => {
  stop.abort();
  await arriving;
  await tideline.close();
  await temporal.close();
  redis.disconnect();
  await rm(folder, { recursive: true });
  await rm(backups, { recursive: true });
});

/** Orders with repeats, late and malformed ones, until the end. */
async function recordsArrive(): Promise<void> {
  for (let batch = 1; !stop.signal.aborted; batch++) {
    await produce(brokers, tideline.topic("order-completed"), messyOrders(batch, 20, Date.now()));
    await delay(250, undefined, { signal: stop.signal }).catch(() => undefined);
  }
}

const total = (cut: Readonly<Record<string, string>>) =>
  Object.values(cut).reduce((sum, offset) => sum + Number(offset), 0);

/** Asks until an answer is complete and counts more records than were there when this was called. */
async function complete(view: string): Promise<Answer> {
  const ask = () => tideline.ask(view).catch(() => null);
  const begun = await until(`${view} answers`, ask, (answer) => answer !== null);
  const grown = (answer: Answer | null) =>
    answer?.complete === true && total(answer.position.applied) > total(begun?.position.applied ?? {});
  return (await until(`${view} is complete and grows`, ask, grown)) as Answer;
}

/** Every view is complete, continues, and equals the oracle; and no lane begins again and again. */
async function requireExact(): Promise<Answer[]> {
  const answers: Answer[] = [];
  for (const view of VIEWS) {
    answers.push(await complete(view));
    const proof = await fetch(`${tideline.apiUrl}/proof/${view}`);
    expect(await proof.json()).toMatchObject({ view, equal: true, differences: [] });
  }
  const metrics = await (await fetch(tideline.speedUrl.replace("/health", "/metrics"))).text();
  const reseeds = [...metrics.matchAll(/^tideline_speed_reseeds_total\{.*\} (\d+)$/gm)].map((found) =>
    Number(found[1]),
  );
  expect(Math.max(0, ...reseeds)).toBeLessThan(FEW_RESEEDS);
  return answers;
}

async function restore(): Promise<void> {
  await tideline.run("restore", backups, "--replace");
}

const versions = (answers: readonly Answer[]) => answers.map(({ position }) => position.version);

test("after a restore with Redis ahead, as old, or empty every view is complete, grows, and equals the oracle", async () => {
  await tideline.refresh(...VIEWS);
  const { stdout } = await tideline.run("backup", backups, "--json");
  const { point } = JSON.parse(stdout) as { point: string };
  const bringRedisBack = await copyOf(redis, tideline.namespace);
  const before = await Promise.all(VIEWS.map((view) => tideline.ask(view)));
  for (let round = 0; round < 2; round++) await tideline.refresh(...VIEWS);
  const ahead = await Promise.all(VIEWS.map((view) => tideline.ask(view)));
  for (const [index, version] of versions(ahead).entries())
    expect(version).toBeGreaterThan(before[index]?.position.version ?? 0);

  const refused = await tideline.begin("restore", backups, "--replace");
  expect(refused.exitCode).toBe(1);
  expect(refused.stderr).toMatch(/^error DIRECTORY_IN_USE: roles run on .*: (speed|worker|serve) /m);

  // A settlement is under way when the roles are stopped: its steps continue with another directory.
  const { workflow } = new Client({ connection: temporal });
  const underWay = await workflow.start(
    "settleStream",
    settlementStart(tideline.namespace, "order-completed", VIEWS.slice(0, 1)),
  );
  await tideline.stop("worker", "serve", "speed");
  await restore();
  await tideline.restart("speed", "serve", "worker");
  await underWay.result().catch(() => undefined);
  await requireExact();
  await tideline.refresh(...VIEWS);
  const again = await requireExact();
  for (const [index, version] of versions(again).entries())
    expect(version).toBeGreaterThan(before[index]?.batchVersion ?? 0);

  for (const redisIs of ["as old", "empty"]) {
    await tideline.stop("worker", "serve", "speed");
    await restore();
    await (redisIs === "empty" ? tideline.emptyRedis() : bringRedisBack());
    await tideline.restart("speed", "serve");
    expect(versions(await requireExact())).toEqual(versions(before));
  }
  const kept = (await readdir(tideline.home)).filter((name) => name.startsWith("data"));
  expect(kept.filter((name) => name.startsWith("data.replaced-"))).toHaveLength(3);
  const { stdout: list } = await tideline.run("restore", backups, "--list");
  expect(list).toContain(point);
  await tideline.run("restore", backups, "--check");
}, 600_000);
