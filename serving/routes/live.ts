import { fastifySSE } from "@fastify/sse";
import type { FastifyInstance, FastifyReply } from "fastify";
import { decodeAsOf } from "../../core/log/as-of.ts";
import { wholeNumber } from "../../core/query/parameters.ts";
import type { LiveEvent } from "../answer/live-feeds.ts";
import { resolvedToken } from "../request/named-versions.ts";
import type { Parameters } from "../request/parameters.ts";
import { readNumbers, readRequest } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";

const HEARTBEAT_MS = 15_000;
const END_PATIENCE_MS = 1_000;
export const LIVE_INTERVAL = { least: 50, most: 60_000, byDefault: 250 } as const;

/** GET /views/:name/live: server-sent events. */
export async function liveRoutes(app: FastifyInstance, serving: Serving): Promise<void> {
  const { views, live } = serving;
  await app.register(fastifySSE, { heartbeatInterval: HEARTBEAT_MS, serializer: String });
  // A closing server waits for connections that are not idle, and a stream is never idle.
  const open = new Set<FastifyReply["raw"]>();
  app.addHook("preClose", async () => {
    live.close();
    // Closing does not wait for a client that does not read.
    setTimeout(() => open.forEach((raw) => void raw.destroy()), END_PATIENCE_MS).unref();
  });

  app.get<{ Params: { name: string } }>("/views/:name/live", { sse: "manual" }, async (request, reply) => {
    const { described, query, options } = readRequest(
      views,
      request.params.name,
      { route: "/views/:name/live", parameters: request.query as Parameters },
      (one, fail) => ({
        intervalMs: wholeNumber("interval", one("interval"), LIVE_INTERVAL, fail),
        numbers: readNumbers(one, fail),
      }),
    );
    open.add(reply.raw);
    reply.raw.once("close", () => open.delete(reply.raw));
    const token = request.headers["last-event-id"];
    const seen = typeof token === "string" ? decodeAsOf(await resolvedToken(serving, token).catch(() => token)) : null;
    const { definition } = described;
    void reply.headers({ connection: "close", "cache-control": "no-store" });
    const unsubscribe = await live.subscribe({
      described,
      query,
      ...options,
      seen: seen?.generation === definition.generation ? seen.applied : null,
      onEvent: latestOnly(reply),
      onEnd: () => reply.sse.close(),
    });
    if (!reply.sse.isConnected) return unsubscribe();
    reply.sse.onClose(unsubscribe);
    reply.sse.sendHeaders();
    // A client that comes back and has missed nothing has to see that it is connected.
    reply.raw.flushHeaders();
    reply.sse.keepAlive();
  });
}

/**
 * Returns a function that sends events one after the other. If the client is slow, only the latest unsent event is
 * kept. The stream ends when an event cannot be sent: the client comes back with Last-Event-ID.
 */
export function latestOnly(reply: FastifyReply): (event: LiveEvent) => void {
  let next: LiveEvent | null = null;
  let sending = false;
  const send = async () => {
    sending = true;
    try {
      while (next !== null && reply.sse.isConnected) {
        const event = next;
        next = null;
        await reply.sse.send(event);
      }
    } catch (error) {
      reply.log.debug({ err: error }, "live stream ended");
      reply.sse.close();
    } finally {
      sending = false;
    }
  };
  return (event) => {
    next = event;
    if (!sending) void send();
  };
}
