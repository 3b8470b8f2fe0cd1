import { z } from "zod";
import { type ErrorCode, isTidelineError, sentencesOf, type TidelineError } from "../../core/errors.ts";
import { list } from "../../core/json-parts.ts";
import { nothingHere, uriTooLong } from "./refusals.ts";

/** How HTTP reports an error to a client. */
interface Meaning {
  readonly status: number;
  readonly title: string;
  /** The value of Retry-After, unless the error has its own. */
  readonly retryAfterSeconds?: number;
}

/**
 * The codes that HTTP reports; `type` is made of the code. This is the only place that gives a code its HTTP status.
 */
const MEANINGS = {
  BAD_REQUEST: { status: 400, title: "The request is wrong" },
  TOO_LARGE: { status: 400, title: "The answer would be too large" },
  VIEW_UNKNOWN: { status: 404, title: "There is no such view" },
  TABLE_UNKNOWN: { status: 404, title: "There is no such table" },
  KEY_UNKNOWN: { status: 404, title: "There is no such row" },
  COLUMN_FAILED: { status: 422, title: "A column cannot be computed" },
  STREAM_UNKNOWN: { status: 404, title: "There is no such stream" },
  NOT_FOUND: { status: 404, title: "There is nothing here" },
  METHOD_NOT_ALLOWED: { status: 405, title: "This method is not allowed here" },
  HOST_NOT_ALLOWED: { status: 421, title: "This host is not allowed here" },
  UNAUTHENTICATED: { status: 401, title: "An API key is needed" },
  FORBIDDEN: { status: 403, title: "The API key is not for this" },
  URI_TOO_LONG: { status: 414, title: "The URL is too long" },
  TOO_MANY_REQUESTS: { status: 429, title: "Too many requests", retryAfterSeconds: 1 },
  TOO_MANY_STREAMS: { status: 503, title: "Too many live streams", retryAfterSeconds: 5 },
  NOT_READY: { status: 503, title: "Not ready yet", retryAfterSeconds: 2 },
  NOT_REACHED: { status: 503, title: "Not there yet", retryAfterSeconds: 1 },
  GENERATION_GONE: { status: 410, title: "This definition of the view is gone" },
  GENERATION_FROZEN: { status: 409, title: "Another release computed this view" },
  GENERATION_UNREADABLE: { status: 503, title: "Another release defined this view", retryAfterSeconds: 30 },
  POSITION_GONE: { status: 410, title: "This position is gone" },
  TOO_SLOW: { status: 504, title: "It takes too long" },
  ARCHIVE_DAMAGED: { status: 500, title: "Published state is damaged" },
  STATE_OVERFLOW: { status: 500, title: "A number is too large" },
  INTERNAL: { status: 500, title: "Something went wrong in the server" },
} as const satisfies Partial<Record<ErrorCode, Meaning>>;

/** The codes that a problem-details body can have. They are stable, for programs. */
export type ProblemCode = keyof typeof MEANINGS;

/** Every code. */
export const PROBLEM_CODES = Object.keys(MEANINGS) as readonly ProblemCode[];

/**
 * The reported code of all other errors. NOT_READY: the log or a server is in trouble, and the detail has the error.
 * INTERNAL: no request should cause it, so it is an error of the server.
 */
const TOLD_AS: Readonly<Record<Exclude<ErrorCode, ProblemCode>, "NOT_READY" | "INTERNAL">> = {
  TOPIC_MISSING: "NOT_READY",
  TOPIC_RECREATED: "NOT_READY",
  LOG_TRUNCATED: "NOT_READY",
  LOG_LOST: "NOT_READY",
  LOG_UNREADABLE: "NOT_READY",
  CODEC_MISSING: "NOT_READY",
  BATCH_CORRUPT: "NOT_READY",
  LIVE_STATE_UNREADABLE: "INTERNAL",
  DEFINITION_INVALID: "INTERNAL",
  SCHEMA_INCOMPATIBLE: "INTERNAL",
  WRITE_REFUSED: "INTERNAL",
  LEDGER_UNBALANCED: "INTERNAL",
  VIEW_TOO_LARGE: "INTERNAL",
  REDIS_SHARED: "INTERNAL",
  REDIS_EVICTS: "INTERNAL",
  APPLY_REFUSED: "INTERNAL",
  REPORT_TOO_LARGE: "INTERNAL",
  RULE_FAILED: "INTERNAL",
  VIEW_FAILED: "INTERNAL",
  COMPUTATION_FAILED: "INTERNAL",
  DATA_NEWER: "INTERNAL",
  RULE_UNKNOWN: "INTERNAL",
  ALERT_UNKNOWN: "INTERNAL",
  API_KEY_UNKNOWN: "INTERNAL",
  API_KEY_EXISTS: "INTERNAL",
  SCHEDULE_UNKNOWN: "INTERNAL",
  RUN_UNKNOWN: "INTERNAL",
  TOPIC_UNREADABLE: "INTERNAL",
  LETTER_UNKNOWN: "INTERNAL",
  POINT_UNKNOWN: "INTERNAL",
  BACKUP_DAMAGED: "INTERNAL",
  DIRECTORY_IN_USE: "INTERNAL",
  DIRECTORY_NOT_EMPTY: "INTERNAL",
  DISK_FULL: "INTERNAL",
  NOT_DELIVERED: "INTERNAL",
  MAIL_REFUSED: "INTERNAL",
  CONFIG_INVALID: "INTERNAL",
  PORT_TAKEN: "INTERNAL",
  SERVER_MISSING: "INTERNAL",
  SERVER_NOT_READY: "INTERNAL",
  RUN_FAILED: "INTERNAL",
  INPUT_MISSING: "INTERNAL",
};

