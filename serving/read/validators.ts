import { createHash } from "node:crypto";
import type { Query } from "../../core/query/query.ts";

const known = new WeakMap<Query, string>();

/** Returns a query as text, the same for equal queries. Computed once for each query. */
export function queryKey(query: Query): string {
  const held = known.get(query);
  if (held !== undefined) return held;
  const key = JSON.stringify(query, (_, value: unknown) => (value instanceof Map ? [...value] : value));
  known.set(query, key);
  return key;
}

/**
 * Raise this number when the same answer is written otherwise. Then a client's copy from an earlier release is not
 * taken for current.
 */
const RENDERING = 2;

/**
 * Returns the entity tag of the answer to `query` at the position `asOf`. Bodies with `ageing` also say how old the
 * position is, so their tag is weak; other tags are strong (RFC 9110, 8.8.1).
 */
export function entityTag(asOf: string, query: Query, format: string, ageing: boolean): string {
  const hash = createHash("sha256").update(JSON.stringify([RENDERING, asOf, format, queryKey(query)]));
  return `${ageing ? "W/" : ""}"${hash.digest("base64url").slice(0, 27)}"`;
}

/** Whether If-None-Match has this tag, by weak comparison. */
export function hasTag(ifNoneMatch: string | undefined, tag: string): boolean {
  if (ifNoneMatch === undefined) return false;
  const opaque = (text: string) => text.trim().replace(/^W\//, "");
  return ifNoneMatch.split(",").some((candidate) => candidate.trim() === "*" || opaque(candidate) === opaque(tag));
}
