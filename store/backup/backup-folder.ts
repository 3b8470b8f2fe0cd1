import { createHash, randomUUID } from "node:crypto";
import { createReadStream, createWriteStream } from "node:fs";
import { mkdir, open, readdir, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { Transform } from "node:stream";
import { pipeline } from "node:stream/promises";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import { parseTime } from "../../core/time.ts";
import { DataDirectory } from "../files/files.ts";

/**
 * A backup folder:
 *
 *   points/<time>.json          the index of a point: path, size and SHA-256 of every file of the data directory at
 *                               that time; written last
 *   files/<2 digits>/<SHA-256>  the files of all points, each once
 *
 * A process that works on a folder leaves a note in it, so that one backup runs at a time. A process that sleeps for
 * long (a laptop with a closed lid) does not renew its note, and another process may have worked on the folder when it
 * wakes. So the contents of the folder do not depend on the notes:
 *
 *   write   write the index, then check that all its files exist; if not, delete the index
 *   keep    move files out of sight, then check which of them a point names; move these back, and delete the others
 *
 * If one process writes a point while another one moves its file out of sight, either the first finds the file missing,
 * or the second finds the index before it deletes the file.
 */
const POINTS = "points";
const FILES = "files";
const INCOMING = ".incoming";
/** The beginning of the names of folders with files that will be deleted. */
const LEAVING = ".leaving";
const FORMAT = 1;

const sha256 = z.string().regex(/^[0-9a-f]{64}$/);
const PointFile = z.object({ path: z.string().min(1), sizeBytes: z.int().min(0), sha256 });
/** A file of a point; `path` is relative to the data directory. */
export type PointFile = z.infer<typeof PointFile>;

const Point = z.object({
  format: z.literal(FORMAT),
  name: z.string(),
  atMs: z.int(),
  views: z.array(z.object({ generation: z.string(), version: z.int() })),
  streams: z.array(z.object({ topic: z.string(), topicId: z.string(), archived: z.record(z.string(), z.string()) })),
  files: z.array(PointFile),
  /** The SHA-256 over `files`. It detects damage to a path in the index, which no file's hash would show. */
  filesSha256: sha256,
});
/** A time to which the data directory can be restored. */
export type Point = z.infer<typeof Point>;

/** A folder that holds backups. */
export class BackupFolder {
  readonly #files: DataDirectory;

  constructor(root: string) {
    this.#files = new DataDirectory(root);
  }

  get root(): string {
    return this.#files.root;
  }

  /** Returns the names of all points, oldest first. */
  async names(): Promise<string[]> {
    const names = await this.#files.list(POINTS);
    return names.filter((name) => name.endsWith(".json")).map((name) => name.slice(0, -".json".length));
  }

  /** Returns a point. Throws BACKUP_DAMAGED when its index is not as it was written. */
  async point(name: string): Promise<Point> {
    const found = await this.#files.read(pointDocument(name), Point).catch(() => null);
    if (found === null || found.filesSha256 !== sha256Of(found.files))
      throw damaged(`the index of point ${name} (${pointDocument(name)}) is missing or is not as it was written`);
    return found;
  }

  /**
   * Returns the point with this name, or else the newest one that is not after this time. Null: the newest of all.
   * Throws POINT_UNKNOWN when there is none, BACKUP_DAMAGED.
   */
  async find(wanted: string | null): Promise<Point> {
    const names = await this.names();
    if (wanted !== null && names.includes(wanted)) return this.point(wanted);
    const atMs = wanted === null ? null : parseTime(wanted);
    // Compare the names, which are times, so that a damaged index of a later point does not matter.
    const until = wanted === null ? names : atMs === null ? [] : names.filter((name) => name <= pointName(atMs));
    const newest = until.at(-1);
    if (newest !== undefined) return this.point(newest);
    throw new TidelineError(
      "POINT_UNKNOWN",
      wanted === null
        ? `there is no backup in ${this.root}`
        : `${this.root} has no point ${wanted}, and none before that time`,
      `There are: ${names.join(", ") || "none"}.`,
    );
  }

  /**
   * Writes a point's index. The point exists from this moment on. Its files have to exist, and are made durable first.
   * Throws DIRECTORY_IN_USE, and leaves no point, when another backup deleted one of them.
   */
  async write(point: Omit<Point, "format" | "filesSha256">): Promise<void> {
    await this.#makeDurable(point.files);
    const index = Point.parse({ format: FORMAT, ...point, filesSha256: sha256Of(point.files) });
    await mkdir(join(this.root, POINTS), { recursive: true });
    await this.#files.replace(pointDocument(point.name), `${JSON.stringify(index, null, 1)}\n`);
    try {
      await this.#requireHeld(point.files);
    } catch (error) {
      await this.#files.remove(pointDocument(point.name));
      throw error;
    }
  }

  /** Whether the folder has a file with this hash. */
  async holds(hash: string, sizeBytes: number): Promise<boolean> {
    const found = await stat(this.path(hash)).catch(() => null);
    return found?.isFile() === true && found.size === sizeBytes;
  }

  /**
   * Copies the file at `source` unless the folder has it already. Throws ARCHIVE_DAMAGED when its hash is not
   * `checksum`. Null: any hash is accepted.
   */
  async add(source: string, checksum: string | null, signal: AbortSignal): Promise<Added> {
    const { size } = await stat(source);
    if (checksum !== null && (await this.holds(checksum, size)))
      return { sha256: checksum, sizeBytes: size, isNew: false };
    const incoming = join(this.root, FILES, `${INCOMING}-${randomUUID()}`);
    try {
      const copied = await copyHashed(source, incoming, signal);
      if (checksum !== null && copied.sha256 !== checksum)
        throw new TidelineError(
          "ARCHIVE_DAMAGED",
          `${source} is not what was published, so it cannot be backed up`,
          "Mend the data directory first: `tideline rebuild` for a view, an earlier point of a backup for the archive.",
        );
      const isNew = !(await this.holds(copied.sha256, copied.sizeBytes));
      await mkdir(dirname(this.path(copied.sha256)), { recursive: true });
      // Make it durable before it gets its name. A copy that exists already is replaced: it may have been damaged
      // since.
      await sync(incoming);
      await rename(incoming, this.path(copied.sha256));
      return { ...copied, isNew };
    } finally {
      await rm(incoming, { force: true });
    }
  }

  /** Returns the path of the file with a hash. */
  path(hash: string): string {
    return join(this.root, FILES, hash.slice(0, 2), hash);
  }

  /** Removes what interrupted runs left, and makes the folder ready for writing. */
  async prepare(): Promise<void> {
    await mkdir(join(this.root, FILES), { recursive: true });
    for (const name of await readdir(join(this.root, FILES))) {
      if (name.startsWith(INCOMING)) await rm(join(this.root, FILES, name), { force: true });
      if (name.startsWith(LEAVING)) await this.#leave(join(FILES, name));
    }
  }

  /**
   * Deletes all points except the newest `count`, then the files that no remaining point names. Returns the names of
   * the deleted points, and the number of deleted files. The point `made` stays, even if a clock was set back and
   * others seem newer.
   */
  async keep(count: number, made: string): Promise<{ points: readonly string[]; files: number }> {
    const names = await this.names();
    const gone = names.slice(0, Math.max(0, names.length - count)).filter((name) => name !== made);
    // Read the points first: when one is damaged, nothing is deleted.
    const kept = names.filter((name) => !gone.includes(name));
    const points = await Promise.all(kept.map((name) => this.point(name)));
    const named = new Set(points.flatMap(({ files }) => files.map((file) => file.sha256)));
    for (const name of gone) await this.#files.remove(pointDocument(name));
    if (gone.length > 0) await sync(join(this.root, POINTS));
    const leaving = join(FILES, `${LEAVING}-${randomUUID()}`);
    for (const part of await this.#files.list(FILES))
      for (const hash of await this.#files.list(join(FILES, part))) {
        if (named.has(hash)) continue;
        await mkdir(join(this.root, leaving), { recursive: true });
        await rename(this.path(hash), join(this.root, leaving, hash)).catch(unlessGone);
      }
    return { points: gone, files: await this.#leave(leaving) };
  }

  /**
   * Deletes files that were moved out of sight, except those that a point names now. Deletes none when a point cannot
   * be read. Returns how many it deleted.
   */
  async #leave(folder: string): Promise<number> {
    const hashes = await this.#files.list(folder);
    const reading = (await this.names()).map((name) => this.point(name));
    const points = await Promise.all(reading).catch(() => null);
    const named = new Set(points?.flatMap(({ files }) => files.map((file) => file.sha256)));
    const back = points === null ? hashes : hashes.filter((hash) => named.has(hash));
    for (const hash of back) await rename(join(this.root, folder, hash), this.path(hash)).catch(unlessGone);
    await rm(join(this.root, folder), { recursive: true, force: true });
    return hashes.length - back.length;
  }

  async #requireHeld(files: readonly PointFile[]): Promise<void> {
    for (const { path, sizeBytes, sha256: hash } of files)
      if (!(await this.holds(hash, sizeBytes)))
        throw new TidelineError(
          "DIRECTORY_IN_USE",
          `the copy of ${path} was deleted while the backup was made: another backup has worked in ${this.root}`,
          "Start this one again when no other one runs into this folder. It continues with the files that were copied.",
        );
  }

  async #makeDurable(files: readonly PointFile[]): Promise<void> {
    await this.#requireHeld(files);
    const folders = new Set<string>();
    for (const { sha256: hash } of files) {
      folders.add(dirname(this.path(hash)));
      await sync(this.path(hash));
    }
    for (const folder of folders) await sync(folder);
    await sync(join(this.root, FILES));
  }
}

