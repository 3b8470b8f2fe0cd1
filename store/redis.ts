import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Redis } from "ioredis";

/** The protocol's scripts and how many keys each takes. */
const SCRIPTS = {
  apply: 4,
  seal: 2,
  reseed: 6,
  publish: 1,
  trim: 2,
  drop: 6,
  fold: 3,
  sweep: 1,
  read: 3,
  segment: 1,
  merge: 2,
} as const;
type Script = keyof typeof SCRIPTS;

type Argument = string | Buffer | number;
type ScriptCalls = Record<`tideline_${Script}`, (...args: Argument[]) => Promise<unknown>> &
  Record<`tideline_${Script}Buffer`, (...args: Argument[]) => Promise<unknown>>;

/** A connection that knows the protocol's scripts. */
export type TidelineRedis = Redis & ScriptCalls;

/**
 * Connects to Redis. Commands wait while the connection is down and are sent again after it returns: harmless, because `apply`
 * compares positions by equality and every other script is idempotent.
 */
export function openRedis(url: string, onError: (error: Error) => void): TidelineRedis {
  const redis = new Redis(url, {
    maxRetriesPerRequest: null,
    enableReadyCheck: true,
    retryStrategy: (attempt) => Math.min(50 * 2 ** attempt, 1_000),
  });
  redis.on("error", onError);
  for (const [name, numberOfKeys] of Object.entries(SCRIPTS)) {
    redis.defineCommand(`tideline_${name}`, { numberOfKeys, lua: script("common") + script(name) });
  }
  return redis as TidelineRedis;
}

function script(name: string): string {
  return readFileSync(fileURLToPath(new URL(`./scripts/${name}.lua`, import.meta.url)), "utf8");
}
