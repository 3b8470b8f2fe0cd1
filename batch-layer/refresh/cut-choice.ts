import { at, type Cut, cutReached, cutsEqual, cutWith } from "../../core/log/position.ts";
import { type ArchiveTail, belowContinuation } from "../../store/archive/archive-tail.ts";
import { type ChainState, tilesOf } from "../../store/redis/chain-state.ts";

export interface CutSituation {
  /** The newest manifest's cut, C. */
  readonly cut: Cut;
  /** What sealing the open segment answered; null without a chain. */
  readonly sealed: Cut | null;
  readonly chain: ChainState | null;
  /** The log's last stable offsets. */
  readonly stable: Cut;
  /** Whether the speed layer has been given its time. */
  readonly waited: boolean;
}

/**
 * The next cut B, and who gave it; or to wait for the speed layer; or that there is nothing to publish; or that the log
 * lost what C had.
 */
export type CutChoice =
  | { readonly kind: "cut"; readonly cut: Cut; readonly by: "speed" | "log" | "archive" }
  | { readonly kind: "wait" | "nothing" | "truncated" };

/**
 * Step 2 of a settlement (docs/internals/settlement.md): where the speed layer has got to, or the log's end when it has
 * no healthy chain or does not move.
 */
export function chooseCut({ cut, sealed, chain, stable, waited }: CutSituation): CutChoice {
  const healthy = sealed !== null && cutReached(sealed, cut) && chain !== null && tilesOf(cut, chain).ok;
  if (healthy && !cutsEqual(sealed, cut)) return { kind: "cut", cut: sealed, by: "speed" };
  if (!cutReached(stable, cut)) return { kind: "truncated" };
  if (cutReached(cut, stable)) return { kind: "nothing" };
  return healthy && !waited ? { kind: "wait" } : { kind: "cut", cut: stable, by: "log" };
}

/**
 * The next cut when the newest one, C, lies below an accepted continuation of the log: where the archive ends, because
 * the log below the continuation is not what was archived. Null when it does not.
 */
export function cutByArchive(cut: Cut, tails: ReadonlyMap<number, ArchiveTail>): Cut | null {
  if (!belowContinuation(cut, tails)) return null;
  return [...tails].reduce(
    (next, [partition, { position: to }]) => (to > at(next, partition) ? cutWith(next, partition, to) : next),
    cut,
  );
}
