import { z } from "zod";
import type { FieldSpec } from "../../core/contract/field.ts";
import { bare } from "../../core/contract/fields.ts";
import { COMPATIBILITIES, type Fields, idFields, type Stream } from "../../core/contract/stream.ts";
import { topicOf } from "../../core/contract/topic-names.ts";
import type { View } from "../../core/definition/view.ts";
import { count, list } from "../../core/json-parts.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { formatDuration } from "../../core/time.ts";
import { DuckPool } from "../duckdb/duck.ts";
import type { Definitions } from "./definitions.ts";
import { FieldReader, lineageOf } from "./lineage.ts";

const text = z.string();
const names = list(text);
/** The description of a definition. */
const about = { doc: text.nullable(), example: z.unknown() };

/** A field of an event, for people and for catalogues. */
export const FieldEntry = z.object({
  field: text.describe("of an element of a list items.sku"),
  type: text,
  column: text.describe("the type that SQL of a view sees"),
  required: z.boolean().describe("whether a record has to have it"),
  default: z
    .unknown()
    .describe("what an absent value becomes; absent: NULL, where the field may be absent")
    .exactOptional(),
  allowed: z.record(text, z.unknown()).describe("what the contract allows: bounds, values, sizes"),
  from: text.nullable().describe("where a record has it; null: under the field's name"),
  ...about,
  roles: names.describe("key, event id, event time"),
  readBy: list(FieldReader),
});
export type FieldEntry = z.infer<typeof FieldEntry>;

export const StreamEntry = z.object({
  stream: text,
  topic: text,
  ...about,
  revision: count,
  version: count,
  compatibility: z.enum(COMPATIBILITIES),
  partitions: count,
  dedupWindow: count.describe("a record whose event id came within this many offsets before it is a duplicate"),
  fields: list(FieldEntry),
  previous: list(z.object({ version: count, fields: list(FieldEntry) })).describe("older versions that are still read"),
  producers: names.describe("who writes the events, as the definition says"),
  readers: list(z.object({ kind: z.enum(["view", "table"]), name: text })),
});
export type StreamEntry = z.infer<typeof StreamEntry>;

const MeasureEntry = z.object({
  measure: text,
  kind: text,
  unit: text,
  accuracy: text,
  ...about,
  reads: names.describe("fields of the stream"),
});
type MeasureEntry = z.infer<typeof MeasureEntry>;

export const ViewEntry = z.object({
  view: text,
  kind: z.enum(["view", "table"]).describe("the rows of a table belong to keys, which are its dimensions"),
  stream: text,
  ...about,
  every: text.nullable().describe("the grain; null for a table"),
  where: text.nullable(),
  each: text.nullable(),
  dimensions: list(z.object({ dimension: text, sql: text, reads: names })),
  measures: list(MeasureEntry),
});
export type ViewEntry = z.infer<typeof ViewEntry>;

/** The dictionary of streams and views: the answer of GET /dictionary. */
export const Dictionary = z.object({ streams: list(StreamEntry), views: list(ViewEntry) });
export type Dictionary = z.infer<typeof Dictionary>;

type Lineage = ReadonlyMap<string, readonly FieldReader[]>;

/**
 * Returns the dictionary of some definitions: their descriptions, and for each field the parts of views that read it.
 */
export async function dictionaryOf({ streams, views }: Definitions, namespace: string): Promise<Dictionary> {
  const pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256 });
  const duck = await pool.connect();
  try {
    const lineages = new Map<View, Lineage>();
    for (const { view } of views.values()) lineages.set(view, await lineageOf(duck, view));
    const of = (stream: Stream) => [...lineages].filter(([view]) => view.stream.name === stream.name);
    return {
      streams: [...streams.values()].map((stream) => streamEntry(stream, namespace, of(stream))),
      views: [...lineages].map(([view, lineage]) => viewEntry(view, lineage)),
    };
  } finally {
    duck.closeSync();
    pool.close();
  }
}

