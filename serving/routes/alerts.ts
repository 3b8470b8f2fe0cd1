import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import {
  type Alert,
  type AlertQuestion,
  type AlertStates,
  alertsAsked,
  shownAlert,
} from "../../core/alerts/alert-states.ts";
import { SentAlerts } from "../../core/alerts/sent-alerts.ts";
import { alerts as alertStream, OWN_RULE, SEVERITIES } from "../../core/contract/alerts.ts";
import { ALERT_STATES } from "../../core/definition/shown-alert.ts";
import type { WrongParameter } from "../../core/errors.ts";
import type { Cut } from "../../core/log/position.ts";
import { type Fail, wholeNumber } from "../../core/query/parameters.ts";
import { parseUrlTime } from "../../core/time.ts";
import { isListed } from "../access/access.ts";
import { ALERT_LIMIT, type AlertsBody } from "../alerts/alert-schemas.ts";
import { AlertSending } from "../alerts/alert-sending.ts";
import { ToldAlerts } from "../alerts/own-alerts.ts";
import { badRequest } from "../common/refusals.ts";
import type { Parameters } from "../request/parameters.ts";
import { readParameters } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";

const END_PATIENCE_MS = 1_000;

/** GET /alerts and GET /alerts/live. Call this after `liveRoutes`, which registers server-sent events. */
export function alertRoutes(app: FastifyInstance, serving: Serving): void {
  const open = new Set<FastifyReply["raw"]>();
  app.addHook("preClose", async () => {
    serving.alerts.endStreams();
    // Closing does not wait for a client that does not read.
    setTimeout(() => open.forEach((raw) => void raw.destroy()), END_PATIENCE_MS).unref();
  });
  app.get("/alerts", (request) => listAlerts(serving, request));
  app.get("/alerts/live", { sse: "manual" }, (request, reply) => streamAlerts(serving, open, request, reply));
}

async function listAlerts(serving: Serving, request: FastifyRequest): Promise<AlertsBody> {
  const { question, limit } = readQuestion(request.query as Parameters);
  const states = await statesFor(serving, question.rule);
  const nowMs = Date.now();
  const all = alertsAsked(states, question, nowMs, await serving.ownAlerts.all());
  const found = all.filter((alert) => isShown(request, alert));
  return { alerts: found.slice(0, limit).map((alert) => shownAlert(states, alert, nowMs)), found: found.length };
}

/** Sends the alerts that the client has missed, then each alert that opens, is acknowledged or is over. */
async function streamAlerts(
  serving: Serving,
  open: Set<FastifyReply["raw"]>,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<void> {
  const { alerts, ownAlerts } = serving;
  const values = readParameters("/alerts/live", request.query as Parameters);
  const [rule, severity] = ["rule", "severity"].map((name) => values.get(name));
  const isWanted = (alert: Alert) =>
    (rule === undefined || alert.opened.rule === rule) &&
    (severity === undefined || alert.opened.severity === severity) &&
    isShown(request, alert);
  open.add(reply.raw);
  reply.raw.once("close", () => open.delete(reply.raw));
  let states = await statesFor(serving, rule);
  void reply.headers({ connection: "close", "cache-control": "no-store" });
  const sending = new AlertSending(reply, () => states);
  const told = new ToldAlerts();
  for (const alert of await ownAlerts.all()) told.add(alert);
  const unsubscribe = await alerts.subscribe(
    (alert, now) => {
      states = now;
      const isRepeat = isOwnAlert(alert) && alert.acknowledged === null && !told.add(alert);
      if (!isRepeat && isWanted(alert)) sending.add({ alert, isInStream: true });
    },
    () => reply.sse.close(),
    rule === OWN_RULE,
  );
  // This is read after the subscription, so that an alert that came in between is either missed or new, and not lost.
  const sent = sentTo(request.headers["last-event-id"], states, alerts.read);
  const missed = states.all().filter((alert) => sent.isMissing(alert) && isWanted(alert));
  for (const alert of missed.filter(isOwnAlert)) told.add(alert);
  if (!reply.sse.isConnected) return unsubscribe();
  const gone = new AbortController();
  reply.sse.onClose(() => {
    gone.abort();
    unsubscribe();
  });
  reply.sse.sendHeaders();
  reply.raw.flushHeaders();
  reply.sse.keepAlive();
  sending.begin(sent, missed);
  const tell = (alert: Alert) => isWanted(alert) && sending.add({ alert, isInStream: false });
  void ownAlerts.follow(told, tell, gone.signal);
}

/** Returns the states of alerts. Own alerts are returned also while Kafka is away, which may be their subject. */
function statesFor({ alerts }: Serving, rule: string | undefined): Promise<AlertStates> {
  return rule === OWN_RULE ? alerts.statesInTime() : alerts.states();
}

/**
 * Whether the holder of the request's key may see an alert. A key for a stream shows alerts of that stream. Tideline's
 * own alerts are about the whole installation.
 */
function isShown(request: FastifyRequest, { opened: { source_stream: source } }: Alert): boolean {
  if (isListed(request, { kind: "stream", stream: alertStream.name })) return true;
  return source != null && isListed(request, { kind: "stream", stream: source });
}

function isOwnAlert({ opened }: Alert): boolean {
  return opened.rule === OWN_RULE;
}

/** Returns what a client was sent before, from the Last-Event-ID that it sends. Without one it follows from now on. */
function sentTo(lastEventId: string | string[] | undefined, states: AlertStates, read: Cut): SentAlerts {
  const resumed = typeof lastEventId === "string" ? SentAlerts.resumed(lastEventId, { all: states.all(), read }) : null;
  return resumed ?? SentAlerts.from(read);
}

function readQuestion(parameters: Parameters): { question: AlertQuestion; limit: number } {
  const values = readParameters("/alerts", parameters);
  const problems: WrongParameter[] = [];
  const fail: Fail = (parameter, problem, allowed) => problems.push({ parameter, problem, allowed });
  const read = <T>(
    parameter: string,
    parse: (text: string) => T | null,
    what: string,
    allowed: string,
  ): T | undefined => {
    const text = values.get(parameter);
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value === null) fail(parameter, `"${text.slice(0, 60)}" is not ${what}`, allowed);
    return value ?? undefined;
  };
  const among = <T extends string>(choices: readonly T[]) => {
    return (text: string): T | null => choices.find((one) => one === text) ?? null;
  };
  const time = "a time such as 2026-01-31T12:00:00Z";
  const limit = wholeNumber("limit", values.get("limit"), ALERT_LIMIT, fail);
  const [rule, key] = [values.get("rule"), values.get("key")];
  const severity = read("severity", among(SEVERITIES), "a severity", SEVERITIES.join(", "));
  const state = read("state", among(ALERT_STATES), "a state", ALERT_STATES.join(", "));
  const [fromMs, toMs] = [read("from", parseUrlTime, "a time", time), read("to", parseUrlTime, "a time", time)];
  if (problems.length > 0) throw badRequest(problems);
  const asked = { rule, key, severity, state, fromMs, toMs };
  const question = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  return { question, limit };
}
