import { randomUUID } from "node:crypto";
import { quoteName } from "../../core/contract/sql.ts";
import type { Stream } from "../../core/contract/stream.ts";
import { TidelineError } from "../../core/errors.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { at, type Cut, cutsEqual, partitionsOf, positionsBetween } from "../../core/log/position.ts";
import { batchLedgerSql } from "../../core/state/compile.ts";
import { decodeOriginals } from "../../store/decode/decode-originals.ts";
import { type ForeignSpan, foreignSpans } from "../../store/decode/originals.ts";
import type { StreamSpan } from "../../store/decode/span-events.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { parquetFooters } from "../../store/duckdb/parquet.ts";
import { numbersOf, parquet } from "../duck-run.ts";
import type { BatchStores } from "../stores.ts";

/** The counts in the entries of a span. */
export type EntryCounts = Pick<ArchiveEntry, "records" | "duplicates" | "rejects">;

export interface ArchivedEvents {
  /** SQL: the events of the span; null when it holds none. */
  readonly relation: string | null;
  /**
   * By partition, the counts of its entries. A partition is missing if its entries do not cover exactly the span: an
   * entry across a border counts records outside of the span too.
   */
  readonly counts: ReadonlyMap<number, EntryCounts>;
}

/**
 * Returns the archived events of `[from, to)` from the entries that `wanted` accepts. An entry may cross a border, so
 * rows are chosen by offset. Events from another revision of the contract are decoded again from their original bytes.
 * Throws ARCHIVE_DAMAGED when the archive does not have the span as its entries say.
 */
export async function archivedEvents(
  stores: BatchStores,
  duck: Duck,
  span: StreamSpan,
  wanted: (entry: ArchiveEntry) => boolean = () => true,
): Promise<ArchivedEvents> {
  const { stream } = span;
  const { files, typed, spans, foreign, counts } = await spanEntries(stores, span, wanted);
  if (files.length === 0) return { relation: null, counts };
  await stores.data.requireIntact(files);
  await requireRows(stores, duck, stream.name, files);
  const parts = spans.length === 0 ? [] : [`${parquet(stores, typed)} WHERE ${spans.join(" OR ")}`];
  let all = counts;
  if (foreign.length > 0) {
    const decoded = `decoded_${randomUUID().replaceAll("-", "")}`;
    await decodeOriginals(stores, duck, { ...span, spans: foreign, table: decoded });
    all = withForeign(counts, await countsOf(duck, decoded));
    parts.push(decoded);
  }
  const selects = parts.map((part) => `SELECT ${readColumns(stream)} FROM ${part}`);
  return { relation: `(${selects.join(" UNION ALL ")})`, counts: all };
}

/**
 * The most records of a span that is held in memory: some hundred megabytes. Of a larger span, each view reads the
 * files.
 */
export const HELD_RECORDS = 500_000;

/** Archived events of a span. Several views each take their own part of it. */
export interface SharedEvents {
  /** Returns the events of `[from, to)`, which lies within the span. Throws as `archivedEvents`. */
  within(from: Cut, to: Cut): Promise<ArchivedEvents>;
}

/**
 * Reads a span once for all views of a stream and contract. A span of more than `HELD_RECORDS` is not held in memory:
 * each view reads the files of its own part. This also happens if the span cannot be read whole, so that a damaged file
 * only fails the views that need it. Never rejects.
 */
export async function sharedEvents(stores: BatchStores, duck: Duck, span: StreamSpan): Promise<SharedEvents> {
  const { from, to } = span;
  const apart = (first: Cut, last: Cut) => archivedEvents(stores, duck, { ...span, from: first, to: last });
  if (positionsBetween(from, to) > HELD_RECORDS) return { within: apart };
  const held = `held_${randomUUID().replaceAll("-", "")}`;
  const whole = await apart(from, to)
    .then(async (events) => {
      if (events.relation !== null) await duck.run(`CREATE TEMP TABLE ${held} AS SELECT * FROM ${events.relation}`);
      return events;
    })
    .catch(() => null);
  if (whole === null || whole.relation === null) return { within: apart };
  return {
    within: async (first, last) => {
      if (cutsEqual(first, from) && cutsEqual(last, to)) return { relation: held, counts: whole.counts };
      const { files, spans, foreign, counts } = await spanEntries(stores, { ...span, from: first, to: last });
      if (files.length === 0) return { relation: null, counts };
      const others = foreign.map(
        (one) => `(_partition = ${one.partition} AND _offset >= ${one.from} AND _offset < ${one.to})`,
      );
      const rows = (places: readonly string[]) => `(SELECT * FROM ${held} WHERE ${places.join(" OR ")})`;
      const all = others.length === 0 ? counts : withForeign(counts, await countsOf(duck, rows(others)));
      return { relation: rows([...spans, ...others]), counts: all };
    },
  };
}

