import type { FieldSpec } from "../../core/contract/field.ts";
import { bare } from "../../core/contract/fields.ts";
import { type Compatibility, type Fields, idFields, type Stream } from "../../core/contract/stream.ts";
import { topicOf } from "../../core/contract/topic-names.ts";
import type { View } from "../../core/definition/view.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { formatDuration } from "../../core/time.ts";
import { DuckPool } from "../duckdb/duck.ts";
import type { Definitions } from "./definitions.ts";
import { type FieldReader, lineageOf } from "./lineage.ts";

/** A field of an event, for people and for catalogues. */
export interface FieldEntry {
  /** Of an element of a list `items.sku`. */
  readonly field: string;
  readonly type: string;
  /** The type that SQL of a view sees. */
  readonly column: string;
  /** Whether a record has to have it. */
  readonly required: boolean;
  /** What an absent value becomes; absent: NULL, where the field may be absent. */
  readonly default?: unknown;
  /** What the contract allows: bounds, values, sizes. */
  readonly allowed: Readonly<Record<string, unknown>>;
  /** Where a record has it; null: under the field's name. */
  readonly from: string | null;
  readonly doc: string | null;
  readonly example: unknown;
  /** `key`, `event id`, `event time`. */
  readonly roles: readonly string[];
  readonly readBy: readonly FieldReader[];
}

export interface StreamEntry {
  readonly stream: string;
  readonly topic: string;
  readonly doc: string | null;
  readonly example: unknown;
  readonly revision: number;
  readonly version: number;
  readonly compatibility: Compatibility;
  readonly partitions: number;
  /** A record whose event id came within this many offsets before it is a duplicate. */
  readonly dedupWindow: number;
  readonly fields: readonly FieldEntry[];
  /** Older versions that are still read, with their fields. */
  readonly previous: readonly { readonly version: number; readonly fields: readonly FieldEntry[] }[];
  /** Who writes the events, as the definition says. */
  readonly producers: readonly string[];
  readonly readers: readonly { readonly kind: "view" | "table"; readonly name: string }[];
}

export interface MeasureEntry {
  readonly measure: string;
  readonly kind: string;
  readonly unit: string;
  readonly accuracy: string;
  readonly doc: string | null;
  readonly example: unknown;
  /** Fields of the stream. */
  readonly reads: readonly string[];
}

export interface ViewEntry {
  readonly view: string;
  /** The rows of a table belong to keys, which are its dimensions. */
  readonly kind: "view" | "table";
  readonly stream: string;
  readonly doc: string | null;
  readonly example: unknown;
  /** The grain; null for a table. */
  readonly every: string | null;
  readonly where: string | null;
  readonly each: string | null;
  readonly dimensions: readonly {
    readonly dimension: string;
    readonly sql: string;
    readonly reads: readonly string[];
  }[];
  readonly measures: readonly MeasureEntry[];
}

/** What streams and views are: the answer of GET /dictionary. */
export interface Dictionary {
  readonly streams: readonly StreamEntry[];
  readonly views: readonly ViewEntry[];
}

type Lineage = ReadonlyMap<string, readonly FieldReader[]>;

/** Returns the dictionary of some definitions: what they say, and which part of which view reads which field. */
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

/** `of`: what the values of a list or a map are. */
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
