import type { Socket } from "node:net";
import helmet from "@fastify/helmet";
import rateLimit from "@fastify/rate-limit";
import Fastify, {
  type ConnectionError,
  type FastifyInstance,
  type FastifyReply,
  type FastifyRequest,
  LogController,
} from "fastify";
import type { Logger } from "pino";
import { joinedSubject, subjectOf } from "../core/access/permissions.ts";
import { TidelineError } from "../core/errors.ts";
import type { HostCheck } from "../core/hosts.ts";
import { requireCaller, requireKeys, type ServedSubject } from "./access/access.ts";
import type { KeyCheck } from "./access/key-check.ts";
import { type AccessPolicy, mayBePosted } from "./access/route-access.ts";
import { malformed, PROBLEM_TYPE, type Refusal, refusalOf } from "./common/problem.ts";
import { badRequest, hostNotAllowed, nothingHere, serverClosing, uriTooLong } from "./common/refusals.ts";
import { remembered } from "./common/remembered.ts";
import { withAccount } from "./common/turns.ts";
import { forwarding } from "./forward.ts";
import type { Helper } from "./helper.ts";
import { openApiDocument } from "./openapi/openapi.ts";
import { resolveTokens } from "./request/named-versions.ts";
import { MAX_QUERY_LENGTH, type Parameters, parseParameters } from "./request/parameters.ts";
import { acceptPosted } from "./request/posted.ts";
import type { Serving } from "./request/serving.ts";
import { alertRoutes } from "./routes/alerts.ts";
import { dictionaryRoutes } from "./routes/dictionary.ts";
import { docsRoutes } from "./routes/docs.ts";
import { liveRoutes } from "./routes/live.ts";
import { operationRoutes } from "./routes/operations.ts";
import { pageRoutes } from "./routes/page.ts";
import { proofRoutes } from "./routes/proof.ts";
import { streamRoutes } from "./routes/streams.ts";
import { tableLogRoutes, tableRoutes } from "./routes/tables.ts";
import { viewListRoutes } from "./routes/view-list.ts";
import { viewRoutes } from "./routes/views.ts";

export interface HttpOptions {
  readonly logger: Logger;
  readonly isAllowedHost: HostCheck;
  /** Requests that one address may send in a minute; 0: no limit. */
  readonly requestsPerMinute: number;
  readonly version: string;
  /** The process for what is too large for this one; null if there is none. */
  readonly helper: Helper | null;
  readonly keys: KeyCheck;
  readonly policy: AccessPolicy;
  /** Null: everybody may ask. */
  readonly callerSecret: string | null;
}

/** Headers of every answer. Pages for browsers have more headers, which are computed for each. */
const HEADERS = { "x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin" } as const;

/** The docs page needs scripts from this server only, inline styles, and images within the page. */
const CONTENT_SECURITY_POLICY = {
  useDefaults: false,
  directives: {
    defaultSrc: ["'self'"],
    baseUri: ["'self'"],
    connectSrc: ["'self'"],
    fontSrc: ["'self'", "data:"],
    frameAncestors: ["'self'"],
    formAction: ["'self'"],
    imgSrc: ["'self'", "data:"],
    objectSrc: ["'none'"],
    scriptSrc: ["'self'"],
    scriptSrcAttr: ["'none'"],
    styleSrc: ["'self'", "'unsafe-inline'"],
  },
};

/** Returns the HTTP API, not listening yet. Hooks run in the order in which they are added here. */
export async function createApp(serving: Serving, options: HttpOptions): Promise<FastifyInstance> {
  const { logger, requestsPerMinute, helper, keys, policy, callerSecret } = options;
  const app = newApp(logger);
  closeUnusedConnections(app);
  refuseAsProblems(app, serving, helper);
  refuseWhileClosing(app);
  checkAddresses(app, options.isAllowedHost);
  observeRequests(app, serving);
  if (callerSecret !== null) {
    requireCaller(app, callerSecret);
    // A helper computes several large answers at once, so it counts the time of each request. In the server, which
    // computes small answers, the counting would cost more than it saves.
    app.addHook("preHandler", (_request, _reply, done) => withAccount(done));
  }
  const audit = logger.child({ audit: true }, { level: "info" });
  requireKeys(app, { check: keys, policy, audit, viewOf: (name) => servedSubject(serving, name) });
  acceptPosted(app);
  resolveTokens(app, serving);
  if (requestsPerMinute > 0)
    await app.register(rateLimit, { max: requestsPerMinute, timeWindow: 60_000, errorResponseBuilder: tooMany });
  await app.register((pages) => addPages(pages, serving, options));
  await addRoutes(app, serving, helper === null);
  return app;
}

