import type { FieldSpec } from "./field.ts";
import { isRecordPart, partValue, type RecordPart, type RecordPlace } from "./record/record-part.ts";
import { type WrittenAs, writtenInstant } from "./record/record-time.ts";
import { WireError } from "./record/wire-error.ts";
import { parsePath, pathText, type WirePath } from "./record/wire-path.ts";

/**
 * Maps a record's objects to the fields of a contract. A contract without paths is read as it is. If an object on a
 * path is absent or null, its fields are absent. Any other value there makes the record invalid.
 */

/** Returns the path of a field in a record's value. Null for a field in another part of the record. */
export function pathOf(name: string, spec: FieldSpec): WirePath | null {
  const { path } = scalarOf(spec);
  if (path === undefined) return [name];
  return isRecordPart(path) ? null : parsePath(path);
}

/** Returns the part of the record that has a field. Null for a field in the value. */
export function partOf(spec: FieldSpec): RecordPart | null {
  const { path } = scalarOf(spec);
  return path !== undefined && isRecordPart(path) ? path : null;
}

function scalarOf(spec: FieldSpec): Exclude<FieldSpec, { type: "optional" | "default" }> {
  return spec.type === "optional" || spec.type === "default" ? scalarOf(spec.of) : spec;
}

type Specs = Iterable<readonly [name: string, spec: FieldSpec]>;

/** Returns why these fields cannot all be read. Null when they can. */
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

/** Returns the specification of a field's values: for a list of values or a map, of its elements. */
function scalarsIn(is: ReturnType<typeof scalarOf>): ReturnType<typeof scalarOf> {
  return is.type === "values" || is.type === "map" ? scalarOf(is.of) : is;
}

/** A contract's fields and their places. Null when each field is under its own name, in lists too. */
export type Wire = readonly Placed[] | null;

interface Placed {
  readonly name: string;
  /** The path in the record's value. Null: in another part of the record. */
  readonly path: WirePath | null;
  readonly part: RecordPart | null;
  /** The places in the elements of a list, or in the objects of a map. */
  readonly elements: Wire;
  /** How records write an instant, or the instants in a list or a map. Null: as a number of milliseconds. */
  readonly as: WrittenAs | null;
  /** Whether whole numbers are read from their text, because they may have more digits than a double. */
  readonly isLong: boolean;
  /** Whether records write it in another form than JSON's, or it is rounded. */
  readonly isConverted: boolean;
}

/** Whether a field's column has its values in another form than records do. */
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
 * Returns the fields of a record, by name. `exact` is the record's value with its long whole numbers as texts. `place`
 * null: the other parts of the record count as absent. Throws WireError.
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
 * Returns a value with its long whole numbers as texts where they are needed, and with the elements of a list in the
 * contract's form.
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

/** Removes the inherited properties of an object, so that an absent field named `constructor` is absent. */
export function withoutPrototype<T>(value: T): T {
  return typeof value === "object" && value !== null ? Object.setPrototypeOf(value, null) : value;
}

/**
 * Returns the value at a path, or undefined if there is none. Throws WireError where the path leads through a value
 * that is not an object.
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
 * Returns the value of a record for an event of a contract. Each field is in its place, except fields of other parts of
 * the record. Instants (epoch milliseconds) are in the form in which records write them.
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

/** Returns the elements of a list, or the objects of a map, in the form of records. */
function writtenElements(value: unknown, elements: Wire): unknown {
  const written = (one: unknown) => (isObject(one) ? writeWire(one, elements) : one);
  if (Array.isArray(value)) return value.map(written);
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, written(one)]));
}

/** Returns an instant, or the instants in a list or a map, in the form of records. */
function writtenInstants(value: unknown, as: WrittenAs): unknown {
  if (typeof value === "number") return writtenInstant(value, as);
  if (Array.isArray(value)) return value.map((one) => writtenInstants(one, as));
  if (!isObject(value)) return value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, writtenInstants(one, as)]));
}

/** Returns JSON in which whole numbers of more than 15 digits are texts. For valid JSON only. */
export function withLongNumbersAsTexts(json: string): string {
  return json.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${token}"` : token,
  );
}
