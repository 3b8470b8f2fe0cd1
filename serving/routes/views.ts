import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import { type AsOf, encodeAsOf } from "../../core/log/as-of.ts";
import { Budget } from "../../core/query/budget.ts";
import { type Fail, wholeNumber } from "../../core/query/parameters.ts";
import {
  answerBody,
  answerJson,
  answerNotices,
  answerStatus,
  asOfToken,
  type RenderedAnswer,
  renderAnswer,
  renderedBody,
} from "../answer/answer.ts";
import type { KeysBody } from "../answer/answer-schemas.ts";
import { csvOf } from "../answer/csv.ts";
import { FORMATS, type Format, preferredFormat } from "../answer/format.ts";
import { keysJson, keysOf, keysOrder, keysQuery } from "../answer/keys.ts";
import { closedSignal } from "../common/closed-signal.ts";
import type { Numbers } from "../common/numbers.ts";
import { remembered } from "../common/remembered.ts";
import type { Trouble } from "../common/trouble.ts";
import { inTurns } from "../common/turns.ts";
import type { ViewStatus } from "../read/live/view-status.ts";
import type { ReadAnswer, Reading } from "../read/reading.ts";
import { entityTag, hasTag } from "../read/validators.ts";
import { type Consistency, readConsistency } from "../request/consistency.ts";
import { type KnownQuestion, KnownQuestions } from "../request/known-questions.ts";
import type { Parameters } from "../request/parameters.ts";
import { wholeAddress } from "../request/posted.ts";
import { type One, readNumbers, readRequest, type ViewRequest } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";
import type { DescribedView } from "../views/served-views.ts";

type Named = { Params: { name: string } };

type Question = ViewRequest<QuestionOptions>;

interface QuestionOptions extends Consistency {
  /** Null: the format that the Accept header prefers. */
  readonly format: Format | null;
  readonly numbers: Numbers;
}

const JSON_TYPE = "application/json; charset=utf-8";
const AGE_HEADER = "tideline-freshness-ms";
const formatFor = remembered(preferredFormat);

export const KEYS_LIMIT = { least: 1, most: 10_000, byDefault: 100 } as const;

/** The values that all requests to one server share. */
interface Answering {
  readonly serving: Serving;
  readonly known: KnownQuestions<QuestionOptions, RenderedAnswer>;
  /** Returns a signal that is aborted when the client leaves; null: the answer is computed in any case. */
  readonly leftSignal: (reply: FastifyReply) => AbortSignal | null;
}

/** GET /views/:name and GET /views/:name/keys. `givesUp`: whether work ends when its client leaves. */
export function viewRoutes(app: FastifyInstance, serving: Serving, givesUp: boolean): void {
  // A process with a helper computes only small answers, so a signal for each request would cost more than it saves.
  const leftSignal = (reply: FastifyReply) => (givesUp ? closedSignal(reply) : null);
  const answering: Answering = { serving, known: new KnownQuestions(), leftSignal };
  app.get<Named>("/views/:name", (request, reply) => sendAnswer(answering, request, reply));
  app.get<Named>("/views/:name/keys", (request, reply) => sendKeys(answering, request, reply));
}

/** Answers a query: with 304 if the client has the answer already, else as CSV or JSON. */
async function sendAnswer(
  { serving, known, leftSignal }: Answering,
  request: FastifyRequest<Named>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { asked, answered } = questionOf(serving, known, request);
  const { query, options } = asked;
  const { at, numbers } = options;
  const format = options.format ?? formatFor(request.headers.accept ?? "*/*");
  const tagOf = (asOf: string) => entityTag(asOf, query, `${format} ${numbers}`, at === null && format === "json");
  void reply.header("vary", "accept");
  if (await isUnchanged(serving, request, asked, tagOf)) return reply.status(304).send();
  const held = format === "json" ? answered : null;
  const left = leftSignal(reply);
  const answer = await consistently(serving, reply, asked, () =>
    serving.reader.answer(asked.described.definition, query, {
      at: at?.applied ?? null,
      held: held?.answer ?? null,
      left,
    }),
  );
  if (held !== null && held.answer.rows === answer.rows && answer.problems.length === 0)
    return sendRendered(reply, held, answer.freshnessMs);
  const headers = {
    ...answerHeaders(asked.described, answer, at, tagOf),
    "tideline-truncated": String(answer.truncated),
  };
  if (format !== "json") return sendCsv(reply, asked, answer, { headers, format });
  const budget = left === null ? null : Budget.unlimited(left);
  const rendered =
    at === null ? await inTurns(renderAnswer(asked.described, query, answer, { headers, numbers }), budget) : null;
  if (rendered === null) return sendBody(reply, asked, answer, { headers, budget });
  const address = wholeAddress(request);
  known.answer(address, rendered, address.length + rendered.before.length);
  return sendRendered(reply, rendered, answer.freshnessMs);
}

