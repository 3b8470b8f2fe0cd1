import { join } from "node:path";
import { z } from "zod";
import type { Stream } from "../../core/contract/stream.ts";
import type { DataDirectory } from "../files/files.ts";
import type { SchemaRegistry } from "./registry.ts";
import { readSchemaDocuments } from "./registry-files.ts";

/**
 * A schema that was registered after its id had been found unknown. It is valid from these revisions of streams on, and
 * at once for any other stream.
 */
export const FoundSchema = z.strictObject({ schema: z.string(), from: z.record(z.string(), z.int()) });
export type FoundSchema = z.infer<typeof FoundSchema>;

const COMPACTOR = "registry-found";
const AT_ONCE = 16;

/** Returns the schemas that rechecks have found, by id. */
export async function foundSchemas(data: DataDirectory): Promise<Map<number, FoundSchema>> {
  const found = new Map<number, FoundSchema>();
  for (const name of await data.list(COMPACTOR)) {
    const document = await data.read(join(COMPACTOR, name), FoundSchema);
    if (document !== null) found.set(Number.parseInt(name, 10), document);
  }
  return found;
}

export interface Recheck {
  /** Ids that the registry knows now, and did not know when records with them were read. */
  readonly found: readonly number[];
  /** Ids that the registry still does not know. */
  readonly unknown: readonly number[];
}

/**
 * Asks the registry again for ids that were found unknown: all stored ones, and `more`. Schemas that it knows now are
 * stored for the next revision of each stream. The present revisions keep their verdict, because records with these ids
 * were already refused, by one layer or by both (invariant 3). Throws NOT_READY when the registry does not answer.
 */
export async function recheckSchemas(
  data: DataDirectory,
  registry: SchemaRegistry,
  streams: Iterable<Pick<Stream, "name" | "revision">>,
  more: readonly number[] = [],
): Promise<Recheck> {
  const documents = await readSchemaDocuments(data);
  const known = new Set(documents.filter(({ schema }) => schema !== null).map(({ id }) => id));
  for (const id of (await foundSchemas(data)).keys()) known.add(id);
  const unknown = documents.filter(({ schema }) => schema === null).map(({ id }) => id);
  const asked = [...new Set([...unknown, ...more])].filter((id) => !known.has(id)).sort((a, b) => a - b);
  const from = Object.fromEntries([...streams].map(({ name, revision }) => [name, revision + 1]));
  const found: number[] = [];
  for (let first = 0; first < asked.length; first += AT_ONCE) {
    await Promise.all(
      asked.slice(first, first + AT_ONCE).map(async (id) => {
        const schema = await registry.schemaById(id);
        if (schema === null) return;
        await data.createExclusively(join(COMPACTOR, `${id}.json`), { schema, from });
        found.push(id);
      }),
    );
  }
  found.sort((a, b) => a - b);
  return { found, unknown: asked.filter((id) => !found.includes(id)) };
}
