import { join } from "node:path";
import { Manifest } from "../core/documents.ts";
import type { Generation } from "../core/generation.ts";
import { EMPTY_LEDGER } from "../core/ledger.ts";
import { type Cut, cutToJson } from "../core/position.ts";
import type { DataDirectory } from "./files.ts";

/**
 * The versions of every generation: `views/<generation>/manifests/<number>.json`, each created exclusively. A manifest is the truth;
 * the pointer in Redis only caches its number.
 */
export class Manifests {
  readonly #data: DataDirectory;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** The newest manifest, or null when the generation has not begun. */
  async newest(generation: Generation): Promise<Manifest | null> {
    const names = await this.#data.list(folder(generation));
    const last = names.at(-1);
    return last === undefined ? null : this.#data.read(join(folder(generation), last), Manifest);
  }

  async version(generation: Generation, version: number): Promise<Manifest | null> {
    return this.#data.read(file(generation, version), Manifest);
  }

  /** Publishes a version, unless another writer has published that number. True: this call did. */
  async create(manifest: Manifest): Promise<boolean> {
    return this.#data.createExclusively(file(manifest.generation, manifest.version), Manifest.parse(manifest));
  }

  /** Version 0, which fixes where the log begins for this generation; made by whoever comes first, the same for all. */
  async genesis(generation: Generation, start: Cut, topicId: string, createdBy: string): Promise<Manifest> {
    const cut = cutToJson(start);
    const manifest = {
      generation,
      version: 0,
      base: cut,
      cut,
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
    return join("views", generation, "states");
  }
}

function numbered(number: number): string {
  return String(number).padStart(9, "0");
}

function folder(generation: Generation): string {
  return join("views", generation, "manifests");
}

function file(generation: Generation, version: number): string {
  return join(folder(generation), `${numbered(version)}.json`);
}
