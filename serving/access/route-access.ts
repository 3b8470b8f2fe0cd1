import type { ApiAction } from "../../core/access/api-key.ts";

/** What a route shows, and of what. `parameter` is the part of the path that names it. */
export type RouteAccess =
  /** Names at most, such as files of the page, health and metrics: never needs a key. */
  | { readonly action: null }
  | NamedAccess
  /** The answer leaves out what the caller's key is not for. */
  | { readonly action: ApiAction; readonly about: "list" };

interface NamedAccess {
  readonly action: ApiAction;
  readonly about: "view" | "stream";
  readonly parameter: string;
  /** The action for a table, whose rows are records, unless the request asks for no rows with `rows=0`. */
  readonly ofTable?: ApiAction;
  /** What a holder of a key for `action` alone can ask instead. */
  readonly hint?: string;
}

/** Questions that may be longer than an address: they are answered to POST too, with the parameters in the body. */
const POSTED: readonly string[] = [
  ...["/views/:name", "/views/:name/keys"],
  ...["/tables/:name", "/tables/:name/*", "/history/:table", "/replay/:table"],
];

/** Who needs a key. */
export interface AccessPolicy {
  /** Whether the server listens on loopback: only its own machine reaches it. */
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
 * Every route, as it is registered. Nothing over HTTP changes anything; a route that does needs an action of its own. A
 * table's rows belong to single keys, and an alert has values of the record that opened it: both show records.
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
 * Returns what a route needs, by the pattern that it is registered with or by a path of the OpenAPI document; null for
 * one that is not listed. A listed path goes before one with parameters.
 */
export function routeAccess(path: string): RouteAccess | null {
  const exact = ROUTES[path];
  if (exact !== undefined) return exact;
  const parts = path.split("/");
  const found = Object.keys(ROUTES).find((pattern) => matches(pattern.split("/"), parts));
  return found === undefined ? null : (ROUTES[found] ?? null);
}

/** Whether an address, or the pattern of a route, answers POST as it does GET. It changes nothing anyway. */
export function mayBePosted(path: string): boolean {
  const parts = path.replace(/\/$/, "").split("/");
  return POSTED.some((pattern) => matches(pattern.split("/"), parts));
}

/**
 * Returns what one request to a route needs. `isView`: its name is known to be that of a view. Any other name counts as
 * a table's, because the helper may know a new table earlier. `rows`: the parameter as it was sent.
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
