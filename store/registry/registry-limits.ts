import { join } from "node:path";
import { z } from "zod";
import type { DataDirectory } from "../files/files.ts";
import { readSchemaDocuments } from "./registry-files.ts";

/**
 * After this many unknown ids, ids above the greatest known one plus `room` stay unknown forever. Registries assign ids
 * one after the other, while the first bytes of other data are random. The second limit is for random ids that happen
 * to be small.
 */
const LIMITS = [
  { after: 1_000, room: 2 ** 20 },
  { after: 10_000, room: 10_000 },
] as const;

const CeilingDocument = z.strictObject({ ceiling: z.int() });
const COMPACTOR = "registry-limits";
const begunDocument = (after: number) => join(COMPACTOR, `${after}-begun.json`);
const ceilingDocument = (after: number) => join(COMPACTOR, `${after}.json`);

/**
 * The highest id for which schemas are looked up. A ceiling is a document, created exclusively, so that all processes
 * decide alike, now and later. It is made in two steps. A process that finds a schema after the first step waits for
 * the second, so a known schema is never above a ceiling that did not count it.
 */
export class SchemaLimits {
  readonly #data: DataDirectory;
  /** Ids above it are unknown. */
  ceiling = Number.POSITIVE_INFINITY;
  readonly #set = new Set<number>();
  /** The number of stored unknown ids, as far as this process knows. Null before it has counted them. */
  #unknown: Promise<number> | null = null;
  #met = 0;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  /** Reads ceilings that other processes have set. */
  async refresh(): Promise<void> {
    for (const { after, room } of LIMITS)
      if (!this.#set.has(after) && (await this.#data.has(begunDocument(after)))) await this.#finish(after, room);
  }

  /** Call it when an id was found unknown, and that was stored. */
  async metUnknown(): Promise<void> {
    this.#met += 1;
    this.#unknown ??= unknownIds(this.#data).then((count) => count - this.#met);
    const count = (await this.#unknown) + this.#met;
    for (const { after, room } of LIMITS) {
      if (count < after || this.#set.has(after)) continue;
      await this.#data.createExclusively(begunDocument(after), {});
      await this.#finish(after, room);
    }
  }

  async #finish(after: number, room: number): Promise<void> {
    const name = ceilingDocument(after);
    let held = await this.#data.read(name, CeilingDocument);
    if (held === null) {
      const known = (await readSchemaDocuments(this.#data)).filter(({ schema }) => schema !== null);
      const ceiling = known.reduce((greatest, { id }) => Math.max(greatest, id), 0) + room;
      await this.#data.createExclusively(name, { ceiling });
      held = await this.#data.read(name, CeilingDocument);
    }
    if (held === null) return;
    this.#set.add(after);
    this.ceiling = Math.min(this.ceiling, held.ceiling);
  }
}

async function unknownIds(data: DataDirectory): Promise<number> {
  return (await readSchemaDocuments(data)).filter(({ schema }) => schema === null).length;
}
