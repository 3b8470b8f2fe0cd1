import type { FieldSpec } from "./field.ts";
import { isRecordPart, partValue, type RecordPart, type RecordPlace } from "./record/record-part.ts";
import { type WrittenAs, writtenInstant } from "./record/record-time.ts";
import { WireError } from "./record/wire-error.ts";
import { parsePath, pathText, type WirePath } from "./record/wire-path.ts";

/**
 * How a record's objects become the fields of a contract. A contract without paths is read as it is. An object that a
 * path leads through may be absent or null: then its fields are absent. What is not an object there makes the record
 * invalid.
 */

/** Where a record's value has a field; null for one that is read from another part of the record. */
export function pathOf(name: string, spec: FieldSpec): WirePath | null {
  const { path } = scalarOf(spec);
  if (path === undefined) return [name];
  return isRecordPart(path) ? null : parsePath(path);
}

/** The part of the record that a field is read from; null for one of its value. */
export function partOf(spec: FieldSpec): RecordPart | null {
  const { path } = scalarOf(spec);
  return path !== undefined && isRecordPart(path) ? path : null;
}

function scalarOf(spec: FieldSpec): Exclude<FieldSpec, { type: "optional" | "default" }> {
  return spec.type === "optional" || spec.type === "default" ? scalarOf(spec.of) : spec;
}

type Specs = Iterable<readonly [name: string, spec: FieldSpec]>;

/** Why these fields cannot all be read; null when they can. */
export function wireProblem(specs: Specs, prefix: string): string | null {
  const all = [...specs];
  const parts = new Map<RecordPart, string>();
  for (const [name, spec] of all) {
    const part = partOf(spec);
    const other = part === null ? undefined : parts.get(part);
    if (part !== null && other !== undefined) return `${prefix}${name}: it is read from ${part}, as ${prefix}${other}`;
    if (part !== null && ["list", "values", "map", "entries"].includes(scalarOf(spec).type))
      return `${prefix}${name}: no list is read from ${part}`;
    if (part !== null) parts.set(part, name);
  }
  const placed = all.flatMap(([name, spec]) => {
    const path = pathOf(name, spec);
    return path === null ? [] : [{ name, path }];
  });
  for (const [index, one] of placed.entries()) {
    for (const other of placed.slice(0, index)) {
      const [outer, inner] = one.path.length < other.path.length ? [one, other] : [other, one];
      if (!outer.path.every((step, depth) => inner.path[depth] === step)) continue;
      const relation = outer.path.length === inner.path.length ? "as" : "inside of what is read as";
      return `${prefix}${inner.name}: it is read from ${pathText(inner.path)}, ${relation} ${prefix}${outer.name}`;
    }
  }
  return null;
}

/** What each value is that a field has: of a list of values or a map those in it. */
function scalarsIn(is: ReturnType<typeof scalarOf>): ReturnType<typeof scalarOf> {
  return is.type === "values" || is.type === "map" ? scalarOf(is.of) : is;
}

/** A contract's fields and where they lie; null when each lies under its own name, in lists, too. */
export type Wire = readonly Placed[] | null;

interface Placed {
  readonly name: string;
  /** In the record's value; null: in another part of the record. */
  readonly path: WirePath | null;
  readonly part: RecordPart | null;
  /** Of the elements of a list, and of the objects of a map. */
  readonly elements: Wire;
  /** How records write an instant, or those of a list or a map, where not as a number of milliseconds. */
  readonly as: WrittenAs | null;
  /** Whether whole numbers of more digits than a double has are read from their text. */
  readonly isLong: boolean;
  /** Whether records write it otherwise than JSON does, or it is rounded. */
  readonly isConverted: boolean;
}

/** Whether a field's column says its values otherwise than records do. */
export function isConverted(spec: FieldSpec): boolean {
  const is = scalarOf(spec);
  if (is.type === "values" || is.type === "map") return isConverted(is.of);
  return ("as" in is && is.as !== undefined) || ("round" in is && is.round !== undefined);
}

export function wireOf(specs: Specs): Wire {
  const placed = [...specs].map(([name, spec]) => {
    const is = scalarOf(spec);
    const value = scalarsIn(is);
    return {
      name,
      path: pathOf(name, spec),
      part: partOf(spec),
      elements: is.type === "list" || is.type === "entries" ? wireOf(Object.entries(is.of)) : null,
      as: value.type === "instant" ? (value.as ?? null) : null,
      isLong: "as" in value && (value.as === "us" || value.as === "ns" || value.as === "scalar"),
      isConverted: isConverted(spec),
    };
  });
  const isPlain = placed.every(
    ({ name, path, elements, isConverted }) =>
      path?.length === 1 && path[0] === name && elements === null && !isConverted,
  );
  return isPlain ? null : placed;
}

