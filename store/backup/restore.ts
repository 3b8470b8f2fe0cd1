import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, readdir, rename, rm, stat, unlink, writeFile } from "node:fs/promises";
import { dirname, join, normalize } from "node:path";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import { DataDirectory } from "../files/files.ts";
import { findRoles, restoringFolder, restoringFolders } from "../files/running-roles.ts";
import { allOf } from "./back-up.ts";
import { type BackupFolder, copyHashed, damaged, type Point, type PointFile, sync } from "./backup-folder.ts";

const COPIES_AT_ONCE = 4;
/** The folders of documents about schema ids: `registry-files.ts`, `registry-limits.ts`, `registry-found.ts`. */
const SCHEMA_FOLDERS = ["registry", "registry-limits", "registry-found"];

export interface RestoreOptions {
  readonly nowMs: number;
  readonly signal: AbortSignal;
  readonly onProgress?: (done: number, total: number) => void;
  /** Whether to move an existing data directory aside. Otherwise the restore is refused. */
  readonly replace: boolean;
}

export interface RestoreResult {
  /** The new path of the data directory that existed before. Null when there was none. */
  readonly replaced: string | null;
  /** The number of documents about schema ids that were kept from it because the point does not have them. */
  readonly schemas: number;
}

/**
 * Brings a data directory back to a point. All files are copied to a folder next to it first, each compared with its
 * hash. Then two renames exchange the directories. So at any time the data directory is the old one, the whole point
 * or, between the renames, missing; no role starts then. An interrupted restore continues with the files that were
 * copied.
 *
 * The old directory's documents about schema ids are kept in addition to the point's. Records with these ids may be in
 * Kafka, and an id must never get another meaning. Throws DIRECTORY_IN_USE while roles run on it or another restore
 * took its place, DIRECTORY_NOT_EMPTY unless `replace`, BACKUP_DAMAGED.
 */
export async function restore(
  folder: BackupFolder,
  point: Point,
  root: string,
  { nowMs, signal, onProgress = () => undefined, replace }: RestoreOptions,
): Promise<RestoreResult> {
  const occupied = await requireReplaceable(root, replace);
  const staging = await Staging.open(root);
  return staging.guard(async () => {
    await stage(folder, point, staging, { signal, onProgress });
    signal.throwIfAborted();
    // Check again: the copying may have taken hours.
    await requireReplaceable(root, replace);
    const schemas = occupied ? await keepSchemas(root, staging.root) : 0;
    await stat(staging.claim);
    const replaced = occupied ? `${root}.replaced-${new Date(nowMs).toISOString().replaceAll(":", "-")}` : null;
    if (replaced !== null) await rename(root, replaced).catch(cannotMove(root));
    else await rm(root, { recursive: true, force: true }).catch(cannotMove(root));
    await staging.moveTo(root).catch(async (error: unknown) => {
      if (replaced !== null) await rename(replaced, root);
      throw error;
    });
    await sync(dirname(root));
    return { replaced, schemas };
  });
}

/** Returns whether there is a data directory to move aside. Throws if it must not be moved. */
async function requireReplaceable(root: string, replace: boolean): Promise<boolean> {
  const data = new DataDirectory(root);
  const running = await findRoles(data);
  if (running.length > 0) {
    const names = running.map(({ role, host, pid }) => `${role} (process ${pid} on ${host})`).join(", ");
    throw new TidelineError(
      "DIRECTORY_IN_USE",
      `roles run on ${root}: ${names}`,
      "Stop them and start the restore again. A killed one counts for 15 seconds, on another machine for a minute.",
    );
  }
  const occupied = (await data.list(".")).length > 0;
  if (occupied && !replace)
    throw new TidelineError(
      "DIRECTORY_NOT_EMPTY",
      `${root} is not empty`,
      "With --replace it is put aside, and the point takes its place.",
    );
  return occupied;
}

