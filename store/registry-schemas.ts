import { AvroSchema } from "../core/avro.ts";
import type { SchemaLookup } from "../core/decode.ts";
import { TidelineError } from "../core/errors.ts";
import type { DataDirectory } from "./files.ts";
import type { SchemaRegistry } from "./registry.ts";
import { FileRegistry, SchemaDocument, schemaDocument } from "./registry-files.ts";

/** What a decoder asks for schemas. */
export interface SchemaSource {
  /** A lookup that knows these ids. Throws NOT_READY when one is new and the registry does not answer. */
  lookup(ids: Iterable<number>): Promise<SchemaLookup>;
}

/**
 * The schemas of Avro records by their ids, as both layers and every later reading see them (invariant 3). What the registry says of an id when it is
 * asked for the first time is written down in the data directory, also that it does not know it, and holds from then on.
 */
export class Schemas implements SchemaSource {
  readonly #data: DataDirectory;
  readonly #registry: SchemaRegistry;
  /** Compiled once; null for an id that is unknown, or whose text is no schema. */
  readonly #known = new Map<number, AvroSchema | null>();

  constructor(data: DataDirectory, registry: SchemaRegistry) {
    this.#data = data;
    this.#registry = registry;
  }

  /** With the registry that lies in the data directory itself. */
  static inFiles(data: DataDirectory): Schemas {
    return new Schemas(data, new FileRegistry(data));
  }

  async lookup(ids: Iterable<number>): Promise<SchemaLookup> {
    for (const id of ids) if (!this.#known.has(id)) this.#remember(id, await this.#verdict(id));
    return (id) => this.#known.get(id) ?? null;
  }

  async #verdict(id: number): Promise<string | null> {
    const name = schemaDocument(id);
    const held = await this.#data.read(name, SchemaDocument);
    if (held !== null) return held.schema;
    const schema = await this.#registry.schemaById(id);
    if (await this.#data.createExclusively(name, { schema, subject: null })) return schema;
    const winner = await this.#data.read(name, SchemaDocument);
    if (winner === null) throw new TidelineError("NOT_READY", `${name} vanished`, "Restore the data directory.");
    return winner.schema;
  }

  #remember(id: number, text: string | null): void {
    this.#known.set(id, text === null ? null : compiled(text));
  }
}

/** A registry may hold what is no Avro schema, or more than can be read here: its records are refused like those of an unknown one. */
function compiled(text: string): AvroSchema | null {
  try {
    return new AvroSchema(text);
  } catch {
    return null;
  }
}
