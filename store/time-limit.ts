/** The error of work that took too long. */
export class NoAnswerInTime extends Error {
  override readonly name = "NoAnswerInTime";
}

/**
 * Returns the result of `work`. Throws NoAnswerInTime when it takes longer than `limitMs`. A server that is away may
 * never answer, and a client may wait for it for long. The work itself continues, so it must do no harm whenever it
 * ends, as is the case for the protocol's scripts.
 */
export function within<T>(limitMs: number, work: () => Promise<T>): Promise<T> {
  // Only a timer, because a timer with an abort signal took a twentieth of the time of a keyed read.
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new NoAnswerInTime(`no answer within ${limitMs} ms`)), limitMs);
    work()
      .then(resolve, reject)
      .finally(() => clearTimeout(timer));
  });
}

/** Returns the result of `work`, or null when it takes longer than `limitMs`. */
export async function withinOrNull<T>(limitMs: number, work: () => Promise<T>): Promise<T | null> {
  try {
    return await within(limitMs, work);
  } catch (error) {
    if (error instanceof NoAnswerInTime) return null;
    throw error;
  }
}
