import type { FieldSpec } from "../../core/contract/field.ts";
import { pathText, type WirePath } from "../../core/contract/record/wire-path.ts";
import { type Seen, valuesOfMap } from "../sample/seen.ts";
import { type Decided, decide, kindsOf, percent } from "./fields.ts";
import { fieldNames, snakeCase } from "./names.ts";
import type { SchemaHint } from "./schema-hint.ts";
import { NEARLY_ALL } from "./times.ts";

/** A field of the contract, and its values in the sample. */
export interface FoundField {
  readonly name: string;
  /** The path in values; empty for a field that is read from a header. */
  readonly path: WirePath;
  /** Its type when it is present, with its path if it has another name there. */
  readonly spec: FieldSpec;
  readonly seen: Seen;
  /** The number of records in which it is present and not null. */
  readonly present: number;
  readonly isRequired: boolean;
}

export interface LeftOut {
  readonly path: WirePath;
  readonly why: string;
}

export interface Layout {
  readonly fields: FoundField[];
  readonly leftOut: LeftOut[];
}

type Hints = ReadonlyMap<string, SchemaHint>;

const LEAST_PRESENCE = 0.01;
const MOST_FIELDS = 100;
/** An object with more names, most of them rare, is a map. */
const MAP_NAMES = 50;
const MAP_PRESENCE = 0.2;

/**
 * Returns the fields of the objects below `root`, in the order in which they were found, and what cannot be a field of
 * a contract. No field gets a name that is in `taken`.
 */
export function layOut(root: Seen, hints: Hints = new Map(), taken: ReadonlySet<string> = new Set()): Layout {
  const leftOut: LeftOut[] = [];
  const leaves = leavesOf(root, leftOut);
  const found = leaves.flatMap((seen) => {
    const decided = decideLeaf(seen, hints);
    if ("spec" in decided) return [{ seen, ...decided }];
    leftOut.push({ path: seen.path, why: decided.leftOut });
    return [];
  });
  const kept = mostPresent(found, root.objects, leftOut);
  const names = fieldNames(
    kept.map(({ seen }) => seen.path),
    new Set(taken),
  );
  const fields = kept.map(({ seen, spec }) => {
    const name = names.get(pathText(seen.path)) ?? "field";
    const isRequired = seen.values === root.objects && hints.get(pathText(seen.path))?.isNullable !== true;
    return { name, path: seen.path, spec: placed(spec, name, seen.path), seen, present: seen.values, isRequired };
  });
  return { fields, leftOut };
}

function placed(spec: FieldSpec, name: string, path: WirePath): FieldSpec {
  return path.length === 1 && path[0] === name ? spec : ({ ...spec, path: pathText(path) } as FieldSpec);
}

/** Returns the places that have values of their own. */
function leavesOf(seen: Seen, leftOut: LeftOut[]): Seen[] {
  return [...seen.children.values()].flatMap((child) => {
    const isObject = child.objects > 0 && child.objects >= child.values * NEARLY_ALL;
    const why = child.path.includes("")
      ? "a field without a name"
      : child.isCut
        ? "too much to follow lies below it"
        : isObject && child.children.size === 0
          ? "an object that is always empty"
          : null;
    if (why !== null) leftOut.push({ path: child.path, why });
    if (why !== null) return [];
    return isObject && !isMap(child) ? leavesOf(child, leftOut) : [child];
  });
}

/** Whether the names in its objects differ from record to record. */
function isMap({ children, objects, others }: Seen): boolean {
  if (others !== null) return true;
  let present = 0;
  for (const child of children.values()) present += child.values + child.nulls;
  return children.size > MAP_NAMES && present < children.size * objects * MAP_PRESENCE;
}

function decideLeaf(seen: Seen, hints: Hints): Decided {
  const { lists, values, elements } = seen;
  const isList = lists.length > 0 && lists.length >= values * NEARLY_ALL;
  if (isList && elements !== null) {
    if (elements.nulls > 0) return { leftOut: "a list of which some values are null" };
    if (elements.lists.length > 0) return { leftOut: "a list of lists" };
    if (elements.objects === 0) return valuesOf(seen, elements);
    if (elements.objects === elements.values) return listOf(elements, lists);
    return { leftOut: `a list of values of several kinds: ${kindsOf(elements)}` };
  }
  if (seen.objects > 0 && seen.objects >= values * NEARLY_ALL) return mapOf(seen);
  return decide(seen, snakeCase(seen.path.at(-1) ?? ""), hints.get(pathText(seen.path)));
}

