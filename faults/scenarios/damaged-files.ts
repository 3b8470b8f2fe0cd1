import { copyFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { flipBit } from "../../test/fixtures/events/flip-bit.ts";
import type { Deployment } from "../deployment/deployment.ts";
import { archivedFiles, newestManifest } from "../deployment/published.ts";
import type { Scenario, World } from "../deployment/scenario.ts";
import { ticks } from "../schemas/ticks.ts";

const DAMAGED = "ARCHIVE_DAMAGED";

/** What happens to a file. */
type Damage = (path: string, world: World) => Promise<void>;

export const parquetFlipped: Scenario = {
  name: "parquet-flipped",
  what: "A bit flips in a published file: every reader of it reports that, and nobody answers with a wrong number.",
  run: (world) => damage(world, "bit flipped", (path, { random }) => flipBit(path, random(10_000) / 10_000, random(8))),
};

export const parquetDeleted: Scenario = {
  name: "parquet-deleted",
  what: "A published file is deleted: every reader of it reports that, and nobody answers without what was in it.",
  run: (world) => damage(world, "file deleted", (path) => rm(path)),
};

/** First a state file, which a rebuild replaces; then an archive file, which is restored from a copy. */
async function damage(world: World, kind: string, how: Damage): Promise<void> {
  const { deployment, until } = world;
  const { oracle, readers, refresher } = deployment;
  await until("every view has state", async () =>
    (await Promise.all(oracle.views.map((view) => newestManifest(deployment, view)))).every(
      (one) => one?.files[0] !== undefined,
    ),
  );
  await refresher.pause();
  readers.tolerate(DAMAGED);
  try {
    await damageState(world, kind, how);
    await damageArchive(world, kind, how);
  } finally {
    refresher.resume();
  }
  await until("every view answers completely", async () =>
    (await Promise.all(oracle.views.map((view) => answerOf(deployment, view)))).every(
      (answer) => answer === "complete",
    ),
  );
  readers.untolerate(DAMAGED);
}

async function damageState(world: World, kind: string, how: Damage): Promise<void> {
  const { deployment, pick, fault, until, wrong } = world;
  const view = pick(deployment.oracle.views as [string, ...string[]]);
  const manifest = await newestManifest(deployment, view);
  const [first, ...others] = manifest?.files ?? [];
  if (first === undefined) throw new Error(`${view} has no state file`);
  fault(`state: ${kind}`);
  await how(inData(deployment, pick([first, ...others]).file), world);
  // No question about a table is so new that a server does not hold its rows.
  if (deployment.oracle.isTable(view)) await restartServers(deployment);
  await until(`${view} says that its state is damaged`, async () => (await answerOf(deployment, view)) === DAMAGED);
  const result = await rebuild(deployment, view);
  if (typeof result === "string" || result.comparedHash !== null)
    wrong(`a rebuild of damaged state: ${JSON.stringify(result)}`);
}

async function restartServers({ fleet }: Deployment): Promise<void> {
  for (const role of fleet.of("serve")) {
    await role.stop();
    await role.start();
  }
}

async function damageArchive(world: World, kind: string, how: Damage): Promise<void> {
  const { deployment, pick, fault, wrong } = world;
  const view = pick(deployment.oracle.views as [string, ...string[]]);
  const manifest = await newestManifest(deployment, view);
  if (manifest === null) throw new Error(`${view} has no version`);
  const [first, ...others] = await archivedFiles(deployment, deployment.topic(ticks.name), manifest);
  if (first === undefined) throw new Error("nothing is archived");
  const path = inData(deployment, pick([first, ...others]));
  // Beside the archive: in it the sweep would take the copy for what a killed archiver left behind.
  const copy = join(deployment.home, "copy.parquet");
  await copyFile(path, copy);
  fault(`archive: ${kind}`);
  await how(path, world);
  const damaged = await rebuild(deployment, view);
  if (damaged !== DAMAGED) wrong(`a rebuild from a damaged archive: ${JSON.stringify(damaged)}`);
  await rename(copy, path);
  const restored = await rebuild(deployment, view);
  if (typeof restored === "string" || restored.equal !== true)
    wrong(`a rebuild from a restored archive: ${JSON.stringify(restored)}`);
}

/** What a rebuild found, or the code of its error. */
async function rebuild({ refresher }: Deployment, view: string): Promise<Readonly<Record<string, unknown>> | string> {
  try {
    return (await refresher.run("rebuildView", "rebuild", view, { view })) as Record<string, unknown>;
  } catch (error) {
    let cause = error as { type?: string; cause?: unknown };
    while (cause.type === undefined && cause.cause !== undefined) cause = cause.cause as typeof cause;
    const inner = cause.cause as { type?: string } | undefined;
    return inner?.type ?? cause.type ?? String(error);
  }
}

/** The question that reads all of a view's state: "complete" or the problem's code, of the API processes in turn. */
async function answerOf({ fleet, oracle }: Deployment, view: string): Promise<string> {
  for (const { url } of fleet.of("serve")) {
    // Each time another interval, so that no cache has the answer.
    const from = Date.UTC(1961, 0, 1) + Math.floor(Math.random() * 1e6) * 60_000;
    const asked = new URLSearchParams({ from: `${from}`, to: `${Date.UTC(2027, 0, 1)}`, every: "1d", limit: "1" });
    const path = oracle.isTable(view) ? `/tables/${view}?limit=100000` : `/views/${view}?${asked}`;
    const response = await fetch(`${url}${path}`);
    const { code, complete } = (await response.json()) as { code?: string; complete?: boolean };
    if (!response.ok || complete !== true) return code ?? "incomplete";
  }
  return "complete";
}

function inData({ home }: Deployment, file: string): string {
  return join(home, "data", file);
}
