import type { ApiAction } from "../../core/access/api-key.ts";

/** The action that a route needs, and its subject. `parameter` is the part of the path that names the subject. */
export type RouteAccess =
  /** Shows at most names (files of the page, health, metrics), so it never needs a key. */
  | { readonly action: null }
  | NamedAccess
  /** A list: it leaves out what the caller's key does not cover. */
  | { readonly action: ApiAction; readonly about: "list" };

interface NamedAccess {
  readonly action: ApiAction;
  readonly about: "view" | "stream";
  readonly parameter: string;
  /** The action for a table, whose rows are records, unless the request asks for no rows with `rows=0`. */
  readonly ofTable?: ApiAction;
  /** What a holder of a key for `action` alone can ask for instead. */
  readonly hint?: string;
}

/** Routes whose parameters may be longer than a URL. They also accept POST, with the parameters in the body. */
const POSTED: readonly string[] = [
  ...["/views/:name", "/views/:name/keys"],
  ...["/tables/:name", "/tables/:name/*", "/history/:table", "/replay/:table"],
];

/** The settings that decide which routes need a key. */
export interface AccessPolicy {
  /** Whether the server listens on loopback, where only its own machine can reach it. */
  readonly isLocal: boolean;
  /** TIDELINE_API_KEYS=required. */
  readonly isRequired: boolean;
}

const WITHOUT_ROWS =
  "the proof of a table shows rows, which are records; with rows=0 (`tideline " +
  "proof <table> --rows 0`) it shows none and needs read alone";
const OPEN: RouteAccess = { action: null };
const LIST: RouteAccess = { action: "read", about: "list" };
const of = (action: ApiAction, about: "view" | "stream", parameter: string): NamedAccess => ({
  action,
  about,
  parameter,
});

/**
 * All routes, by the pattern that they are registered with. No route changes anything; a route that does would need an
 * action of its own. A table's rows belong to single keys, and an alert has values of the record that opened it, so
 * both show records.
 */
const ROUTES: Readonly<Record<string, RouteAccess>> = {
  "/": OPEN,
  "/lookup": OPEN,
  "/assets/*": OPEN,
  "/docs": OPEN,
  "/docs/*": OPEN,
  "/openapi.json": OPEN,
  "/health": OPEN,
  "/ready": OPEN,
  "/metrics": OPEN,
  "/views": LIST,
  "/views/:name": of("read", "view", "name"),
  "/views/:name/keys": of("read", "view", "name"),
  "/views/:name/live": of("read", "view", "name"),
  "/proof/:view": { ...of("read", "view", "view"), ofTable: "records", hint: WITHOUT_ROWS },
  "/tables": LIST,
  "/tables/:name": of("records", "view", "name"),
  "/tables/:name/*": of("records", "view", "name"),
  "/history/:table": of("records", "view", "table"),
  "/replay/:table": of("records", "view", "table"),
  "/streams": LIST,
  "/streams/:name/quality": of("read", "stream", "name"),
  "/streams/:name/records": of("records", "stream", "name"),
  "/dictionary": LIST,
  "/alerts": { action: "records", about: "list" },
  "/alerts/live": { action: "records", about: "list" },
};

/**
 * Returns the access that a route needs; null if the route is not listed. `path` is a registered pattern or a path of
 * the OpenAPI document. A listed path is preferred to one with parameters.
 */
export function routeAccess(path: string): RouteAccess | null {
  const exact = ROUTES[path];
  if (exact !== undefined) return exact;
  const parts = path.split("/");
  const found = Object.keys(ROUTES).find((pattern) => matches(pattern.split("/"), parts));
  return found === undefined ? null : (ROUTES[found] ?? null);
}

/** Whether a URL, or the pattern of a route, also accepts POST. Such a POST changes nothing. */
export function mayBePosted(path: string): boolean {
  const parts = path.replace(/\/$/, "").split("/");
  return POSTED.some((pattern) => matches(pattern.split("/"), parts));
}

/**
 * Returns the access that one request to a route needs. `isView`: the name is known to be a view's. Any other name
 * counts as a table's, because the helper may know a new table earlier. `rows` is the parameter as it was sent.
 */
export function requestAccess(access: RouteAccess, isView: boolean, rows: unknown): RouteAccess {
  if (!("ofTable" in access) || access.ofTable === undefined || isView || rows === "0") return access;
  return { ...access, action: access.ofTable };
}

/** Whether a server with this policy answers the route only to the holder of a key. */
export function needsKey(access: RouteAccess, { isLocal, isRequired }: AccessPolicy): boolean {
  if (access.action === null) return false;
  return isRequired || (access.action !== "read" && !isLocal);
}

function matches(pattern: readonly string[], parts: readonly string[]): boolean {
  const last = pattern.at(-1) === "*" ? pattern.length - 1 : null;
  if (last === null ? parts.length !== pattern.length : parts.length < pattern.length) return false;
  return pattern.slice(0, last ?? undefined).every((part, index) => part.startsWith(":") || part === parts[index]);
}
