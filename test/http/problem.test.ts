import { describe, expect, test } from "vitest";
import { type ErrorCode, TidelineError } from "../../core/errors.ts";
import { OverBudget } from "../../core/query/budget.ts";
import { PROBLEM_CODES, problemEvent, refusalOf } from "../../serving/common/problem.ts";
import {
  badRequest,
  clientLeft,
  hostNotAllowed,
  keyUnknown,
  serverClosing,
  viewUnknown,
} from "../../serving/common/refusals.ts";

/** What HTTP makes of errors. */

/** The code of an error, and status, title and Retry-After of what is sent. */
const SENT: readonly (readonly [ErrorCode, number, string, string | undefined])[] = [
  ["BAD_REQUEST", 400, "The request is wrong", undefined],
  ["TOO_LARGE", 400, "The answer would be too large", undefined],
  ["VIEW_UNKNOWN", 404, "There is no such view", undefined],
  ["TABLE_UNKNOWN", 404, "There is no such table", undefined],
  ["KEY_UNKNOWN", 404, "There is no such row", undefined],
  ["COLUMN_FAILED", 422, "A column cannot be computed", undefined],
  ["STREAM_UNKNOWN", 404, "There is no such stream", undefined],
  ["NOT_FOUND", 404, "There is nothing here", undefined],
  ["METHOD_NOT_ALLOWED", 405, "This method is not allowed here", undefined],
  ["HOST_NOT_ALLOWED", 421, "This host is not allowed here", undefined],
  ["UNAUTHENTICATED", 401, "An API key is needed", undefined],
  ["FORBIDDEN", 403, "The API key is not for this", undefined],
  ["URI_TOO_LONG", 414, "The URL is too long", undefined],
  ["TOO_MANY_REQUESTS", 429, "Too many requests", "1"],
  ["TOO_MANY_STREAMS", 503, "Too many live streams", "5"],
  ["NOT_READY", 503, "Not ready yet", "2"],
  ["NOT_REACHED", 503, "Not there yet", "1"],
  ["GENERATION_GONE", 410, "This definition of the view is gone", undefined],
  ["GENERATION_FROZEN", 409, "Another release computed this view", undefined],
  ["GENERATION_UNREADABLE", 503, "Another release defined this view", "30"],
  ["POSITION_GONE", 410, "This position is gone", undefined],
  ["TOO_SLOW", 504, "It takes too long", undefined],
  ["ARCHIVE_DAMAGED", 500, "Published state is damaged", undefined],
  ["STATE_OVERFLOW", 500, "A number is too large", undefined],
];

const INTERNAL = {
  type: "urn:tideline:problem:internal",
  title: "Something went wrong in the server",
  status: 500,
  detail: "The server could not answer; its log says why.",
  code: "INTERNAL",
};

const told = (code: ErrorCode) => refusalOf(new TidelineError(code, "it broke", "mend it"));

test.each(SENT)("%s is sent with %i, %s", (code, status, title, retryAfter) => {
  const type = `urn:tideline:problem:${code.toLowerCase().replaceAll("_", "-")}`;
  const { problem, headers } = told(code);
  expect(problem).toEqual({ type, title, status, detail: "it broke. Mend it", code });
  expect(headers).toEqual(retryAfter === undefined ? {} : { "retry-after": retryAfter });
});

test("these are all codes that clients are told, in the order of the OpenAPI document", () => {
  expect(PROBLEM_CODES).toEqual([...SENT.map(([code]) => code), "INTERNAL"]);
});

test.each<ErrorCode>([
  "TOPIC_MISSING",
  "TOPIC_RECREATED",
  "LOG_TRUNCATED",
  "LOG_LOST",
  "LOG_UNREADABLE",
  "CODEC_MISSING",
  "BATCH_CORRUPT",
])("%s is told as NOT_READY, with its own code in the detail", (code) => {
  const { problem, headers } = told(code);
  expect(problem).toMatchObject({ status: 503, code: "NOT_READY", detail: `${code}: it broke. Mend it` });
  expect(headers).toEqual({ "retry-after": "2" });
});

test.each([
  ["an error that no request should meet", new TidelineError("VIEW_FAILED", "secret", "none")],
  ["an error without a code", new Error("secret")],
  ["an error of the framework's own", Object.assign(new Error("secret"), { statusCode: 500 })],
  ["what is no error", null],
])("%s is told as INTERNAL, without what it says", (_, error) => {
  expect(refusalOf(error)).toEqual({ problem: INTERNAL, headers: {} });
});

