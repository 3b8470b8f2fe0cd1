import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rename, rm, stat, symlink, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import type { z } from "zod";
import { sweepStates } from "../batch-layer/versions/publish.ts";
import { runBackup, runRestore } from "../cli/operations/backup.ts";
import type { Config } from "../cli/setup/config.ts";
import type { ArchiveEntry, Manifest, StateFile } from "../core/log/documents.ts";
import { EMPTY_LEDGER } from "../core/log/ledger.ts";
import { position } from "../core/log/position.ts";
import { ANSWER_LIMITS } from "../core/query/budget.ts";
import { BatchStates } from "../serving/read/batch/batch-states.ts";
import { DuckQueue } from "../serving/read/batch/duck-queue.ts";
import { Archive } from "../store/archive/archive.ts";
import { Manifests, manifestDocument } from "../store/archive/manifests.ts";
import { backUp } from "../store/backup/back-up.ts";
import { BackupFolder } from "../store/backup/backup-folder.ts";
import { checkPoints, restore, restoreFile } from "../store/backup/restore.ts";
import { DuckPool } from "../store/duckdb/duck.ts";
import { DataDirectory } from "../store/files/files.ts";
import { announceRole, findRoles, runningRoles } from "../store/files/running-roles.ts";
import { FileRegistry, SchemaDocument } from "../store/registry/registry-files.ts";
import { foundSchemas } from "../store/registry/registry-found.ts";
import { Schemas } from "../store/registry/registry-schemas.ts";
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
  const staged = join(here, (await readdir(here)).find((name) => name.startsWith("data.restoring-")) ?? "");
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

/** A folder of which something else happens right after a method was called for the `nth` time. */
function interrupted(root: string, method: "names" | "holds", nth: number, then: () => Promise<unknown>): BackupFolder {
  let calls = 0;
  const passed = async <T>(name: string, result: Promise<T>): Promise<T> => {
    const found = await result;
    if (name === method && ++calls === nth) await then();
    return found;
  };
  return new (class extends BackupFolder {
    override names = () => passed("names", super.names());
    override holds = (hash: string, sizeBytes: number) => passed("holds", super.holds(hash, sizeBytes));
  })(root);
}

test("a backup that slept while it deleted old points leaves the files that another one named meanwhile", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const first = await backUp(data, folder, options());
  // Another installation's directory, as the first point has it.
  const other = new DataDirectory(join(here, "other"));
  await restore(folder, first.point, other.root, { ...options(), replace: false });
  for (let version = 0; version < 2; version++) await worker.publish();
  const { point } = await backUp(data, folder, options());
  const meanwhile: string[] = [];
  // It sleeps when it knows what to keep.
  const sleeper = interrupted(folder.root, "names", 1, async () => {
    meanwhile.push((await backUp(other, folder, options())).point.name);
  });
  await sleeper.keep(1, point.name);
  expect(await folder.names()).toEqual([point.name, ...meanwhile]);
  const points = await Promise.all((await folder.names()).map((name) => folder.point(name)));
  expect(await checkPoints(folder, points, { signal: NEVER })).toMatchObject({ wrong: [] });
  await folder.prepare();
  expect((await readdir(join(folder.root, "files"))).filter((name) => name.startsWith("."))).toEqual([]);
});

test("a backup leaves no point when another one deleted its files while it slept, and the next one is whole", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const other = await place();
  await other.worker.publish();
  const { point } = await backUp(data, new BackupFolder(join(here, "trial")), options());
  // All its files are copied, and looked for once, when it sleeps; a state file is looked for before it is copied, too.
  const looks = point.files.length + point.files.filter(({ path }) => path.endsWith(".parquet")).length;
  const copied = point.files.length - point.files.filter(({ path }) => path.endsWith(".parquet")).length;
  const sleeper = interrupted(folder.root, "holds", looks + copied + point.files.length, async () => {
    await folder.prepare();
    const { point: theirs } = await backUp(other.data, folder, options());
    await folder.keep(1, theirs.name);
  });
  await expect(backUp(data, sleeper, options())).rejects.toMatchObject({ code: "DIRECTORY_IN_USE" });
  const [left] = await folder.names();
  expect(await folder.names()).toHaveLength(1);
  expect((await checkPoints(folder, [await folder.point(left ?? "")], { signal: NEVER })).wrong).toEqual([]);
  const again = await backUp(data, folder, options());
  expect((await checkPoints(folder, [again.point], { signal: NEVER })).wrong).toEqual([]);
});

