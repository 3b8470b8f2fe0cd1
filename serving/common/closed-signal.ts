import type { FastifyReply } from "fastify";
import { clientLeft } from "./refusals.ts";

/** Aborted when the connection of a request is closed: nobody waits for the answer any more. */
export function closedSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => controller.abort(clientLeft()));
  return controller.signal;
}
