import { type ErrorCode, isTidelineError, sentencesOf, type TidelineError } from "../../core/errors.ts";
import { NARROWER, NARROWER_TABLE, OverBudget } from "../../core/query/budget.ts";
import type { QueryProblem } from "../../core/query/query.ts";

/** What a problem-details body can carry as `code`: stable, for programs. `type` is made of it. */
export type ProblemCode =
  | "BAD_REQUEST" // a parameter or the URL is wrong
  | "TOO_LARGE" // the answer would not fit: ask for less
  | "VIEW_UNKNOWN"
  | "TABLE_UNKNOWN"
  | "KEY_UNKNOWN" // the table has no row with this key, at the position of the answer
  | "COLUMN_FAILED" // a joined table's column cannot be computed for a row: its definition has to take every value
  | "STREAM_UNKNOWN"
  | "NOT_FOUND"
  | "METHOD_NOT_ALLOWED"
  | "HOST_NOT_ALLOWED" // the Host header names neither this machine nor a host of TIDELINE_ALLOWED_HOSTS
  | "UNAUTHENTICATED" // an API key is needed, and the request has none that is accepted
  | "FORBIDDEN" // the API key is not for this
  | "URI_TOO_LONG"
  | "TOO_MANY_REQUESTS"
  | "TOO_MANY_STREAMS" // as many live streams as this server keeps are open
  | "NOT_READY" // nothing published yet
  | "NOT_REACHED" // the log has not been applied up to where `min` wants it: ask again
  | "GENERATION_GONE" // `at` or `min` names a definition that is not served any more
  | "GENERATION_FROZEN" // another release computed the view: what is asked needs this one to compute it
  | "GENERATION_UNREADABLE" // this release cannot read the view's definition: it is rebuilt
  | "POSITION_GONE" // neither archive nor log has what `at` asks for
  | "TOO_SLOW" // what is asked for takes too long, or the server is overloaded
  | "ARCHIVE_DAMAGED" // a published file is missing, or is not what was published: an operator's matter
  | "STATE_OVERFLOW" // a sum leaves 64 bits: an operator's matter
  | "INTERNAL";

const TITLES: Readonly<Record<ProblemCode, string>> = {
  BAD_REQUEST: "The request is wrong",
  TOO_LARGE: "The answer would be too large",
  VIEW_UNKNOWN: "There is no such view",
  TABLE_UNKNOWN: "There is no such table",
  KEY_UNKNOWN: "There is no such row",
  COLUMN_FAILED: "A column cannot be computed",
  STREAM_UNKNOWN: "There is no such stream",
  NOT_FOUND: "There is nothing here",
  METHOD_NOT_ALLOWED: "This method is not allowed here",
  HOST_NOT_ALLOWED: "This host is not allowed here",
  UNAUTHENTICATED: "An API key is needed",
  FORBIDDEN: "The API key is not for this",
  URI_TOO_LONG: "The URL is too long",
  TOO_MANY_REQUESTS: "Too many requests",
  TOO_MANY_STREAMS: "Too many live streams",
  NOT_READY: "Not ready yet",
  NOT_REACHED: "Not there yet",
  GENERATION_GONE: "This definition of the view is gone",
  GENERATION_FROZEN: "Another release computed this view",
  GENERATION_UNREADABLE: "Another release defined this view",
  POSITION_GONE: "This position is gone",
  TOO_SLOW: "It takes too long",
  ARCHIVE_DAMAGED: "Published state is damaged",
  STATE_OVERFLOW: "A number is too large",
  INTERNAL: "Something went wrong in the server",
};

/** Every code, for the OpenAPI document. */
export const PROBLEM_CODES: readonly string[] = Object.keys(TITLES);

/** Problem details (RFC 9457), with the extension members `code` and `errors`. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly code: ProblemCode;
  readonly errors?: readonly QueryProblem[];
}

export const PROBLEM_TYPE = "application/problem+json";

/**
 * A request that is answered with problem details instead of rows. `retryAfterSeconds` becomes the header Retry-After.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly statusCode: number;
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;

  constructor(
    status: number,
    code: ProblemCode,
    detail: string,
    options: { errors?: readonly QueryProblem[]; headers?: Readonly<Record<string, string>> } = {},
  ) {
    super(detail);
    const { errors, headers = {} } = options;
    const type = `urn:tideline:problem:${code.toLowerCase().replaceAll("_", "-")}`;
    this.statusCode = status;
    this.headers = headers;
    this.problem = { type, title: TITLES[code], status, detail, code, ...(errors === undefined ? {} : { errors }) };
  }
}

/** Ends the work on an answer that nobody waits for any more: it is sent to nobody. */
export function clientLeft(): Refusal {
  return new Refusal(503, "NOT_READY", "the client has left");
}

