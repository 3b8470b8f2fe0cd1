import { createHash } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { GroupValue } from "../core/state/cells.ts";

/**
 * The oracle: a plain fold of a log, in TypeScript, that shares nothing with the engine. No state, no merging, no SQL:
 * it walks the records, keeps every counted value, and computes each measure from all of its values at the end.
 *
 * `E` is an event; `L` what is counted of it: the event itself, or its lines for a view with `each`.
 */
export interface Model<E, L = E> {
  readonly dedupWindow: number;
  /** The event, or null for a record that goes to the dead letters. */
  readonly decode: (value: Buffer | null) => E | null;
  readonly id: (event: E) => string;
  readonly timeMs: (event: E) => number;
  readonly counted: (event: E) => boolean;
  /** The lines of an event, for a view with `each`. */
  readonly lines?: (event: E) => readonly L[];
  readonly grainMs: number;
  readonly group: (line: L) => GroupValue[];
  /** Measure -> its kind, and the value that it reads of one line. */
  readonly measures: Readonly<Record<string, ModelMeasure<L>>>;
}

type Read<L> = (line: L) => number | string | boolean | null;

export type ModelMeasure<L> =
  | { readonly kind: "count"; readonly where?: (line: L) => boolean }
  | { readonly kind: "sum" | "min" | "max" | "avg" | "distinct" | "first" | "last"; readonly of: Read<L> }
  | { readonly kind: "quantile"; readonly of: Read<L>; readonly at: readonly number[]; readonly error: number }
  | { readonly kind: "histogram"; readonly of: Read<L>; readonly edges: readonly number[] }
  | { readonly kind: "topK"; readonly of: Read<L>; readonly weight?: (line: L) => number; readonly show: number }
  | { readonly kind: "ratio"; readonly top: (line: L) => boolean; readonly bottom: (line: L) => boolean };

export interface OracleRecord {
  readonly offset: bigint;
  readonly value: Buffer | null;
}

/** Partition -> its records in order. */
export type OracleLog = ReadonlyMap<number, readonly OracleRecord[]>;

/** A line with the place of its event in the log. */
export interface Placed<L> {
  readonly line: L;
  readonly timeMs: number;
  readonly partition: number;
  readonly offset: bigint;
  readonly index: number;
}

export interface OracleRow {
  readonly bucket: RowStart;
  readonly group: readonly GroupValue[];
  /** Measure -> what it must present, to the unit. Distinct counts and quantiles are apart. */
  readonly values: Readonly<Record<string, unknown>>;
  /** Measure -> the values that a distinct count saw. */
  readonly seen: Readonly<Record<string, ReadonlySet<string>>>;
  /** Measure -> part -> the exact quantile, and how far off an answer may be. */
  readonly quantiles: Readonly<Record<string, Readonly<Record<string, { exact: number; error: number }>>>>;
}

export interface OracleLedger {
  records: number;
  duplicates: number;
  rejects: number;
  counted: number;
  filtered: number;
}

/** Of each model: what it made of a record. A log is folded once for each of hundreds of answers. */
const decoded = new WeakMap<object, WeakMap<OracleRecord, { readonly event: unknown }>>();

function decodeOnce<E, L>(model: Model<E, L>, record: OracleRecord): E | null {
  const known = decoded.get(model) ?? new WeakMap<OracleRecord, { readonly event: unknown }>();
  decoded.set(model, known);
  const found = known.get(record) ?? { event: model.decode(record.value) };
  known.set(record, found);
  return found.event as E | null;
}

/**
 * Every counted event of `log` below `applied` (a partition that it does not name: none), and what became of the
 * others.
 */
export function countedEvents<E, L>(
  model: Model<E, L>,
  log: OracleLog,
  applied: ReadonlyMap<number, bigint>,
): { lines: Placed<L>[]; ledger: OracleLedger } {
  const lines: Placed<L>[] = [];
  const ledger = { records: 0, duplicates: 0, rejects: 0, counted: 0, filtered: 0 };
  for (const [partition, records] of log) {
    const lastSeen = new Map<string, bigint>();
    for (const record of records) {
      const { offset } = record;
      if (offset >= (applied.get(partition) ?? 0n)) break;
      ledger.records += 1;
      const event = decodeOnce(model, record);
      if (event === null) {
        ledger.rejects += 1;
        continue;
      }
      const before = lastSeen.get(model.id(event));
      lastSeen.set(model.id(event), offset);
      if (before !== undefined && offset - before <= BigInt(model.dedupWindow)) ledger.duplicates += 1;
      else if (model.counted(event)) {
        ledger.counted += 1;
        const counted = model.lines?.(event) ?? [event as unknown as L];
        for (const [index, line] of counted.entries())
          lines.push({ line, timeMs: model.timeMs(event), partition, offset, index });
      } else ledger.filtered += 1;
    }
  }
  return { lines, ledger };
}

