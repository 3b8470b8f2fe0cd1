import { z } from "zod";
import type { Field, FieldSpec } from "./field.ts";
import {
  decimal,
  type FromPath,
  flag,
  integer,
  list,
  map,
  oneOf,
  optional,
  storedInstant,
  text,
  withDefault,
} from "./fields.ts";
import { WRITTEN } from "./record/record-time.ts";
import { NUMBER_TEXTS, ROUNDINGS } from "./record/record-value.ts";
import { COMPATIBILITIES, type Fields, type Stream, stream } from "./stream.ts";

/**
 * A stream's definition as plain JSON. It is stored, so that the state of an older definition remains usable after its
 * file was edited. A stream made from its document decodes as the original does.
 */

const asText = { as: z.literal("text").optional() };
const asNumber = { as: z.enum(NUMBER_TEXTS).optional() };
const placed = { path: z.string().optional() };

const Spec: z.ZodType<FieldSpec> = z.lazy(() =>
  z.discriminatedUnion("type", [
    z.strictObject({ type: z.literal("integer"), min: z.int(), max: z.int(), ...asNumber, ...placed }),
    z.strictObject({
      type: z.literal("instant"),
      from: z.string(),
      to: z.string(),
      as: z.enum(WRITTEN).optional(),
      zone: z.string().optional(),
      ...placed,
    }),
    z.strictObject({
      type: z.literal("decimal"),
      scale: z.int(),
      min: z.number(),
      max: z.number(),
      round: z.enum(ROUNDINGS).optional(),
      ...asNumber,
      ...placed,
    }),
    z.strictObject({ type: z.literal("text"), max: z.int(), as: z.enum(["uuid", "scalar"]).optional(), ...placed }),
    z.strictObject({
      type: z.literal("oneOf"),
      values: z.array(z.string()),
      as: z.literal("any-case").optional(),
      ...placed,
    }),
    z.strictObject({ type: z.literal("flag"), ...asText, ...placed }),
    z.strictObject({ type: z.literal("list"), of: z.record(z.string(), Spec), max: z.int(), ...placed }),
    z.strictObject({ type: z.literal("values"), of: Spec, max: z.int(), ...placed }),
    z.strictObject({ type: z.literal("map"), of: Spec, max: z.int(), ...placed }),
    z.strictObject({ type: z.literal("entries"), of: z.record(z.string(), Spec), max: z.int(), ...placed }),
    z.strictObject({ type: z.literal("optional"), of: Spec }),
    z.strictObject({
      type: z.literal("default"),
      of: Spec,
      value: z.union([z.string(), z.number(), z.boolean(), z.array(z.never())]),
    }),
  ]),
) as z.ZodType<FieldSpec>;

const Specs = z.record(z.string(), Spec);

export const StreamDocument = z.strictObject({
  name: z.string(),
  topic: z.string().optional(),
  revision: z.int(),
  partitions: z.int(),
  key: z.string(),
  eventId: z.union([z.string(), z.array(z.string()).readonly()]),
  eventTime: z.string(),
  dedupWindow: z.int(),
  tombstones: z.literal("delete").optional(),
  version: z.int(),
  compatibility: z.enum(COMPATIBILITIES),
  fields: Specs,
  previous: z.array(z.strictObject({ version: z.int(), fields: Specs, upcast: z.record(z.string(), z.string()) })),
});
export type StreamDocument = z.infer<typeof StreamDocument>;

export function streamDocument(definition: Stream): StreamDocument {
  const { name, revision, partitions, key, eventId, eventTime, dedupWindow, version, compatibility } = definition;
  const previous = definition.previous.map(({ version, fields, upcast = {} }) => ({
    version,
    fields: specsOf(fields),
    upcast: Object.fromEntries(Object.entries(upcast).map(([field, { text }]) => [field, text])),
  }));
  const roles = { key, eventId, eventTime };
  return {
    name,
    ...(definition.topic === null ? {} : { topic: definition.topic }),
    ...{ revision, partitions, ...roles, dedupWindow, version, compatibility },
    ...(definition.tombstones === null ? {} : { tombstones: definition.tombstones }),
    fields: specsOf(definition.fields),
    previous,
  };
}

function specsOf(fields: Fields): Record<string, FieldSpec> {
  return Object.fromEntries(Object.entries(fields).map(([name, { spec }]) => [name, spec]));
}

/** Returns the stream of a document. */
export function streamFrom({ name, topic, fields, previous, tombstones, ...definition }: StreamDocument): Stream {
  return stream(name, {
    ...definition,
    topic: topic ?? null,
    tombstones: tombstones ?? null,
    fields: fieldsFrom(fields),
    previous: previous.map(({ version, fields, upcast }) => ({
      version,
      fields: fieldsFrom(fields),
      upcast: Object.fromEntries(Object.entries(upcast).map(([field, text]) => [field, { text }])),
    })),
  });
}

function fieldsFrom(specs: Readonly<Record<string, FieldSpec>>): Record<string, Field> {
  return Object.fromEntries(Object.entries(specs).map(([name, spec]) => [name, fieldFrom(spec)]));
}

/** Returns the field of a specification. Throws RangeError if the field's builder refuses it. */
export function fieldFrom(spec: FieldSpec): Field {
  const field = builtFrom(spec);
  if (field.problem !== undefined) throw new RangeError(field.problem);
  return field;
}

function builtFrom(spec: FieldSpec): Field {
  switch (spec.type) {
    case "integer":
      return integer(placedAt(spec));
    case "instant":
      return storedInstant(spec);
    case "decimal":
      return decimal(placedAt(spec));
    case "text":
      return text(placedAt(spec));
    case "oneOf":
      return oneOf(...spec.values, placedAt(spec));
    case "flag":
      return flag(placedAt(spec));
    case "list":
      return list(fieldsFrom(spec.of), placedAt(spec));
    case "values":
      return list(fieldFrom(spec.of), sizeAt(spec));
    case "map":
      return map(fieldFrom(spec.of), sizeAt(spec));
    case "entries":
      return map(fieldsFrom(spec.of), sizeAt(spec));
    case "optional":
      return optional(fieldFrom(spec.of));
    case "default":
      return withDefault<unknown>(fieldFrom(spec.of), spec.value);
  }
}

function sizeAt({ max, path }: { readonly max: number; readonly path?: string }): { max: number } & FromPath {
  return placedAt({ max, ...(path === undefined ? {} : { path }) });
}

/** Returns a specification as options for its builder. */
function placedAt<T extends { readonly path?: string }>({ path, ...spec }: T): Omit<T, "path"> & FromPath {
  return path === undefined ? spec : { ...spec, from: path };
}
