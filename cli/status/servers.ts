import { separated, shownUrl } from "../../core/secrets.ts";
import type { Config } from "../setup/config.ts";
import { PATIENCE_MS } from "../setup/patience.ts";

type Server = "kafka" | "redis" | "temporal" | "api";

export interface ServerStatus {
  readonly server: Server;
  readonly address: string;
  readonly reachable: boolean;
}

/** Returns every server with its address (without credentials), and whether it answered. */
export function serverStatuses(config: Config, reachable: Readonly<Record<Server, boolean>>): ServerStatus[] {
  return [
    { server: "kafka", address: config.kafkaBrokers, reachable: reachable.kafka },
    { server: "redis", address: shownUrl(config.redisUrl), reachable: reachable.redis },
    { server: "temporal", address: config.temporalAddress, reachable: reachable.temporal },
    { server: "api", address: shownUrl(config.apiUrl), reachable: reachable.api },
  ];
}

/**
 * Returns why the API refuses requests with TIDELINE_API_KEY, which commands and the worker send. Returns null if it
 * accepts them or does not answer.
 */
export async function apiRefusal({ apiUrl, apiKey }: Config): Promise<string | null> {
  const { url, headers } = separated(`${apiUrl.replace(/\/$/, "")}/views`, apiKey);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(url, { headers, signal }).catch(() => null);
  const isRefused = response?.status === 401 || response?.status === 403;
  if (!isRefused) await response?.body?.cancel();
  return isRefused ? response.text().then(detailOf, () => null) : null;
}

function detailOf(problem: string): string {
  try {
    return String((JSON.parse(problem) as { detail?: unknown }).detail ?? problem);
  } catch {
    return problem.slice(0, 200);
  }
}

/** Whether the API reports that it is healthy. Never rejects. */
export async function apiAnswers({ apiUrl }: Config): Promise<boolean> {
  const { url, headers } = separated(apiUrl);
  const signal = AbortSignal.timeout(PATIENCE_MS);
  const response = await fetch(new URL("/health", url), { headers, signal }).catch(() => null);
  await response?.body?.cancel();
  return response?.ok ?? false;
}
