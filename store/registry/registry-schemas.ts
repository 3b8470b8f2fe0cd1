import { AvroSchema } from "../../core/codec/avro/avro.ts";
import type { SchemaLookup } from "../../core/codec/decode/decode.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { DataDirectory } from "../files/files.ts";
import type { SchemaRegistry } from "./registry.ts";
import { FileRegistry, SchemaDocument, schemaDocument } from "./registry-files.ts";
import { type FoundSchema, foundSchemas } from "./registry-found.ts";
import { SchemaLimits } from "./registry-limits.ts";

/** Whose records are decoded: what is known of a schema id depends on the contract's revision. */
export type SchemaReader = Pick<Stream, "name" | "revision">;

/** What a decoder asks for schemas. */
export interface SchemaSource {
  /** A lookup that knows these ids. Throws NOT_READY when one is new and the registry does not answer. */
  lookup(ids: Iterable<number>, reader: SchemaReader): Promise<SchemaLookup>;
}

/** This many ids are looked up at once. */
const AT_ONCE = 32;

/**
 * The schemas of Avro records by their ids, as both layers and every later reading see them (invariant 3). What the
 * registry says of an id when it is asked for the first time is written down in the data directory, also that it does
 * not know it, and holds from then on.
 *
 * Bytes that only look like Avro have ids without number. After a thousand unknown ids those far beyond the known ones
 * are unknown without being looked up or written down (`SchemaLimits`). A schema that was registered after its id was
 * found unknown holds from the contract's next revision on, once a recheck has found it (`registry-found.ts`).
 */
export class Schemas implements SchemaSource {
  readonly #data: DataDirectory;
  readonly #registry: SchemaRegistry;
  readonly #limits: SchemaLimits;
  /** Whether what the registry says is written down. */
  readonly #keeps: boolean;
  /** Compiled once; null for an unknown id or a text that is not a schema. */
  readonly #known = new Map<number, AvroSchema | null>();
  /** What rechecks have found; read once, as it holds from revisions on that no process decoded before. */
  #found: ReadonlyMap<number, FoundSchema & { readonly compiled: AvroSchema | null }> | null = null;

  constructor(data: DataDirectory, registry: SchemaRegistry, { keeps = true } = {}) {
    this.#keeps = keeps;
    this.#data = data;
    this.#registry = registry;
    this.#limits = new SchemaLimits(data);
  }

  /** With the registry that lies in the data directory itself. */
  static inFiles(data: DataDirectory): Schemas {
    return new Schemas(data, new FileRegistry(data));
  }

  /** For reading that must leave no trace: what a registry says of a new id is not written down. */
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

  /** The text of an id's schema; null when it is unknown. */
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

  /** A schema counts only below the ceiling, and that may have been set while it was looked up. */
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
 * A registry may hold what is not an Avro schema, or more than can be read here: its records are refused like those of
 * an unknown one.
 */
function compiled(text: string | null): AvroSchema | null {
  try {
    return text === null ? null : new AvroSchema(text);
  } catch {
    return null;
  }
}
