import { avroSchemaText } from "../../core/codec/avro/avro.ts";
import { incompatibilities } from "../../core/codec/avro/avro-compatibility.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import { type RegisteredSchema, type SchemaRegistry, subjectOf } from "./registry.ts";

/**
 * Registers the Avro schema of every version of these streams, the oldest first. Schemas that are registered already
 * are left unchanged. If records have fields in other places, the program that writes them registers their schemas.
 * Throws DEFINITION_INVALID for a version that was changed after it was registered, SCHEMA_INCOMPATIBLE for a new one
 * that breaks its stream's rule, NOT_READY when the registry does not answer.
 */
export async function prepareStreams(
  registry: SchemaRegistry,
  streams: Iterable<Stream>,
  topicOf: (stream: string) => string,
): Promise<void> {
  for (const stream of streams)
    if (stream.topic === null && stream.versions.every(({ wire }) => wire === null))
      await prepareStream(registry, stream, subjectOf(topicOf(stream.name)));
}

async function prepareStream(registry: SchemaRegistry, stream: Stream, subject: string): Promise<void> {
  const registered = await registry.versions(subject);
  let last = registered.at(-1)?.schema;
  for (const version of stream.versions.toReversed()) {
    const text = avroSchemaText(stream, version);
    const held = registered.find(({ schema }) => docOf(schema) === docOf(text));
    if (held !== undefined) {
      requireSame(stream, version.version, held, text);
      continue;
    }
    const problems = last === undefined ? [] : incompatibilities(text, last, stream.compatibility);
    if (problems.length > 0)
      throw new TidelineError(
        "SCHEMA_INCOMPATIBLE",
        `stream ${stream.name}, version ${version.version}: ${problems.join("; ")}`,
        "Give new fields a default, keep the types of old ones, or relax the " +
          `stream's compatibility ("${stream.compatibility}").`,
      );
    await registry.register(subject, text, stream.compatibility);
    last = text;
  }
}

function requireSame(stream: Stream, version: number, { schema }: RegisteredSchema, text: string): void {
  if (canonical(JSON.parse(schema)) === canonical(JSON.parse(text))) return;
  throw new TidelineError(
    "DEFINITION_INVALID",
    `stream ${stream.name}: version ${version} was changed after it was registered`,
    `Leave version ${version} as it was, and add version ${Math.max(version, stream.version) + 1}.`,
  );
}

/** Returns the property of a schema that names its version. */
function docOf(schema: string): unknown {
  return (JSON.parse(schema) as { readonly doc?: unknown }).doc;
}

/** Returns JSON with sorted keys, because a registry may return a schema with its keys in another order. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) =>
    typeof inner === "object" && inner !== null && !Array.isArray(inner)
      ? Object.fromEntries(Object.entries(inner).sort(([a], [b]) => (a < b ? -1 : 1)))
      : inner,
  );
}
