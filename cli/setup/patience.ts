/**
 * How long a server may take to answer before it counts as not reachable. One that is not there refuses the connection
 * at once, so only one that hangs is waited for so long. A busy laptop takes more than five seconds.
 */
export const PATIENCE_MS = 15_000;
/** After this long a line says that the command waits. */
const NOTICE_MS = 5_000;

/** One line for all servers that a command waits for. */
let isNoticed = false;

/** What `work` resolves to; rejects when that takes longer than `PATIENCE_MS`. */
export async function inTime<T>(work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const notice = setTimeout(() => {
    if (!isNoticed) process.stderr.write(`waiting for a server to answer, up to ${PATIENCE_MS / 1_000} seconds\n`);
    isNoticed = true;
  }, NOTICE_MS);
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error("no answer in time")), PATIENCE_MS);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
    clearTimeout(notice);
  }
}
