import type { Compatibility } from "../../core/contract/stream.ts";

/** A schema as it is registered under a subject. */
export interface RegisteredSchema {
  readonly id: number;
  readonly schema: string;
}

/**
 * Where producers and readers agree on Avro schemas. Every method throws NOT_READY when the registry does not answer.
 */
export interface SchemaRegistry {
  /** The schema's text; null when the registry does not know the id. */
  schemaById(id: number): Promise<string | null>;
  /**
   * Registers a schema as the subject's newest version unless it has it, and returns its id. Throws
   * SCHEMA_INCOMPATIBLE.
   */
  register(subject: string, schema: string, compatibility: Compatibility): Promise<number>;
  /** A subject's schemas, oldest first; empty if there is no such subject. */
  versions(subject: string): Promise<RegisteredSchema[]>;
}

/** The subject under which a topic's values are registered: Confluent's default naming. */
export function subjectOf(topic: string): string {
  return `${topic}-value`;
}