describe("the detail of", () => {
  const detailOf = (error: TidelineError) => refusalOf(error).problem;
  const wrong = { parameter: "limit", problem: "too many", allowed: "fewer" };

  test("an error without a hint is its message", () => {
    expect(detailOf(serverClosing()).detail).toBe("this server is closing");
  });

  test("a question that is to be changed is one sentence, and its parameters are beside it", () => {
    const error = new TidelineError("TOO_LARGE", "too many", "ask for fewer", { parameters: [wrong] });
    expect(detailOf(error)).toMatchObject({ detail: "too many; ask for fewer", errors: [wrong] });
  });

  test("wrong parameters is each with its problem", () => {
    const { detail, errors } = detailOf(badRequest([wrong, { parameter: "by", problem: "unknown", allowed: "a" }]));
    expect(detail).toBe("limit: too many; by: unknown");
    expect(errors).toHaveLength(2);
  });

  test("a name that is not known does not repeat which are", () => {
    expect(detailOf(viewUnknown("x", ["a", "b"]))).toMatchObject({
      detail: 'there is no view "x"',
      errors: [{ parameter: "name", problem: 'there is no view "x"', allowed: "a, b" }],
    });
  });

  test("a question beyond its budget names what to narrow: of a view its range, of a table its rows", () => {
    const error = new OverBudget("cells", 10, 25);
    const problem = "the answer would have 25 cells; at most 10 for one question: ask for 2.5 times less";
    const ofView = detailOf(error);
    const ofTable = detailOf(error.ofTable());
    expect(ofView.errors).toMatchObject([{ parameter: "every", problem }]);
    expect(ofView.detail).toBe(`${problem}; ${ofView.errors?.[0]?.allowed}`);
    expect(ofTable.errors).toMatchObject([{ parameter: "limit", problem }]);
    expect(ofTable.detail).toBe(`${problem}; ${ofTable.errors?.[0]?.allowed}`);
  });

  test("a host that is not answered says by which to ask", () => {
    expect(detailOf(hostNotAllowed("evil")).detail).toMatch(/^the server does not answer for the host "evil"; ask by /);
  });
});

test("headers say what an error knows: when to ask again, the position, methods, which keys", () => {
  const headersOf = (error: TidelineError) => refusalOf(error).headers;
  expect(headersOf(new TidelineError("TOO_SLOW", "slow", "", { retryAfterSeconds: 7 }))).toEqual({
    "retry-after": "7",
  });
  expect([headersOf(serverClosing()), headersOf(clientLeft())]).toEqual([{}, {}]);
  expect(headersOf(keyUnknown("t", ["k"], "token"))).toEqual({ "tideline-as-of": "token" });
  expect(headersOf(keyUnknown("t", ["k"], "t".repeat(2_049)))).toEqual({});
  expect(headersOf(new TidelineError("METHOD_NOT_ALLOWED", "no", "", { methods: "GET" }))).toEqual({ allow: "GET" });
  expect(headersOf(new TidelineError("UNAUTHENTICATED", "no", "", { realm: "tideline" }))).toEqual({
    "www-authenticate": 'Bearer realm="tideline"',
  });
});

test("errors of the framework keep their status, and are requests that are wrong", () => {
  const sent = (statusCode: number, message?: string) => {
    const { status, code, detail, errors } = refusalOf({ statusCode, message }).problem;
    return [status, code, detail, errors?.[0]?.allowed];
  };
  expect(sent(415, "no such type")).toEqual([415, "BAD_REQUEST", "no such type", "see /docs"]);
  expect(sent(413)).toEqual([413, "BAD_REQUEST", "malformed", "see /docs"]);
  expect(sent(404)).toEqual([
    404,
    "NOT_FOUND",
    "there is nothing at this address. /docs shows what there is",
    undefined,
  ]);
  const shorter = "the URL is too long. Ask for fewer measures, dimensions or values in one request";
  expect(sent(414)).toEqual([414, "URI_TOO_LONG", shorter, undefined]);
});

test("a stream ends for what is wrong with the question, and tells the rest as an event", () => {
  const event = problemEvent(new TidelineError("LOG_LOST", "it broke", "mend it"));
  expect(event).toMatchObject({ code: "NOT_READY", isOfQuestion: false });
  expect(JSON.parse(event.data)).toMatchObject({ status: 503, code: "NOT_READY" });
  const questions = SENT.filter(([code]) => problemEvent(new TidelineError(code, "x", "")).isOfQuestion);
  expect(questions.map(([code]) => code)).toEqual(SENT.filter(([, status]) => status < 500).map(([code]) => code));
});
