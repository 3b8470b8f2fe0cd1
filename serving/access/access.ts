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

/** A request that needed a key. */
interface Checked {
  readonly action: ApiAction;
  /** Null while none was identified. */
  key: ApiKey | null;
  isNoted: boolean;
}

declare module "fastify" {
  interface FastifyRequest {
    /** Null where no key is needed. */
    checked: Checked | null;
  }
}

/** A view or table that is served. */
export type ServedSubject = Subject & { readonly isTable: boolean };

export interface AccessOptions {
  readonly check: KeyCheck;
  readonly policy: AccessPolicy;
  /** Takes the audit log, whatever the level of the server's other logs. */
  readonly audit: Logger;
  /** The view or table of a name, as the server knows it; null if there is none. */
  readonly viewOf: (name: string) => ServedSubject | null;
  /** A monotonic clock, for what is counted a minute. */
  readonly nowMs?: () => number;
}

/** How often requests that are still answered are looked at: live streams end when their key is revoked or expires. */
const LOOK_EVERY_MS = 1_000;
const ALL: Subject = { kind: "all" };

/**
 * Has every route that `routeAccess` says so answered only to holders of a key, and notes in the audit log who was
 * shown records, and who was refused. Fails for a route that `routeAccess` does not know. To be called before routes
 * are registered.
 */
export function requireKeys(app: FastifyInstance, options: AccessOptions): void {
  const { check, policy, viewOf } = options;
  refuseUnlistedRoutes(app);
  app.decorateRequest("checked", null);
  const audit = new AccessAudit(options);
  const open = new Map<FastifyRequest, FastifyReply>();

  // After the hooks of onRequest, so that the limit of requests counts before a key is looked for.
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

/** Every route has to be one that reads, and one that `routeAccess` knows. */
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
  /** Requests that are still answered, and were allowed. */
  readonly open: Map<FastifyRequest, FastifyReply>;
  readonly check: KeyCheck;
  readonly audit: AccessAudit;
}

/** Has the keys of the requests in `open` looked at again every second. Those whose key has ended are ended. */
function recheckKeys(app: FastifyInstance, { open, check, audit }: Rechecked): void {
  const recheck = async (request: FastifyRequest, reply: FastifyReply) => {
    const { checked } = request;
    // Its "close" came before it was listened to, or does not come because it waits behind another on its connection.
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

/** The audit log: a line for a request, and one for the refusals of a minute that have none of their own. */
class AccessAudit {
  readonly #log: Logger;
  readonly #nowMs: () => number;
  readonly #unknown = new RefusalCounter();

  constructor({ audit, nowMs = () => performance.now() }: Pick<AccessOptions, "audit" | "nowMs">) {
    this.#log = audit;
    this.#nowMs = nowMs;
  }

  /** Notes a request that needed a key; `how` is what was made of it. */
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

  /** Notes what was left out in the last minute, when it is over. */
  noteMinute(): void {
    this.#noteLeftOut(this.#unknown.over(this.#nowMs()));
  }

  /** Notes what was left out in the minute under way. */
  end(): void {
    this.#noteLeftOut(this.#unknown.end(this.#nowMs()));
  }

  #noteLeftOut(leftOut: LeftOut | null): void {
    if (leftOut === null) return;
    this.#log.info({ key: null, keyId: null, ...leftOut }, "audit: more refusals without a known key");
  }
}

const OTHER_CALLER = "this process answers the server that started it";

/** Answers only requests with this secret as their key. */
export function requireCaller(app: FastifyInstance, secret: string): void {
  const hash = hashOf(secret);
  app.addHook("onRequest", (request, _reply, done) => {
    const [scheme, sent = ""] = (request.headers.authorization ?? "").split(" ");
    const isKnown = scheme === "Bearer" && hasSecret({ hash }, sent);
    done(isKnown ? undefined : new TidelineError("UNAUTHENTICATED", OTHER_CALLER, ""));
  });
}

/** Whether a list that a request asks for has this subject. Where no key is needed it has all. */
export function isListed({ checked }: FastifyRequest, subject: Subject): boolean {
  return checked?.key == null || coversSubject(checked.key, subject);
}

/** What a request needs; null where its route is not listed. */
function accessOf(request: FastifyRequest, viewOf: AccessOptions["viewOf"]): RouteAccess | null {
  const access = routeAccess(request.routeOptions.url ?? "");
  if (access === null || !("parameter" in access)) return access;
  const isView = viewOf(nameIn(access.parameter, request))?.isTable === false;
  const { values } = request.query as { readonly values: Readonly<Record<string, unknown>> };
  return requestAccess(access, isView, values.rows);
}

/** Null for a list, which leaves out what the key is not for. */
function subjectOf(access: RouteAccess, request: FastifyRequest, viewOf: AccessOptions["viewOf"]): Subject | null {
  if (!("parameter" in access)) return null;
  const name = nameIn(access.parameter, request);
  return access.about === "stream" ? { kind: "stream", stream: name } : (viewOf(name) ?? ALL);
}

/** Cache-Control of an answer that needed a key: a cache that several people share is not to keep it. */
function privateCaching(given: unknown): string {
  if (given === undefined) return "private";
  const text = String(given);
  return /\b(private|no-store)\b/.test(text) ? text : `private, ${text}`;
}

function nameIn(parameter: string, { params }: FastifyRequest): string {
  return (params as Record<string, string>)[parameter] ?? "";
}

/** The path without what may be personal: query, and the key of a table's row. */
function shownPath({ routeOptions: { url = "" }, params }: FastifyRequest): string {
  const values = params as Record<string, string | undefined>;
  return url.replaceAll(/:(\w+)/g, (_, name: string) => encodeURIComponent(values[name] ?? "").slice(0, 100));
}
