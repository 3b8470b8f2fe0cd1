import type { Config } from "../config.ts";
import { PATIENCE_MS } from "./patience.ts";

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
    { server: "redis", address: withoutPassword(config.redisUrl), reachable: reachable.redis },
    { server: "temporal", address: config.temporalAddress, reachable: reachable.temporal },
    { server: "api", address: config.apiUrl, reachable: reachable.api },
  ];
}

/** Whether the API says that it is healthy; never rejects for a server that does not answer. */
export async function apiAnswers({ apiUrl }: Config): Promise<boolean> {
  const response = await fetch(new URL("/health", apiUrl), { signal: AbortSignal.timeout(PATIENCE_MS) }).catch(
    () => null,
  );
  await response?.body?.cancel();
  return response?.ok ?? false;
}

function withoutPassword(url: string): string {
  const shown = new URL(url);
  shown.username = "";
  shown.password = "";
  return shown.href;
}
