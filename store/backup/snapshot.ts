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
  /** SHA-256 as the manifest or entry that names the file has it; null for documents. */
  readonly checksum: string | null;
}

/** What of an installation a snapshot holds, for people. Positions are decimal text. */
export interface SnapshotContents {
  readonly views: readonly { readonly generation: string; readonly version: number }[];
  readonly streams: readonly {
    readonly topic: string;
    /** Empty before anything of it is archived. */
    readonly topicId: string;
    /** Where the archive of each partition ends. */
    readonly archived: Readonly<Record<string, string>>;
  }[];
}

export interface Snapshot extends SnapshotContents {
  readonly files: readonly SnapshotFile[];
}

/**
 * A file can vanish between the moment its document is read and the next: newer versions were published. Then the newer
 * document is read.
 */
const TRIES = 50;

/** What runs can make again: parts of rebuilds and backfills under way, and recomputed positions. */
const NOT_HELD = new Set(["recomputed"]);
const NOT_HELD_OF_A_VIEW = new Set(["manifests", "states", "indexes", "rebuilds", "backfills"]);
const NOT_HELD_OF_A_PARTITION = new Set(["entries", "merged", "files"]);

/**
 * Gives every file that belongs to the installation at this moment a second name below `hold`, a folder of the same
 * file system. Links take no time to speak of, so nothing is swept in between; and what has a second name stays when
 * the first one is removed or replaced.
 *
 * The order makes the parts fit together: what refers comes before what it refers to, and both only grow. Serving
 * records, then manifests with their files, then the archive (which reaches at least as far as every cut), then
 * contracts and schemas. Throws ARCHIVE_DAMAGED when a named file is missing.
 */
export async function takeSnapshot(data: DataDirectory, hold: string): Promise<Snapshot> {
  const pins = new Pins(data, hold);
  const files: SnapshotFile[] = await pins.tree("serving");
  const views: SnapshotContents["views"][number][] = [];
  for (const generation of await data.list("views")) {
    const documents = await pins.tree(join("views", generation), NOT_HELD_OF_A_VIEW);
    const newest = await pinVersion(pins, generation);
    // It may be deleted at this moment.
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
 * The newest version of a generation with its files, and the genesis; null when nothing is published, or the generation
 * is retired: it is deleted file by file.
 */
async function pinVersion(pins: Pins, generation: string): Promise<{ files: SnapshotFile[]; version: number } | null> {
  let seen: Manifest | null = null;
  for (let attempt = 1; ; attempt++) {
    // Not one that knows older versions: the folder is listed.
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
    // What was merged is deleted 90 minutes later, so a second attempt finds what it was merged into.
    if (attempt > 2) throw damaged(missing, "restore the file from an earlier backup");
  }
  const files = entries.flatMap((one) => [
    document(entryDocument(topic, partition, one)),
    ...(one.file === null ? [] : [{ path: one.file, checksum: one.checksum }]),
  ]);
  files.push(...(await pins.tree(place, NOT_HELD_OF_A_PARTITION)));
  return { files, to: entries.at(-1)?.to.toString() ?? null, topicId: topicId ?? null };
}

/** Second names in the hold. */
class Pins {
  readonly data: DataDirectory;
  readonly #hold: string;
  readonly #folders = new Set<string>();

  constructor(data: DataDirectory, hold: string) {
    this.data = data;
    this.#hold = hold;
  }

  /** Pins these files; returns the first that is not there, or null. */
  async all(names: readonly string[]): Promise<string | null> {
    for (const name of names) if (!(await this.#pin(name))) return name;
    return null;
  }

  /**
   * Pins all documents in a folder and those in it, but for hidden ones and `except`; a single file when `name` is one.
   * Files that are deleted in the meantime are left out.
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
      // A symbolic link is followed, as every reader of the directory does.
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
      // An earlier attempt has pinned it.
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