test("files that a killed backup had taken out of sight come back when a point names them", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const { point } = await backUp(data, folder, options());
  const [named] = point.files;
  const leaving = join(folder.root, "files", ".leaving-1");
  await mkdir(leaving);
  await rename(folder.path(named?.sha256 ?? ""), join(leaving, named?.sha256 ?? ""));
  await writeFile(join(leaving, "0".repeat(64)), "of no point");
  await folder.prepare();
  expect((await checkPoints(folder, [point], { signal: NEVER })).wrong).toEqual([]);
  expect(await readdir(join(folder.root, "files"))).not.toContain(".leaving-1");
});

test("a generation that is retired or deleted while it is backed up is left out", async () => {
  const { data, worker, folder } = await place();
  await worker.publish();
  const retired = "revenue.fedcba987654";
  for (const [name, document] of [
    ["definition.json", {}],
    ["retired.json", { atMs: 1 }],
  ] as const)
    await data.createExclusively(join("views", retired, name), document);
  const manifest = (await worker.manifests.newest(GENERATION)) as Manifest;
  const named = { ...manifest, generation: retired };
  await data.createExclusively(manifestDocument(retired, 0), { ...named, version: 0, files: [] });
  // Its files are deleted one by one: of this version nothing but the manifest is left.
  const file = join("views", retired, "states", "000000001-gone.parquet");
  await data.createExclusively(manifestDocument(retired, 1), {
    ...named,
    version: 1,
    files: named.files.map((one) => ({ ...one, file })),
  });
  const { point } = await backUp(data, folder, options());
  expect(point.views.map(({ generation }) => generation)).toEqual([GENERATION]);
  expect(point.files.filter(({ path }) => path.includes(retired))).toEqual([]);
  // A whole one is deleted at the moment when its manifest was read.
  await data.remove(join("views", retired, "retired.json"));
  class Deleting extends DataDirectory {
    override async read<T>(name: string, schema: z.ZodType<T>): Promise<T | null> {
      const found = await super.read(name, schema);
      if (found !== null && name.startsWith(join("views", retired, "manifests")))
        await data.removeFolder(join("views", retired));
      return found;
    }
  }
  const after = await backUp(new Deleting(data.root), folder, options());
  expect(after.point.views.map(({ generation }) => generation)).toEqual([GENERATION]);
  expect(await readdir(join(data.root, "views"))).toEqual([GENERATION]);
});

test("what symbolic links in the directory stand for is backed up, and restored without them", async () => {
  const { here, data, worker, folder } = await place();
  const manifest = await worker.publish();
  const held = await contents(data.root);
  const elsewhere = join(here, "elsewhere");
  await mkdir(elsewhere);
  for (const path of ["reports", manifest.files[0]?.file ?? "", "streams/orders/1.json"]) {
    const target = join(elsewhere, path.replaceAll("/", "_"));
    await rename(data.path(path), target);
    await symlink(target, data.path(path));
  }
  await symlink(join(elsewhere, "nothing"), data.path("dangling"));
  const { point } = await backUp(data, folder, options());
  const root = join(here, "restored");
  await restore(folder, point, root, { ...options(), replace: false });
  expect(await contents(root)).toEqual(held);
});

