import { setTimeout as delay } from "node:timers/promises";
import type { FastifyInstance, FastifyReply } from "fastify";
import {
  ALERT_STATES,
  type Alert,
  type AlertQuestion,
  AlertStates,
  alertsAsked,
  shownAlert,
} from "../../core/alerts/alert-states.ts";
import { OWN_RULE, SEVERITIES } from "../../core/contract/alerts.ts";
import type { QueryProblem } from "../../core/query/query.ts";
import { parseUrlTime } from "../../core/time.ts";
import { badRequest } from "../common/problem.ts";
import { ALERT_LIMIT } from "../openapi/openapi-alerts.ts";
import type { Parameters } from "../request/parameters.ts";
import type { Serving } from "../request/serving.ts";
import { readParameters } from "./streams.ts";

/** A client that is so far behind is let go: it comes back with Last-Event-ID. */
const MOST_WAITING = 1_000;
const END_PATIENCE_MS = 1_000;
const NO_STATES = new AlertStates(0);
/** Own alerts do not wait longer for Kafka. */
const OWN_PATIENCE_MS = 2_000;

/** GET /alerts and GET /alerts/live. After `liveRoutes`, which registers server-sent events. */
export function alertRoutes(app: FastifyInstance, { alerts, ownAlerts }: Serving): void {
  app.get("/alerts", async (request) => {
    const { question, limit } = readQuestion(request.query as Parameters);
    // Own alerts are told also while Kafka is away, which may be what they say.
    const isOwn = question.rule === OWN_RULE;
    const states = await (isOwn ? statesInTime(alerts) : alerts.states());
    const nowMs = Date.now();
    const found = alertsAsked(states, question, nowMs, await ownAlerts.all());
    return { alerts: found.slice(0, limit).map((alert) => shownAlert(states, alert, nowMs)), found: found.length };
  });

  const open = new Set<FastifyReply["raw"]>();
  app.addHook("preClose", async () => {
    alerts.endStreams();
    // A client that does not read is not waited for.
    setTimeout(() => open.forEach((raw) => void raw.destroy()), END_PATIENCE_MS).unref();
  });

  app.get("/alerts/live", { sse: "manual" }, async (request, reply) => {
    const values = readParameters(request.query as Parameters, ["rule", "severity"]);
    const [rule, severity] = ["rule", "severity"].map((name) => values.get(name));
    const isWanted = ({ opened }: Alert) =>
      (rule === undefined || opened.rule === rule) && (severity === undefined || opened.severity === severity);
    open.add(reply.raw);
    reply.raw.once("close", () => open.delete(reply.raw));
    let states = await alerts.states();
    void reply.headers({ connection: "close", "cache-control": "no-store" });
    const missed = missedBy(request.headers["last-event-id"], states).filter(isWanted);
    const send = inTurn(reply, () => states, missed);
    const unsubscribe = await alerts.subscribe(
      (alert, now) => {
        states = now;
        if (isWanted(alert)) send(alert);
      },
      () => reply.sse.close(),
    );
    if (!reply.sse.isConnected) return unsubscribe();
    reply.sse.onClose(unsubscribe);
    reply.sse.sendHeaders();
    reply.raw.flushHeaders();
    reply.sse.keepAlive();
    send(null);
  });
}

/** The states of the stream of alerts; none when Kafka does not answer soon. */
function statesInTime(alerts: Serving["alerts"]): Promise<AlertStates> {
  const late = delay(OWN_PATIENCE_MS, NO_STATES, { ref: false });
  return Promise.race([alerts.states().catch(() => NO_STATES), late]);
}

/** The alerts that came after the one that a client has seen last; none for a client that says nothing. */
function missedBy(seen: string | string[] | undefined, states: AlertStates): Alert[] {
  const all = states.all();
  const at = all.findIndex(({ id }) => id === seen);
  return at < 0 ? [] : all.slice(at + 1);
}

/**
 * Sends alerts one after the other, first those that were missed: null begins with them. A client that does not take what
 * comes meanwhile is let go; what it has missed does not count. Only an alert that was opened just now has an id: a client that comes back
 * continues behind it.
 */
function inTurn(
  reply: FastifyReply,
  states: () => AlertStates,
  missed: readonly Alert[],
): (alert: Alert | null) => void {
  const waiting: Alert[] = [...missed];
  let [sending, begun] = [false, false];
  let stillMissed = missed.length;
  const sendAll = async () => {
    sending = true;
    for (let next = waiting.shift(); next !== undefined && reply.sse.isConnected; next = waiting.shift()) {
      const data = JSON.stringify(shownAlert(states(), next, Date.now()));
      await reply.sse.send({ event: "alert", data, ...(next.acknowledged === null ? { id: next.id } : {}) });
      stillMissed = Math.max(0, stillMissed - 1);
    }
    sending = false;
  };
  return (alert) => {
    if (alert === null) begun = true;
    else waiting.push(alert);
    if (waiting.length > MOST_WAITING + stillMissed) reply.sse.close();
    else if (begun && !sending)
      void sendAll().catch((error: unknown) => reply.log.debug({ err: error }, "alert stream ended"));
  };
}

function readQuestion(parameters: Parameters): { question: AlertQuestion; limit: number } {
  const values = readParameters(parameters, ["rule", "key", "severity", "state", "from", "to", "limit"]);
  const problems: QueryProblem[] = [];
  const read = <T>(parameter: string, parse: (text: string) => T | null, allowed: string): T | undefined => {
    const text = values.get(parameter);
    if (text === undefined) return undefined;
    const value = parse(text);
    if (value === null) problems.push({ parameter, problem: `"${text.slice(0, 60)}" is none`, allowed });
    return value ?? undefined;
  };
  const among = <T extends string>(choices: readonly T[]) => {
    return (text: string): T | null => choices.find((one) => one === text) ?? null;
  };
  const time = "a time such as 2026-01-31T12:00:00Z";
  const limit = read("limit", wholeNumber, `a whole number from 1 to ${ALERT_LIMIT.most}`);
  const [rule, key] = [values.get("rule"), values.get("key")];
  const severity = read("severity", among(SEVERITIES), SEVERITIES.join(", "));
  const state = read("state", among(ALERT_STATES), ALERT_STATES.join(", "));
  const [fromMs, toMs] = [read("from", parseUrlTime, time), read("to", parseUrlTime, time)];
  if (problems.length > 0) throw badRequest(problems);
  const asked = { rule, key, severity, state, fromMs, toMs };
  const question = Object.fromEntries(Object.entries(asked).filter(([, value]) => value !== undefined));
  return { question, limit: limit ?? ALERT_LIMIT.byDefault };
}

function wholeNumber(text: string): number | null {
  const value = Number(text);
  return /^\d{1,6}$/.test(text) && value >= 1 && value <= ALERT_LIMIT.most ? value : null;
}
