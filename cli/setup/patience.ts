/** How long a server may take to answer before it counts as not reachable. */
export const PATIENCE_MS = 5_000;

/** What `work` resolves to; rejects when that takes longer than `PATIENCE_MS`. */
export async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}
