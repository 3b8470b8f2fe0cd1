/**
 * The counts of a span's records by what became of them. Control records carry no data: they are counted apart and
 * belong to no sum. Invariant 11: records = valid + duplicates + rejects, and for a view valid = counted + filtered.
 */
export interface Ledger {
  readonly records: number;
  readonly duplicates: number;
  readonly rejects: number;
  readonly counted: number;
  readonly filtered: number;
}

export const EMPTY_LEDGER: Ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };

export const LEDGER_FIELDS = [
  "records",
  "duplicates",
  "rejects",
  "counted",
  "filtered",
] as const satisfies (keyof Ledger)[];

export function addLedgers(a: Ledger, b: Ledger): Ledger {
  return {
    records: a.records + b.records,
    duplicates: a.duplicates + b.duplicates,
    rejects: a.rejects + b.rejects,
    counted: a.counted + b.counted,
    filtered: a.filtered + b.filtered,
  };
}

export function ledgerBalances(ledger: Ledger): boolean {
  return ledger.records === ledger.duplicates + ledger.rejects + ledger.counted + ledger.filtered;
}

export function ledgersEqual(a: Ledger, b: Ledger): boolean {
  return LEDGER_FIELDS.every((field) => a[field] === b[field]);
}