test("commands refuse a backup in the data directory, and a point of another namespace, before they change anything", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const config = { home: here, namespace: "other" } as Config;
  await symlink(data.root, join(here, "link"));
  const inside = runBackup(config, join(here, "link", "backups"), { json: true });
  await expect(inside).rejects.toMatchObject({ code: "CONFIG_INVALID", message: expect.stringContaining("backups") });
  await backUp(data, folder, options());
  const held = await contents(data.root);
  const flags = { replace: true, check: false, list: false, json: true };
  await expect(runRestore(config, folder.root, flags)).rejects.toMatchObject({
    code: "CONFIG_INVALID",
    message: expect.stringContaining(`topic ${TOPIC}`),
  });
  expect(await contents(data.root)).toEqual(held);
});

test("a restore keeps what the directory that it puts aside knows of schema ids, and what the point knows wins", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const schemas = new FileRegistry(data);
  const first = await schemas.register("orders-value", '"string"');
  const { point } = await backUp(data, folder, options());
  const second = await schemas.register("orders-value", '"long"');
  const unknown = new Schemas(data, schemas);
  await unknown.lookup([77], { name: "orders", revision: 1 });
  await data.createExclusively("registry-found/78.json", { schema: '"int"', from: { orders: 2 } });
  await data.replace("registry/0000000079.json", "{ damaged");
  // As a directory that was restored without knowing them may have it: another meaning of an id that the point has.
  await data.replace("registry/0000000001.json", JSON.stringify({ schema: '"bytes"', subject: null }));
  const { schemas: kept, replaced } = await restore(folder, point, data.root, { ...options(), replace: true });
  expect(kept).toBe(3);
  const restored = new FileRegistry(new DataDirectory(data.root));
  expect(await restored.schemaById(first)).toBe('"string"');
  expect(await restored.schemaById(second)).toBe('"long"');
  expect(await restored.register("orders-value", '"double"')).toBe(3);
  expect((await foundSchemas(data)).get(78)).toMatchObject({ schema: '"int"' });
  // The id that was found unknown stays so, whatever is registered from now on.
  expect(await data.read("registry/0000000077.json", SchemaDocument)).toEqual({ schema: null, subject: null });
  expect((await readdir(here)).sort()).toEqual(["backup", "data", replaced?.slice(here.length + 1)]);
});

test("a restore that slept while another one began does not take its place", async () => {
  const { here, data, worker, folder } = await place();
  await worker.publish();
  const first = await backUp(data, folder, options());
  await worker.publish();
  const second = await backUp(data, folder, options());
  const root = join(here, "elsewhere", "data");
  let another: Promise<unknown> | null = null;
  // It wakes after a copy.
  const onProgress = (done: number) => {
    if (done === 3) another = restore(folder, second.point, root, { ...options(), replace: false });
  };
  const sleeper = restore(folder, first.point, root, { ...options(), onProgress, replace: false });
  const outcomes = await Promise.allSettled([sleeper, sleeper.catch(() => another)]);
  expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
  expect(outcomes[0]).toMatchObject({ reason: { code: expect.stringMatching(/^DIRECTORY_(IN_USE|NOT_EMPTY)$/) } });
  const restored = await contents(root);
  expect(restored).toEqual(Object.fromEntries(second.point.files.map(({ path, sha256 }) => [path, sha256])));
});

test("a role that slept for more than a minute is seen when it renews its note", async () => {
  const { data } = await place();
  const note = await announceRole(data, "backup", () => undefined, 50);
  const [name = ""] = await readdir(data.path(".roles"));
  const old = new Date(Date.now() - 600_000);
  await utimes(data.path(join(".roles", name)), old, old);
  expect(await findRoles(data, { beatMs: 50 })).toMatchObject([{ role: "backup", pid: process.pid }]);
  await note.leave();
  // One that was killed, and whose process id belongs to somebody else by now.
  await data.createExclusively(join(".roles", "speed-1.json"), {
    role: "speed",
    host: hostname(),
    pid: process.pid,
    startedAtMs: 1,
  });
  await utimes(data.path(join(".roles", "speed-1.json")), old, old);
  expect(await findRoles(data, { beatMs: 5 })).toEqual([]);
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
