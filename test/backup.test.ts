import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { z } from "zod";
import { sweepStates } from "../batch-layer/publish.ts";
import { ANSWER_LIMITS } from "../core/budget.ts";
import type { ArchiveEntry, Manifest, StateFile } from "../core/documents.ts";
import { EMPTY_LEDGER } from "../core/ledger.ts";
import { position } from "../core/position.ts";
import { BatchStates } from "../serving/batch-states.ts";
import { DuckQueue } from "../serving/duck-queue.ts";
import { Archive } from "../store/archive.ts";
import { backUp } from "../store/backup/back-up.ts";
import { BackupFolder } from "../store/backup/backup-folder.ts";
import { checkPoints, restore, restoreFile } from "../store/backup/restore.ts";
import { DuckPool } from "../store/duck.ts";
import { DataDirectory } from "../store/files.ts";
import { Manifests } from "../store/manifests.ts";
import { announceRole, runningRoles } from "../store/running-roles.ts";
import { entry } from "./archived-log.ts";
import { flipBit } from "./flip-bit.ts";

/** Backups of a data directory whose Parquet files are a few bytes: what they hold is of no matter here. */

let home: string;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-backup-"));
});
afterAll(() => rm(home, { recursive: true }));

const GENERATION = "revenue.0123456789ab";
const TOPIC = "orders";
const NEVER = new AbortController().signal;

/** An installation that archives, publishes and sweeps as the batch layer does. */
class Worker {
  readonly data: DataDirectory;
  readonly manifests: Manifests;
  readonly archive: Archive;
  #records = 0;

  private constructor(data: DataDirectory) {
    this.data = data;
    this.manifests = new Manifests(data);
    this.archive = new Archive(data);
  }

  static async open(data: DataDirectory): Promise<Worker> {
    const worker = new Worker(data);
    await data.createExclusively(join("serving", "revenue", "000000001.json"), { generation: GENERATION });
    await data.createExclusively(join("views", GENERATION, "definition.json"), { view: "revenue" });
    await data.createExclusively(join("streams", "orders", "1.json"), { name: "orders" });
    await data.replace(join("reports", "daily", "2026-01-01", "summary.json"), "{}");
    await worker.archive.begin(TOPIC, "topic-1", 0, position(0));
    await worker.manifests.genesis(GENERATION, new Map([[0, position(0)]]), "topic-1", "test");
    return worker;
  }

