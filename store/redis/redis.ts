import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";
import { maskOf } from "../../core/secrets.ts";

/** The protocol's scripts, and the number of keys of each. */
const SCRIPTS = {
  apply: 4,
  stage: 3,
  commit: 6,
  unstage: 3,
  seal: 2,
  reseed: 6,
  publish: 1,
  trim: 4,
  drop: 6,
  compact: 4,
  sweep: 1,
  read: 3,
  segment: 1,
  keyed: 1,
} as const;
type Script = keyof typeof SCRIPTS;
/** The scripts that write cells or advance positions. `values.lua` is prepended to them. */
const WRITING: readonly string[] = ["apply", "stage", "commit"];

type Argument = string | Buffer | number;
type ScriptCalls = Record<`tideline_${Script}`, (...args: Argument[]) => Promise<unknown>> &
  Record<`tideline_${Script}Buffer`, (...args: Argument[]) => Promise<unknown>>;

/** A connection with the protocol's scripts. */
export type TidelineRedis = Redis & ScriptCalls;

/**
 * Connects to Redis. Commands wait while the connection is down and are sent again after it returns. That does no harm,
 * because `apply` compares positions by equality, and every other script may run twice.
 */
export function openRedis(url: string, onError: (error: Error) => void): TidelineRedis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    enableReadyCheck: true,
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 1_000),
  });
  const mask = maskOf([url]);
  // These errors are logged, stored and shown. A server that does not know AUTH repeats its arguments, and the client
  // adds them to the error, so mask them.
  redis.on("error", ({ message, code }: Error & { readonly code?: string }) =>
    onError(Object.assign(new Error(mask(message === "" ? (code ?? "Redis is away") : message)), { code })),
  );
  for (const [name, numberOfKeys] of Object.entries(SCRIPTS)) {
    const parts = ["common", ...(WRITING.includes(name) ? ["values"] : []), name];
    redis.defineCommand(`tideline_${name}`, { numberOfKeys, lua: parts.map(script).join("") });
  }
  return redis as TidelineRedis;
}

/**
 * Ends a connection, even one that is down. Commands that wait for it fail within some seconds. The client's own
 * `disconnect` would leave them waiting forever.
 */
export function endRedis(redis: TidelineRedis): void {
  redis.options.retryStrategy = () => null;
  // Otherwise the next attempt is the last one.
  if (redis.status !== "reconnecting") redis.disconnect();
}

function script(name: string): string {
  return readFileSync(fileURLToPath(new URL(`./scripts/${name}.lua`, import.meta.url)), "utf8");
}
