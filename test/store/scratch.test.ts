import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, readdir, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ScratchFolder, sweepAbandoned } from "../../store/files/scratch-folder.ts";

/** What killed processes leave in a directory that living ones share. */

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-scratch-"));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

const MINUTE_MS = 60_000;

/** A folder with a file in it, last touched this many minutes ago. */
async function leave(parent: string, name: string, minutes: number): Promise<void> {
  await mkdir(join(parent, name), { recursive: true });
  await writeFile(join(parent, name, "data"), "x");
  const then = new Date(Date.now() - minutes * MINUTE_MS);
  await utimes(join(parent, name), then, then);
}

test("only folders that nobody has touched for a quarter of an hour are deleted, and only those of the kind", async () => {
  await leave(folder, ".spill-dead", 16);
  await leave(folder, ".spill-alive", 14);
  await leave(folder, "archive", 1_000);
  expect(await sweepAbandoned(folder, ".spill-", Date.now())).toEqual([".spill-dead"]);
  expect((await readdir(folder)).sort()).toEqual([".spill-alive", "archive"]);
  expect(await sweepAbandoned(join(folder, "nowhere"), "", Date.now())).toEqual([]);
});

test("a process that starts deletes what DuckDB spilled in one that was killed", async () => {
  await leave(folder, `.spill-${randomUUID()}`, 60);
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 100, directories: [folder] });
  await vi.waitFor(async () => expect(await readdir(folder)).toEqual([]), 120_000);
  pool.close();
});

test("a process keeps its own folder young", async () => {
  vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
  try {
    const scratch = new ScratchFolder(folder, ".spill-");
    const ageMs = async () => Date.now() - (await stat(scratch.path)).mtimeMs;
    await leave(folder, basename(scratch.path), 14);
    expect(await ageMs()).toBeGreaterThan(13 * MINUTE_MS);
    vi.advanceTimersByTime(MINUTE_MS);
    await vi.waitFor(async () => expect(await ageMs()).toBeLessThan(MINUTE_MS), 120_000);
    scratch.release();
  } finally {
    vi.useRealTimers();
  }
});

test("documents that a killed process was writing are deleted from every folder, those of a living one are not", async () => {
  const data = new DataDirectory(folder);
  await data.createExclusively("views/a/manifests/1.json", { a: 1 });
  const unfinished = (name: string, minutes: number) =>
    writeFile(join(folder, name), "{").then(() => {
      const then = new Date(Date.now() - minutes * MINUTE_MS);
      return utimes(join(folder, name), then, then);
    });
  await unfinished(`views/a/manifests/.writing-${randomUUID()}.json`, 61);
  await unfinished(`.writing-${randomUUID()}.tmp`, 6_000);
  await unfinished("views/a/manifests/.writing-alive.json", 59);
  await unfinished("views/a/manifests/2.json", 6_000);
  expect(await data.sweepUnfinished(Date.now())).toBe(2);
  expect((await readdir(join(folder, "views/a/manifests"))).sort()).toEqual([
    ".writing-alive.json",
    "1.json",
    "2.json",
  ]);
});