  async #file(folder: string, prefix: string): Promise<{ file: string; checksum: string; sizeBytes: number }> {
    const file = await this.data.attempt(folder, prefix, "parquet");
    await writeFile(this.data.path(file), `${file} ${"x".repeat(100)}`);
    return { file, ...(await this.data.settle(file)) };
  }

  /**
   * Archives ten more offsets and publishes a version of which every second one has none of the files of the one
   * before.
   */
  async publish(): Promise<Manifest> {
    const from = this.#records;
    this.#records += 10;
    const archived: ArchiveEntry = {
      ...entry(from, this.#records, 10),
      ...(await this.#file(this.archive.fileFolder(TOPIC, 0), String(from).padStart(19, "0"))),
    };
    await this.archive.create(TOPIC, 0, archived);
    const newest = (await this.manifests.newest(GENERATION)) as Manifest;
    const version = newest.version + 1;
    const written = await this.#file(this.manifests.stateFolder(GENERATION), String(version).padStart(9, "0"));
    const state: StateFile = { ...written, rows: 1 };
    const manifest: Manifest = {
      ...newest,
      version,
      base: newest.cut,
      cut: { 0: String(this.#records) },
      files: version % 2 === 0 ? [state] : [...newest.files, state],
      ledger: EMPTY_LEDGER,
    };
    expect(await this.manifests.create(manifest)).toBe(true);
    await sweepStates({ ...this, log: null, pool: null, schemas: null } as never, GENERATION);
    return manifest;
  }
}

let directories = 0;
async function place() {
  const here = join(home, String(++directories));
  const data = new DataDirectory(join(here, "data"));
  return { here, data, worker: await Worker.open(data), folder: new BackupFolder(join(here, "backup")) };
}

/** The names and hashes of all files, but for hidden ones. */
async function contents(root: string): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  for (const one of await readdir(root, { recursive: true, withFileTypes: true })) {
    const path = join(one.parentPath, one.name).slice(root.length + 1);
    if (one.isFile() && !/(^|\/)\./.test(path))
      found[path] = createHash("sha256")
        .update(await readFile(join(root, path)))
        .digest("hex");
  }
  return found;
}

/**
 * What a restored directory must be: every named file there and whole, and an archive that reaches at least as far as
 * the version.
 */
async function requireWhole(root: string): Promise<Manifest> {
  const data = new DataDirectory(root);
  const newest = (await new Manifests(data).newest(GENERATION)) as Manifest;
  await data.requireIntact(newest.files);
  const entries = await new Archive(data).entries(TOPIC, "topic-1", 0);
  await data.requireIntact(entries);
  expect(BigInt(entries.at(-1)?.to ?? 0)).toBeGreaterThanOrEqual(BigInt(newest.cut[0] ?? 0));
  return newest;
}

let clock = Date.parse("2026-01-01T00:00:00Z");
function options(signal = NEVER) {
  clock += 60_000;
  return { nowMs: clock, signal };
}

test("a point is restored to the byte, and a second backup copies only what is new", async () => {
  const { here, data, worker, folder } = await place();
  for (let version = 0; version < 3; version++) await worker.publish();
  await data.createExclusively(join("views", GENERATION, "rebuilds", "run", "part.json"), {});
  const first = await backUp(data, folder, options());
  expect(first.newFiles).toBe(first.point.files.length);
  const held = await contents(data.root);
  await worker.publish();
  const second = await backUp(data, folder, options());
  // An entry and its file, a manifest and its file.
  expect(second.newFiles).toBe(4);
  const again = await backUp(data, folder, options());
  expect(again.newFiles).toBe(0);
  expect(await folder.names()).toEqual([first, second, again].map(({ point }) => point.name));

  const root = join(here, "elsewhere", "data");
  await restore(folder, first.point, root, { ...options(), replace: false });
  const restored = await contents(root);
  expect(restored).toEqual(Object.fromEntries(Object.keys(restored).map((path) => [path, held[path]])));
  // Of earlier versions nothing is kept but the genesis; of runs under way nothing at all.
  const missing = Object.keys(held).filter((path) => !(path in restored));
  expect(missing.every((path) => /manifests\/00000000[12]|states\/|rebuilds\//.test(path))).toBe(true);
  expect((await requireWhole(root)).version).toBe(3);
  // The hold is gone, and the directory is as it was.
  expect((await readdir(data.root)).filter((name) => name.startsWith(".backup"))).toEqual([]);
});

test("a backup is whole although each version that it reads is swept before it can be copied", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  let passed = 0;
  /** Somebody publishes twice, which takes all files of a version, right after it was read as the newest. */
  class Hurried extends DataDirectory {
    override async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
      const found = await super.read(name, schema);
      if (found === null && name.includes("/manifests/") && passed < 5) {
        passed += 1;
        for (let version = 0; version < 3; version++) await worker.publish();
      }
      return found;
    }
  }
  const { point } = await backUp(new Hurried(data.root), folder, options());
  expect(passed).toBe(5);
  const root = join(here, "restored");
  await restore(folder, point, root, { ...options(), replace: false });
  expect((await requireWhole(root)).version).toBe(16);
});

test("backups of an installation at work are whole", async () => {
  const { here, data, worker, folder } = await place();
  const stop = new AbortController();
  const atWork = (async () => {
    while (!stop.signal.aborted) await worker.publish();
  })();
  try {
    for (let backup = 0; backup < 3; backup++) {
      const { point } = await backUp(data, folder, options());
      const root = join(here, `restored-${backup}`);
      await restore(folder, point, root, { ...options(), replace: false });
      await requireWhole(root);
    }
  } finally {
    stop.abort();
    await atWork;
  }
});

test("a file that is missing from the data directory, or not what was published, ends a backup without a point", async () => {
  const { data, worker, folder } = await place();
  const { files } = await worker.publish();
  const name = files[0]?.file ?? "";
  await flipBit(data.path(name));
  await expect(backUp(data, folder, options())).rejects.toMatchObject({ code: "ARCHIVE_DAMAGED" });
  await data.remove(name);
  await expect(backUp(data, folder, options())).rejects.toThrow(`${name} is missing from the data directory`);
  expect(await folder.names()).toEqual([]);
});

test("deleting old points deletes only what no remaining point names", async () => {
  const { here, data, worker, folder } = await place();
  const names: string[] = [];
  for (let backup = 0; backup < 4; backup++) {
    await worker.publish();
    names.push((await backUp(data, folder, options())).point.name);
  }
  const deleted = await folder.keep(2, "");
  expect(deleted.points).toEqual(names.slice(0, 2));
  expect(deleted.files).toBeGreaterThan(0);
  expect(await folder.names()).toEqual(names.slice(2));
  const points = await Promise.all(names.slice(2).map((name) => folder.point(name)));
  const check = await checkPoints(folder, points, { signal: NEVER });
  expect(check.wrong).toEqual([]);
  expect(await contents(join(folder.root, "files"))).toSatisfy(
    (held: object) => Object.keys(held).length === check.files,
  );
  for (const [index, point] of points.entries()) {
    const root = join(here, `kept-${index}`);
    await restore(folder, point, root, { ...options(), replace: false });
    expect((await requireWhole(root)).version).toBe(3 + index);
  }
});

test("an interrupted backup leaves no point, and the next one goes on with what was copied", async () => {
  const { data, worker, folder } = await place();
  for (let version = 0; version < 4; version++) await worker.publish();
  const stop = new AbortController();
  const onProgress = (done: number) => {
    if (done === 5) stop.abort();
  };
  await expect(backUp(data, folder, { ...options(stop.signal), onProgress })).rejects.toThrow("abort");
  expect(await folder.names()).toEqual([]);
  expect((await readdir(data.root)).filter((name) => name.startsWith(".backup"))).toEqual([]);
  const { point, newFiles } = await backUp(data, folder, options());
  expect(newFiles).toBeLessThan(point.files.length);
  expect((await checkPoints(folder, [point], { signal: NEVER })).wrong).toEqual([]);
});

test("nothing changes when a file of the backup is damaged or its index was changed; a check names it", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  await worker.publish();
  const held = await contents(data.root);
  const [broken, gone] = point.files.filter(({ path }) => path.endsWith(".parquet"));
  await flipBit(folder.path(broken?.sha256 ?? ""));
  await rm(folder.path(gone?.sha256 ?? ""));
  const { wrong } = await checkPoints(folder, [point], { signal: NEVER });
  expect(wrong).toEqual([broken, gone].map((file) => `${file?.path} of ${point.name}`).sort());
  await expect(restore(folder, point, data.root, { ...options(), replace: true })).rejects.toMatchObject({
    code: "BACKUP_DAMAGED",
  });
  expect(await contents(data.root)).toEqual(held);
  const index = join(folder.root, "points", `${point.name}.json`);
  await writeFile(index, (await readFile(index, "utf8")).replace("definition.json", "definitiom.json"));
  await expect(folder.find(null)).rejects.toMatchObject({ code: "BACKUP_DAMAGED" });
});

test("a single damaged file is put back from the newest point that has it", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  await backUp(data, folder, options());
  const held = await contents(data.root);
  const path = Object.keys(held).find((name) => name.startsWith("archive/") && name.endsWith(".parquet")) ?? "";
  await flipBit(data.path(path));
  const back = { path, at: null, signal: NEVER };
  expect((await restoreFile(folder, data.root, back)).name).toBe((await folder.names()).at(-1));
  expect((await restoreFile(folder, data.root, { ...back, at: point.name })).name).toBe(point.name);
  expect(await contents(data.root)).toEqual(held);
  const document = { ...back, path: "streams/orders/1.json" };
  await expect(restoreFile(folder, data.root, document)).rejects.toMatchObject({ code: "POINT_UNKNOWN" });
});