/**
 * The fields of a record, under their names. `exact` is the record's value with its long whole numbers as texts;
 * `place` null: of the rest nothing is known, as if it were not there. Throws WireError.
 */
export function readWire(record: unknown, wire: Wire, exact: unknown, place: RecordPlace | null): unknown {
  if (wire === null || !isObject(record)) return record;
  const event = Object.create(null) as Record<string, unknown>;
  for (const { name, path, part, elements, isLong } of wire) {
    if (path === null) {
      const value = part === null || place === null ? undefined : partValue(place, part, name);
      if (value !== undefined) event[name] = value;
      continue;
    }
    const value = valueAt(record, path, name);
    const read =
      isLong || elements !== null || Array.isArray(value)
        ? exactValue(value, { elements, isLong }, valueAt(exact, path, name))
        : value;
    if (read !== undefined) event[name] = read;
  }
  return event;
}

/**
 * A value with its long whole numbers as texts where they are needed, and the elements of a list as their contract has
 * them.
 */
function exactValue(
  value: unknown,
  { elements, isLong }: Pick<Placed, "elements" | "isLong">,
  exact: unknown,
): unknown {
  const scalar = (one: unknown, exactly: unknown) =>
    isLong && typeof one === "number" && !Number.isSafeInteger(one) ? exactly : withoutPrototype(one);
  if (Array.isArray(value)) {
    const all = exact as readonly unknown[];
    return value.map((one: unknown, index) =>
      elements === null ? scalar(one, all[index]) : readWire(one, elements, all[index], null),
    );
  }
  if (!isObject(value)) return scalar(value, exact);
  const all = exact as Readonly<Record<string, unknown>>;
  const inner = (one: unknown, exactly: unknown) =>
    elements === null ? scalar(one, exactly) : readWire(one, elements, exactly, null);
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, inner(one, all[name])]));
}

/** An object without what it inherits: an absent field named `constructor` is absent. */
export function withoutPrototype<T>(value: T): T {
  return typeof value === "object" && value !== null ? Object.setPrototypeOf(value, null) : value;
}

/**
 * The value at a path, undefined where there is none. Throws WireError where the path leads through a value that is not
 * an object.
 */
function valueAt(record: unknown, path: WirePath, name: string): unknown {
  let value = record;
  for (const [depth, step] of path.entries()) {
    if (value === null || value === undefined) return undefined;
    if (!isObject(value)) {
      const what = Array.isArray(value) ? "a list" : "not an object";
      throw new WireError(`${name}: ${pathText(path.slice(0, depth))} is ${what}`);
    }
    value = Object.hasOwn(value, step) ? value[step] : undefined;
  }
  return value;
}

/** Whether a record has something at a path. */
export function hasPath(record: unknown, path: WirePath): boolean {
  let value = record;
  for (const step of path) {
    if (!isObject(value) || !Object.hasOwn(value, step)) return false;
    value = value[step];
  }
  return true;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/**
 * The value of a record of an event of a contract: its fields, each in its place but those of other parts of the
 * record, instants (epoch milliseconds) as they are written.
 */
export function writeWire(event: Readonly<Record<string, unknown>>, wire: Wire): Record<string, unknown> {
  if (wire === null) return event;
  const record: Record<string, unknown> = {};
  for (const { name, path, elements, as } of wire) {
    if (path === null) continue;
    const value = as === null ? event[name] : writtenInstants(event[name], as);
    if (value === undefined) continue;
    let object = record;
    for (const step of path.slice(0, -1)) {
      const inner = object[step] ?? {};
      object[step] = inner;
      object = inner as Record<string, unknown>;
    }
    object[path.at(-1) ?? name] = elements === null ? value : writtenElements(value, elements);
  }
  return record;
}

/** The elements of a list, or the objects of a map, as records write them. */
function writtenElements(value: unknown, elements: Wire): unknown {
  const written = (one: unknown) => (isObject(one) ? writeWire(one, elements) : one);
  if (Array.isArray(value)) return value.map(written);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, written(one)]));
}

/** An instant, or those of a list or a map, as records write it. */
function writtenInstants(value: unknown, as: WrittenAs): unknown {
  if (typeof value === "number") return writtenInstant(value, as);
  if (Array.isArray(value)) return value.map((one) => writtenInstants(one, as));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, writtenInstants(one, as)]));
}

/** JSON in which whole numbers of more than 15 digits are texts. For valid JSON only. */
export function withLongNumbersAsTexts(json: string): string {
  return json.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${token}"` : token,
  );
}
