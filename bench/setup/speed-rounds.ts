import { readFile } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";
import { at, type Cut, cutReached } from "../../core/log/position.ts";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { TidelineRedis } from "../../store/redis/redis.ts";

const TICKS_PER_SECOND = 100;

/** What one round of the speed layer gave. */
export interface SpeedRound {
  /** Events a second. */
  readonly ours: number;
  /** Events per second of CPU time that the speed layer used; null where the system does not say. */
  readonly perCpuSecond: number | null;
  /** Commands that Redis ran per event, those inside of scripts too. */
  readonly operations: number;
}

/** Resolves when every chain is at `end`. */
export async function reached(chains: readonly Chain[], end: Cut): Promise<void> {
  for (;;) {
    const states = await Promise.all(chains.map((chain) => chain.load()));
    if (states.every((state) => state !== null && cutReached(state.applied, end))) return;
    await delay(20);
  }
}

/**
 * Empties Redis, and from the first chain that is there again to the end: events a second of the view that is last
 * (this topic has no gaps).
 */
export async function timed(
  redis: TidelineRedis,
  chains: readonly Chain[],
  end: Cut,
  roles: readonly ProcessHandle[],
): Promise<SpeedRound> {
  await redis.flushall();
  await redis.config("RESETSTAT");
  const cpuBefore = await cpuSeconds(roles);
  let beganMs: number | null = null;
  const total = count(end);
  for (;;) {
    const states = await Promise.all(chains.map((chain) => chain.load()));
    const applied = Math.min(...states.map((state) => (state === null ? 0 : count(state.applied))));
    if (states.some((state) => state !== null)) beganMs ??= performance.now();
    if (beganMs !== null && applied === total) {
      const ours = (total / (performance.now() - beganMs)) * 1_000;
      const cpuAfter = await cpuSeconds(roles);
      const perCpuSecond = cpuBefore === null || cpuAfter === null ? null : total / (cpuAfter - cpuBefore);
      return { ours, perCpuSecond, operations: (await operations(redis)) / total };
    }
    await delay(25);
  }
}

async function operations(redis: TidelineRedis): Promise<number> {
  const text = await redis.info("commandstats");
  return [...text.matchAll(/^cmdstat_[^:]+:calls=(\d+)/gm)].reduce((sum, [, calls]) => sum + Number(calls), 0);
}

/** What processes have used of CPU time, in seconds, on Linux; null elsewhere. */
async function cpuSeconds(roles: readonly ProcessHandle[]): Promise<number | null> {
  let ticks = 0;
  for (const { pid } of roles) {
    const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => null);
    if (stat === null) return null;
    const [user = "0", system = "0"] = stat
      .slice(stat.lastIndexOf(")") + 2)
      .split(" ")
      .slice(11, 13);
    ticks += Number(user) + Number(system);
  }
  return ticks / TICKS_PER_SECOND;
}

function count(cut: Cut): number {
  return [...cut.keys()].reduce((sum, partition) => sum + Number(at(cut, partition)), 0);
}
