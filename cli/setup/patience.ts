/**
 * A server that does not answer within this time counts as unreachable. A server that is not there refuses the
 * connection at once, so only one that hangs takes this long. A busy laptop may need more than five seconds.
 */
export const PATIENCE_MS = 15_000;
/** After this time a line says that the command is waiting. */
const NOTICE_MS = 5_000;

/** Only one line is printed, even if a command waits for several servers. */
let isNoticed = false;

/** Returns the result of `work`; rejects if that takes longer than `PATIENCE_MS`. */
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