interface Added {
  readonly sha256: string;
  readonly sizeBytes: number;
  /** Whether the folder did not have it before. */
  readonly isNew: boolean;
}

/** Copies a file and hashes the bytes that were read. The copy is not durable yet. */
export async function copyHashed(
  source: string,
  target: string,
  signal: AbortSignal,
): Promise<{ sha256: string; sizeBytes: number }> {
  const hash = createHash("sha256");
  let sizeBytes = 0;
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk);
      sizeBytes += chunk.length;
      done(null, chunk);
    },
  });
  await pipeline(
    createReadStream(source, { highWaterMark: 1 << 20 }),
    hashing,
    createWriteStream(target, { flags: "w" }),
    {
      signal,
    },
  );
  return { sha256: hash.digest("hex"), sizeBytes };
}

/** Makes a file, or the names in a folder, durable. */
export async function sync(path: string): Promise<void> {
  const handle = await open(path, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** Returns the name of a point: its time to the millisecond, in characters allowed in file names. */
export function pointName(atMs: number): string {
  return new Date(atMs).toISOString().replaceAll(":", "-");
}

export function damaged(what: string): TidelineError {
  return new TidelineError(
    "BACKUP_DAMAGED",
    what,
    "Take another point (`tideline restore <folder> --list`), or a copy of the backup. `--check` examines all " +
      "points; the next backup copies a damaged file again once it is deleted.",
  );
}

/** Ignores the error that another process has deleted or moved the file. */
function unlessGone(error: NodeJS.ErrnoException): void {
  if (error.code !== "ENOENT") throw error;
}

function pointDocument(name: string): string {
  return join(POINTS, `${name}.json`);
}

function sha256Of(files: readonly PointFile[]): string {
  const hash = createHash("sha256");
  for (const { path, sizeBytes, sha256: held } of files) hash.update(JSON.stringify([path, sizeBytes, held]));
  return hash.digest("hex");
}
