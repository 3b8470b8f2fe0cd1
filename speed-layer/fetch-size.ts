/** A fetch: how many bytes were asked for, and how many records came. */
export interface FetchSize {
  readonly bytes: number;
  readonly records: number;
}

/**
 * How many bytes to fetch next: `batchBytes`, or up to twice as many if the last fetch was full and had fewer than
 * `batchRecords` records. A batch costs something beside its records, whatever their size, and undeclared fields leave
 * little of them.
 */
export function fetchBytes(
  { bytes, records }: FetchSize,
  {
    batchBytes,
    batchRecords,
    fullBatchRecords,
  }: { readonly batchBytes: number; readonly batchRecords: number; readonly fullBatchRecords: number },
): number {
  if (records < fullBatchRecords) return batchBytes;
  const wanted = Math.ceil((bytes / records) * batchRecords);
  return Math.min(Math.max(wanted, batchBytes), 2 * batchBytes);
}