/** The start of a row: epoch milliseconds, or the local date for the rows of a calendar. */
export type RowStart = number | string;

/** Which rows an event belongs to, by its time. */
export type Rows = (timeMs: number) => readonly RowStart[];

/** Buckets of one width. */
export function tumbling(everyMs: number): Rows {
  return (timeMs) => [Math.floor(timeMs / everyMs) * everyMs];
}

/**
 * Each row covers `windowMs` up to the end of its bucket: an event belongs to those that begin at its own bucket or
 * later, and reach it.
 */
export function sliding(everyMs: number, windowMs: number): Rows {
  return (timeMs) => {
    const own = Math.floor(timeMs / everyMs) * everyMs;
    const rows = [];
    for (let row = own; row + everyMs - windowMs <= own; row += everyMs) rows.push(row);
    return rows;
  };
}

/** The day, or the month, that a clock in `zone` shows: 2026-03-29, or 2026-03. */
export function calendar(zone: string, unit: "day" | "month"): Rows {
  const clock = new Intl.DateTimeFormat("sv", { timeZone: zone, dateStyle: "short" });
  return (timeMs) => [clock.format(timeMs).slice(0, unit === "day" ? 10 : 7)];
}

/** The rows that a view must answer at `applied`, by `rowKey`. */
export function expectedRows<E, L>(
  model: Model<E, L>,
  log: OracleLog,
  applied: ReadonlyMap<number, bigint>,
  rows: Rows = tumbling(model.grainMs),
): Map<string, OracleRow> {
  const cells = new Map<string, Placed<L>[]>();
  for (const placed of countedEvents(model, log, applied).lines) {
    for (const start of rows(placed.timeMs)) {
      const key = rowKey(start, model.group(placed.line));
      const cell = cells.get(key);
      if (cell === undefined) cells.set(key, [placed]);
      else cell.push(placed);
    }
  }
  return new Map([...cells].map(([key, lines]) => [key, rowOf(model, key, lines)]));
}

/**
 * The sessions that a view must answer at `applied`, by `rowKey`: found by sorting all events of a group by their time.
 */
export function expectedSessions<E, L>(
  model: Model<E, L>,
  log: OracleLog,
  applied: ReadonlyMap<number, bigint>,
  gapMs: number,
): Map<string, OracleRow> {
  const groups = new Map<string, Placed<L>[]>();
  for (const placed of countedEvents(model, log, applied).lines) {
    const group = JSON.stringify(model.group(placed.line));
    const others = groups.get(group);
    if (others === undefined) groups.set(group, [placed]);
    else others.push(placed);
  }
  const sessions = new Map<string, OracleRow>();
  for (const [group, lines] of groups) {
    let session: Placed<L>[] = [];
    const end = () => {
      const [startMs, endMs] = [session[0]?.timeMs ?? 0, session.at(-1)?.timeMs ?? 0];
      const key = rowKey(startMs, JSON.parse(group) as GroupValue[]);
      const row = rowOf(model, key, session);
      const times = { ended: new Date(endMs).toISOString(), duration_ms: endMs - startMs };
      sessions.set(key, { ...row, values: { ...row.values, ...times } });
      session = [];
    };
    for (const line of lines.sort(byPlace)) {
      if (session.length > 0 && line.timeMs - (session.at(-1)?.timeMs ?? 0) >= gapMs) end();
      session.push(line);
    }
    end();
  }
  return sessions;
}

export function rowKey(bucket: RowStart, group: readonly GroupValue[]): string {
  return JSON.stringify([bucket, ...group]);
}

/** The row of all of `lines`, whatever their order. */
export function rowOf<E, L>(model: Model<E, L>, key: string, lines: readonly Placed<L>[]): OracleRow {
  const [bucket, ...group] = JSON.parse(key) as [RowStart, ...GroupValue[]];
  const values: Record<string, unknown> = {};
  const seen: Record<string, Set<string>> = {};
  const quantiles: Record<string, Record<string, { exact: number; error: number }>> = {};
  for (const [name, measure] of Object.entries(model.measures)) {
    if (measure.kind === "distinct") seen[name] = new Set(read(lines, measure.of).map(String));
    else if (measure.kind === "quantile") quantiles[name] = quantilesOf(lines, measure);
    else values[name] = presented(lines, measure);
  }
  return { bucket, group, values, seen, quantiles };
}

