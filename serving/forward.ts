import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { isTidelineError } from "../core/errors.ts";
import { parseUrlTime } from "../core/time.ts";
import { closedSignal } from "./common/closed-signal.ts";
import { refusalOf } from "./common/problem.ts";
import type { AskedRange, Helper } from "./helper.ts";
import type { Parameters } from "./request/parameters.ts";
import { postedText } from "./request/posted.ts";

interface ForwardingOptions {
  readonly answerError: (error: unknown, request: FastifyRequest, reply: FastifyReply) => void;
  /** Called with the status of each answer of the helper, or of the refusal in its place. */
  readonly observe: (status: number) => void;
}

/** Headers for one connection only, which are not forwarded (RFC 9110, 7.6.1). */
const HOP_BY_HOP: ReadonlySet<string> = new Set(["connection", "keep-alive", "transfer-encoding"]);

/** Routes that read the log. */
const LOG_WORK: ReadonlySet<string> = new Set(["/proof/:view", "/history/:table", "/replay/:table"]);

/**
 * Forwards to the helper what is too large for this process: proofs, and whatever a route refuses with TOO_LARGE. The
 * helper has larger budgets, and refuses what is beyond those itself. Other errors go to `answerError`.
 */
export function forwarding(app: FastifyInstance, helper: Helper, { answerError, observe }: ForwardingOptions): void {
  const forward = async (request: FastifyRequest, reply: FastifyReply, question: AskedRange | null) => {
    const closed = closedSignal(reply);
    try {
      const { method, url, headers } = request;
      const body = postedText(request) ?? "";
      const response = await helper.answer({ method, url, headers, body, question }, closed);
      observe(response.statusCode ?? 502);
      for (const [name, value] of Object.entries(response.headers))
        if (value !== undefined && !HOP_BY_HOP.has(name)) void reply.header(name, value);
      await reply.status(response.statusCode ?? 502).send(response);
    } catch (error) {
      if (closed.aborted) return reply;
      observe(refusalOf(error).problem.status);
      answerError(error, request, reply);
    }
    return reply;
  };

  app.addHook("preHandler", async (request, reply) => {
    // These routes have queues of their own and may take long.
    if (LOG_WORK.has(request.routeOptions.url ?? "")) return forward(request, reply, null);
    if (!helper.knowsLarge || request.headers["if-none-match"] !== undefined) return undefined;
    const question = askedRange(request);
    return helper.isKnownLarge(question) ? forward(request, reply, question) : undefined;
  });
  app.setErrorHandler((error, request, reply) => {
    if (!isTidelineError(error, "TOO_LARGE")) return answerError(error, request, reply);
    const question = askedRange(request);
    helper.rememberLarge(question);
    return forward(request, reply, question);
  });
  app.addHook("preClose", async () => helper.end());
}

function askedRange({ url, query }: FastifyRequest): AskedRange {
  const { from, to, ...others } = (query as Parameters).values;
  const name = `${url.split("?", 1)[0]} ${JSON.stringify(others)}`;
  const timeOf = (text: unknown) => (typeof text === "string" ? parseUrlTime(text) : null);
  const fromMs = timeOf(from);
  return { name, spanMs: fromMs === null ? 0 : (timeOf(to) ?? Date.now()) - fromMs };
}
