import type { TidelineRedis } from "../store/redis/redis.ts";

export type Answer = (script: string, args: readonly unknown[], call: () => Promise<unknown>) => Promise<unknown>;

/** A Redis whose scripts go through `answer`. */
export function watched(sound: TidelineRedis, answer: Answer): TidelineRedis {
  return new Proxy(sound, {
    get(target, name) {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== "function") return value;
      if (typeof name !== "string" || !name.startsWith("tideline_")) return value.bind(target);
      const script = name.slice("tideline_".length).replace("Buffer", "");
      return (...args: unknown[]) => answer(script, args, () => value.apply(target, args) as Promise<unknown>);
    },
  });
}