/** Problem details (RFC 9457), with the extension members `code` and `errors`. */
export const Problem = z
  .object({
    type: z.string().meta({ format: "uri" }),
    title: z.string(),
    status: z.int(),
    detail: z.string(),
    code: z.enum(PROBLEM_CODES).describe("stable, for programs"),
    errors: list(z.object({ parameter: z.string(), problem: z.string(), allowed: z.string() })).exactOptional(),
  })
  .meta({ id: "Problem", description: "Problem details (RFC 9457)" });
export type Problem = z.infer<typeof Problem>;

export const PROBLEM_TYPE = "application/problem+json";

/** A response that refuses a request. */
export interface Refusal {
  readonly problem: Problem;
  readonly headers: Readonly<Record<string, string>>;
}

/** The fields of an error of the framework. */
interface HttpError {
  readonly statusCode?: number;
  readonly message?: string;
}

/**
 * Returns the refusal for any error. Tideline's errors are reported by their code, and the framework's 4xx errors by
 * their status. Any other error is reported as a 500 without details.
 */
export function refusalOf(error: unknown): Refusal {
  if (isTidelineError(error)) return namedRefusal(error);
  const { statusCode, message } = (error ?? {}) as HttpError;
  if (statusCode === 404) return namedRefusal(nothingHere());
  if (statusCode === 414) return namedRefusal(uriTooLong(message ?? "the URL is too long"));
  return statusCode !== undefined && statusCode >= 400 && statusCode < 500
    ? malformed(statusCode, message ?? "malformed", "see /docs")
    : INTERNAL;
}

/** Returns the refusal for a request that has an HTTP status but no code of Tideline. */
export function malformed(status: number, problem: string, allowed: string): Refusal {
  const errors = [{ parameter: "request", problem, allowed }];
  return { problem: { ...documentOf("BAD_REQUEST", problem), status, errors }, headers: {} };
}

/** Returns an error as an event of a stream. `isOfQuestion`: asking again changes nothing. */
export function problemEvent(error: unknown): { code: ProblemCode; isOfQuestion: boolean; data: string } {
  const { problem } = refusalOf(error);
  return { code: problem.code, isOfQuestion: problem.status < 500, data: JSON.stringify(problem) };
}

const INTERNAL: Refusal = {
  problem: documentOf("INTERNAL", "The server could not answer; its log says why."),
  headers: {},
};

function namedRefusal(error: TidelineError): Refusal {
  const { code, details } = error;
  const toldAs = isTold(code) ? code : TOLD_AS[code];
  if (toldAs === "INTERNAL") return INTERNAL;
  const detail = toldAs === code ? detailOf(error) : `${code}: ${detailOf(error)}`;
  const errors = details.parameters === undefined ? {} : { errors: details.parameters };
  return { problem: { ...documentOf(toldAs, detail), ...errors }, headers: headersOf(toldAs, error) };
}

function isTold(code: ErrorCode): code is ProblemCode {
  return Object.hasOwn(MEANINGS, code);
}

function documentOf(code: ProblemCode, detail: string): Problem {
  const { status, title } = MEANINGS[code];
  const type = `urn:tideline:problem:${code.toLowerCase().replaceAll("_", "-")}`;
  return { type, title, status, detail, code };
}

/** For a question that the client has to change, the detail is one sentence. */
function detailOf(error: TidelineError): string {
  const { message, hint, details } = error;
  return details.parameters === undefined || hint === "" ? sentencesOf(error) : `${message}; ${hint}`;
}

/** Servers and proxies take some 4 KB for all headers together. */
const MOST_HEADER_CHARACTERS = 2_048;

function headersOf(code: ProblemCode, { details }: TidelineError): Record<string, string> {
  const { asOf, methods, realm } = details;
  const meaning: Meaning = MEANINGS[code];
  const retryAfterSeconds =
    details.retryAfterSeconds === undefined ? meaning.retryAfterSeconds : details.retryAfterSeconds;
  return {
    ...(retryAfterSeconds == null ? {} : { "retry-after": String(retryAfterSeconds) }),
    // For a joined table over wide streams a token is too long for a header; the detail has it.
    ...(asOf === undefined || asOf.length > MOST_HEADER_CHARACTERS ? {} : { "tideline-as-of": asOf }),
    ...(methods === undefined ? {} : { allow: methods }),
    ...(realm === undefined ? {} : { "www-authenticate": `Bearer realm="${realm}"` }),
  };
}