/** 400 with every parameter that is wrong. */
export function badRequest(errors: readonly QueryProblem[]): Refusal {
  return new Refusal(
    400,
    "BAD_REQUEST",
    errors.map(({ parameter, problem }) => `${parameter}: ${problem}`).join("; "),
    { errors },
  );
}

/** 400 for a query whose answer would not fit; `problem` says what would be too much. */
export function tooLarge(problem: string): Refusal {
  const allowed =
    "a narrower from and to, a coarser every, fewer dimensions in by, fewer measures, or where[dimension]";
  return new Refusal(400, "TOO_LARGE", problem, { errors: [{ parameter: "every", problem, allowed }] });
}

/** 400 for an answer whose text is too long. */
export function tooLong(most: number): Refusal {
  const problem = `the answer has more than ${most / 1_000_000} million characters`;
  const allowed = "a smaller limit, fewer measures, or a narrower from and to";
  return new Refusal(400, "TOO_LARGE", `${problem}; ask for ${allowed}`, {
    errors: [{ parameter: "limit", problem, allowed }],
  });
}

/** 400 for a question that costs more than its budget, of a view or of a table. */
export function overBudget(error: OverBudget, of: "view" | "table" = "view"): Refusal {
  const [parameter, allowed] = of === "table" ? ["limit", NARROWER_TABLE] : ["every", NARROWER[error.unit]];
  const errors = [{ parameter, problem: error.message, allowed }];
  return new Refusal(400, "TOO_LARGE", `${error.message}; ${allowed}`, { errors });
}

/** 504: the server or its disk is in trouble, for the question itself is not too large. */
export function readingTooSlow(timeoutMs: number): Refusal {
  return new Refusal(
    504,
    "TOO_SLOW",
    `reading the batch version took longer than ${timeoutMs / 1_000} s although the ` +
      "question is within its budget: the server is overloaded",
    { headers: { "retry-after": "5" } },
  );
}

/** 429: more is asked of this server than it can hold in its queues. */
export function overloaded(detail: string): Refusal {
  return new Refusal(429, "TOO_MANY_REQUESTS", detail, { headers: { "retry-after": "1" } });
}

/** 421 for a request whose Host header fails the check: see `hostCheck`. */
export function hostNotAllowed(host: string): Refusal {
  const problem = `the server does not answer for the host "${host.slice(0, 100)}"`;
  const allowed = "an address, localhost, or a name in the setting TIDELINE_ALLOWED_HOSTS of the server";
  return new Refusal(421, "HOST_NOT_ALLOWED", `${problem}; ask by ${allowed}`, {
    errors: [{ parameter: "host", problem, allowed }],
  });
}

export function viewUnknown(name: string, known: readonly string[]): Refusal {
  const problem = `there is no view "${name.slice(0, 60)}"`;
  return new Refusal(404, "VIEW_UNKNOWN", problem, {
    errors: [{ parameter: "name", problem, allowed: known.join(", ") || "no view is defined" }],
  });
}

/** For a question of views about a table. */
export function tableNotView(name: string): Refusal {
  const problem = `"${name.slice(0, 60)}" is a table, not a view: its rows belong to keys`;
  return new Refusal(404, "VIEW_UNKNOWN", problem, {
    errors: [{ parameter: "name", problem, allowed: `GET /tables/${name.slice(0, 60)}, or \`tideline table\`` }],
  });
}

export function tableUnknown(name: string, known: readonly string[]): Refusal {
  const problem = `there is no table "${name.slice(0, 60)}"`;
  return new Refusal(404, "TABLE_UNKNOWN", problem, {
    errors: [{ parameter: "name", problem, allowed: known.join(", ") || "no table is defined" }],
  });
}

/** Servers and proxies take some 4 KB for all headers together. */
const MOST_HEADER_CHARACTERS = 2_048;

/** `asOf` says up to where the log was looked at. */
export function keyUnknown(table: string, key: readonly string[], asOf: string): Refusal {
  const shown = key.join("/").slice(0, 60);
  return new Refusal(404, "KEY_UNKNOWN", `table "${table}" has no row "${shown}" at ${asOf}`, {
    // Of several wide streams it is too long for a header: the sentence has it.
    headers: asOf.length > MOST_HEADER_CHARACTERS ? {} : { "tideline-as-of": asOf },
  });
}

export function serverClosing(): Refusal {
  return new Refusal(503, "NOT_READY", "this server is closing");
}

