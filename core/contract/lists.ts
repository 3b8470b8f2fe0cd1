import { z } from "zod";
import { describedBy } from "./described.ts";
import type { Field, FieldSpec, ScalarType } from "./field.ts";
import { quoteName } from "./sql.ts";

type ValuesSpec = Extract<FieldSpec, { type: "values" }>;

/** The types that the values of a list can have. */
const ELEMENTS: ReadonlySet<FieldSpec["type"]> = new Set(["text", "oneOf", "integer", "decimal", "instant", "flag"]);

/** Whether a builder was given one field. Otherwise it was given fields by name. */
export function isField(given: object): given is Field {
  return "spec" in given && "zod" in given && typeof given.zod === "object" && given.zod instanceof z.ZodType;
}

/**
 * Returns the field of a list of at most `max` values, none of them null. Throws RangeError for values that a list
 * cannot have.
 */
export function valueList<T>(element: Field<T>, options: Pick<ValuesSpec, "max" | "path">): Field<T[]> {
  const { spec, column, read, zod, problem } = element;
  if (problem !== undefined) throw new RangeError(problem);
  if (!ELEMENTS.has(spec.type) || "path" in spec)
    throw new RangeError(
      "the values of a list are text, oneOf, integer, decimal, instant or flag, without optional, default and from",
    );
  const one = read === "JSON" ? "_item::VARCHAR" : "_item";
  const fits = `_item IS NOT NULL AND ${element.fits("_item")}`;
  const all = (list: string) => `list_bool_and(list_transform(${list}, lambda _item: coalesce(${fits}, false)))`;
  return {
    spec: { type: "values", of: spec, ...options },
    column: `${column as ScalarType}[]`,
    optional: false,
    hasDefault: false,
    zod: z.array(zod).max(options.max),
    read: [read as ScalarType | "JSON"],
    value: (list) => (read === column ? list : `list_transform(${list}, lambda _item: ${element.value(one)})`),
    fits: (list) => `(len(${list}) <= ${options.max} AND coalesce(${all(list)}, true))`,
    literal: () => `[]::${column}[]`,
  };
}

type Objects = Readonly<Record<string, Field>>;

const SCALARS = "the objects of a list or a map hold scalar fields, at least one";

/**
 * Returns the field of a list of at most `max` objects of these fields. Throws RangeError for fields that an object
 * cannot have.
 */
export function objectList(
  fields: Objects,
  { max, path }: { readonly max: number; readonly path?: string },
): Field<unknown[]> {
  const entries = Object.entries(fields);
  if (entries.length === 0 || entries.some(([, { column }]) => column.endsWith("[]"))) throw new RangeError(SCALARS);
  for (const [name, { problem }] of entries) if (problem !== undefined) throw new RangeError(`${name}: ${problem}`);
  const columns = entries.map(([name, { column }]) => `${quoteName(name)} ${column}`).join(", ");
  const column = `STRUCT(${columns})[]` as const;
  const of = (name: string) => `_item.${quoteName(name)}`;
  const text = (name: string, { read }: Field) => (read === "JSON" ? `${of(name)}::VARCHAR` : of(name));
  const each = (elements: string, condition: (name: string, field: Field) => string) => {
    const conditions = entries.map(([name, field]) => condition(name, field)).join(" AND ");
    return `coalesce(list_bool_and(list_transform(${elements}, lambda _item: coalesce(${conditions}, false))), true)`;
  };
  const given = (field: Field, value: string, condition: string) =>
    field.optional || field.hasDefault ? `(${value} IS NULL OR ${condition})` : condition;
  const plain = entries.every(([, field]) => field.read === field.column && !field.hasDefault);
  const values = entries.map(([name, field]) => `${quoteName(name)} := ${field.value(text(name, field))}`).join(", ");
  return {
    spec: {
      type: "list",
      of: Object.fromEntries(entries.map(([name, { spec }]) => [name, spec])),
      max,
      ...(path === undefined ? {} : { path }),
    },
    elements: Object.fromEntries(entries.map(([name, field]) => [name, describedBy(field)])),
    column,
    optional: false,
    hasDefault: false,
    zod: z.array(z.object(Object.fromEntries(entries.map(([name, { zod }]) => [name, zod])))).max(max),
    read: [Object.fromEntries(entries.map(([name, { read }]) => [name, read]))],
    value: (read) => (plain ? read : `list_transform(${read}, lambda _item: struct_pack(${values}))`),
    fits: (elements) =>
      `(len(${elements}) <= ${max} AND ${each(elements, (name, field) =>
        field.optional
          ? given(field, of(name), field.fits(of(name)))
          : `(${of(name)} IS NOT NULL AND ${field.fits(of(name))})`,
      )})`,
    literal: () => `[]::${column}`,
  };
}

