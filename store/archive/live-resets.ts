import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { z } from "zod";
import type { Generation } from "../../core/definition/generation.ts";
import { LiveReset, Unbalanced } from "../../core/log/documents.ts";
import type { DataDirectory } from "../files/files.ts";

/**
 * Refreshes that found a difference between live state and archive, and the resets of live state because of it.
 *
 *   views/<generation>/unbalanced.json       the last span that differed, and the number of failures in a row
 *   views/<generation>/resets/<time>.json    when live state was dropped for that, and why
 */
export class LiveResets {
  readonly #data: DataDirectory;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Counts one more failure over a span. Returns the number of failures in a row. */
  async failed(generation: Generation, span: Omit<Unbalanced, "failures">): Promise<number> {
    const name = join("views", generation, "unbalanced.json");
    const last = await this.#data.read(name, Unbalanced);
    const again = last !== null && last.version === span.version && isDeepStrictEqual(last.to, span.to);
    const failures = (again ? last.failures : 0) + 1;
    await this.#data.replace(name, JSON.stringify(z.encode(Unbalanced, { ...span, failures })));
    return failures;
  }

  async note(generation: Generation, reset: LiveReset): Promise<void> {
    await this.#data.createExclusively(join(folderOf(generation), `${reset.atMs}.json`), z.encode(LiveReset, reset));
  }

  /** Returns the last reset of a generation. Null when there was none. */
  async newest(generation: Generation): Promise<LiveReset | null> {
    const name = (await this.#data.list(folderOf(generation))).at(-1);
    return name === undefined ? null : this.#data.read(join(folderOf(generation), name), LiveReset);
  }
}

function folderOf(generation: Generation): string {
  return join("views", generation, "resets");
}