export function streamUnknown(name: string, known: readonly string[]): Refusal {
  const problem = `there is no stream "${name.slice(0, 60)}"`;
  return new Refusal(404, "STREAM_UNKNOWN", problem, {
    errors: [{ parameter: "name", problem, allowed: known.join(", ") || "no stream is defined" }],
  });
}

interface HttpError {
  readonly statusCode?: number;
  readonly message?: string;
}

/**
 * Any error as a refusal: ours as they are, the framework's 4xx by their status, and everything else a 500 that says
 * nothing of its inside.
 */
export function refusalOf(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  if (error instanceof OverBudget) return overBudget(error);
  if (isTidelineError(error)) return namedRefusal(error);
  const { statusCode, message } = (error ?? {}) as HttpError;
  if (statusCode === 414) return new Refusal(414, "URI_TOO_LONG", message ?? "the URL is too long");
  if (statusCode === 404) return new Refusal(404, "NOT_FOUND", "there is nothing at this address");
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    const problem = message ?? "malformed";
    return new Refusal(statusCode, "BAD_REQUEST", problem, {
      errors: [{ parameter: "request", problem, allowed: "see /docs" }],
    });
  }
  return internal();
}

interface Named {
  readonly status: number;
  readonly code: ProblemCode;
  readonly retryAfterSeconds?: number;
}

const UNAVAILABLE: Named = { status: 503, code: "NOT_READY", retryAfterSeconds: 2 };

/** How each named error is answered. Null: no request should meet it, so it is an error of the server. */
const NAMED: Readonly<Record<ErrorCode, Named | null>> = {
  NOT_READY: UNAVAILABLE,
  TOPIC_MISSING: UNAVAILABLE,
  TOPIC_RECREATED: UNAVAILABLE,
  LOG_TRUNCATED: UNAVAILABLE,
  LOG_LOST: UNAVAILABLE,
  LOG_UNREADABLE: UNAVAILABLE,
  CODEC_MISSING: UNAVAILABLE,
  BATCH_CORRUPT: UNAVAILABLE,
  GENERATION_UNREADABLE: { status: 503, code: "GENERATION_UNREADABLE", retryAfterSeconds: 30 },
  GENERATION_FROZEN: { status: 409, code: "GENERATION_FROZEN" },
  ARCHIVE_DAMAGED: { status: 500, code: "ARCHIVE_DAMAGED" },
  LIVE_STATE_UNREADABLE: null,
  STATE_OVERFLOW: { status: 500, code: "STATE_OVERFLOW" },
  BAD_REQUEST: { status: 400, code: "BAD_REQUEST" },
  VIEW_UNKNOWN: { status: 404, code: "VIEW_UNKNOWN" },
  STREAM_UNKNOWN: { status: 404, code: "STREAM_UNKNOWN" },
  DEFINITION_INVALID: null,
  SCHEMA_INCOMPATIBLE: null,
  WRITE_REFUSED: null,
  LEDGER_UNBALANCED: null,
  VIEW_TOO_LARGE: null,
  REDIS_SHARED: null,
  REDIS_EVICTS: null,
  APPLY_REFUSED: null,
  REPORT_TOO_LARGE: null,
  RULE_FAILED: null,
  VIEW_FAILED: null,
  COMPUTATION_FAILED: null,
  DATA_NEWER: null,
  RULE_UNKNOWN: null,
  ALERT_UNKNOWN: null,
  API_KEY_UNKNOWN: null,
  API_KEY_EXISTS: null,
  SCHEDULE_UNKNOWN: null,
  RUN_UNKNOWN: null,
  TOPIC_UNREADABLE: null,
  LETTER_UNKNOWN: null,
  POINT_UNKNOWN: null,
  BACKUP_DAMAGED: null,
  DIRECTORY_IN_USE: null,
  DIRECTORY_NOT_EMPTY: null,
  DISK_FULL: null,
  NOT_DELIVERED: null,
  MAIL_REFUSED: null,
  CONFIG_INVALID: null,
  PORT_TAKEN: null,
  SERVER_MISSING: null,
  SERVER_NOT_READY: null,
  RUN_FAILED: null,
  INPUT_MISSING: null,
};

function namedRefusal(error: TidelineError): Refusal {
  const named = NAMED[error.code];
  if (named === null) return internal();
  const { status, code, retryAfterSeconds } = named;
  const detail = code === error.code ? sentencesOf(error) : `${error.code}: ${sentencesOf(error)}`;
  return new Refusal(status, code, detail, {
    headers: retryAfterSeconds === undefined ? {} : { "retry-after": String(retryAfterSeconds) },
  });
}

function internal(): Refusal {
  return new Refusal(500, "INTERNAL", "The server could not answer; its log says why.");
}
