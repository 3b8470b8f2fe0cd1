import { TidelineError } from "../core/errors.ts";
import { EMPTY_LEDGER, type Ledger, ledgerBalances, ledgersEqual } from "../core/ledger.ts";
import type { EntryCounts } from "./archived-events.ts";

type Ledgers = ReadonlyMap<number, Ledger>;

export interface Readings {
  readonly view: string;
  /** What the view made of the archive. */
  readonly archive: Ledgers;
  /** What the archive's entries say, where they cover exactly the span. */
  readonly entries: ReadonlyMap<number, EntryCounts>;
  /** What the speed layer counted; null when no closed segments tile the span. */
  readonly segments: Ledgers | null;
}

/**
 * Invariant 11, step 5 of a refresh: the ledgers add up, and two independent readings of the log agree. Throws
 * LEDGER_UNBALANCED.
 */
export function requireBalance({ view, archive, entries, segments }: Readings): void {
  for (const partition of new Set([...archive.keys(), ...entries.keys(), ...(segments?.keys() ?? [])])) {
    const ledger = archive.get(partition) ?? EMPTY_LEDGER;
    const entry = entries.get(partition) ?? ledger;
    const segment = segments === null ? ledger : (segments.get(partition) ?? EMPTY_LEDGER);
    if (!ledgerBalances(ledger)) throw unbalanced(view, partition, "does not add up", ledger);
    if (!(["records", "duplicates", "rejects"] as const).every((field) => entry[field] === ledger[field]))
      throw unbalanced(view, partition, "is not what the archive's entries say", ledger, entry);
    if (!ledgersEqual(segment, ledger))
      throw unbalanced(view, partition, "is not what the speed layer counted", ledger, segment);
  }
}

function unbalanced(view: string, partition: number, how: string, ledger: Ledger, other?: object): TidelineError {
  const shown = [ledger, ...(other === undefined ? [] : [other])].map((one) => JSON.stringify(one)).join(" against ");
  return new TidelineError(
    "LEDGER_UNBALANCED",
    `${view}, partition ${partition}: the span's ledger ${how}: ${shown}`,
    "Nothing was published. Please report this: it is a bug in Tideline, or stored files were changed.",
  );
}
