import { separated, shownUrl } from "../../core/secrets.ts";
import type { Config } from "../setup/config.ts";
import { PATIENCE_MS } from "../setup/patience.ts";

type Server = "kafka" | "redis" | "temporal" | "api";

export interface ServerStatus {
  readonly server: Server;
  readonly address: string;
  readonly reachable: boolean;
}

/** Every server with its address, without credentials, and whether it answered. */
export function serverStatuses(config: Config, reachable: Readonly<Record<Server, boolean>>): ServerStatus[] {
  return [
    { server: "kafka", address: config.kafkaBrokers, reachable: reachable.kafka },
    { server: "redis", address: shownUrl(config.redisUrl), reachable: reachable.redis },
    { server: "temporal", address: config.temporalAddress, reachable: reachable.temporal },
    { server: "api", address: shownUrl(config.apiUrl), reachable: reachable.api },
  ];
}

/** Whether the API says that it is healthy; never rejects for a server that does not answer. */
export async function apiAnswers({ apiUrl }: Config): Promise<boolean> {
  const { url, headers } = separated(apiUrl);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(new URL("/health", url), { headers, signal }).catch(() => null);
  await response?.body?.cancel();
  return response?.ok ?? false;
}
