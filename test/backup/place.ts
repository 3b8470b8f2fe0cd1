import { createHash } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect } from "vitest";
import { sweepStates } from "../../batch-layer/versions/publish.ts";
import type { ArchiveEntry, Manifest, StateFile } from "../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { position } from "../../core/log/position.ts";
import { Archive } from "../../store/archive/archive.ts";
import { indexFolderOf, Manifests } from "../../store/archive/manifests.ts";
import { BackupFolder } from "../../store/backup/backup-folder.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { entry } from "../fixtures/events/archived-log.ts";

/** The folder, between the hooks of `useFolder`. */
export let home: string;

/** Makes a folder for the directories of a test file, and removes it at its end. */
export function useFolder(): void {
  beforeAll(async () => {
    home = await mkdtemp(join(tmpdir(), "tideline-backup-"));
  });
  afterAll(() => rm(home, { recursive: true }));
}

export const GENERATION = "revenue.0123456789ab";
export const TOPIC = "orders";
export const NEVER = new AbortController().signal;

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
    const states = this.manifests.stateFolder(GENERATION);
    const prefix = String(version).padStart(9, "0");
    const index = { ...(await this.#file(indexFolderOf(states) ?? "", prefix)), columns: ["shop"], rows: 1 };
    const state: StateFile = { ...(await this.#file(states, prefix)), rows: 1, index };
    const manifest: Manifest = {
      ...newest,
      version,
      base: newest.cut,
      cut: new Map([[0, position(this.#records)]]),
      files: version % 2 === 0 ? [state] : [...newest.files, state],
      ledger: EMPTY_LEDGER,
    };
    expect(await this.manifests.create(manifest)).toBe(true);
    await sweepStates({ ...this, log: null, pool: null, schemas: null, readersMs: 0 } as never, GENERATION);
    return manifest;
  }
}

let directories = 0;
export async function place() {
  const here = join(home, String(++directories));
  const data = new DataDirectory(join(here, "data"));
  return { here, data, worker: await Worker.open(data), folder: new BackupFolder(join(here, "backup")) };
}

/** The names and hashes of all files, but for hidden ones. */
export async function contents(root: string): Promise<Record<string, string>> {
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
export async function requireWhole(root: string): Promise<Manifest> {
  const data = new DataDirectory(root);
  const newest = (await new Manifests(data).newest(GENERATION)) as Manifest;
  await data.requireIntact(newest.files);
  await data.requireIntact(newest.files.flatMap(({ index }) => index ?? []));
  const entries = await new Archive(data).entries(TOPIC, "topic-1", 0);
  await data.requireIntact(entries);
  expect(entries.at(-1)?.to ?? 0n).toBeGreaterThanOrEqual(newest.cut.get(0) ?? 0n);
  return newest;
}

let clock = Date.parse("2026-01-01T00:00:00Z");
export function options(signal = NEVER) {
  clock += 60_000;
  return { nowMs: clock, signal };
}
