import { TidelineError } from "../../core/errors.ts";
import type { Cut, EpochMs } from "../../core/log/position.ts";
import { LiveResets } from "../../store/archive/live-resets.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { BatchStores, ViewTarget } from "../stores.ts";
import type { LiveStateDiffers } from "./ledger-check.ts";

/** The live state is dropped when this many refreshes in a row find the same span different. */
const FAILURES = 3;
/** If it differs again within this time, reading it again does not help. */
const AGAIN_AFTER_MS = 3_600_000;

export interface DifferingSpan {
  /** The version at whose cut the span begins. */
  readonly version: number;
  readonly to: Cut;
}

export interface Healing {
  /** The error that the refresh fails with. */
  readonly error: TidelineError;
  readonly dropped: boolean;
}

/**
 * Called by a refresh whose span was counted differently by the speed layer and the archive. The third time in a row,
 * drops the view's live state. The speed layer then reads the log again from the batch cut. Drops at most once an hour:
 * a difference that comes back sooner needs a person.
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
  // The note is written second. If a process is killed between the two, the state is dropped once more.
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
