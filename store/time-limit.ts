/** Work took longer than it may. */
export class NoAnswerInTime extends Error {
  override readonly name = "NoAnswerInTime";
}

/**
 * What `work` gives; throws NoAnswerInTime when it takes longer. A server that is away may never answer, and a client
 * may wait for it for long. The work itself continues, so it has to be harmless whenever it happens, as the protocol's
 * scripts are.
 */
export function within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
  // A timer and nothing else: one with an abort signal took a twentieth of a keyed read.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new NoAnswerInTime(`no answer within ${limitMs} ms`)), limitMs);
    work()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}

/** What `work` gives, or null when it takes longer. */
export async function withinOrNull<T>(limitMs: number, work: () => Promise<T>): Promise<T | null> {
  try {
    return await within(limitMs, work);
  } catch (error) {
    if (error instanceof NoAnswerInTime) return null;
    throw error;
  }
}
