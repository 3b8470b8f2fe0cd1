import type { WirePath } from "../../core/contract/record/wire-path.ts";
import { jsonMembers } from "../read/json.ts";
import { type JsonMember, quickMembers } from "../read/json-members.ts";

/** Members to put into a JSON object, and the sources of their values. */
export interface JsonColumns {
  /** By field: the path of its value in the object. */
  readonly places: ReadonlyMap<string, WirePath>;
  /** Members whose values are given as texts. */
  readonly given: Readonly<Record<string, string>>;
}

/**
 * Returns a JSON object with each field of `places` under its own name, and with the `given` members. All values and
 * all other members keep their text. A text that is not a JSON object is returned as it is, and the contract then
 * refuses it.
 */
export function withColumns(json: Buffer, columns: JsonColumns): Buffer {
  return quickly(json, columns) ?? thoroughly(json, columns);
}

/** Returns a text's UTF-8 bytes as a Latin-1 string, a character for each byte. */
function bytesOf(text: string): string {
  return Buffer.from(text).toString("latin1");
}

/** As `thoroughly`; null for names with escapes, and for texts that are not JSON objects. */
function quickly(json: Buffer, { places, given }: JsonColumns): Buffer | null {
  const members = quickMembers(json);
  if (members === null) return null;
  const byName = indexed(members);
  const inner = new Map<JsonMember, Indexed | null>();
  const added: string[] = [];
  const left = new Set(Object.keys(given));
  for (const [field, path] of places) {
    left.add(field);
    if (path.length === 1) left.add(path[0] ?? "");
    const found = memberAt(json, path, byName, inner);
    if (found === null) return null;
    if (found !== undefined)
      added.push(`${bytesOf(JSON.stringify(field))}:${json.toString("latin1", found.value, found.to)}`);
  }
  for (const [field, value] of Object.entries(given))
    added.push(bytesOf(`${JSON.stringify(field)}:${JSON.stringify(value)}`));
  const kept = members.filter(({ name }) => !left.has(name)).map(({ from, to }) => json.toString("latin1", from, to));
  return Buffer.from(`{${[...kept, ...added].join(",")}}`, "latin1");
}

type Indexed = ReadonlyMap<string, JsonMember>;

/** Returns members by their names. If a name comes twice, the last one counts. */
function indexed(members: readonly JsonMember[]): Indexed {
  return new Map(members.map((member) => [member.name, member]));
}

/** Returns the member at a path; undefined if there is none, null if it cannot be read in the fast way. */
function memberAt(
  json: Buffer,
  [name = "", ...rest]: WirePath,
  members: Indexed,
  inner: Map<JsonMember, Indexed | null>,
): JsonMember | undefined | null {
  const member = members.get(name);
  if (member === undefined || rest.length === 0) return member;
  if (json[member.value] !== OPEN_BRACE) return undefined;
  let within = inner.get(member);
  if (within === undefined) {
    const found = quickMembers(json, member.value, member.to);
    within = found === null ? null : indexed(found);
    inner.set(member, within);
  }
  return within === null ? null : memberAt(json, rest, within, inner);
}

const OPEN_BRACE = 0x7b;

function thoroughly(json: Buffer, { places, given }: JsonColumns): Buffer {
  const text = json.toString();
  if (!isObject(text)) return json;
  const members = jsonMembers(text);
  const found = [...places].map(([field, path]) => [field, valueAt(members, path)] as const);
  for (const path of places.values()) if (path.length === 1) members.delete(path[0] ?? "");
  for (const [field, value] of found) {
    if (value === undefined) members.delete(field);
    else members.set(field, value);
  }
  for (const [field, value] of Object.entries(given)) members.set(field, JSON.stringify(value));
  return Buffer.from(`{${[...members].map(([name, value]) => `${JSON.stringify(name)}:${value}`).join(",")}}`);
}

function isObject(text: string): boolean {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value);
  } catch {
    return false;
  }
}

/** Returns the text of the value at a path; undefined if there is none. */
function valueAt(members: ReadonlyMap<string, string>, [name = "", ...rest]: WirePath): string | undefined {
  const value = members.get(name);
  if (value === undefined || rest.length === 0) return value;
  return value.startsWith("{") ? valueAt(jsonMembers(value), rest) : undefined;
}

const MOST_DEPTH = 3;

/** Returns the path of a list of objects in an object, the outermost one; null if there is none. */
export function listInside(value: unknown): WirePath | null {
  let level: { readonly path: WirePath; readonly value: unknown }[] = [{ path: [], value }];
  for (let depth = 0; depth < MOST_DEPTH; depth++) {
    level = level.flatMap(({ path, value: object }) =>
      typeof object === "object" && object !== null && !Array.isArray(object)
        ? Object.entries(object).map(([name, inner]) => ({ path: [...path, name], value: inner as unknown }))
        : [],
    );
    const found = level.find(({ value: one }) => Array.isArray(one) && typeof one[0] === "object" && one[0] !== null);
    if (found !== undefined) return found.path;
  }
  return null;
}
