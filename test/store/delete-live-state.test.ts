import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { deleteLiveState } from "../../store/redis/delete-live-state.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";

let redis: TidelineRedis;
beforeAll(() => {
  redis = openRedis(inject("redisUrl"), () => undefined);
});
afterAll(() => redis.disconnect());

test("a Redis that answers, and refuses to delete, is not told to be away", async () => {
  const [namespace, user] = [randomUUID(), randomUUID()];
  await redis.set(`tl:{${namespace}/view}:chain`, "x");
  await redis.call("ACL", "SETUSER", user, "on", ">secret", "~*", "+@all", "-unlink");
  const url = new URL(inject("redisUrl"));
  [url.username, url.password] = [user, "secret"];
  try {
    await expect(deleteLiveState(url.href, namespace)).rejects.toThrow(/^NOPERM/);
    await deleteLiveState(inject("redisUrl"), namespace);
    expect(await redis.exists(`tl:{${namespace}/view}:chain`)).toBe(0);
  } finally {
    await redis.call("ACL", "DELUSER", user);
  }
});
