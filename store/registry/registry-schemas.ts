import { AvroSchema } from "../../core/codec/avro/avro.ts";
import type { SchemaLookup } from "../../core/codec/decode/decode.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "../files/files.ts";
import type { SchemaRegistry } from "./registry.ts";
import { FileRegistry, SchemaDocument, schemaDocument } from "./registry-files.ts";
import { type FoundSchema, foundSchemas } from "./registry-found.ts";
import { SchemaLimits } from "./registry-limits.ts";

/** The stream whose records are decoded. The verdict on a schema id depends on the contract's revision. */
export type SchemaReader = Pick<Stream, "name" | "revision">;

/** The source of a decoder's schemas. */
export interface SchemaSource {
  /** Returns a lookup for these ids. Throws NOT_READY when one is new and the registry does not answer. */
  lookup(ids: Iterable<number>, reader: SchemaReader): Promise<SchemaLookup>;
}

/** The number of ids that are looked up at once. */
const AT_ONCE = 32;

/**
 * The schemas of Avro records by id, the same for both layers and every later reading (invariant 3). The registry's
 * first answer for an id is stored in the data directory, even if it does not know the id, and stays valid from then
 * on.
 *
 * Bytes that only look like Avro have an unlimited number of ids. After a thousand unknown ids, ids far above the known
 * ones are unknown without a lookup or a document (`SchemaLimits`). If a schema was registered after its id was found
 * unknown, it is valid from the contract's next revision on, once a recheck has found it (`registry-found.ts`).
 */
export class Schemas implements SchemaSource {
  readonly #data: DataDirectory;
  readonly #registry: SchemaRegistry;
  readonly #limits: SchemaLimits;
  /** Whether the registry's answers are stored. */
  readonly #keeps: boolean;
  /** Compiled once. Null for an unknown id or a text that is not a schema. */
  readonly #known = new Map<number, AvroSchema | null>();
  /**
   * The schemas that rechecks have found. Read once, because they are valid only from revisions that no process has
   * decoded before.
   */
  #found: ReadonlyMap<number, FoundSchema & { readonly compiled: AvroSchema | null }> | null = null;

  constructor(data: DataDirectory, registry: SchemaRegistry, { keeps = true } = {}) {
    this.#keeps = keeps;
    this.#data = data;
    this.#registry = registry;
    this.#limits = new SchemaLimits(data);
  }

  /** Returns schemas with the registry in the data directory. */
  static inFiles(data: DataDirectory): Schemas {
    return new Schemas(data, new FileRegistry(data));
  }

  /** Returns schemas for reading without a trace: the registry's answer for a new id is not stored. */
  static withoutTrace(data: DataDirectory, registry: SchemaRegistry): Schemas {
    return new Schemas(data, registry, { keeps: false });
  }

  async lookup(ids: Iterable<number>, { name, revision }: SchemaReader): Promise<SchemaLookup> {
    const wanted = [...ids].filter((id) => !this.#known.has(id));
    if (wanted.length > 0) await this.#limits.refresh();
    for (let first = 0; first < wanted.length; first += AT_ONCE) {
      const some = wanted.slice(first, first + AT_ONCE).filter((id) => id <= this.#limits.ceiling);
      await Promise.all(some.map(async (id) => this.#known.set(id, compiled(await this.#verdict(id)))));
    }
    this.#found ??= await this.#readFound();
    const found = this.#found;
    return (id) => {
      const later = found.get(id);
      if (later !== undefined && revision >= (later.from[name] ?? 0)) return later.compiled;
      return this.#known.get(id) ?? null;
    };
  }

  /** Returns the text of an id's schema. Null when it is unknown. */
  async #verdict(id: number): Promise<string | null> {
    const name = schemaDocument(id);
    const held = await this.#data.read(name, SchemaDocument);
    if (held !== null) return this.#below(id, held.schema);
    const schema = await this.#registry.schemaById(id);
    if (!this.#keeps) return this.#below(id, schema);
    if (await this.#data.createExclusively(name, { schema, subject: null })) {
      if (schema === null) await this.#limits.metUnknown();
      return this.#below(id, schema);
    }
    const winner = await this.#data.read(name, SchemaDocument);
    if (winner === null) throw new TidelineError("NOT_READY", `${name} vanished`, "Restore the data directory.");
    return this.#below(id, winner.schema);
  }

  /** Returns the schema if the id is below the ceiling, which may have been set while the schema was looked up. */
  async #below(id: number, schema: string | null): Promise<string | null> {
    if (schema === null) return null;
    await this.#limits.refresh();
    return id <= this.#limits.ceiling ? schema : null;
  }

  async #readFound() {
    const found = await foundSchemas(this.#data);
    return new Map([...found].map(([id, one]) => [id, { ...one, compiled: compiled(one.schema) }]));
  }
}

/**
 * Compiles a schema. Null if the text is not an Avro schema, or one that this program cannot read. Records with it are
 * refused like those of an unknown id.
 */
function compiled(text: string | null): AvroSchema | null {
  try {
    return text === null ? null : new AvroSchema(text);
  } catch {
    return null;
  }
}