/** The entries of a span. */
interface SpanEntries {
  readonly files: readonly { readonly file: string; readonly checksum: string | null; readonly records: number }[];
  /** The files of the stream's own revision, and SQL conditions that choose their rows of the span. */
  readonly typed: readonly string[];
  readonly spans: readonly string[];
  /** Parts of the span that were archived under other revisions. */
  readonly foreign: readonly ForeignSpan[];
  /** The counts of the stream's own revision. */
  readonly counts: ReadonlyMap<number, EntryCounts>;
}

async function spanEntries(
  stores: BatchStores,
  { topic, topicId, stream, from, to }: StreamSpan,
  wanted: (entry: ArchiveEntry) => boolean = () => true,
): Promise<SpanEntries> {
  const files: { file: string; checksum: string | null; records: number }[] = [];
  const typed: string[] = [];
  const spans: string[] = [];
  const foreign: ForeignSpan[] = [];
  const counts = new Map<number, EntryCounts>();
  for (const partition of partitionsOf(from, to)) {
    const [first, last] = [at(from, partition), at(to, partition)];
    const span = { partition, from: first, to: last };
    const entries = (await stores.archive.covering(topic, topicId, span)).filter(wanted);
    const ours = entries.filter(({ contract }) => contract === stream.revision);
    foreign.push(...foreignSpans(entries, stream, span));
    files.push(...entries.flatMap(({ file, ...entry }) => (file === null ? [] : [{ ...entry, file }])));
    const held = ours.flatMap(({ file }) => (file === null ? [] : [file]));
    typed.push(...held);
    if (held.length > 0) spans.push(`(_partition = ${partition} AND _offset >= ${first} AND _offset < ${last})`);
    const exact = entries.length === 0 || (entries[0]?.from === first && entries.at(-1)?.to === last);
    if (exact) counts.set(partition, ours.reduce(addCounts, { records: 0, duplicates: 0, rejects: 0 }));
  }
  return { files, typed, spans, foreign, counts };
}

/** Adds the counts of records that were decoded again to those of partitions whose entries cover exactly the span. */
function withForeign(
  counts: ReadonlyMap<number, EntryCounts>,
  foreign: ReadonlyMap<number, EntryCounts>,
): Map<number, EntryCounts> {
  const all = new Map(counts);
  for (const [partition, counted] of foreign) {
    const own = all.get(partition);
    if (own !== undefined) all.set(partition, addCounts(own, counted));
  }
  return all;
}

/**
 * Returns the columns that are read of an event. (The version that counted it is not read, because files of earlier
 * releases do not have it.)
 */
function readColumns(stream: Stream): string {
  return [
    "_partition",
    "_offset",
    ...Object.keys(stream.fields).map(quoteName),
    "_id",
    "_duplicate",
    "_reject",
    "_timestamp",
  ].join(", ");
}

/**
 * Returns the counts of records that were decoded again, by partition. The counts in their entries come from another
 * contract.
 */
async function countsOf(duck: Duck, table: string): Promise<Map<number, EntryCounts>> {
  const rows = await rowsOf(duck, batchLedgerSql(table));
  return new Map(
    rows.map((row) => {
      const [partition = 0, records = 0, duplicates = 0, rejects = 0] = row.map(Number);
      return [partition, { records, duplicates, rejects }];
    }),
  );
}

function addCounts(sum: EntryCounts, entry: EntryCounts): EntryCounts {
  return {
    records: sum.records + entry.records,
    duplicates: sum.duplicates + entry.duplicates,
    rejects: sum.rejects + entry.rejects,
  };
}

async function requireRows(
  stores: BatchStores,
  duck: Duck,
  stream: string,
  files: readonly { file: string; records: number }[],
): Promise<void> {
  const footers = parquetFooters(files.map(({ file }) => stores.data.path(file)));
  const [rows] = await numbersOf(duck, `SELECT sum(num_rows) FROM ${footers}`);
  const records = files.reduce((sum, file) => sum + file.records, 0);
  if (rows === records) return;
  throw new TidelineError(
    "ARCHIVE_DAMAGED",
    `${stream}: ${files.length} archive files hold ${rows} records, and their entries count ${records}`,
    "Put them back from a backup: `tideline restore <folder> --file <path>`.",
  );
}