/** Returns what a request asks. The same text means the same as long as the same generation is served. */
function questionOf(
  serving: Serving,
  known: Answering["known"],
  request: FastifyRequest<Named>,
): Pick<KnownQuestion<QuestionOptions, RenderedAnswer>, "asked" | "answered"> {
  const { name } = request.params;
  const address = wholeAddress(request);
  const held = known.get(address);
  if (held !== undefined && held.asked.described === serving.views.get(name)) return held;
  const parameters = request.query as Parameters;
  const asked = readRequest(serving.views, name, { route: "/views/:name", parameters }, (one, fail, described) => ({
    ...readConsistency(serving, one, fail, described),
    format: formatOf(one, fail) ?? null,
    numbers: readNumbers(one, fail),
  }));
  const { at, min } = asked.options;
  // Whether the position of `at` or `min` is still served has to be checked every time.
  return at === null && min === null ? known.add(address, asked) : { asked, answered: null };
}

/** Sends an answer as CSV. */
function sendCsv(
  reply: FastifyReply,
  { described, query, options }: Question,
  answer: ReadAnswer,
  { headers, format }: { readonly headers: Record<string, string>; readonly format: Exclude<Format, "json"> },
): FastifyReply {
  return reply
    .headers({ ...headers, ...ageHeader(answer, options.at) })
    .type(`${FORMATS[format]}; charset=utf-8; header=present`)
    .send(csvOf(described.definition.view, query, answer.rows, format === "spreadsheet"));
}

/** Sends an answer that is not cached as text: of an earlier position, incomplete, or with problems. */
async function sendBody(
  reply: FastifyReply,
  { described, query, options }: Question,
  answer: ReadAnswer,
  { headers, budget }: { readonly headers: Record<string, string>; readonly budget: Budget | null },
): Promise<FastifyReply> {
  const { at, numbers } = options;
  const body = answerBody(described, query, answer, { at, numbers });
  const text = await inTurns(answerJson(body, numbers), budget);
  return reply
    .headers({ ...headers, ...ageHeader(answer, at) })
    .type(JSON_TYPE)
    .send(text);
}

/** Sends the values of one dimension, the most frequent first. */
async function sendKeys(
  { serving, leftSignal }: Answering,
  request: FastifyRequest<Named>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const asked = readKeysRequest(serving, request);
  const { described, options } = asked;
  const { definition } = described;
  const { at, dimension, prefix, limit, numbers } = options;
  const query = keysQuery(definition.view, asked.query, dimension);
  const reading = await consistently(serving, reply, asked, () =>
    serving.reader.read(definition, query, {
      at: at?.applied ?? null,
      top: keysOrder(dimension, { prefix, limit }),
      left: leftSignal(reply),
    }),
  );
  const keys = await inTurns(keysOf(definition.view, dimension, reading, { prefix, limit }), null);
  void reply.headers({ ...answerHeaders(described, reading, at, null), ...ageHeader(reading, at) });
  const body: KeysBody = {
    view: definition.view.name,
    dimension,
    ...keys,
    window: { from: new Date(reading.fromMs).toISOString(), to: new Date(reading.toMs).toISOString() },
    ...answerStatus(definition, reading, at),
    ...answerNotices(definition, reading),
  };
  return reply.type(JSON_TYPE).send(keysJson(described, body, numbers));
}