/**
 * The folder next to the data directory in which a restore gathers files. If a restore was interrupted, its copies are
 * taken over by renaming its folder. A process that slept for long counts as gone. When it wakes, its folder has
 * another name, so it writes nothing into the present folder, and files that it creates are not found.
 */
class Staging {
  readonly root: string;
  readonly claim: string;

  private constructor(root: string) {
    this.root = root;
    this.claim = join(root, `.claim-${randomUUID()}`);
  }

  static async open(data: string): Promise<Staging> {
    const staging = new Staging(`${restoringFolder(data)}-${randomUUID()}`);
    for (const left of await restoringFolders(data)) {
      const isFirst = (await stat(staging.root).catch(() => null)) === null;
      if (isFirst) await rename(left, staging.root);
      else await rm(left, { recursive: true, force: true });
    }
    await mkdir(staging.root, { recursive: true });
    await writeFile(staging.claim, "");
    return staging;
  }

  /** Runs `work`. Throws DIRECTORY_IN_USE instead of its error when another restore has taken the folder over. */
  async guard<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if ((await stat(this.claim).catch(() => null)) !== null) throw error;
      await rm(this.root, { recursive: true, force: true });
      throw new TidelineError(
        "DIRECTORY_IN_USE",
        "another restore has begun while this one slept, and has taken over what was copied",
        "Wait until it is done. Start this one again if the directory shall be brought back to another point.",
        { cause: error },
      );
    }
  }

  /** Renames the folder to `data`. */
  async moveTo(data: string): Promise<void> {
    await unlink(this.claim);
    await rename(this.root, data);
  }
}

/**
 * Copies the documents about schema ids that `staged` does not have from a data directory. Skips those that cannot be
 * read. Returns how many it copied.
 */
async function keepSchemas(root: string, staged: string): Promise<number> {
  const [data, target] = [new DataDirectory(root), new DataDirectory(staged)];
  let kept = 0;
  for (const folder of SCHEMA_FOLDERS)
    for (const name of await data.list(folder)) {
      const path = join(folder, name);
      const document = await data.read(path, z.json()).catch(() => null);
      if (document !== null && (await target.createExclusively(path, document))) kept += 1;
    }
  return kept;
}

/** Copies all files of a point to a folder, and deletes everything else in it except the claim. */
async function stage(
  folder: BackupFolder,
  point: Point,
  { root: staged, claim }: Staging,
  { signal, onProgress }: Required<Pick<RestoreOptions, "signal" | "onProgress">>,
): Promise<void> {
  const wanted = new Set(point.files.map(({ path }) => path));
  for (const path of wanted)
    if (normalize(path) !== path || path.startsWith("..") || path.startsWith("/"))
      throw damaged(`point ${point.name} names a file outside of the data directory: ${path}`);
  // Delete the files of another restore.
  for (const path of await filesIn(staged))
    if (!wanted.has(path) && join(staged, path) !== claim) await rm(join(staged, path), { force: true });
  let done = 0;
  const waiting = point.files.values();
  const copy = async () => {
    for (const file of waiting) {
      signal.throwIfAborted();
      const target = join(staged, file.path);
      await mkdir(dirname(target), { recursive: true });
      if (!(await isWhole(target, file, signal))) {
        const written = join(dirname(target), `.restoring-${randomUUID()}`);
        const copied = await copyHashed(folder.path(file.sha256), written, signal).catch(missing(file));
        if (copied.sha256 !== file.sha256) throw notWhole(file);
        await rename(written, target);
      }
      onProgress(++done, point.files.length);
    }
  };
  await allOf(Array.from({ length: COPIES_AT_ONCE }, copy));
  const folders = new Set<string>([staged]);
  for (const { path } of point.files) {
    await sync(join(staged, path));
    for (let parent = dirname(path); parent !== "."; parent = dirname(parent)) folders.add(join(staged, parent));
  }
  for (const one of folders) await sync(one);
}