function newApp(logger: Logger): FastifyInstance {
  const parsed = remembered(parseParameters);
  return Fastify({
    loggerInstance: logger,
    // `observeRequests` writes one line a request. The framework's line would have the URL, and so the values of
    // filters.
    logController: new LogController({ disableRequestLogging: true }),
    forceCloseConnections: "idle",
    // `refuseWhileClosing` refuses them with problem details.
    return503OnClosing: false,
    requestTimeout: 30_000,
    routerOptions: { querystringParser: (text) => ({ ...parsed(text) }), ignoreTrailingSlash: true },
    frameworkErrors: (error, request, reply) => sendProblem(request, reply, refusalOf(error)),
    clientErrorHandler: refuseConnection,
  }) as unknown as FastifyInstance;
}

/**
 * Answers every error with problem details. If there is a helper, requests that are too large for this process go to
 * it.
 */
function refuseAsProblems(app: FastifyInstance, { metrics }: Serving, helper: Helper | null): void {
  const answerError = (error: unknown, request: FastifyRequest, reply: FastifyReply) =>
    sendProblem(request, reply, refusalOf(error), error);
  if (helper === null) app.setErrorHandler(answerError);
  else forwarding(app, helper, { answerError, observe: (status) => metrics.observeLarge(status) });
  app.setNotFoundHandler((request, reply) => sendProblem(request, reply, refusalOf(notRouted(app, request))));
}

/** Refuses Host headers that do not name this server, and URLs that are too long or malformed. */
function checkAddresses(app: FastifyInstance, isAllowedHost: HostCheck): void {
  const isAllowed = remembered(isAllowedHost);
  app.addHook("onRequest", (request, reply, done) => {
    void reply.headers(HEADERS);
    const { host = "" } = request.headers;
    done(isAllowed(host) ? (urlProblem(request) ?? undefined) : hostNotAllowed(host));
  });
}

/** Measures each request, and writes its log line. */
function observeRequests(app: FastifyInstance, { metrics }: Serving): void {
  app.addHook("onResponse", (request, reply, done) => {
    const route = request.routeOptions.url ?? "none";
    // A live stream lasts as long as its client wants, so its duration says nothing about this server.
    if (reply.sse === undefined || reply.statusCode !== 200)
      metrics.observeRequest(route, request.method, reply.statusCode, reply.elapsedTime / 1_000);
    request.log.debug(
      { method: request.method, route, status: reply.statusCode, tookMs: reply.elapsedTime },
      "request answered",
    );
    done();
  });
}

/** Returns the view or table of this name as a subject of keys; null if there is none. */
function servedSubject({ joins, views }: Serving, name: string): ServedSubject | null {
  const joined = joins.definition(name);
  if (joined !== undefined) return { ...joinedSubject(joined), isTable: true };
  const described = views.get(name);
  if (described === undefined) return null;
  const { view } = described.definition;
  return { ...subjectOf(view), isTable: view.table !== null };
}

/** Adds the page and the documentation, with the headers that protect pages in browsers. */
async function addPages(pages: FastifyInstance, serving: Serving, { version, policy }: HttpOptions): Promise<void> {
  await pages.register(helmet, { contentSecurityPolicy: CONTENT_SECURITY_POLICY, strictTransportSecurity: false });
  await docsRoutes(
    pages,
    openApiDocument([...serving.views.values()], { joined: serving.joins.definitions(), version, policy }),
  );
  await pageRoutes(pages);
}

/** `givesUp`: whether work ends when its client leaves. */
async function addRoutes(app: FastifyInstance, serving: Serving, givesUp: boolean): Promise<void> {
  viewListRoutes(app, serving);
  viewRoutes(app, serving, givesUp);
  tableRoutes(app, serving, givesUp);
  tableLogRoutes(app, serving);
  await liveRoutes(app, serving);
  alertRoutes(app, serving);
  proofRoutes(app, serving);
  streamRoutes(app, serving);
  dictionaryRoutes(app, serving);
  operationRoutes(app, serving);
}

