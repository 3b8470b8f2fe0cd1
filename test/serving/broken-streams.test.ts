import { fastifySSE } from "@fastify/sse";
import Fastify, { type FastifyReply } from "fastify";
import { afterEach, expect, test } from "vitest";
import { alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { AlertStates } from "../../core/alerts/alert-states.ts";
import { SentAlerts } from "../../core/alerts/sent-alerts.ts";
import { sql } from "../../core/contract/sql.ts";
import { rule } from "../../core/definition/rule.ts";
import { AlertSending } from "../../serving/alerts/alert-sending.ts";
import { latestOnly } from "../../serving/routes/live.ts";
import { sales } from "../fixtures/events/takings.ts";

/** A stream of which one event cannot be sent ends, so that its client comes back for what it has missed. */

const app = Fastify({ forceCloseConnections: true });
afterEach(() => app.close());

test("a live answer and a stream of alerts end when an event cannot be sent", async () => {
  await app.register(fastifySSE, { heartbeatInterval: 0, serializer: String });
  const route = (path: string, begin: (reply: FastifyReply) => void) =>
    app.get(path, { sse: "manual" }, async (_request, reply) => {
      reply.sse.sendHeaders();
      reply.raw.flushHeaders();
      reply.sse.keepAlive();
      const { sse } = reply;
      sse.send = () => Promise.reject(new Error("cannot be sent"));
      begin(reply);
    });
  route("/live", (reply) => latestOnly(reply)({ event: "answer", data: "{}" }));
  route("/alerts", (reply) => {
    const sending = new AlertSending(reply, () => new AlertStates(0));
    const large = rule("large", { on: sales, when: sql`cents > 1`, quiet: "1 minute" });
    const match = { rule: large, partition: 0, offset: 7n, atMs: 5, eventId: "e", key: null, says: null };
    const alert = new AlertStates(1).take({ event: openedEvent(alertOf(match)), writtenAtMs: 5 });
    sending.begin(SentAlerts.from(new Map()), alert === null ? [] : [alert]);
  });
  const address = await app.listen({ host: "127.0.0.1", port: 0 });
  for (const path of ["/live", "/alerts"]) expect(await (await fetch(`${address}${path}`)).text()).toBe("");
});
