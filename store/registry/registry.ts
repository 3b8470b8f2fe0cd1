import type { Compatibility } from "../../core/contract/stream.ts";

/** A schema as it is registered under a subject. */
export interface RegisteredSchema {
  readonly id: number;
  readonly schema: string;
}

/**
 * The service in which producers and readers agree on Avro schemas. Every method throws NOT_READY when the registry
 * does not answer.
 */
export interface SchemaRegistry {
  /** Returns the schema's text. Null when the registry does not know the id. */
  schemaById(id: number): Promise<string | null>;
  /**
   * Registers a schema as the subject's newest version, unless the subject has it already. Returns its id. Throws
   * SCHEMA_INCOMPATIBLE.
   */
  register(subject: string, schema: string, compatibility: Compatibility): Promise<number>;
  /** Returns a subject's schemas, oldest first. Empty if there is no such subject. */
  versions(subject: string): Promise<RegisteredSchema[]>;
}

/** Returns the subject under which a topic's values are registered: Confluent's default naming. */
export function subjectOf(topic: string): string {
  return `${topic}-value`;
}
