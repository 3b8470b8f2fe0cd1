import { link, mkdir, readdir, realpath, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { z } from "zod";
import { TidelineError } from "../../core/errors.ts";
import type { ArchiveEntry, Manifest } from "../../core/log/documents.ts";
import { Archive, entryDocument } from "../archive/archive.ts";
import { Manifests, manifestDocument } from "../archive/manifests.ts";
import type { DataDirectory } from "../files/files.ts";

/** A file of a snapshot; `path` is relative to the data directory. */
export interface SnapshotFile {
  readonly path: string;
  /** The SHA-256 from the manifest or entry that names the file. Null for documents. */
  readonly checksum: string | null;
}

/** The contents of a snapshot, for people. Positions are decimal text. */
export interface SnapshotContents {
  readonly views: readonly { readonly generation: string; readonly version: number }[];
  readonly streams: readonly {
    readonly topic: string;
    /** Empty before any record of the stream is archived. */
    readonly topicId: string;
    /** The end of the archive of each partition. */
    readonly archived: Readonly<Record<string, string>>;
  }[];
}

export interface Snapshot extends SnapshotContents {
  readonly files: readonly SnapshotFile[];
}

/**
 * The most attempts. A file can vanish after its document was read, because newer versions were published. Then the
 * newer document is read.
 */
const TRIES = 50;

/** Files that runs can make again: parts of rebuilds and backfills under way, and recomputed positions. */
const NOT_HELD = new Set(["recomputed"]);
const NOT_HELD_OF_A_VIEW = new Set(["manifests", "states", "indexes", "rebuilds", "backfills"]);
const NOT_HELD_OF_A_PARTITION = new Set(["entries", "merged", "files"]);

/**
 * Gives every file that belongs to the installation at this moment a second name below `hold`, a folder of the same
 * file system. Making links takes almost no time, so nothing is swept in between, and a file with a second name stays
 * when the first one is removed or replaced.
 *
 * The order makes the parts consistent: documents are linked before the files that they refer to, and both only grow.
 * First serving records, then manifests with their files, then the archive (which reaches at least as far as every
 * cut), then contracts and schemas. Throws ARCHIVE_DAMAGED when a named file is missing.
 */
export async function takeSnapshot(data: DataDirectory, hold: string): Promise<Snapshot> {
  const pins = new Pins(data, hold);
  const files: SnapshotFile[] = await pins.tree("serving");
  const views: SnapshotContents["views"][number][] = [];
  for (const generation of await data.list("views")) {
    const documents = await pins.tree(join("views", generation), NOT_HELD_OF_A_VIEW);
    const newest = await pinVersion(pins, generation);
    // The generation may be deleted just now.
    if (await isRetired(data, generation)) continue;
    files.push(...documents, ...(newest?.files ?? []));
    if (newest !== null) views.push({ generation, version: newest.version });
  }
  const streams: SnapshotContents["streams"][number][] = [];
  for (const topic of await data.list("archive")) {
    const archived: Record<string, string> = {};
    let topicId = "";
    for (const partition of (await data.list(join("archive", topic))).map(Number)) {
      const pinned = await pinPartition(pins, topic, partition);
      files.push(...pinned.files);
      if (pinned.to !== null) archived[partition] = pinned.to;
      topicId = pinned.topicId ?? topicId;
    }
    streams.push({ topic, topicId, archived });
  }
  for (const name of await data.list("."))
    if (!["serving", "views", "archive"].includes(name) && !NOT_HELD.has(name)) files.push(...(await pins.tree(name)));
  return { files, views, streams };
}

/** Whether a generation is unused: it is deleted, or will be within minutes. */
async function isRetired(data: DataDirectory, generation: string): Promise<boolean> {
  const folder = join("views", generation);
  return (await data.has(join(folder, "retired.json"))) || !(await data.has(join(folder, "definition.json")));
}

/**
 * Returns the newest version of a generation with its files, and the genesis. Null when nothing is published, or when
 * the generation is retired, because it is deleted file by file.
 */
async function pinVersion(pins: Pins, generation: string): Promise<{ files: SnapshotFile[]; version: number } | null> {
  let seen: Manifest | null = null;
  for (let attempt = 1; ; attempt++) {
    // Use new Manifests, which lists the folder and knows no older versions.
    const newest = await new Manifests(pins.data).newest(generation);
    if (newest === null || (await isRetired(pins.data, generation))) return null;
    const documents = [0, newest.version].map((version) => manifestDocument(generation, version));
    const named = newest.files.flatMap(({ index, ...states }) => [states, ...(index === undefined ? [] : [index])]);
    const missing = (await pins.all(documents)) ?? (await pins.all(named.map(({ file }) => file)));
    if (missing === null) {
      const files = named.map(({ file, checksum }) => ({ path: file, checksum }));
      return { files: [...new Set(documents)].map(document).concat(files), version: newest.version };
    }
    if (newest.version === seen?.version || attempt === TRIES) throw damaged(missing, `tideline rebuild ${generation}`);
    seen = newest;
  }
}

async function pinPartition(
  pins: Pins,
  topic: string,
  partition: number,
): Promise<{ files: SnapshotFile[]; to: string | null; topicId: string | null }> {
  const place = join("archive", topic, String(partition));
  const { topicId } = (await pins.data.read(join(place, "begin.json"), z.object({ topicId: z.string() }))) ?? {};
  let entries: readonly ArchiveEntry[] = [];
  for (let attempt = 1; topicId !== undefined; attempt++) {
    entries = (await new Archive(pins.data).list(topic, topicId, partition)).entries;
    const named = entries.flatMap((one) => [
      entryDocument(topic, partition, one),
      ...(one.file === null ? [] : [one.file]),
    ]);
    const missing = await pins.all(named);
    if (missing === null) break;
    // Files that were compacted are deleted 90 minutes later, so a second attempt finds the compacted file.
    if (attempt > 2) throw damaged(missing, "restore the file from an earlier backup");
  }
  const files = entries.flatMap((one) => [
    document(entryDocument(topic, partition, one)),
    ...(one.file === null ? [] : [{ path: one.file, checksum: one.checksum }]),
  ]);
  files.push(...(await pins.tree(place, NOT_HELD_OF_A_PARTITION)));
  return { files, to: entries.at(-1)?.to.toString() ?? null, topicId: topicId ?? null };
}

/** Gives files second names in the hold. */
class Pins {
  readonly data: DataDirectory;
  readonly #hold: string;
  readonly #folders = new Set<string>();

  constructor(data: DataDirectory, hold: string) {
    this.data = data;
    this.#hold = hold;
  }

  /** Gives these files second names. Returns the first one that does not exist, or null. */
  async all(names: readonly string[]): Promise<string | null> {
    for (const name of names) if (!(await this.#pin(name))) return name;
    return null;
  }

  /**
   * Gives all documents in a folder and its subfolders second names, except hidden ones and `except`. `name` may be a
   * single file. A file that is deleted during the call is left out.
   */
  async tree(name: string, except: ReadonlySet<string> = new Set()): Promise<SnapshotFile[]> {
    const found = await readdir(this.data.path(name), { withFileTypes: true }).catch((error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      if (error.code === "ENOTDIR") return null;
      throw error;
    });
    if (found === null) return (await this.#pin(name)) ? [document(name)] : [];
    const files: SnapshotFile[] = [];
    for (const one of found) {
      if (one.name.startsWith(".") || except.has(one.name)) continue;
      const path = join(name, one.name);
      // Follow a symbolic link, as every reader of the directory does.
      const found = one.isSymbolicLink() ? await stat(this.data.path(path)).catch(noLongerThere) : one;
      if (found?.isDirectory()) files.push(...(await this.tree(path)));
      else if (found?.isFile() && (await this.#pin(path))) files.push(document(path));
    }
    return files;
  }

  async #pin(name: string): Promise<boolean> {
    const second = join(this.#hold, name);
    const folder = dirname(second);
    if (!this.#folders.has(folder)) await mkdir(folder, { recursive: true });
    this.#folders.add(folder);
    try {
      await link(await realpath(this.data.path(name)), second);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      if (code === "ENOENT") return false;
      if (code === "EXDEV") throw onOtherDisk(name, this.data.root, error);
      // An earlier attempt has given it a second name.
      if (code !== "EEXIST") throw error;
    }
    return true;
  }
}

function noLongerThere(error: NodeJS.ErrnoException): null {
  if (error.code === "ENOENT") return null;
  throw error;
}

function onOtherDisk(name: string, root: string, cause: unknown): TidelineError {
  return new TidelineError(
    "CONFIG_INVALID",
    `${name} lies on another file system than ${root}: a backup keeps second ` +
      "names of its files, which is not possible there",
    "Mount the volume at TIDELINE_HOME, or move all of the data directory to it, and link to the whole.",
    { cause },
  );
}

function document(path: string): SnapshotFile {
  return { path, checksum: null };
}

function damaged(file: string, remedy: string): TidelineError {
  return new TidelineError(
    "ARCHIVE_DAMAGED",
    `${file} is missing from the data directory, so it cannot be backed up`,
    `Mend the data directory first: ${remedy}. Earlier points of the backup are as they were.`,
  );
}
