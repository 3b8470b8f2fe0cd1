import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Logger } from "pino";
import { type ApiAction, type ApiKey, hashOf, hasSecret, keyStatus } from "../../core/access/api-key.ts";
import { coversSubject, type Subject } from "../../core/access/permissions.ts";
import { TidelineError } from "../../core/errors.ts";
import { type KeyCheck, requirePermission } from "./key-check.ts";
import { type LeftOut, RefusalCounter } from "./refusal-counter.ts";
import {
  type AccessPolicy,
  mayBePosted,
  needsKey,
  type RouteAccess,
  requestAccess,
  routeAccess,
} from "./route-access.ts";

/** A request to a route that needs a key. */
interface Checked {
  readonly action: ApiAction;
  /** Null until a key is identified. */
  key: ApiKey | null;
  isNoted: boolean;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Null if the route needs no key. */
    checked: Checked | null;
  }
}

/** A view or table that is served. */
export type ServedSubject = Subject & { readonly isTable: boolean };

export interface AccessOptions {
  readonly check: KeyCheck;
  readonly policy: AccessPolicy;
  /** Writes the audit log, whatever the level of the server's other logs. */
  readonly audit: Logger;
  /** Returns the view or table of this name that the server serves; null if there is none. */
  readonly viewOf: (name: string) => ServedSubject | null;
  /** A monotonic clock. The audit log counts refusals by the minute. */
  readonly nowMs?: () => number;
}

/** How often the keys of open requests are checked again. A live stream ends when its key is revoked or expires. */
const LOOK_EVERY_MS = 1_000;
const ALL: Subject = { kind: "all" };

/**
 * Answers the routes that need a key (`routeAccess`) only to holders of one. The audit log gets a line for each request
 * that was shown records or was refused. Throws when a route is registered that `routeAccess` does not know. Call this
 * before routes are registered.
 */
export function requireKeys(app: FastifyInstance, options: AccessOptions): void {
  const { check, policy, viewOf } = options;
  refuseUnlistedRoutes(app);
  app.decorateRequest("checked", null);
  const audit = new AccessAudit(options);
  const open = new Map<FastifyRequest, FastifyReply>();

  // This hook runs after the hooks of onRequest, so that a request counts towards the rate limit before its key is
  // read.
  app.addHook("preParsing", async (request, reply) => {
    const access = request.is404 ? null : accessOf(request, viewOf);
    if (access === null || access.action === null || !needsKey(access, policy)) return;
    const checked: Checked = { action: access.action, key: null, isNoted: false };
    request.checked = checked;
    checked.key = await check.identify(request.raw.headersDistinct.authorization ?? []);
    const hint = "hint" in access && access.action === access.ofTable ? (access.hint ?? null) : null;
    requirePermission(checked.key, access.action, subjectOf(access, request, viewOf), hint);
    open.set(request, reply);
    reply.raw.once("close", () => open.delete(request));
  });

  app.addHook("onSend", (request, reply, _payload, done) => {
    if (request.checked !== null) void reply.header("cache-control", privateCaching(reply.getHeader("cache-control")));
    done();
  });

  app.addHook("onResponse", (request, reply, done) => {
    const isRefused = reply.statusCode === 401 || reply.statusCode === 403;
    if (request.checked !== null && (isRefused || request.checked.action !== "read"))
      audit.note(request, reply, { tookMs: Math.round(reply.elapsedTime) });
    done();
  });

  recheckKeys(app, { open, check, audit });
}

/** Throws when a route is registered that is not read-only, or that `routeAccess` does not know. */
function refuseUnlistedRoutes(app: FastifyInstance): void {
  app.addHook("onRoute", ({ url, method }) => {
    const isRead = [method]
      .flat()
      .every((one) => one === "GET" || one === "HEAD" || (one === "POST" && mayBePosted(url)));
    if (!isRead || routeAccess(url) === null)
      throw new Error(`serving/access/route-access.ts does not say what ${String(method)} ${url} needs`);
  });
}

interface Rechecked {
  /** Requests that were allowed and are still being answered. */
  readonly open: Map<FastifyRequest, FastifyReply>;
  readonly check: KeyCheck;
  readonly audit: AccessAudit;
}