test("a restore takes the place of a directory only when told, and goes on where it was interrupted", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  await worker.publish();
  const held = await contents(data.root);
  await expect(restore(folder, point, data.root, { ...options(), replace: false })).rejects.toMatchObject({
    code: "DIRECTORY_NOT_EMPTY",
  });
  const stop = new AbortController();
  const onProgress = (done: number) => {
    if (done === 4) stop.abort();
  };
  const interrupted = restore(folder, point, data.root, { ...options(stop.signal), onProgress, replace: true });
  await expect(interrupted).rejects.toThrow("abort");
  expect(await contents(data.root)).toEqual(held);
  // A file that a crash left half-written, and one of another point.
  const staged = `${data.root}.restoring`;
  const copied = await contents(staged);
  const whole = point.files.find(({ path, sha256 }) => copied[path] === sha256)?.path;
  const touched = new Date("2020-01-01");
  await utimes(join(staged, whole ?? ""), touched, touched);
  const half = point.files.find(({ path }) => path !== whole)?.path ?? "";
  await mkdir(dirname(join(staged, half)), { recursive: true });
  await writeFile(join(staged, half), "{");
  await writeFile(join(staged, "stranger.json"), "{}");
  const { replaced } = await restore(folder, point, data.root, { ...options(), replace: true });
  expect(await contents(replaced ?? "")).toEqual(held);
  const restored = await contents(data.root);
  expect(restored).toEqual(Object.fromEntries(point.files.map(({ path, sha256 }) => [path, sha256])));
  expect((await stat(join(data.root, whole ?? ""))).mtimeMs).toBe(touched.getTime());
  expect((await readdir(here)).sort()).toEqual(["backup", "data", replaced?.slice(here.length + 1)]);
});

