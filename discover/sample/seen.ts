import type { WirePath } from "../../core/contract/record/wire-path.ts";
import { isObject, type JsonObject } from "./sample.ts";

/** The values of a sample at one path of its records, and below it. */
export class Seen {
  readonly path: WirePath;
  nulls = 0;
  booleans = 0;
  objects = 0;
  readonly numbers: number[] = [];
  readonly texts: string[] = [];
  readonly lists: (readonly unknown[])[] = [];
  readonly children = new Map<string, Seen>();
  /** The greatest number of names in one of its objects. */
  mostNames = 0;
  /** The values at names beyond those that are followed one by one. */
  others: Seen | null = null;
  /** The elements of its lists. */
  elements: Seen | null = null;
  /** Whether there were more values below it than are followed. */
  isCut = false;

  constructor(path: WirePath) {
    this.path = path;
  }

  /** The number of its values that are not null. */
  get values(): number {
    return this.booleans + this.objects + this.numbers.length + this.texts.length + this.lists.length;
  }
}

/** Adds the values of another path, and of the paths below it. */
function addSeen(to: Seen, from: Seen): void {
  const { nulls, booleans, objects, numbers, texts, lists } = from;
  to.nulls += nulls;
  to.booleans += booleans;
  to.objects += objects;
  for (const value of numbers) to.numbers.push(value);
  for (const value of texts) to.texts.push(value);
  for (const value of lists) to.lists.push(value);
  to.mostNames = Math.max(to.mostNames, from.mostNames);
  to.isCut ||= from.isCut;
  for (const [name, child] of from.children) {
    const held = to.children.get(name) ?? new Seen([...to.path, name]);
    to.children.set(name, held);
    addSeen(held, child);
  }
  if (from.others !== null) {
    to.others ??= new Seen([...to.path, ""]);
    addSeen(to.others, from.others);
  }
  if (from.elements !== null) {
    to.elements ??= new Seen([]);
    addSeen(to.elements, from.elements);
  }
}

/** Returns the values at all names of an object together. */
export function valuesOfMap({ children, others }: Seen): Seen {
  const all = new Seen([]);
  for (const child of children.values()) addSeen(all, child);
  if (others !== null) addSeen(all, others);
  return all;
}

/** Deeper values, and more paths than this, are not followed: such a sample is not a list of fields. */
const MOST_STEPS = 12;
const MOST_PLACES = 20_000;
/** An object with more names is not a list of fields: the values at further names are collected together. */
const MOST_NAMES = 500;

/** Collects the values of these objects, path by path. */
export function observe(objects: readonly JsonObject[]): Seen {
  const places = { left: MOST_PLACES };
  const root = new Seen([]);
  for (const object of objects) addValue(root, isConnect(object) ? { payload: object.payload } : object, places);
  return root;
}

/**
 * Whether the object comes from Kafka Connect's JsonConverter with `schemas.enable`: each record has its schema, which
 * is not data.
 */
export function isConnect(object: JsonObject): boolean {
  const { schema } = object;
  return Object.keys(object).length === 2 && "payload" in object && isObject(schema) && schema.type === "struct";
}

function addValue(seen: Seen, value: unknown, places: { left: number }): void {
  if (value === null) seen.nulls += 1;
  else if (typeof value === "number") seen.numbers.push(value);
  else if (typeof value === "string") seen.texts.push(value);
  else if (typeof value === "boolean") seen.booleans += 1;
  else if (Array.isArray(value)) addList(seen, value, places);
  else if (isObject(value)) addObject(seen, value, places);
}

function addObject(seen: Seen, object: JsonObject, places: { left: number }): void {
  seen.objects += 1;
  const entries = Object.entries(object);
  seen.mostNames = Math.max(seen.mostNames, entries.length);
  for (const [name, value] of entries) {
    let child = seen.children.get(name);
    if (child === undefined && seen.children.size >= MOST_NAMES) {
      seen.others ??= new Seen([...seen.path, ""]);
      child = seen.others;
    }
    if (child === undefined) {
      if (places.left === 0 || seen.path.length === MOST_STEPS) {
        seen.isCut = true;
        continue;
      }
      places.left -= 1;
      child = new Seen([...seen.path, name]);
      seen.children.set(name, child);
    }
    addValue(child, value, places);
  }
}

function addList(seen: Seen, list: readonly unknown[], places: { left: number }): void {
  seen.lists.push(list);
  if (list.length === 0) return;
  // Paths in a list begin at the element.
  seen.elements ??= new Seen([]);
  for (const element of list) addValue(seen.elements, element, places);
}
