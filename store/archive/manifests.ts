import { basename, dirname, join } from "node:path";
import { z } from "zod";
import type { Generation } from "../../core/definition/generation.ts";
import { Manifest } from "../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import type { Cut } from "../../core/log/position.ts";
import type { DataDirectory } from "../files/files.ts";

/** The number of versions that stay, for people. It is far more than are published in `LIST_AGE_MS`. */
const KEPT_VERSIONS = 1_000;

/**
 * How long to look for newer versions by number before the folder is listed again: the numbers after a known one may
 * have been deleted.
 */
const LIST_AGE_MS = 5 * 60_000;

/**
 * The versions of every generation: `views/<generation>/manifests/<number>.json`, each created exclusively. The
 * manifests decide which versions exist; the pointer in Redis only caches a number.
 */
export class Manifests {
  readonly #data: DataDirectory;
  /**
   * The newest manifest that this process knows, by generation. Newer ones are found by number, so the cost does not
   * depend on how many there are.
   */
  readonly #known = new Map<Generation, { readonly manifest: Manifest; readonly listedAtMs: number }>();

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Returns the newest manifest. Null when the generation has not begun. */
  async newest(generation: Generation): Promise<Manifest | null> {
    const known = this.#known.get(generation);
    const begin =
      known !== undefined && performance.now() - known.listedAtMs < LIST_AGE_MS
        ? known
        : { manifest: await this.#listed(generation), listedAtMs: performance.now() };
    let newest = begin.manifest;
    if (newest === null) return null;
    for (;;) {
      const next: Manifest | null = await this.version(generation, newest.version + 1);
      if (next === null) break;
      newest = next;
    }
    this.#known.set(generation, { manifest: newest, listedAtMs: begin.listedAtMs });
    return newest;
  }

  async #listed(generation: Generation): Promise<Manifest | null> {
    const last = (await this.#data.list(folder(generation))).at(-1);
    return last === undefined ? null : this.#data.read(join(folder(generation), last), Manifest);
  }

  /**
   * Deletes old manifests, except the genesis and the newest ones. The files of old versions are long gone. If a
   * process that slept publishes under a deleted number, nobody reads that manifest, because newer ones exist.
   */
  async prune(generation: Generation, newest: number): Promise<void> {
    for (const name of await this.#data.list(folder(generation))) {
      const version = Number(name.replace(/\.json$/, ""));
      if (version > 0 && version < newest - KEPT_VERSIONS) await this.#data.remove(join(folder(generation), name));
    }
  }

  async version(generation: Generation, version: number): Promise<Manifest | null> {
    return this.#data.read(manifestDocument(generation, version), Manifest);
  }

  /** Publishes a version. Returns false if another writer has published that number. */
  async create(manifest: Manifest): Promise<boolean> {
    const name = manifestDocument(manifest.generation, manifest.version);
    return this.#data.createExclusively(name, z.encode(Manifest, manifest));
  }

  /**
   * Returns version 0, which sets where the log begins for this generation. The process that comes first makes it, and
   * it is the same for all.
   */
  async genesis(generation: Generation, start: Cut, topicId: string, createdBy: string): Promise<Manifest> {
    const manifest = {
      generation,
      version: 0,
      base: start,
      cut: start,
      files: [],
      ledger: EMPTY_LEDGER,
      topicId,
      createdBy,
      createdAtMs: Date.now(),
    };
    await this.create(manifest);
    return (await this.version(generation, 0)) ?? manifest;
  }

  /** Returns the folder of this generation's state files. */
  stateFolder(generation: Generation): string {
    return join("views", generation, STATES);
  }
}

const STATES = "states";

/** Returns the folder of the indexes for a folder of state files. Null for a folder whose files no manifest names. */
export function indexFolderOf(folder: string): string | null {
  return basename(folder) === STATES ? join(dirname(folder), "indexes") : null;
}

function numbered(number: number): string {
  return String(number).padStart(9, "0");
}

function folder(generation: Generation): string {
  return join("views", generation, "manifests");
}

/** Returns the name of a version's manifest. */
export function manifestDocument(generation: Generation, version: number): string {
  return join(folder(generation), `${numbered(version)}.json`);
}
