import type { FastifyReply } from "fastify";
import { clientLeft } from "./refusals.ts";

/** Returns a signal that is aborted when the connection of a request closes: nobody waits for the answer any more. */
export function closedSignal(reply: FastifyReply): AbortSignal {
  const controller = new AbortController();
  reply.raw.once("close", () => controller.abort(clientLeft()));
  return controller.signal;
}