/**
 * Puts a single Parquet file back, from the newest point that has it. `at` is as in `find`. Such a file never changes,
 * so this is safe while roles run. Returns the point. Throws POINT_UNKNOWN when no point has it, BACKUP_DAMAGED.
 */
export async function restoreFile(
  folder: BackupFolder,
  root: string,
  { path, at, signal }: { readonly path: string; readonly at: string | null; readonly signal: AbortSignal },
): Promise<Point> {
  const names = at === null ? (await folder.names()).toReversed() : [(await folder.find(at)).name];
  for (const name of path.endsWith(".parquet") ? names : []) {
    const point = await folder.point(name);
    const file = point.files.find((one) => one.path === path);
    if (file === undefined) continue;
    const target = join(root, path);
    // The sweeps of running roles do not delete a file with this name.
    const written = join(dirname(target), `.writing-${randomUUID()}`);
    await mkdir(dirname(target), { recursive: true });
    try {
      const copied = await copyHashed(folder.path(file.sha256), written, signal).catch(missing(file));
      if (copied.sha256 !== file.sha256) throw notWhole(file);
      await sync(written);
      await rename(written, target);
    } finally {
      await rm(written, { force: true });
    }
    await sync(dirname(target));
    return point;
  }
  throw new TidelineError(
    "POINT_UNKNOWN",
    `no point of ${folder.root} has a Parquet file ${path}`,
    "Name it as the error does that says it is damaged: archive/<topic>/<partition>/files/….parquet",
  );
}

/**
 * Compares the files of these points with their hashes, each once. Returns the problems: a line for each file, with the
 * points that name it.
 */
export async function checkPoints(
  folder: BackupFolder,
  points: readonly Point[],
  { signal, onProgress = () => undefined }: Pick<RestoreOptions, "signal" | "onProgress">,
): Promise<{ files: number; wrong: string[] }> {
  const files = new Map(points.flatMap((point) => point.files.map((file) => [file.sha256, file] as const)));
  const wrong: string[] = [];
  let done = 0;
  const waiting = files.values();
  const check = async () => {
    for (const file of waiting) {
      signal.throwIfAborted();
      if (!(await isWhole(folder.path(file.sha256), file, signal))) {
        const names = points.filter((point) => point.files.some(({ sha256 }) => sha256 === file.sha256));
        wrong.push(`${file.path} of ${names.map(({ name }) => name).join(", ")}`);
      }
      onProgress(++done, files.size);
    }
  };
  await allOf(Array.from({ length: COPIES_AT_ONCE }, check));
  return { files: files.size, wrong: wrong.sort() };
}

async function isWhole(path: string, { sizeBytes, sha256 }: PointFile, signal: AbortSignal): Promise<boolean> {
  const found = await stat(path).catch(() => null);
  if (found === null || found.size !== sizeBytes) return false;
  const hash = createHash("sha256");
  await pipeline(createReadStream(path, { highWaterMark: 1 << 20 }), hash, { signal });
  return hash.digest("hex") === sha256;
}

async function filesIn(folder: string): Promise<string[]> {
  const found = await readdir(folder, { recursive: true, withFileTypes: true });
  return found.filter((one) => one.isFile()).map((one) => join(one.parentPath, one.name).slice(folder.length + 1));
}

function missing(file: PointFile): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    throw error.code === "ENOENT" ? notWhole(file) : error;
  };
}

function notWhole({ path, sha256 }: PointFile): TidelineError {
  return damaged(
    `${path} is missing from the backup, or is not what was copied (files/${sha256.slice(0, 2)}/${sha256})`,
  );
}

function cannotMove(root: string): (error: NodeJS.ErrnoException) => never {
  return (error) => {
    if (error.code !== "EBUSY" && error.code !== "EXDEV") throw error;
    throw new TidelineError(
      "CONFIG_INVALID",
      `${root} is a mount point, so another directory cannot take its place`,
      "Mount the volume at TIDELINE_HOME, one folder above.",
      { cause: error },
    );
  };
}
