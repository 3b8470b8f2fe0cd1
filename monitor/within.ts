import { setTimeout as delay } from "node:timers/promises";

/** What `work` gives; throws when that takes longer. A server that is away may never answer. */
export async function within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
  const ended = new AbortController();
  const late = delay(limitMs, undefined, { signal: ended.signal, ref: false }).then(() => {
    throw new Error(`no answer within ${limitMs} ms`);
  });
  late.catch(() => undefined);
  try {
    return await Promise.race([work(), late]);
  } finally {
    ended.abort();
  }
}