function streamEntry(stream: Stream, namespace: string, readers: readonly (readonly [View, Lineage])[]): StreamEntry {
  const { name, doc = null, example = null, revision, version, compatibility, partitions, dedupWindow } = stream;
  const readBy = (field: string) => readers.flatMap(([, lineage]) => lineage.get(field) ?? []);
  return {
    stream: name,
    topic: topicOf(namespace, stream),
    ...{ doc, example, revision, version, compatibility, partitions, dedupWindow },
    fields: fieldEntries(stream.fields, stream, readBy),
    previous: stream.previous.map((older) => ({
      version: older.version,
      fields: fieldEntries(older.fields, stream, () => []),
    })),
    producers: stream.producers,
    readers: readers.map(([view]) => ({ kind: kindOf(view), name: view.name })),
  };
}

function fieldEntries(fields: Fields, stream: Stream, readBy: (field: string) => readonly FieldReader[]): FieldEntry[] {
  const roles = { key: [stream.key], "event id": idFields(stream), "event time": [stream.eventTime] };
  return Object.entries(fields).flatMap(([name, { spec, column, elements, doc = null, example = null }]) => {
    const is = bare(spec);
    const entry: FieldEntry = {
      field: name,
      ...typeEntry(spec),
      ...{ column, doc, example },
      roles: Object.entries(roles).flatMap(([role, fields]) => (fields.includes(name) ? [role] : [])),
      readBy: readBy(name),
    };
    if (is.type !== "list" && is.type !== "entries") return [entry];
    const inside = Object.entries(is.of).map(([inner, of]): FieldEntry => {
      const field = `${name}.${inner}`;
      const { doc = null, example = null } = elements?.[inner] ?? {};
      return { field, ...typeEntry(of), column: "", doc, example, roles: [], readBy: readBy(field) };
    });
    return [entry, ...inside];
  });
}

/** Returns the name of a type. `of`: the type of the values of a list or a map. */
function typeName({ type }: ReturnType<typeof bare>, of: string | undefined): string {
  if (type === "entries") return "map of objects";
  return of === undefined ? type : `${type === "map" ? "map" : "list"} of ${of}`;
}

function typeEntry(spec: FieldSpec): Pick<FieldEntry, "type" | "required" | "allowed" | "from" | "default"> {
  const is = bare(spec);
  const all: Readonly<Record<string, unknown>> & { readonly path?: string } = { ...is };
  const { type: _, of: __, path = null, ...allowed } = all;
  const value = is.type === "values" || is.type === "map" ? typeEntry(is.of) : null;
  return {
    type: typeName(is, value?.type),
    required: spec.type !== "optional" && spec.type !== "default",
    allowed: value === null ? allowed : { ...allowed, each: value.allowed },
    from: path,
    ...(spec.type === "default" ? { default: spec.value } : {}),
  };
}

function viewEntry(view: View, lineage: Lineage): ViewEntry {
  const { name, stream, doc = null, example = null, grainMs, where, each } = view;
  const reads = (part: string) =>
    [...lineage].flatMap(([field, readers]) => (readers.some((one) => one.part === part) ? [field] : []));
  return {
    view: name,
    kind: kindOf(view),
    stream: stream.name,
    ...{ doc, example, every: view.table === null ? formatDuration(grainMs) : null, where: where?.text ?? null, each },
    dimensions: Object.entries(view.by).map(([dimension, { text }]) => ({
      dimension,
      sql: text,
      reads: reads(`by.${dimension}`),
    })),
    measures: Object.entries(view.measures).map(([one, measure]) =>
      measureEntry(one, measure, reads(`measures.${one}`)),
    ),
  };
}

function kindOf({ table }: View): "view" | "table" {
  return table === null ? "view" : "table";
}

function measureEntry(measure: string, of: Measure, reads: readonly string[]): MeasureEntry {
  const { kind, unit, accuracy, doc = null, example = null } = of;
  return { measure, kind, unit, accuracy: accuracy.note, doc, example, reads };
}
