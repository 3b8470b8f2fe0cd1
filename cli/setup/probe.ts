import Fastify from "fastify";
import type { Registry } from "prom-client";
import { hostCheck } from "../../core/hosts.ts";
import { PROBLEM_TYPE, refusalOf } from "../../serving/common/problem.ts";
import { hostNotAllowed } from "../../serving/common/refusals.ts";

export interface Probe {
  readonly port: number;
  close(): Promise<void>;
}

/** The HTTP server of a role without an API: /health (200 or 503, with the result of `health`) and /metrics. */
export async function startProbe(options: {
  host: string;
  /** TIDELINE_ALLOWED_HOSTS; null if it is not set. */
  allowedHosts: readonly string[] | null;
  port: number;
  registry: Pick<Registry, "contentType" | "metrics">;
  health: () => { readonly ready: boolean };
}): Promise<Probe> {
  const { registry, health, host, allowedHosts } = options;
  const server = Fastify({ logger: false });
  const isAllowedHost = hostCheck({ listensOn: host, names: allowedHosts });
  server.addHook("onRequest", async ({ headers }, reply) => {
    if (isAllowedHost(headers.host)) return;
    const { problem } = refusalOf(hostNotAllowed(headers.host ?? ""));
    return reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
  });
  server.get("/health", async (_, reply) => {
    const state = health();
    return reply.code(state.ready ? 200 : 503).send(state);
  });
  server.get("/metrics", async (_, reply) => reply.type(registry.contentType).send(await registry.metrics()));
  await server.listen({ host, port: options.port });
  const address = server.server.address();
  const port = typeof address === "object" && address !== null ? address.port : options.port;
  return { port, close: () => server.close() };
}