/** An entry of a map. */
export interface Entry<T> {
  readonly key: string;
  readonly value: T;
}

type MapSpec = Extract<FieldSpec, { type: "map" }>;

/**
 * Returns the field of an object of at most `max` free names. Its column is a list of entries in the order of their
 * names' code points. Throws RangeError for values that a map cannot have.
 */
export function mapEntries<T>(
  value: Field<T>,
  key: Field<string>,
  options: Pick<MapSpec, "max" | "path">,
): Field<Entry<T>[]> {
  const { problem, spec } = value;
  if (problem !== undefined) throw new RangeError(problem);
  const is = spec.type === "optional" ? spec.of : spec;
  if (!ELEMENTS.has(is.type) || "path" in is)
    throw new RangeError(
      "the values of a map are text, oneOf, integer, decimal, instant or flag, without default and from",
    );
  const { elements: _, ...entries } = objectList({ key, value }, options);
  const entryOf = (name: string, held: T) => ({ key: name, value: held });
  return {
    ...entries,
    spec: { type: "map", of: spec, ...options },
    zod: entriesContract({ key, value: value.zod, max: options.max, entryOf }),
  };
}

/** An entry of a map of objects: the object's fields and the name. */
export type ObjectEntry<T> = { readonly key: string } & T;

/**
 * Returns the field of an object of at most `max` free names whose values are objects of these fields. Its column is a
 * list of entries in the order of their names' code points. Throws RangeError for fields that an object cannot have.
 */
export function objectEntries(
  fields: Objects,
  key: Field<string>,
  options: Pick<MapSpec, "max" | "path">,
): Field<ObjectEntry<object>[]> {
  if (Object.hasOwn(fields, "key"))
    throw new RangeError('key is the name of an entry: call the field otherwise, and say from: "$.key"');
  if (Object.keys(fields).length === 0) throw new RangeError(SCALARS);
  const { spec: _, elements = {}, ...entries } = objectList({ key, ...fields }, options);
  const { key: __, ...described } = elements;
  const specs = Object.fromEntries(Object.entries(fields).map(([name, { spec }]) => [name, spec]));
  const value = z.object(Object.fromEntries(Object.entries(fields).map(([name, { zod }]) => [name, zod])));
  const entryOf = (name: string, held: object) => ({ key: name, ...held });
  return {
    ...entries,
    elements: described,
    spec: { type: "entries", of: specs, ...options },
    zod: entriesContract({ key, value, max: options.max, entryOf }),
  };
}

interface EntryRules<T, E> {
  readonly key: Field<string>;
  readonly value: z.ZodType<T>;
  readonly max: number;
  readonly entryOf: (name: string, value: T) => E;
}

function entriesContract<T, E extends { readonly key: string }>(rules: EntryRules<T, E>): z.ZodType<E[]> {
  return z.unknown().transform((written, context) => {
    const read = readEntries(written, rules);
    if (Array.isArray(read)) return read;
    context.addIssue({ code: "custom", ...read });
    return z.NEVER;
  });
}

/** Returns the entries of an object in the order of their names, or the problem with the name. */
function readEntries<T, E extends { readonly key: string }>(
  written: unknown,
  { key, value, max, entryOf }: EntryRules<T, E>,
): E[] | { message: string; path?: PropertyKey[] } {
  if (typeof written !== "object" || written === null || Array.isArray(written))
    return { message: "Invalid input: expected an object" };
  const entries = Object.entries(written);
  if (entries.length > max) return { message: `Too big: expected an object with at most ${max} names` };
  const read: E[] = [];
  for (const [name, one] of entries) {
    const path = [[...name.toWellFormed()].slice(0, SHOWN_LETTERS).join("")];
    const [named, held] = [key.zod.safeParse(name), value.safeParse(one)];
    if (!named.success) return { path, message: `its name: ${named.error.issues[0]?.message ?? "invalid"}` };
    const [issue] = held.error?.issues ?? [];
    if (!held.success) return { path: [...path, ...(issue?.path ?? [])], message: issue?.message ?? "invalid" };
    read.push(entryOf(name, held.data));
  }
  return read.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)));
}

/** The most characters of a name in an error. */
const SHOWN_LETTERS = 64;
