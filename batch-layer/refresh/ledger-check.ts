import { TidelineError } from "../../core/errors.ts";
import { EMPTY_LEDGER, type Ledger, ledgerBalances, ledgersEqual } from "../../core/log/ledger.ts";
import type { EntryCounts } from "../archive/archived-events.ts";

type Ledgers = ReadonlyMap<number, Ledger>;

export interface Readings {
  readonly view: string;
  /** The view's ledgers of the archived events. */
  readonly archive: Ledgers;
  /** The counts in the archive's entries, for partitions whose entries cover exactly the span. */
  readonly entries: ReadonlyMap<number, EntryCounts>;
  /** The speed layer's ledgers; null if no closed segments tile the span. */
  readonly segments: Ledgers | null;
}

/** LEDGER_UNBALANCED between the archive and the speed layer. The live state can be dropped and read again. */
export class LiveStateDiffers extends TidelineError {}

/**
 * Invariant 11, step 5 of a settlement (docs/internals/settlement.md): checks that the ledgers add up, and that two
 * independent readings of the log agree. Throws LEDGER_UNBALANCED; as LiveStateDiffers if the archive is consistent and
 * only the speed layer's reading differs.
 */
export function requireBalance({ view, archive, entries, segments }: Readings): void {
  for (const partition of new Set([...archive.keys(), ...entries.keys(), ...(segments?.keys() ?? [])])) {
    const place = `${view}, partition ${partition}`;
    const ledger = archive.get(partition) ?? EMPTY_LEDGER;
    const entry = entries.get(partition) ?? ledger;
    const segment = segments === null ? ledger : (segments.get(partition) ?? EMPTY_LEDGER);
    if (!ledgerBalances(ledger)) throw unbalanced(place, "does not add up", ledger);
    if (!(["records", "duplicates", "rejects"] as const).every((field) => entry[field] === ledger[field]))
      throw unbalanced(place, "is not what the archive's entries say", ledger, entry);
    if (!ledgersEqual(segment, ledger))
      throw new LiveStateDiffers(
        "LEDGER_UNBALANCED",
        sentence(place, "is not what the speed layer counted", ledger, segment),
        "Nothing was published. When three refreshes in a row find this, the live state is read again from the log.",
      );
  }
}

function unbalanced(place: string, how: string, ledger: Ledger, other?: object): TidelineError {
  return new TidelineError(
    "LEDGER_UNBALANCED",
    sentence(place, how, ledger, other),
    "Nothing was published. Please report this: it is a bug in Tideline, or stored files were changed.",
  );
}

function sentence(place: string, how: string, ledger: Ledger, other?: object): string {
  const shown = [ledger, ...(other === undefined ? [] : [other])].map((one) => JSON.stringify(one)).join(" against ");
  return `${place}: the span's ledger ${how}: ${shown}`;
}
