import { at, type Cut, cutReached, cutsEqual, cutWith } from "../../core/log/position.ts";
import { type ArchiveTail, belowContinuation } from "../../store/archive/archive-tail.ts";
import { type ChainState, tilesOf } from "../../store/redis/chain-state.ts";

export interface CutSituation {
  /** The newest manifest's cut, C. */
  readonly cut: Cut;
  /** The end of the segment that was sealed for this settlement. Null if there is no chain. */
  readonly sealed: Cut | null;
  readonly chain: ChainState | null;
  /** The log's last stable offsets. */
  readonly stable: Cut;
  /** Whether the time for the speed layer is over. */
  readonly waited: boolean;
}

/**
 * One of: the next cut B, and its source; wait for the speed layer; there is nothing to publish; the log lost records
 * below C.
 */
export type CutChoice =
  | { readonly kind: "cut"; readonly cut: Cut; readonly by: "speed" | "log" | "archive" }
  | { readonly kind: "wait" | "nothing" | "truncated" };

/**
 * Step 2 of a settlement (docs/internals/settlement.md): chooses the next cut. It is the end of the speed layer's
 * chain, or the end of the log if there is no healthy chain or the chain does not move.
 */
export function chooseCut({ cut, sealed, chain, stable, waited }: CutSituation): CutChoice {
  const healthy = sealed !== null && cutReached(sealed, cut) && chain !== null && tilesOf(cut, chain).ok;
  if (healthy && !cutsEqual(sealed, cut)) return { kind: "cut", cut: sealed, by: "speed" };
  if (!cutReached(stable, cut)) return { kind: "truncated" };
  if (cutReached(cut, stable)) return { kind: "nothing" };
  return healthy && !waited ? { kind: "wait" } : { kind: "cut", cut: stable, by: "log" };
}

/**
 * Returns the next cut if the newest one, C, is below an accepted continuation of the log: the end of the archive,
 * because the log below the continuation is not what was archived. Returns null otherwise.
 */
export function cutByArchive(cut: Cut, tails: ReadonlyMap<number, ArchiveTail>): Cut | null {
  if (!belowContinuation(cut, tails)) return null;
  return [...tails].reduce(
    (next, [partition, { position: to }]) => (to > at(next, partition) ? cutWith(next, partition, to) : next),
    cut,
  );
}
