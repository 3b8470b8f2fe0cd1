import { TidelineError } from "../../core/errors.ts";
import type { Cut, EpochMs } from "../../core/log/position.ts";
import { LiveResets } from "../../store/archive/live-resets.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { BatchStores, ViewTarget } from "../stores.ts";
import type { LiveStateDiffers } from "./ledger-check.ts";

/** This many refreshes in a row find the same span different before the live state is dropped. */
const FAILURES = 3;
/** When it differs again sooner than this, reading again does not help. */
const AGAIN_AFTER_MS = 3_600_000;

export interface DifferingSpan {
  /** The version at whose cut the span begins. */
  readonly version: number;
  readonly to: Cut;
}

export interface Healing {
  /** What the refresh fails with. */
  readonly error: TidelineError;
  readonly dropped: boolean;
}

/**
 * Called by a refresh whose span the speed layer counted otherwise than the archive. The third time in a row it drops
 * the view's live state, which the speed layer then reads again from the batch cut: all of it follows from the log. Not
 * more often than once an hour; a difference that comes back sooner is left to people.
 */
export async function healLive(
  { data }: Pick<BatchStores, "data">,
  { view, generation }: Pick<ViewTarget, "view" | "generation">,
  chain: Pick<Chain, "drop">,
  { version, to, found, nowMs }: DifferingSpan & { readonly found: LiveStateDiffers; readonly nowMs: EpochMs },
): Promise<Healing> {
  const resets = new LiveResets(data);
  const span = { version, to };
  const failures = await resets.failed(generation, span);
  if (failures < FAILURES) return { error: found, dropped: false };
  const last = await resets.newest(generation);
  if (last !== null && nowMs - last.atMs < AGAIN_AFTER_MS) {
    const when = new Date(last.atMs).toISOString();
    const error = new TidelineError(
      "LEDGER_UNBALANCED",
      `${found.message}; the live state was read again from the log at ${when} and differs again`,
      `Please report this. \`tideline proof ${view.name}\` shows which numbers are wrong, ` +
        `\`tideline views reset ${view.name} --yes\` reads the live state again.`,
    );
    return { error, dropped: false };
  }
  // The note comes second: without it, a process that is killed here drops the state once more.
  await chain.drop();
  await resets.note(generation, { ...span, message: found.message, atMs: nowMs });
  const error = new TidelineError(
    "LEDGER_UNBALANCED",
    `${found.message}; found ${failures} times in a row, so the live state was dropped`,
    "The speed layer reads it again from the batch cut. Please report this: it " +
      "is a bug in Tideline, or stored files were changed.",
  );
  return { error, dropped: true };
}