/** Decides about an object with arbitrary names whose values are of one kind. */
function mapOf(seen: Seen): Decided {
  const all = valuesOfMap(seen);
  const why = `an object whose names differ from record to record: ${seen.children.size} were seen`;
  if ([...seen.children.keys()].some((name) => [...name].length > MOST_NAME_LETTERS)) return { leftOut: why };
  if (all.objects > 0 && all.objects === all.values && all.nulls === 0) return mapOfObjects(seen, all, why);
  const decided = all.objects + all.lists.length > 0 ? null : decide(all, "value", undefined);
  if (decided === null || "leftOut" in decided) return { leftOut: why };
  const of: FieldSpec = all.nulls > 0 ? { type: "optional", of: decided.spec } : decided.spec;
  return { spec: { type: "map", of, max: sizeOf(seen.mostNames) } };
}

/** Decides about an object with arbitrary names whose values are objects with scalar fields. */
function mapOfObjects({ mostNames }: Seen, all: Seen, why: string): Decided {
  const of = scalarFields(all, new Set(["key"]));
  return of === null ? { leftOut: why } : { spec: { type: "entries", of, max: sizeOf(mostNames) } };
}

/** The greatest length of a map's names in a contract. */
const MOST_NAME_LETTERS = 256;

/** Decides about a list of values. */
function valuesOf({ path, lists }: Seen, elements: Seen): Decided {
  const decided = decide(elements, snakeCase(path.at(-1) ?? "").replace(/s$/, ""), undefined);
  if ("leftOut" in decided) return { leftOut: `a list: ${decided.leftOut}` };
  return { spec: { type: "values", of: decided.spec, max: lengthOf(lists) } };
}

function lengthOf(lists: Seen["lists"]): number {
  return sizeOf(lists.reduce((most, list) => Math.max(most, list.length), 0));
}

/** Returns how many elements are allowed, if the sample has at most `longest`. */
function sizeOf(longest: number): number {
  let max = 1_000;
  while (max < longest * 4) max *= 10;
  return max;
}

/** Decides about a list of objects with scalar fields. */
function listOf(elements: Seen, lists: Seen["lists"]): Decided {
  const of = scalarFields(elements);
  if (of === null) return { leftOut: "a list of objects without a scalar field" };
  return { spec: { type: "list", of, max: lengthOf(lists) } };
}

/** Returns the scalar fields of objects in a list or a map; null if they have none. Names in `taken` are not used. */
function scalarFields(elements: Seen, taken = new Set<string>()): Record<string, FieldSpec> | null {
  const { fields } = layOut(elements, new Map(), taken);
  const scalars = fields.filter(({ spec }) => !["list", "values", "map", "entries"].includes(spec.type));
  if (scalars.length === 0) return null;
  return Object.fromEntries(
    scalars.map(({ name, spec, isRequired }) => [name, isRequired ? spec : { type: "optional", of: spec }]),
  );
}

/** Leaves out fields that almost no record has, and those beyond the most fields that a contract may have. */
function mostPresent<T extends { readonly seen: Seen }>(found: readonly T[], records: number, leftOut: LeftOut[]): T[] {
  const frequent = found.filter(({ seen }) => {
    const isRare = seen.values < records * LEAST_PRESENCE;
    if (isRare) leftOut.push({ path: seen.path, why: `in ${percent(seen.values, records)} of the records` });
    return !isRare;
  });
  const chosen = new Set(frequent.toSorted((a, b) => b.seen.values - a.seen.values).slice(0, MOST_FIELDS));
  for (const one of frequent)
    if (!chosen.has(one)) leftOut.push({ path: one.seen.path, why: `there are ${MOST_FIELDS} fields already` });
  return frequent.filter((one) => chosen.has(one));
}
