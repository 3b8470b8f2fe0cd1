import type { FastifyInstance, FastifyRequest } from "fastify";
import { mayBePosted } from "../access/route-access.ts";
import { badRequest } from "../common/refusals.ts";
import { type Parameters, parseParameters } from "./parameters.ts";

const FORM = "application/x-www-form-urlencoded";
/** The longest body. It has room for tokens of many tables in the form of earlier releases. */
const MOST_BYTES = 131_072;

/**
 * Lets the routes of queries accept POST as well. The body has the parameters in the form of a URL's query, for queries
 * that are too long for a URL. Call this before routes are registered.
 */
export function acceptPosted(app: FastifyInstance): void {
  app.addContentTypeParser(FORM, { parseAs: "string", bodyLimit: MOST_BYTES }, (_request, body, done) =>
    done(null, body),
  );
  app.addHook("onRoute", (route) => {
    if (route.method === "GET" && mayBePosted(route.url)) app.route({ ...route, method: "POST" });
  });
  app.addHook("preValidation", async (request) => {
    if (request.method !== "POST" || request.is404) return;
    const body = postedText(request);
    if (body === null) {
      const problem = "is not of this type";
      throw badRequest([{ parameter: "body", problem, allowed: `Content-Type: ${FORM}, parameters as in a URL` }]);
    }
    const both = parseParameters([queryText(request.url), body].join("&"));
    if (both.problems.length > 0) throw badRequest(both.problems);
    request.query = both satisfies Parameters;
  });
}

/** Returns the parameters in the body; empty if there is no body, null if its type is wrong. */
export function postedText({ body }: Pick<FastifyRequest, "body">): string | null {
  if (body === undefined || body === null) return "";
  return typeof body === "string" ? body : null;
}

/** Returns a request's URL with all of its parameters, also those in the body. Equal requests have equal texts. */
export function wholeAddress(request: Pick<FastifyRequest, "url" | "body">): string {
  const text = postedText(request) ?? "";
  return text === "" ? request.url : `${request.url}${request.url.includes("?") ? "&" : "?"}${text}`;
}

function queryText(url: string): string {
  const mark = url.indexOf("?");
  return mark < 0 ? "" : url.slice(mark + 1);
}
