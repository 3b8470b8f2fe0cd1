import type { FastifyInstance } from "fastify";
import type { WrongParameter } from "../../core/errors.ts";
import { type Fail, wholeNumber } from "../../core/query/parameters.ts";
import { formatTime, parseDuration, parseUrlTime } from "../../core/time.ts";
import { LOG_START_FORMS, type LogStart, parseLogStart } from "../../store/records/log-start.ts";
import { isListed } from "../access/access.ts";
import { badRequest, streamUnknown } from "../common/refusals.ts";
import { QUALITY_WINDOW_MS, type StreamQualityBody, type StreamsBody } from "../operations/stream-quality.ts";
import { RECORDS } from "../records/stream-records.ts";
import type { Parameters } from "../request/parameters.ts";
import { readParameters } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";

/** The most spans in one answer. */
const MAX_SPANS = 10_000;
const HOUR_MS = 3_600_000;

/** GET /streams, GET /streams/:name/quality and GET /streams/:name/records. */
export function streamRoutes(app: FastifyInstance, { quality, records }: Serving): void {
  app.get("/streams", async (request): Promise<StreamsBody> => {
    readParameters("/streams", request.query as Parameters);
    const streams = await quality.all();
    return { streams: streams.filter(({ stream }) => isListed(request, { kind: "stream", stream })) };
  });

  app.get<{ Params: { name: string } }>("/streams/:name/quality", async (request): Promise<StreamQualityBody> => {
    const { name } = request.params;
    const stream = quality.streams.get(name);
    if (stream === undefined) throw streamUnknown(name, [...quality.streams.keys()]);
    const { every, from, to } = qualityWindow(request.query as Parameters);
    const spans = await quality.history(stream, { from, to, everyMs: every });
    return {
      stream: name,
      from: formatTime(from),
      to: formatTime(to),
      spans: spans.map((span) => ({ ...span, from: formatTime(span.from) })),
    };
  });

  app.get<{ Params: { name: string } }>("/streams/:name/records", async (request, reply) => {
    const { name } = request.params;
    const stream = quality.streams.get(name);
    if (stream === undefined) throw streamUnknown(name, [...quality.streams.keys()]);
    void reply.header("cache-control", "no-store");
    return records.page({ stream, ...recordsWanted(request.query as Parameters, Date.now()) });
  });
}

function recordsWanted(
  parameters: Parameters,
  nowMs: number,
): { start: LogStart; where: string | null; limit: number } {
  const values = readParameters("/streams/:name/records", parameters);
  const problems: WrongParameter[] = [];
  const fail: Fail = (parameter, problem, allowed) => problems.push({ parameter, problem, allowed });
  const limit = wholeNumber("limit", values.get("limit"), RECORDS, fail);
  const lastRange = { most: RECORDS.mostLast, byDefault: limit };
  const last: LogStart = { kind: "last", records: wholeNumber("last", values.get("last"), lastRange, fail) };
  const text = values.get("at");
  const start = text === undefined ? last : text === "beginning" ? BEGINNING : parseLogStart(text, nowMs);
  if (start === null) fail("at", `"${text?.slice(0, 60)}" is not a place in the log`, `beginning, ${LOG_START_FORMS}`);
  if (text !== undefined && values.has("last"))
    problems.push({ parameter: "last", problem: "given beside at", allowed: "either at or last" });
  if (start === null || problems.length > 0) throw badRequest(problems);
  return { start, where: values.get("where") ?? null, limit };
}

const BEGINNING: LogStart = { kind: "beginning" };

interface ParameterKind {
  readonly parse: (text: string) => number | null;
  readonly what: string;
  readonly example: string;
}

const TIME: ParameterKind = { parse: parseUrlTime, what: "a time", example: "2026-01-31T12:00:00Z" };
const DURATION: ParameterKind = { parse: parseDuration, what: "a duration", example: "1h or 1d" };

function qualityWindow(parameters: Parameters): { every: number; from: number; to: number } {
  const values = readParameters("/streams/:name/quality", parameters);
  const problems: WrongParameter[] = [];
  const read = (parameter: string, { parse, what, example }: ParameterKind, byDefault: number) => {
    const text = values.get(parameter);
    const value = text === undefined ? byDefault : parse(text);
    if (value !== null) return value;
    const problem = `"${text?.slice(0, 60)}" is not ${what}`;
    problems.push({ parameter, problem, allowed: `${what} such as ${example}` });
    return byDefault;
  };
  const every = read("every", DURATION, HOUR_MS);
  const to = read("to", TIME, Date.now());
  const from = read("from", TIME, to - QUALITY_WINDOW_MS);
  if ((to - from) / every > MAX_SPANS)
    problems.push({
      parameter: "every",
      problem: "too many spans",
      allowed: `a duration that makes at most ${MAX_SPANS}`,
    });
  if (problems.length > 0) throw badRequest(problems);
  return { every, from, to };
}
