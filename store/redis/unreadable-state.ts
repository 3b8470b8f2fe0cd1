import type { Generation } from "../../core/definition/generation.ts";
import { TidelineError } from "../../core/errors.ts";

/** The error of a script that cannot read a chain's segments (`segments_of` in common.lua). */
const SCRIPT_SAYS = "tideline: unreadable segments";

/**
 * Returns the result of `read` for the reply to a script of a generation's chain. Throws LIVE_STATE_UNREADABLE when the
 * script or `read` cannot understand the contents of Redis.
 */
export async function readable<R, T>(generation: Generation, reply: Promise<R>, read: (reply: R) => T): Promise<T> {
  const found = await reply.catch((error: unknown) => {
    throw error instanceof Error && error.message.includes(SCRIPT_SAYS)
      ? liveStateUnreadable(generation, error)
      : error;
  });
  try {
    return read(found);
  } catch (error) {
    throw liveStateUnreadable(generation, error);
  }
}

/**
 * Returns the error for a chain in a form that Tideline does not write. The text of a decoding error is left out,
 * because it may contain values of records.
 */
export function liveStateUnreadable(generation: Generation, cause?: unknown): TidelineError {
  const view = generation.slice(0, generation.lastIndexOf("."));
  return new TidelineError(
    "LIVE_STATE_UNREADABLE",
    `what Redis holds of "${view}" (${generation}) is not what Tideline wrote there`,
    `Run \`tideline views reset ${view} --yes\`: it is dropped and read again from the log. See whether another ` +
      "program writes to this Redis.",
    { cause },
  );
}
