import { join } from "node:path";
import { z } from "zod";
import type { DataDirectory } from "../files/files.ts";
import type { RegisteredSchema, SchemaRegistry } from "./registry.ts";

/** The verdict on an id, written once: a schema, or null if the id was not registered when it was first looked up. */
export const SchemaDocument = z.strictObject({ schema: z.string().nullable(), subject: z.string().nullable() });
export type SchemaDocument = z.infer<typeof SchemaDocument>;

/**
 * The registry that needs no server: `registry/<id>.json`, each created exclusively, so that two processes never assign
 * the same id. An id that a reader has found unknown is not assigned either: it stays unknown (invariant 3).
 */
export class FileRegistry implements SchemaRegistry {
  readonly #data: DataDirectory;

  constructor(data: DataDirectory) {
    this.#data = data;
  }

  async schemaById(id: number): Promise<string | null> {
    return (await this.#data.read(schemaDocument(id), SchemaDocument))?.schema ?? null;
  }

  async register(subject: string, schema: string): Promise<number> {
    for (;;) {
      const documents = await readSchemaDocuments(this.#data);
      const known = documents.find((document) => document.subject === subject && document.schema === schema);
      if (known !== undefined) return known.id;
      const taken = new Set(documents.map(({ id }) => id));
      let id = 1;
      while (taken.has(id)) id++;
      if (await this.#data.createExclusively(schemaDocument(id), { schema, subject })) return id;
    }
  }

  async versions(subject: string): Promise<RegisteredSchema[]> {
    return (await readSchemaDocuments(this.#data)).flatMap(({ id, schema, subject: of }) =>
      schema !== null && of === subject ? [{ id, schema }] : [],
    );
  }
}

const COMPACTOR = "registry";
/** The number of documents that are read at once. */
const AT_ONCE = 32;

/**
 * Returns all documents by id, the smallest first. An id is assigned only after all below it, so this is the order of
 * registration.
 */
export async function readSchemaDocuments(data: DataDirectory): Promise<(SchemaDocument & { id: number })[]> {
  const names = await data.list(COMPACTOR);
  const documents: (SchemaDocument & { id: number })[] = [];
  for (let first = 0; first < names.length; first += AT_ONCE) {
    const some = names.slice(first, first + AT_ONCE);
    const read = await Promise.all(some.map((name) => data.read(join(COMPACTOR, name), SchemaDocument)));
    for (const [index, document] of read.entries())
      if (document !== null) documents.push({ id: Number.parseInt(some[index] ?? "", 10), ...document });
  }
  return documents.sort((a, b) => a.id - b.id);
}

/** Returns the name of an id's document in the data directory. */
export function schemaDocument(id: number): string {
  return join(COMPACTOR, `${String(id).padStart(10, "0")}.json`);
}