test("a point is found by its name and by a time", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const points = [await backUp(data, folder, options()), await backUp(data, folder, options())].map(
    ({ point }) => point,
  );
  const [first, second] = points;
  const found = async (wanted: string | null) => (await folder.find(wanted)).name;
  expect(await found(null)).toBe(second?.name);
  expect(await found(first?.name ?? "")).toBe(first?.name);
  expect(await found(new Date((second?.atMs ?? 0) - 1).toISOString())).toBe(first?.name);
  expect(await found(new Date(second?.atMs ?? 0).toISOString())).toBe(second?.name);
  await expect(found("2020-01-01")).rejects.toMatchObject({ code: "POINT_UNKNOWN" });
  await expect(found("yesterday")).rejects.toMatchObject({ code: "POINT_UNKNOWN" });
});

test("a restore refuses while a role runs on the directory, and a role notices that its directory was replaced", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  const replaced = vi.fn();
  const gone = new Promise<void>((resolve) => replaced.mockImplementation(resolve));
  await announceRole(data, "speed", replaced, 10);
  const other = await announceRole(data, "serve", () => undefined);
  await expect(restore(folder, point, data.root, { ...options(), replace: true })).rejects.toThrow(
    new RegExp(`(speed|serve) \\(process ${process.pid} on .*\\), (speed|serve)`),
  );
  await other.leave();
  // One whose machine died counts for a minute, one whose process is seen to be gone for none.
  await data.replace(".roles/worker-1.json", JSON.stringify({ role: "worker", host: "other", pid: 1, startedAtMs: 1 }));
  expect((await runningRoles(data, Date.now())).map((one) => one.role).sort()).toEqual(["speed", "worker"]);
  expect((await runningRoles(data, Date.now() + 3_600_000)).map((one) => one.role)).toEqual([]);
  expect(replaced).not.toHaveBeenCalled();
  await rm(data.root, { recursive: true });
  await restore(folder, point, data.root, { ...options(), replace: false });
  await gone;
  expect(replaced).toHaveBeenCalledTimes(1);
  expect(await readdir(here)).toContain("data");
});

test("what the API has read of a version is not answered for another one that has its number since a restore", async () => {
  const data = new DataDirectory(join(home, "served"));
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [home] });
  const [duck, ducks] = [
    await pool.connect(),
    await DuckQueue.open(pool, { connections: 1, maxWaiting: 1, timeoutMs: 60_000 }),
  ];
  try {
    const states = new BatchStates(data, ducks, { maxCachedCells: 1_000, limits: ANSWER_LIMITS });
    const version = async (bucket: number): Promise<Manifest> => {
      const file = await data.attempt(`views/${GENERATION}/states`, "000000007", "parquet");
      await duck.run(`COPY (SELECT ${bucket}::BIGINT AS bucket) TO '${data.path(file)}' (FORMAT parquet)`);
      const files = [{ file, rows: 1, ...(await data.settle(file)) }];
      const cut = { 0: "10" };
      const ledger = EMPTY_LEDGER;
      return {
        generation: GENERATION,
        version: 7,
        base: cut,
        cut,
        files,
        ledger,
        topicId: "t",
        createdBy: "",
        createdAtMs: 1,
      };
    };
    const [before, after] = [await version(1_000), await version(2_000)];
    const last = (manifest: Manifest) => states.lastBucket(manifest, Number.MAX_SAFE_INTEGER);
    expect([await last(before), await last(after)]).toEqual([1_000, 2_000]);
  } finally {
    ducks.close();
    duck.closeSync();
    pool.close();
  }
});