/** Checks the keys of the requests in `open` every second. Ends each request whose key was revoked or has expired. */
function recheckKeys(app: FastifyInstance, { open, check, audit }: Rechecked): void {
  const recheck = async (request: FastifyRequest, reply: FastifyReply) => {
    const { checked } = request;
    // The "close" event may come before the listener is added. It may also be delayed by another request on the
    // connection.
    if (reply.raw.destroyed || request.raw.socket.destroyed) open.delete(request);
    if (checked?.key == null || !open.has(request)) return;
    if (checked.action !== "read" && !checked.isNoted && reply.raw.headersSent) {
      audit.note(request, reply, { underWay: true });
      checked.isNoted = true;
    }
    const now = await check.find(checked.key.id).catch(() => null);
    const status = now === null ? "unknown" : keyStatus(now, Date.now());
    if (status === "active" || !open.delete(request)) return;
    audit.note(request, reply, { ended: status });
    reply.raw.destroy();
  };
  const rechecking = setInterval(() => {
    audit.noteMinute();
    open.forEach((reply, request) => void recheck(request, reply));
  }, LOOK_EVERY_MS).unref();
  app.addHook("onClose", async () => {
    clearInterval(rechecking);
    audit.end();
  });
}

/** The audit log. Refusals that get no line of their own are counted, and a line a minute has their number. */
class AccessAudit {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #unknown = new RefusalCounter();

  constructor({ audit, nowMs = () => performance.now() }: Pick<AccessOptions, "audit" | "nowMs">) {
    this.#log = audit;
    this.#nowMs = nowMs;
  }

  /** Writes the line of a request that needed a key. `how` has further fields of the line. */
  note(request: FastifyRequest, reply: FastifyReply, how: object): void {
    const { checked } = request;
    if (checked === null) return;
    const { action, key } = checked;
    this.noteMinute();
    if (key === null && !this.#unknown.take(this.#nowMs())) return;
    const who = { key: key?.name ?? null, keyId: key?.id ?? null, action };
    const what = { method: request.method, path: shownPath(request), status: reply.statusCode };
    this.#log.info({ ...who, ...what, ...how }, "audit");
  }

  /** When a minute is over, writes how many refusals had no line in it. */
  noteMinute(): void {
    this.#noteLeftOut(this.#unknown.over(this.#nowMs()));
  }

  /** Writes how many refusals had no line in the current minute. */
  end(): void {
    this.#noteLeftOut(this.#unknown.end(this.#nowMs()));
  }

  #noteLeftOut(leftOut: LeftOut | null): void {
    if (leftOut === null) return;
    this.#log.info({ key: null, keyId: null, ...leftOut }, "audit: more refusals without a known key");
  }
}

const OTHER_CALLER = "this process answers the server that started it";

/** Answers only requests that send this secret as their key. */
export function requireCaller(app: FastifyInstance, secret: string): void {
  const hash = hashOf(secret);
  app.addHook("onRequest", (request, _reply, done) => {
    const [scheme, sent = ""] = (request.headers.authorization ?? "").split(" ");
    const isKnown = scheme === "Bearer" && hasSecret({ hash }, sent);
    done(isKnown ? undefined : new TidelineError("UNAUTHENTICATED", OTHER_CALLER, ""));
  });
}

/** Whether this request may see `subject` in a list. Without a key check a request may see everything. */
export function isListed({ checked }: FastifyRequest, subject: Subject): boolean {
  return checked?.key == null || coversSubject(checked.key, subject);
}

/** Returns the access that a request needs; null if its route is not listed. */
function accessOf(request: FastifyRequest, viewOf: AccessOptions["viewOf"]): RouteAccess | null {
  const access = routeAccess(request.routeOptions.url ?? "");
  if (access === null || !("parameter" in access)) return access;
  const isView = viewOf(nameIn(access.parameter, request))?.isTable === false;
  const { values } = request.query as { readonly values: Readonly<Record<string, unknown>> };
  return requestAccess(access, isView, values.rows);
}

/**
 * Returns the stream, view or table of the request. Null for a list: the list leaves out what the key does not cover.
 */
function subjectOf(access: RouteAccess, request: FastifyRequest, viewOf: AccessOptions["viewOf"]): Subject | null {
  if (!("parameter" in access)) return null;
  const name = nameIn(access.parameter, request);
  return access.about === "stream" ? { kind: "stream", stream: name } : (viewOf(name) ?? ALL);
}

/**
 * Returns Cache-Control for an answer that needed a key. A cache that several people share must not store the answer.
 */
function privateCaching(given: unknown): string {
  if (given === undefined) return "private";
  const text = String(given);
  return /\b(private|no-store)\b/.test(text) ? text : `private, ${text}`;
}

function nameIn(parameter: string, { params }: FastifyRequest): string {
  return (params as Record<string, string>)[parameter] ?? "";
}

/** Returns the path without possibly personal data: without the query and without the key of a table's row. */
function shownPath({ routeOptions: { url = "" }, params }: FastifyRequest): string {
  const values = params as Record<string, string | undefined>;
  return url.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] ?? "").slice(0, 100));
}