function readKeysRequest(serving: Serving, request: FastifyRequest<Named>) {
  const question = { route: "/views/:name/keys", parameters: request.query as Parameters, own: ["limit"] } as const;
  return readRequest(serving.views, request.params.name, question, (one, fail, described) => ({
    ...readConsistency(serving, one, fail, described),
    dimension: dimensionOf(one, fail, described),
    prefix: one("prefix") ?? "",
    numbers: readNumbers(one, fail),
    limit: wholeNumber("limit", one("limit"), KEYS_LIMIT, fail),
  }));
}

function formatOf(one: One, fail: Fail): Format | undefined {
  const text = one("format");
  if (text === undefined || Object.hasOwn(FORMATS, text)) return text as Format | undefined;
  fail("format", `"${text.slice(0, 60)}" is not a format`, Object.keys(FORMATS).join(", "));
  return undefined;
}

function dimensionOf(one: One, fail: Fail, { definition }: DescribedView): string {
  const dimensions = Object.keys(definition.view.by);
  const name = one("dimension");
  if (name !== undefined && dimensions.includes(name)) return name;
  const problem = name === undefined ? "is not given" : `"${name.slice(0, 60)}" is not a dimension`;
  fail("dimension", problem, dimensions.join(", ") || "this view has none");
  return "";
}

/** Returns the result of `read` at the requested position. */
function consistently<T extends ViewStatus>(
  { waits }: Serving,
  reply: FastifyReply,
  { described, options: { min, waitMs } }: ViewRequest<Consistency>,
  read: () => Promise<T>,
): Promise<T> {
  return min === null ? read() : waits.reach(described.definition, { min, waitMs }, closedSignal(reply), read);
}

/** Whether the client has the answer already. The positions alone decide that; no row is read. */
async function isUnchanged(
  { statuses }: Serving,
  request: FastifyRequest,
  { described: { definition }, options: { at, min } }: ViewRequest<Consistency>,
  tagOf: (asOf: string) => string,
): Promise<boolean> {
  const held = request.headers["if-none-match"];
  // Only GET and HEAD answer with 304 (RFC 9110, 13.1.2).
  if (held === undefined || min !== null || request.method === "POST") return false;
  if (at !== null) return hasTag(held, tagOf(encodeAsOf(at)));
  const status = await statuses.find(definition);
  return status.missing === null && status.problems.length === 0 && hasTag(held, tagOf(asOfToken(definition, status)));
}

/**
 * Returns the headers with the position of an answer. There is no entity tag, because the answer must not be kept, if
 * the answer is incomplete, has problems, or has a window that moves with the clock.
 */
function answerHeaders(
  { definition }: DescribedView,
  status: ViewStatus & Pick<Reading, "laterMs" | "movesWithClock">,
  at: AsOf | null,
  tagOf: ((asOf: string) => string) | null,
): Record<string, string> {
  const { asOf, batchVersion, complete, problems = [] } = answerStatus(definition, status, at);
  return {
    "tideline-as-of": asOf,
    "tideline-batch-version": String(batchVersion),
    "tideline-complete": String(complete),
    "cache-control": at === null || status.movesWithClock ? "no-cache" : "max-age=31536000, immutable",
    ...(status.missing === null ? {} : { "tideline-missing": status.missing.code }),
    ...(status.laterMs === null ? {} : { "tideline-notice": "EVENTS_AFTER_NOW" }),
    ...(problems.length === 0 ? {} : { "tideline-problems": codesOf(problems) }),
    ...(complete && !status.movesWithClock && problems.length === 0 && tagOf !== null ? { etag: tagOf(asOf) } : {}),
  };
}

/** `VIEW_FAILED, LOG_TRUNCATED`: each code once. */
function codesOf(problems: readonly Trouble[]): string {
  return [...new Set(problems.map(({ code }) => code))].join(", ");
}

/** Returns the header with the age of the newest change; an earlier position has no age. */
function ageHeader({ freshnessMs }: ViewStatus, at: AsOf | null): Record<string, string> {
  return at === null ? { [AGE_HEADER]: String(freshnessMs) } : {};
}

function sendRendered(reply: FastifyReply, rendered: RenderedAnswer, freshnessMs: number): FastifyReply {
  return reply
    .headers(rendered.headers)
    .header(AGE_HEADER, String(freshnessMs))
    .type(JSON_TYPE)
    .send(renderedBody(rendered, freshnessMs));
}