function read<L>(lines: readonly Placed<L>[], of: Read<L>): (number | string | boolean)[] {
  return lines.map(({ line }) => of(line)).filter((value) => value !== null);
}

function presented<L>(
  lines: readonly Placed<L>[],
  measure: Exclude<ModelMeasure<L>, { kind: "distinct" | "quantile" }>,
): unknown {
  switch (measure.kind) {
    case "count":
      return lines.filter(({ line }) => measure.where?.(line) ?? true).length;
    case "ratio": {
      const bottom = lines.filter(({ line }) => measure.bottom(line)).length;
      return bottom === 0 ? null : lines.filter(({ line }) => measure.top(line)).length / bottom;
    }
    case "histogram": {
      const numbers = read(lines, measure.of).map(Number);
      const bounds = [null, ...measure.edges, null];
      return bounds.slice(1).map((to, index) => {
        const from = bounds[index] ?? null;
        const within = numbers.filter((x) => (from === null || x >= from) && (to === null || x < to));
        return { from, to, count: within.length };
      });
    }
    case "topK": {
      const weights = new Map<string, number>();
      for (const { line } of lines) {
        const item = measure.of(line);
        if (item !== null) weights.set(String(item), (weights.get(String(item)) ?? 0) + (measure.weight?.(line) ?? 1));
      }
      return [...weights]
        .map(([item, weight]) => ({ item, weight }))
        .sort((a, b) => b.weight - a.weight || (a.item < b.item ? -1 : 1))
        .slice(0, measure.show);
    }
    case "first":
    case "last": {
      const placed = lines.filter(({ line }) => measure.of(line) !== null).sort(byPlace);
      const picked = measure.kind === "first" ? placed[0] : placed.at(-1);
      return picked === undefined ? null : measure.of(picked.line);
    }
    default: {
      const numbers = read(lines, measure.of).map(Number);
      if (numbers.length === 0) return null;
      const total = numbers.reduce((a, b) => a + b, 0);
      if (measure.kind === "sum") return total;
      if (measure.kind === "avg") return total / numbers.length;
      return numbers.reduce((a, b) => (measure.kind === "min" ? Math.min(a, b) : Math.max(a, b)));
    }
  }
}

function byPlace<L>(a: Placed<L>, b: Placed<L>): number {
  if (a.timeMs !== b.timeMs) return a.timeMs - b.timeMs;
  if (a.partition !== b.partition) return a.partition - b.partition;
  return a.offset === b.offset ? a.index - b.index : a.offset < b.offset ? -1 : 1;
}

function quantilesOf<L>(
  lines: readonly Placed<L>[],
  { of, at, error }: Extract<ModelMeasure<L>, { kind: "quantile" }>,
): Record<string, { exact: number; error: number }> {
  const sorted = read(lines, of)
    .map(Number)
    .sort((a, b) => a - b);
  if (sorted.length === 0) return {};
  return Object.fromEntries(
    at.map((p) => {
      const rank = Math.max(1, Math.ceil(Number((p * sorted.length).toFixed(6))));
      return [`p${String(Number((p * 100).toFixed(4))).replace(".", "_")}`, { exact: sorted[rank - 1] ?? 0, error }];
    }),
  );
}

/**
 * Is a row what the oracle says? Everything exact to the unit; quantiles within their relative error of the exact
 * nearest rank. Distinct counts are left to the caller, who has a Redis to ask. Answers what differs, "" when nothing
 * does.
 */
export function differenceOf(row: Readonly<Record<string, unknown>>, want: OracleRow): string {
  const differences: string[] = [];
  for (const [name, value] of Object.entries(want.values))
    if (!isDeepStrictEqual(row[name], value))
      differences.push(`${name}: ${JSON.stringify(row[name])}, not ${JSON.stringify(value)}`);
  for (const [name, parts] of Object.entries(want.quantiles)) {
    for (const [part, { exact, error }] of Object.entries(parts)) {
      const given = (row[name] as Record<string, number> | undefined)?.[part];
      if (given === undefined || Math.abs(given - exact) > Math.abs(exact) * error)
        differences.push(`${name}.${part}: ${given}, not within ${error} of ${exact}`);
    }
  }
  return differences.join("; ");
}

/** What PFADD is given for a value: the lower half of its MD5, as 8 little-endian bytes. */
export function sketchBytes(value: string): Buffer {
  return createHash("md5").update(value).digest().subarray(8);
}
