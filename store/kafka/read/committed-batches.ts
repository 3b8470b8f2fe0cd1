import { type Position, position } from "../../../core/log/position.ts";
import type { FetchedBatch } from "./record-batch.ts";
import { Records } from "./records.ts";

const CONTROL_BATCH = 0x20;
const TRANSACTIONAL_BATCH = 0x10;
const ABORT_MARKER = 0;

/**
 * Splits batches into committed data and control batches. Kafka lists the aborted transactions by the offset at which
 * each began; it goes on until that producer's abort marker, which may lie beyond this answer (as in the Java client's
 * CompletedFetch).
 */
export function committedBatches(
  batches: readonly FetchedBatch[],
  aborted: readonly { producerId: bigint; firstOffset: bigint }[],
) {
  const pending = aborted.toSorted((a, b) => Number(a.firstOffset - b.firstOffset));
  const open = new Set<bigint>();
  const committed: FetchedBatch[] = [];
  const control: FetchedBatch[] = [];
  for (const batch of batches) {
    const last = batch.firstOffset + BigInt(batch.lastOffsetDelta);
    while (pending[0] !== undefined && pending[0].firstOffset <= last) open.add(pending.shift()?.producerId ?? -1n);
    if ((batch.attributes & CONTROL_BATCH) !== 0) {
      control.push(batch);
      if (Records.parse([batch.records], position(0)).key(0)?.readInt16BE(2) === ABORT_MARKER)
        open.delete(batch.producerId);
    } else if ((batch.attributes & TRANSACTIONAL_BATCH) === 0 || !open.has(batch.producerId)) {
      committed.push(batch);
    }
  }
  return { committed, control };
}

/** The position after the last batch, also when all its records were filtered or compacted away. */
export function nextPosition(batches: readonly FetchedBatch[], from: Position): Position {
  const last = batches.at(-1);
  if (last === undefined) return from;
  const next = last.firstOffset + BigInt(last.lastOffsetDelta) + 1n;
  return position(next > from ? next : from);
}
