import type { FieldSpec } from "./field.ts";
import { type WrittenAs, writtenInstant } from "./record-time.ts";
import { parsePath, pathText, type WirePath } from "./wire-path.ts";

/**
 * How a record's objects become the fields of a contract. A contract without paths is read as it is. An object that a path leads through may be absent or
 * null: then its fields are absent. What is no object there makes the record invalid.
 */

/** Where a record has a field. */
export function pathOf(name: string, spec: FieldSpec): WirePath {
  const { path } = scalarOf(spec);
  return path === undefined ? [name] : parsePath(path);
}

function scalarOf(spec: FieldSpec): Exclude<FieldSpec, { type: "optional" | "default" }> {
  return spec.type === "optional" || spec.type === "default" ? scalarOf(spec.of) : spec;
}

type Specs = Iterable<readonly [name: string, spec: FieldSpec]>;

/** Why these fields cannot all be read; null when they can. */
export function wireProblem(specs: Specs, prefix: string): string | null {
  const placed = [...specs].map(([name, spec]) => ({ name, path: pathOf(name, spec) }));
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

/** A contract's fields and where they lie; null when each lies under its own name, in lists, too. */
export type Wire = readonly Placed[] | null;

interface Placed {
  readonly name: string;
  readonly path: WirePath;
  /** Of the elements of a list. */
  readonly elements: Wire;
  /** How records write an instant, where not as a number of milliseconds. */
  readonly as: WrittenAs | null;
}

export function wireOf(specs: Specs): Wire {
  const placed = [...specs].map(([name, spec]) => {
    const is = scalarOf(spec);
    return {
      name,
      path: pathOf(name, spec),
      elements: is.type === "list" ? wireOf(Object.entries(is.of)) : null,
      as: is.type === "instant" ? (is.as ?? null) : null,
    };
  });
  const isPlain = placed.every(
    ({ name, path, elements, as }) => path.length === 1 && path[0] === name && elements === null && as === null,
  );
  return isPlain ? null : placed;
}

/** Why a record is no event, by field. */
export class WireError extends Error {}

/** The fields of a record, under their names. `exact` is the record with its long whole numbers as texts. Throws WireError. */
export function readWire(record: unknown, wire: Wire, exact: unknown): unknown {
  if (wire === null || !isObject(record)) return record;
  const event = Object.create(null) as Record<string, unknown>;
  for (const { name, path, elements, as } of wire) {
    let value = valueAt(record, path, name);
    // A double has fewer digits than these units need.
    const isLong = (as === "us" || as === "ns") && typeof value === "number" && !Number.isSafeInteger(value);
    if (isLong) value = valueAt(exact, path, name);
    if (Array.isArray(value)) {
      const exactly = valueAt(exact, path, name) as readonly unknown[];
      value = value.map((one: unknown, index) =>
        elements === null ? withoutPrototype(one) : readWire(one, elements, exactly[index]),
      );
    }
    if (value !== undefined) event[name] = value;
  }
  return event;
}

/** An object without what it inherits: an absent field named `constructor` is absent. */
export function withoutPrototype<T>(value: T): T {
  return typeof value === "object" && value !== null ? Object.setPrototypeOf(value, null) : value;
}

/** The value at a path, undefined where there is none. Throws WireError where the path leads through what is no object. */
function valueAt(record: unknown, path: WirePath, name: string): unknown {
  let value = record;
  for (const [depth, step] of path.entries()) {
    if (value === null || value === undefined) return undefined;
    if (!isObject(value)) {
      const what = Array.isArray(value) ? "a list" : "no object";
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

/** An event of a contract as records have it: the values of its fields, each in its place, instants (epoch milliseconds) as they are written. */
export function writeWire(event: Readonly<Record<string, unknown>>, wire: Wire): Record<string, unknown> {
  if (wire === null) return event;
  const record: Record<string, unknown> = {};
  for (const { name, path, elements, as } of wire) {
    const value = as !== null && typeof event[name] === "number" ? writtenInstant(event[name], as) : event[name];
    if (value === undefined) continue;
    let object = record;
    for (const step of path.slice(0, -1)) {
      const inner = object[step] ?? {};
      object[step] = inner;
      object = inner as Record<string, unknown>;
    }
    object[path.at(-1) ?? name] =
      elements !== null && Array.isArray(value) ? value.map((one) => writeWire(one, elements)) : value;
  }
  return record;
}

/** JSON in which whole numbers of more than 15 digits are texts. For valid JSON only. */
export function withLongNumbersAsTexts(json: string): string {
  return json.replaceAll(/"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g, (token) =>
    /^-?\d{16,}$/.test(token) ? `"${token}"` : token,
  );
}
