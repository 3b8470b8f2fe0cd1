import { basename, dirname, join } from "node:path";
import { z } from "zod";
import type { Generation } from "../../core/definition/generation.ts";
import { Manifest } from "../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../core/log/ledger.ts";
import type { Cut } from "../../core/log/position.ts";
import type { DataDirectory } from "../files/files.ts";

/** How many versions stay for people to look at; far more than are published in `LIST_AGE_MS`. */
const KEPT_VERSIONS = 1_000;

/** After so long the folder is listed again: the numbers that follow a known one may have been deleted. */
const LIST_AGE_MS = 5 * 60_000;

/**
 * The versions of every generation: `views/<generation>/manifests/<number>.json`, each created exclusively. A manifest
 * is the truth; the pointer in Redis only caches its number.
 */
export class Manifests {
  readonly #data: DataDirectory;
  /**
   * The newest that this process knows of; those after it are found by their number, so asking costs the same however
   * many there are.
   */
  readonly #known = new Map<Generation, { readonly manifest: Manifest; readonly listedAtMs: number }>();

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** The newest manifest, or null when the generation has not begun. */
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
   * Deletes old manifests, all but the genesis and the newest ones, whose files are long gone. A process that slept and
   * publishes under a number that was deleted makes a manifest that nobody reads, because newer ones are there.
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

  /** Publishes a version, unless another writer has published that number. True: this call did. */
  async create(manifest: Manifest): Promise<boolean> {
    const name = manifestDocument(manifest.generation, manifest.version);
    return this.#data.createExclusively(name, z.encode(Manifest, manifest));
  }

  /**
   * Version 0, which fixes where the log begins for this generation; made by the process that comes first, the same for
   * all.
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

  /** Where this generation keeps its state files. */
  stateFolder(generation: Generation): string {
    return join("views", generation, STATES);
  }
}

const STATES = "states";

/** Where the indexes of the state files in a folder are; null for a folder whose files no manifest names. */
export function indexFolderOf(folder: string): string | null {
  return basename(folder) === STATES ? join(dirname(folder), "indexes") : null;
}

function numbered(number: number): string {
  return String(number).padStart(9, "0");
}

function folder(generation: Generation): string {
  return join("views", generation, "manifests");
}

/** The name of a version's manifest. */
export function manifestDocument(generation: Generation, version: number): string {
  return join(folder(generation), `${numbered(version)}.json`);
}
