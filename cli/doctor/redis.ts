import { once } from "node:events";
import { startHint } from "../../core/errors.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";
import type { Config } from "../setup/config.ts";
import { inTime, PATIENCE_MS } from "../setup/patience.ts";
import { bytes } from "../terminal/sheet.ts";
import { type Finding, isAtLeast, judged, ok, problem, warning } from "./finding.ts";

const LEAST_REDIS = "6.2";
/** Freshness is measured with clocks, and a larger difference between them is visible in it. */
const SKEW_MS = 1_000;
const RAISE =
  "Raise maxmemory: CONFIG SET maxmemory, and in redis.conf (REDIS_MAXMEMORY in Compose). `tideline settle` frees " +
  "live state, and `tideline views` shows which view has the most cells.";

/** Checks Redis: whether it answers, its version, memory, persistence and clock. */
export async function checkRedis({ redisUrl }: Config): Promise<Finding[]> {
  const redis = openRedis(redisUrl, () => {});
  try {
    await once(redis, "ready", { signal: AbortSignal.timeout(PATIENCE_MS) });
    const info = fieldsOf(await inTime(redis.info()));
    return [ok("redis.connect", "Redis answers"), ...checkInfo(info), await checkClock(redis)];
  } catch {
    const todo = `${startHint("Redis", "REDIS_URL")} Until then answers are batch versions alone.`;
    return [problem("redis.connect", "Redis does not answer", todo)];
  } finally {
    redis.disconnect();
  }
}

/** Parses lines `name:value`. Headings may have colons too, but no name that is used. */
function fieldsOf(info: string): ReadonlyMap<string, string> {
  return new Map(info.split(/\r?\n/).map((line) => [line.split(":", 1)[0] ?? "", line.slice(line.indexOf(":") + 1)]));
}

function checkInfo(info: ReadonlyMap<string, string>): Finding[] {
  const version = info.get("redis_version") ?? "0";
  const policy = info.get("maxmemory_policy") ?? "unknown";
  return [
    judged(isAtLeast(version, LEAST_REDIS), "redis.version", `Redis ${version}`, {
      level: "problem",
      message: `Redis ${version} is older than ${LEAST_REDIS}`,
      todo: `Upgrade Redis to ${LEAST_REDIS} or newer.`,
    }),
    judged(policy === "noeviction", "redis.memory-policy", "Redis evicts nothing", {
      level: "problem",
      message:
        `maxmemory-policy is ${policy}: Redis may delete parts of the live state. The ` +
        "speed layer applies nothing while that is so (REDIS_EVICTS)",
      todo: "CONFIG SET maxmemory-policy noeviction, and in redis.conf.",
    }),
    checkMemory(Number(info.get("used_memory") ?? 0), Number(info.get("maxmemory") ?? 0)),
    judged(info.get("aof_enabled") === "1", "redis.persistence", "Redis keeps an append-only file", {
      level: "warning",
      message:
        "Redis keeps no append-only file: after a restart the live state is read " +
        "from Kafka again, which is a delay and no loss",
      todo: "CONFIG SET appendonly yes, and in redis.conf.",
    }),
  ];
}

function checkMemory(used: number, most: number): Finding {
  const check = "redis.memory";
  if (most === 0) return ok(check, `Redis uses ${bytes(used)}, and maxmemory sets no limit`);
  const message = `Redis uses ${bytes(used)} of ${bytes(most)}`;
  const share = used / most;
  if (share > 0.95) return problem(check, `${message}: it refuses writes when it is full`, RAISE);
  return share > 0.8 ? warning(check, message, RAISE) : ok(check, message);
}

async function checkClock(redis: TidelineRedis): Promise<Finding> {
  const beganMs = Date.now();
  const [seconds = 0, microseconds = 0] = (await inTime(redis.time())).map(Number);
  const here = (beganMs + Date.now()) / 2;
  const skewMs = Math.round(seconds * 1_000 + microseconds / 1_000 - here);
  return judged(Math.abs(skewMs) <= SKEW_MS, "clock.redis", `Redis's clock is ${skewMs} ms from this one`, {
    level: "warning",
    message: `Redis's clock is ${skewMs} ms from this one: freshness is off by as much`,
    todo: "Let a time service (chrony, ntpd) keep both machines' clocks.",
  });
}
