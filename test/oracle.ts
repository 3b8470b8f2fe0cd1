import { createHash } from "node:crypto";
import type { GroupValue } from "../core/cells.ts";

/**
 * The oracle: a plain fold of a log, in TypeScript, that shares nothing with the engine. No state, no merging, no SQL: it walks the records,
 * keeps every counted value, and computes each measure from all of its values at the end.
 */
export interface Twin<E> {
  readonly dedupWindow: number;
  /** The event, or null for a record that goes to the dead letters. */
  readonly decode: (value: Buffer | null) => E | null;
  readonly id: (event: E) => string;
  readonly timeMs: (event: E) => number;
  readonly counted: (event: E) => boolean;
  readonly grainMs: number;
  readonly group: (event: E) => GroupValue[];
  /** Measure -> its kind, and the value that it reads of one event. */
  readonly measures: Readonly<Record<string, TwinMeasure<E>>>;
}

export type TwinMeasure<E> =
  | { readonly kind: "count" }
  | { readonly kind: "sum" | "min" | "max" | "avg" | "distinct"; readonly of: (event: E) => number | string | null };

export interface OracleRecord {
  readonly offset: bigint;
  readonly value: Buffer | null;
}

/** Partition -> its records in order. */
export type OracleLog = ReadonlyMap<number, readonly OracleRecord[]>;

export interface OracleRow {
  readonly bucket: number;
  readonly group: readonly GroupValue[];
  readonly values: Readonly<Record<string, number | null>>;
  /** Measure -> the values that a distinct count saw. */
  readonly seen: Readonly<Record<string, ReadonlySet<string>>>;
}

export interface OracleLedger {
  records: number;
  duplicates: number;
  rejects: number;
  counted: number;
  filtered: number;
}

/** Every counted event of `log` below `applied` (a partition that it does not name: none), and what became of the others. */
export function countedEvents<E>(
  twin: Twin<E>,
  log: OracleLog,
  applied: ReadonlyMap<number, bigint>,
): { events: E[]; ledger: OracleLedger } {
  const events: E[] = [];
  const ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };
  for (const [partition, records] of log) {
    const lastSeen = new Map<string, bigint>();
    for (const { offset, value } of records) {
      if (offset >= (applied.get(partition) ?? 0n)) break;
      ledger.records += 1;
      const event = twin.decode(value);
      if (event === null) {
        ledger.rejects += 1;
        continue;
      }
      const before = lastSeen.get(twin.id(event));
      lastSeen.set(twin.id(event), offset);
      if (before !== undefined && offset - before <= BigInt(twin.dedupWindow)) ledger.duplicates += 1;
      else if (twin.counted(event)) {
        ledger.counted += 1;
        events.push(event);
      } else ledger.filtered += 1;
    }
  }
  return { events, ledger };
}

/** The rows that a view must answer at `applied`, by `rowKey`. `everyMs` may be coarser than the view's grain. */
export function expectedRows<E>(
  twin: Twin<E>,
  log: OracleLog,
  applied: ReadonlyMap<number, bigint>,
  everyMs = twin.grainMs,
): Map<string, OracleRow> {
  const cells = new Map<string, E[]>();
  for (const event of countedEvents(twin, log, applied).events) {
    const key = rowKey(Math.floor(twin.timeMs(event) / everyMs) * everyMs, twin.group(event));
    const cell = cells.get(key);
    if (cell === undefined) cells.set(key, [event]);
    else cell.push(event);
  }
  return new Map([...cells].map(([key, events]) => [key, rowOf(twin, key, events)]));
}

export function rowKey(bucket: number, group: readonly GroupValue[]): string {
  return JSON.stringify([bucket, ...group]);
}

function rowOf<E>(twin: Twin<E>, key: string, events: readonly E[]): OracleRow {
  const [bucket, ...group] = JSON.parse(key) as [number, ...GroupValue[]];
  const values: Record<string, number | null> = {};
  const seen: Record<string, Set<string>> = {};
  for (const [name, measure] of Object.entries(twin.measures)) {
    if (measure.kind === "count") {
      values[name] = events.length;
      continue;
    }
    const read = events.map(measure.of).filter((value) => value !== null);
    const numbers = read.map(Number);
    const total = numbers.reduce((a, b) => a + b, 0);
    if (measure.kind === "distinct") seen[name] = new Set(read.map(String));
    else if (read.length === 0) values[name] = null;
    else if (measure.kind === "sum") values[name] = total;
    else if (measure.kind === "avg") values[name] = total / numbers.length;
    else values[name] = numbers.reduce((a, b) => (measure.kind === "min" ? Math.min(a, b) : Math.max(a, b)));
  }
  return { bucket, group, values, seen };
}

/** What PFADD is given for a value: the lower half of its MD5, as 8 little-endian bytes. */
export function sketchBytes(value: string): Buffer {
  return createHash("md5").update(value).digest().subarray(8);
}
