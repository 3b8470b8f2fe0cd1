import { cp, readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { execa } from "execa";
import { Redis } from "ioredis";
import type { Scenario, World } from "../deployment/scenario.ts";

/** What Redis writes: a manifest, a base, and the commands since. */
const appendOnly = (serversHome: string) => join(serversHome, "redis", "appendonlydir");

export async function withRedis<T>({ servers }: World, work: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(servers.redis.url);
  try {
    return await work(redis);
  } finally {
    redis.disconnect();
  }
}

/** What Redis says of itself. */
async function numberIn(redis: Redis, name: "used_memory" | "evicted_keys"): Promise<number> {
  return Number(new RegExp(`${name}:(\\d+)`).exec(await redis.info())?.[1]);
}

/** Redis dies; `damage` is done to its files; it starts again. */
async function restartRedis({ servers }: World, damage: () => Promise<void> = async () => {}): Promise<void> {
  await servers.redis.kill("SIGKILL");
  await damage();
  await servers.redis.start();
}

export const redisEmpty: Scenario = {
  name: "redis-empty",
  what: "Everything in Redis is gone at once: live state is read again from the batch version's cut.",
  breaks: ["redis"],
  run: (world) =>
    withRedis(world, async (redis) => {
      for (let round = 0; round < 3; round++) {
        world.fault("redis emptied");
        await redis.flushall();
        await world.sleep(500 + world.random(1_500));
      }
    }),
};

export const redisKillLoop: Scenario = {
  name: "redis-kill-loop",
  what: "Redis is killed again and again; up to a second of what it had said is gone with it.",
  breaks: ["redis"],
  async run(world) {
    for (let round = 0; round < 3; round++) {
      world.fault("redis killed");
      await restartRedis(world);
      await world.sleep(world.random(2_000));
    }
  },
};

export const redisPowerLoss: Scenario = {
  name: "redis-power-loss",
  what:
    "Redis loses its power: its append-only file ends at an arbitrary " +
    "byte, and state goes back to some earlier moment.",
  breaks: ["redis"],
  async run(world) {
    const folder = appendOnly(world.serversHome);
    for (let round = 0; round < 3; round++) {
      world.fault("redis lost its last writes");
      await restartRedis(world, async () => {
        const last = (await readdir(folder))
          .filter((name) => name.endsWith(".incr.aof"))
          .sort(byNumber)
          .at(-1);
        if (last === undefined) throw new Error(`no append-only file in ${folder}`);
        const file = join(folder, last);
        const { size } = await stat(file);
        // A second of writes; or only the end of the last script's, of which Redis then keeps a part.
        const most = world.random(2) === 0 ? 400_000 : 2_000;
        await truncate(file, size - world.random(Math.min(size, most)));
        // Half of all operators repair before they start.
        if (world.random(2) === 0) await execa("redis-check-aof", ["--fix", file], { input: "y\n", reject: false });
      });
      await world.sleep(world.random(2_000));
    }
  },
};

const byNumber = (a: string, b: string) => Number(a.split(".").at(-3)) - Number(b.split(".").at(-3));

export const redisOlderThanCut: Scenario = {
  name: "redis-older-than-cut",
  what: "A copy of Redis from before the last publishes is restored: it ends below the cut and must not be used.",
  breaks: ["redis"],
  async run(world) {
    const { deployment } = world;
    const folder = appendOnly(world.serversHome);
    const copy = join(world.serversHome, "redis-copy");
    await cp(folder, copy, { recursive: true });
    const versions = new Map(deployment.oracle.views.map((view) => [view, versionOf(world, view)]));
    await world.until(
      "two publishes of every view",
      () => [...versions].every(([view, version]) => versionOf(world, view) >= version + 2),
      60_000,
    );
    world.fault("redis older than the cut");
    await restartRedis(world, async () => {
      await rm(folder, { recursive: true });
      await cp(copy, folder, { recursive: true });
      await rm(copy, { recursive: true });
    });
  },
};

function versionOf({ deployment }: World, view: string): number {
  return deployment.latest(view)?.position.version ?? 0;
}

export const redisMemoryLimit: Scenario = {
  name: "redis-memory-limit",
  what: "Redis refuses writes because its memory is used up: live state stands still until there is room.",
  breaks: ["redis"],
  run: (world) =>
    withRedis(world, async (redis) => {
      const used = await numberIn(redis, "used_memory");
      world.fault("redis out of memory");
      await redis.config("SET", "maxmemory", String(used + 64 * 1_024));
      await world.sleep(6_000);
      await redis.config("SET", "maxmemory", "0");
    }),
};

export const redisEvicts: Scenario = {
  name: "redis-evicts",
  what:
    "Redis may delete what it likes, as nobody should let it, and has less memory than it uses: what lost a part is " +
    "read again, and nobody answers without it.",
  breaks: ["redis"],
  run: (world) =>
    withRedis(world, async (redis) => {
      const used = await numberIn(redis, "used_memory");
      const evicted = await numberIn(redis, "evicted_keys");
      world.fault("redis evicts");
      await redis.config("SET", "maxmemory-policy", "allkeys-random");
      await redis.config("SET", "maxmemory", String(Math.floor(used * 0.97)));
      try {
        await world.until("keys are evicted", async () => (await numberIn(redis, "evicted_keys")) > evicted);
        await world.sleep(4_000);
      } finally {
        await redis.config("SET", "maxmemory", "0");
        await redis.config("SET", "maxmemory-policy", "noeviction");
      }
    }),
};

export const scriptsFlushed: Scenario = {
  name: "scripts-flushed",
  what: "Redis forgets all scripts again and again: they are loaded again.",
  breaks: ["redis"],
  run: (world) =>
    withRedis(world, async (redis) => {
      for (let round = 0; round < 12; round++) {
        if (round % 4 === 0) world.fault("scripts flushed");
        await redis.script("FLUSH");
        await world.sleep(world.random(500));
      }
    }),
};
