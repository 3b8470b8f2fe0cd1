import type { EpochMs } from "../../core/log/position.ts";
import type { StateValue } from "../../core/measures/measure.ts";
import type { BucketDelta, GroupRow, GroupRows } from "./chain-state.ts";
import { COLUMNS_FIELD, columnsText, countValues, rowText } from "./group-rows.ts";

/**
 * How state that is too much for one script goes to Redis: in pages, each a hash of one bucket's cells, and in parts of
 * some pages. Pure. All amounts are in units of work: what a script spends on one plain cell, about a microsecond.
 */

/** The most work that one script does. A batch with more is staged in parts of this size. */
export const PART_WORK = 1_500;
/** What a page costs beside its cells: its key, and its name in the segment's sorted set. */
const PAGE_WORK = 4;
/** A value of this many bytes costs as much again as a short one. */
const BYTES_PER_WORK = 256;
/** N values of a row cost a script as much as one cell. */
const ROW_VALUES_PER_WORK = 2;
/** What a sketch costs: adding hashes to it, or uniting it from those of several segments. */
const SKETCH_WORK = 16;
const HASHES_PER_WORK = 4;
const UNION_WORK_PER_SOURCE = 16;

/**
 * A cell as it is staged: what it holds, or for a sketch the hashes that it gets, 8 bytes each. A merge of segments has
 * for a sketch how many of them have it, as text (`unitedSketches`).
 */
export interface StagedBucket {
  readonly bucket: EpochMs;
  readonly values: Iterable<readonly [field: string, value: StateValue]>;
  /** Integers and picks by group; absent: none. */
  readonly rows?: GroupRows;
  readonly sketches: Iterable<readonly [field: string, hashes: Buffer]>;
}

/** One page: a part of a bucket's cells, or all of them. */
export interface Page {
  /** `<bucket>`, or `<bucket>/<number>` of a bucket that has several. */
  readonly name: string;
  readonly bucket: EpochMs;
  /** Fields and values, one after the other. */
  readonly values: readonly string[];
  /** Fields and hashes, one after the other. */
  readonly sketches: readonly (string | Buffer)[];
  /** How many cells it holds. */
  readonly cells: number;
}

/** Pages that one script writes. */
export type Part = readonly Page[];

/** What applying these deltas would cost one script. */
export function workOf(deltas: readonly BucketDelta[]): number {
  let work = 0;
  for (const { values, rows, sketches } of deltas) {
    work += PAGE_WORK;
    for (const { field, value } of values) work += valueWork(field, value);
    // A batch that is small enough for one script is applied cell by cell.
    for (const [group, row] of rows?.rows ?? [])
      for (const value of row) if (value !== null) work += valueWork(group, value);
    for (const { field, hashes } of sketches) work += sketchWork(field, hashes, 0);
  }
  return work;
}

/**
 * Cuts buckets into parts of at most `partWork`, or of a single cell that is larger by itself. `sources`: how many
 * segments a sketch without hashes is united from.
 */
export function* partsOf(
  buckets: Iterable<StagedBucket>,
  { partWork = PART_WORK, sources = 0 }: { readonly partWork?: number; readonly sources?: number } = {},
): Generator<Part> {
  let part: Page[] = [];
  let work = 0;
  for (const staged of buckets) {
    const { bucket } = staged;
    let page = emptyPage();
    let pages = 0;
    const close = () => {
      if (!isEmpty(page)) part.push({ name: pages === 0 ? String(bucket) : `${bucket}/${pages}`, bucket, ...page });
      pages += 1;
      page = emptyPage();
    };
    work += PAGE_WORK;
    for (const line of linesOf(staged, sources)) {
      if (work + line.work > partWork && (part.length > 0 || !isEmpty(page))) {
        close();
        yield part;
        part = [];
        work = PAGE_WORK;
      }
      work += line.work;
      addLine(page, line);
    }
    close();
  }
  if (part.length > 0) yield part;
}

/** A field of a page, what a script spends on it, and how many cells it is. */
interface Line {
  readonly field: string;
  readonly value: string | Buffer;
  readonly work: number;
  readonly cells: number;
  /** Of a row: the names of its values. */
  readonly columns?: string;
}

interface OpenPage {
  readonly values: string[];
  readonly sketches: (string | Buffer)[];
  cells: number;
}

function emptyPage(): OpenPage {
  return { values: [], sketches: [], cells: 0 };
}

function isEmpty({ values, sketches }: OpenPage): boolean {
  return values.length + sketches.length === 0;
}

function addLine(page: OpenPage, { field, value, cells, columns }: Line): void {
  if (typeof value !== "string") {
    const before = page.sketches.length;
    addSketch(page.sketches, field, value);
    page.cells += (page.sketches.length - before) / 2;
    return;
  }
  // Rows come first, so that a page has none when it begins with another field.
  if (columns !== undefined && page.values.length === 0) page.values.push(COLUMNS_FIELD, columns);
  page.values.push(field, value);
  page.cells += cells;
}

function* linesOf({ values, rows, sketches }: StagedBucket, sources: number): Generator<Line> {
  if (rows !== undefined) {
    const columns = columnsText(rows.columns);
    for (const row of rows.rows) yield rowLine(row, columns);
  }
  for (const [field, value] of values)
    yield { field, value: value.toString(), work: valueWork(field, value), cells: 1 };
  for (const [field, hashes] of sketches)
    yield { field, value: hashes, work: sketchWork(field, hashes, sources), cells: 1 };
}

function rowLine(row: GroupRow, columns: string): Line {
  const [group, values] = row;
  const value = rowText(values);
  const bytes = Math.floor((group.length + value.length) / BYTES_PER_WORK);
  const work = 1 + Math.ceil(values.length / ROW_VALUES_PER_WORK) + bytes;
  return { field: group, value, work, cells: countValues(row), columns };
}

/** Adds hashes to the last of these sketches if it has this field, else a sketch. */
function addSketch(sketches: (string | Buffer)[], field: string, hashes: Buffer): void {
  const last = sketches.length - 1;
  if (sketches[last - 1] === field) sketches[last] = Buffer.concat([sketches[last] as Buffer, hashes]);
  else sketches.push(field, hashes);
}

/**
 * A merge of segments, as it is staged: Redis unites their sketches. `holders`: by field, how many of the segments have
 * the sketch. Redis refuses when it finds fewer.
 */
export function unitedSketches(holders: ReadonlyMap<string, number>): (readonly [field: string, holders: Buffer])[] {
  return [...holders].map(([field, count]) => [field, Buffer.from(String(count))] as const);
}

function valueWork(field: string, value: StateValue): number {
  const bytes = field.length + (typeof value === "string" ? value.length : 0);
  return 1 + Math.floor(bytes / BYTES_PER_WORK);
}

function sketchWork(field: string, hashes: Buffer, sources: number): number {
  const filling = sources > 0 ? sources * UNION_WORK_PER_SOURCE : Math.ceil(hashes.length / 8 / HASHES_PER_WORK);
  return SKETCH_WORK + filling + Math.floor(field.length / BYTES_PER_WORK);
}
