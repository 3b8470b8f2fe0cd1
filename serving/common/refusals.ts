import { type ErrorCode, TidelineError, type WrongParameter } from "../../core/errors.ts";

/** The errors that several parts of serving throw when they do not answer a question. */

/** Returns the error that lists every wrong parameter. */
export function badRequest(parameters: readonly WrongParameter[]): TidelineError {
  const message = parameters.map(({ parameter, problem }) => `${parameter}: ${problem}`).join("; ");
  return new TidelineError("BAD_REQUEST", message, "", { parameters });
}

/** Returns the error for a query whose answer is too large; `problem` says what is too large. */
export function tooLarge(problem: string): TidelineError {
  const allowed =
    "a narrower from and to, a coarser every, fewer dimensions in by, fewer measures, or where[dimension]";
  return new TidelineError("TOO_LARGE", problem, "", { parameters: [{ parameter: "every", problem, allowed }] });
}

/** Returns the error for a query that can be made small enough: `allowed` says what to ask `for` or `with`. */
export function askLess(wrong: WrongParameter, how: "for" | "with" = "for"): TidelineError {
  return new TidelineError("TOO_LARGE", wrong.problem, `ask ${how} ${wrong.allowed}`, { parameters: [wrong] });
}

/** Returns the error for more work than this server's queues can hold. */
export function overloaded(message: string): TidelineError {
  return new TidelineError("TOO_MANY_REQUESTS", message, "ask again later, or for less");
}

/** Returns the error for too many live streams. `kind` names what is limited, such as "live streams". */
export function tooManyStreams(most: number, kind: string): TidelineError {
  const hint = "end one that is not needed, or ask again later";
  return new TidelineError("TOO_MANY_STREAMS", `this server has ${most} ${kind}, and keeps no more`, hint);
}

export function uriTooLong(message: string): TidelineError {
  return new TidelineError("URI_TOO_LONG", message, "ask for fewer measures, dimensions or values in one request");
}

/** Returns the error for a path that the API does not have. */
export function nothingHere(): TidelineError {
  return new TidelineError("NOT_FOUND", "there is nothing at this address", "/docs shows what there is");
}

/** Returns the error that ends work whose client has left. It is sent to nobody. */
export function clientLeft(): TidelineError {
  return new TidelineError("NOT_READY", "the client has left", "", { retryAfterSeconds: null });
}

export function serverClosing(): TidelineError {
  return new TidelineError("NOT_READY", "this server is closing", "", { retryAfterSeconds: null });
}

/** Returns the error for a request whose Host header fails the check: see `hostCheck`. */
export function hostNotAllowed(host: string): TidelineError {
  const problem = `the server does not answer for the host "${host.slice(0, 100)}"`;
  const allowed = "an address, localhost, or a name in the setting TIDELINE_ALLOWED_HOSTS of the server";
  const parameters = [{ parameter: "host", problem, allowed }];
  return new TidelineError("HOST_NOT_ALLOWED", problem, `ask by ${allowed}`, { parameters });
}

export function viewUnknown(name: string, known: readonly string[]): TidelineError {
  const allowed = known.join(", ") || "no view is defined";
  return nameUnknown("VIEW_UNKNOWN", `there is no view "${name.slice(0, 60)}"`, allowed);
}

/** Returns the error for a request to a view's route about a table. */
export function tableNotView(name: string): TidelineError {
  const problem = `"${name.slice(0, 60)}" is a table, not a view: its rows belong to keys`;
  return nameUnknown("VIEW_UNKNOWN", problem, `GET /tables/${name.slice(0, 60)}, or \`tideline table\``);
}

export function tableUnknown(name: string, known: readonly string[]): TidelineError {
  const allowed = known.join(", ") || "no table is defined";
  return nameUnknown("TABLE_UNKNOWN", `there is no table "${name.slice(0, 60)}"`, allowed);
}

export function streamUnknown(name: string, known: readonly string[]): TidelineError {
  const allowed = known.join(", ") || "no stream is defined";
  return nameUnknown("STREAM_UNKNOWN", `there is no stream "${name.slice(0, 60)}"`, allowed);
}

function nameUnknown(code: ErrorCode, problem: string, allowed: string): TidelineError {
  return new TidelineError(code, problem, "", { parameters: [{ parameter: "name", problem, allowed }] });
}

/** `asOf` is the position up to which the log was read. */
export function keyUnknown(table: string, key: readonly string[], asOf: string): TidelineError {
  const shown = key.join("/").slice(0, 60);
  return new TidelineError("KEY_UNKNOWN", `table "${table}" has no row "${shown}" at ${asOf}`, "", { asOf });
}
