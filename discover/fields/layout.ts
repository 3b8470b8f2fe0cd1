import type { FieldSpec } from "../../core/contract/field.ts";
import { pathText, type WirePath } from "../../core/contract/wire-path.ts";
import type { Seen } from "../sample/seen.ts";
import type { AvroHint } from "./avro-hints.ts";
import { type Decided, decide, kindsOf, percent } from "./fields.ts";
import { fieldNames, snakeCase } from "./names.ts";
import { NEARLY_ALL } from "./times.ts";

/** A field of the contract, and what the sample has of it. */
export interface FoundField {
  readonly name: string;
  readonly path: WirePath;
  /** What it is when it is there, with its path if it has another name there. */
  readonly spec: FieldSpec;
  readonly seen: Seen;
  /** In how many records it is, and not null. */
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

type Hints = ReadonlyMap<string, AvroHint>;

const LEAST_PRESENCE = 0.01;
const MOST_FIELDS = 100;
/** An object with more names, of which each is rare, is a map. */
const MAP_NAMES = 50;
const MAP_PRESENCE = 0.2;

/**
 * The fields that the objects below `root` have, in the order in which they came, and what is no field of a contract.
 */
export function layOut(root: Seen, hints: Hints = new Map()): Layout {
  const leftOut: LeftOut[] = [];
  const leaves = leavesOf(root, leftOut);
  const found = leaves.flatMap((seen) => {
    const decided = decideLeaf(seen, hints);
    if ("spec" in decided) return [{ seen, ...decided }];
    leftOut.push({ path: seen.path, why: decided.leftOut });
    return [];
  });
  const kept = mostPresent(found, root.objects, leftOut);
  const names = fieldNames(kept.map(({ seen }) => seen.path));
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

/** The places that have values of their own. */
function leavesOf(seen: Seen, leftOut: LeftOut[]): Seen[] {
  return [...seen.children.values()].flatMap((child) => {
    const isObject = child.objects > 0 && child.objects >= child.values * NEARLY_ALL;
    const why = child.path.includes("")
      ? "a field without a name"
      : child.isCut
        ? "too much to follow lies below it"
        : isObject && child.children.size === 0
          ? "an object that is always empty"
          : isObject && isMap(child)
            ? `an object whose names differ from record to record: ${child.children.size} were seen`
            : null;
    if (why !== null) leftOut.push({ path: child.path, why });
    if (why !== null) return [];
    return isObject ? leavesOf(child, leftOut) : [child];
  });
}

function isMap({ children, objects }: Seen): boolean {
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
  return decide(seen, snakeCase(seen.path.at(-1) ?? ""), hints.get(pathText(seen.path)));
}

const VALUES: ReadonlySet<FieldSpec["type"]> = new Set(["text", "oneOf", "integer", "decimal", "flag"]);

/** A list of values. Those that are instants are kept as texts. */
function valuesOf({ path, lists }: Seen, elements: Seen): Decided {
  const decided = decide(elements, snakeCase(path.at(-1) ?? "").replace(/s$/, ""), undefined);
  if ("leftOut" in decided) return { leftOut: `a list: ${decided.leftOut}` };
  const isText = decided.spec.type === "instant" && elements.texts.length === elements.values;
  const of: FieldSpec = isText ? { type: "text", max: 256 } : decided.spec;
  if (!VALUES.has(of.type)) return { leftOut: "a list of instants" };
  return { spec: { type: "values", of, max: lengthOf(lists) } };
}

function lengthOf(lists: Seen["lists"]): number {
  const longest = lists.reduce((most, list) => Math.max(most, list.length), 0);
  let max = 1_000;
  while (max < longest * 4) max *= 10;
  return max;
}

/** A list of objects with the scalar fields that they have. */
function listOf(elements: Seen, lists: Seen["lists"]): Decided {
  const scalars = layOut(elements).fields.filter(({ spec }) => spec.type !== "list" && spec.type !== "values");
  if (scalars.length === 0) return { leftOut: "a list of objects without a scalar field" };
  const of = scalars.map(({ name, spec, isRequired }) => [name, isRequired ? spec : { type: "optional", of: spec }]);
  return { spec: { type: "list", of: Object.fromEntries(of), max: lengthOf(lists) } };
}

/** Without fields that nearly no record has, and those beyond what a contract can be read with. */
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