/**
 * Closes connections on which no request was ever sent. Node does not treat them as idle, so a closing server would
 * wait a minute for them. Clients keep such connections in reserve.
 */
function closeUnusedConnections(app: FastifyInstance): void {
  const sockets = new Set<Socket>();
  app.server.on("connection", (socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
  app.addHook("preClose", async () => {
    for (const socket of sockets) if (socket.bytesRead === 0) socket.destroy();
  });
}

/** Lets a closing server finish its current requests, and refuses further requests on their connections. */
function refuseWhileClosing(app: FastifyInstance): void {
  let isClosing = false;
  app.addHook("preClose", async () => {
    isClosing = true;
  });
  app.addHook("onRequest", (_request, _reply, done) => done(isClosing ? serverClosing() : undefined));
}

function sendProblem(
  request: FastifyRequest,
  reply: FastifyReply,
  { problem, headers }: Refusal,
  cause?: unknown,
): void {
  if (problem.status >= 500 && problem.status !== 503)
    request.log.error({ err: cause, code: problem.code, route: request.routeOptions.url }, "request failed");
  void reply.status(problem.status).headers(headers).type(PROBLEM_TYPE).send(JSON.stringify(problem));
}

/** Returns the error for a URL that is too long or malformed; null if it is neither. */
function urlProblem(request: FastifyRequest): TidelineError | null {
  if (request.url.length > MAX_QUERY_LENGTH)
    return uriTooLong(`the URL has ${request.url.length} characters; at most ${MAX_QUERY_LENGTH} are read`);
  if (request.is404) return null;
  const { problems } = request.query as Parameters;
  return problems.length > 0 ? badRequest(problems) : null;
}

/** The paths of the API, whether or not the installation has the things that they name. */
const ADDRESSES = [
  "",
  "views(/[^/]+(/(keys|live))?)?",
  "tables(/.*)?",
  "(history|replay)/[^/]+",
  "proof/[^/]+",
  "alerts(/live)?",
  "streams(/[^/]+/quality)?",
  "health",
  "ready",
  "metrics",
  "openapi\\.json",
  "docs(/.*)?",
];
const ADDRESS = new RegExp(`^/(${ADDRESSES.join("|")})/?$`);

/** Returns METHOD_NOT_ALLOWED if the path accepts another method, else NOT_FOUND. */
function notRouted(app: FastifyInstance, request: FastifyRequest): TidelineError {
  const path = request.url.split("?", 1)[0] ?? "";
  const known = request.method !== "GET" && (ADDRESS.test(path) || app.hasRoute({ method: "GET", url: path }));
  if (!known) return nothingHere();
  const allow = mayBePosted(path) ? "GET, HEAD, POST" : "GET, HEAD";
  const problem = `${request.method} is not possible here`;
  return new TidelineError("METHOD_NOT_ALLOWED", problem, "", {
    methods: allow,
    parameters: [{ parameter: "method", problem, allowed: allow }],
  });
}

/** The rate-limit plugin sends Retry-After itself. */
function tooMany(_request: FastifyRequest, { max, after }: { max: number; after: string }): TidelineError {
  const message = `more than ${max} requests a minute; ask again in ${after}`;
  return new TidelineError("TOO_MANY_REQUESTS", message, "", { retryAfterSeconds: null });
}

const CONNECTION_PROBLEMS: Readonly<Record<string, readonly [number, string]>> = {
  HPE_HEADER_OVERFLOW: [431, "Request Header Fields Too Large"],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "Request Timeout"],
};

/** Answers bytes that are not a valid HTTP request. They reach no route, so no other handler sees them. */
function refuseConnection(error: ConnectionError, socket: Socket): void {
  if (error.code === "ECONNRESET" || !socket.writable) {
    socket.destroy();
    return;
  }
  const [status, title] = CONNECTION_PROBLEMS[error.code ?? ""] ?? [400, "Bad Request"];
  const allowed = "a well-formed HTTP request with less than 16 KiB of headers";
  const body = JSON.stringify(malformed(status, title, allowed).problem);
  const head = [
    `HTTP/1.1 ${status} ${title}`,
    `Content-Type: ${PROBLEM_TYPE}`,
    `Content-Length: ${Buffer.byteLength(body)}`,
    "Connection: close",
  ];
  socket.end(`${head.join("\r\n")}\r\n\r\n${body}`);
}
