import { createHash } from "node:crypto";
import type { Query } from "../../core/query/query.ts";

const known = new WeakMap<Query, string>();

/** A query as text: the same for the same question. Computed once for each query. */
export function queryKey(query: Query): string {
  const held = known.get(query);
  if (held !== undefined) return held;
  const key = JSON.stringify(query, (_, value: unknown) => (value instanceof Map ? [...value] : value));
  known.set(query, key);
  return key;
}

/**
 * Raised when the same answer is written in another way: what a client holds from an earlier release is then not taken
 * for it.
 */
const RENDERING = 2;

/**
 * The entity tag of the answer to `query` at the position `asOf`. Strong where the body says nothing but that; `ageing`
 * bodies say how old the position is too, so their tag is weak (RFC 9110, 8.8.1).
 */
export function entityTag(asOf: string, query: Query, format: string, ageing: boolean): string {
  const hash = createHash("sha256").update(JSON.stringify([RENDERING, asOf, format, queryKey(query)]));
  return `${ageing ? "W/" : ""}"${hash.digest("base64url").slice(0, 27)}"`;
}

/** If-None-Match by weak comparison: does the client have this one? */
export function hasTag(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const opaque = (text: string) => text.trim().replace(/^W\//, "");
  return ifNoneMatch.split(",").some((candidate) => candidate.trim() === "*" || opaque(candidate) === opaque(tag));
}
