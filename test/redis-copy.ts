import type { TidelineRedis } from "../store/redis.ts";

/** Takes a copy of everything that a Redis holds under a namespace; what it answers brings that back, as a Redis that was restored from a copy. */
export async function copyOf(redis: TidelineRedis, namespace: string): Promise<() => Promise<void>> {
  const names = () => redis.keys(`*${namespace}*`);
  const held = await Promise.all((await names()).map(async (name) => ({ name, dump: await redis.dumpBuffer(name) })));
  return async () => {
    await redis.del(...(await names()));
    for (const { name, dump } of held) if (dump !== null) await redis.restore(name, 0, dump);
  };
}
