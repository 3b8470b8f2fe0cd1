import { AvroSchema, avroSchemaText } from "../../core/codec/avro/avro.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { type SchemaRegistry, subjectOf } from "../../store/registry/registry.ts";

/**
 * Encodes an event of one of a stream's versions in Confluent's wire format. Throws if the version's schema has no
 * place for a field.
 */
export type AvroEncoder = (version: number, event: unknown) => Buffer;

/**
 * Returns an encoder for the stream in `topic`, with the schema ids that the registry gave to the stream's versions.
 * Throws BAD_REQUEST if the stream's definition names its topic, or has fields in other places.
 */
export async function avroEncoder(registry: SchemaRegistry, stream: Stream, topic: string): Promise<AvroEncoder> {
  if (stream.topic !== null)
    throw new TidelineError(
      "BAD_REQUEST",
      `topic ${topic} belongs to somebody else, and so do the schemas that are registered for it`,
      "Send JSON, without --format avro.",
    );
  if (stream.versions.some(({ wire }) => wire !== null))
    throw new TidelineError(
      "BAD_REQUEST",
      `${stream.name} reads fields by paths or instants in a form of their own: ` +
        "what Avro schema its records have is not known",
      "Send JSON, without --format avro.",
    );
  const schemas = new Map<number, { readonly id: number; readonly schema: AvroSchema }>();
  for (const version of stream.versions.toReversed()) {
    const text = avroSchemaText(stream, version);
    const id = await registry.register(subjectOf(topic), text, stream.compatibility);
    schemas.set(version.version, { id, schema: new AvroSchema(text) });
  }
  return (version, event) => {
    const found = schemas.get(version);
    if (found === undefined) throw new RangeError(`${stream.name} has no version ${version}`);
    return found.schema.encode(found.id, event);
  };
}
