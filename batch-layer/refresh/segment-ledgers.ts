import { isDeepStrictEqual } from "node:util";
import { addLedgers, EMPTY_LEDGER, type Ledger } from "../../core/log/ledger.ts";
import { type Cut, cutsEqual } from "../../core/log/position.ts";
import { tile } from "../../core/log/spans.ts";
import type { Chain } from "../../store/redis/chain.ts";
import { type ChainState, type ClosedSegment, closedOf } from "../../store/redis/chain-state.ts";
import { withinOrNull } from "../../store/time-limit.ts";

const REDIS_MS = 5_000;

/**
 * Returns the speed layer's ledgers of `[from, to)`, by partition: those of the closed segments that tile exactly this
 * span. Returns null if there are none, for example after a reseed, if Redis has evicted a ledger, or if Redis does not
 * answer. Then the caller has nothing to compare its own ledgers with.
 */
export async function segmentLedgers(chain: Chain, from: Cut, to: Cut): Promise<Map<number, Ledger> | null> {
  return withinOrNull(REDIS_MS, async () => {
    const before = await chain.load();
    const run = segmentsOf(before, from, to);
    if (run === null) return null;
    const sum = new Map<number, Ledger>();
    for (const { id } of run) {
      const ledgers = await chain.ledger(id);
      // A closed segment counts at least one record.
      if (ledgers.size === 0) return null;
      for (const [partition, ledger] of ledgers)
        sum.set(partition, addLedgers(sum.get(partition) ?? EMPTY_LEDGER, ledger));
    }
    // A segment that was trimmed or merged in between may have been read in part. Redis may also have been restored to
    // an earlier state.
    const after = await chain.load();
    const again = after?.nonce === before?.nonce ? segmentsOf(after, from, to) : null;
    return isDeepStrictEqual(again, run) ? sum : null;
  });
}

/** Returns the closed segments that tile `[from, to)` exactly. */
function segmentsOf(chain: ChainState | null, from: Cut, to: Cut): ClosedSegment[] | null {
  const closed = closedOf(chain?.segments ?? []);
  const first = closed.findIndex((segment) => cutsEqual(segment.from, from));
  const last = closed.findIndex((segment) => cutsEqual(segment.to, to));
  if (first < 0 || last < first) return null;
  const run = closed.slice(first, last + 1);
  return tile(from, run).ok ? run : null;
}
