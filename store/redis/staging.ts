import type { EpochMs } from "../../core/log/position.ts";
import type { StateValue } from "../../core/measures/measure.ts";
import type { BucketDelta, GroupRow, GroupRows } from "./chain-state.ts";
import { COLUMNS_FIELD, columnsText, countValues, rowText } from "./group-rows.ts";

/**
 * Divides state that is too much for one script into pages, each a hash of one bucket's cells, and pages into parts.
 * Pure. All amounts are in units of work: the time of a script for one plain cell, about a microsecond.
 */

/** The most work that one script does. A batch with more is staged in parts of this size. */
export const PART_WORK = 1_500;
/** The work of a page in addition to its cells: its key, and its name in the segment's sorted set. */
const PAGE_WORK = 4;
/** A value of this many bytes costs one unit more than a short one. */
const BYTES_PER_WORK = 256;
/** This many values of a row cost a script as much as one cell. */
const ROW_VALUES_PER_WORK = 2;
/** The work of a sketch: adding hashes to it, or uniting it from those of several segments. */
const SKETCH_WORK = 16;
const HASHES_PER_WORK = 4;
const UNION_WORK_PER_SOURCE = 16;

/**
 * The cells of one bucket to stage. A sketch has the hashes that are added to it, 8 bytes each. In a merge of segments,
 * a sketch has instead the number of segments that have it, as text (`unitedSketches`).
 */
export interface StagedBucket {
  readonly bucket: EpochMs;
  readonly values: Iterable<readonly [field: string, value: StateValue]>;
  /** Integers and picks by group. Absent: none. */
  readonly rows?: GroupRows;
  readonly sketches: Iterable<readonly [field: string, hashes: Buffer]>;
}

/** One page: some or all of a bucket's cells. */
export interface Page {
  /** `<bucket>`, or `<bucket>/<number>` if the bucket has several pages. */
  readonly name: string;
  readonly bucket: EpochMs;
  /** Fields and values alternately. */
  readonly values: readonly string[];
  /** Fields and hashes alternately. */
  readonly sketches: readonly (string | Buffer)[];
  /** The number of its cells. */
  readonly cells: number;
}

/** Pages that one script writes. */
export type Part = readonly Page[];

/** Returns the work of a script that applies these deltas. */
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
 * Divides buckets into parts of at most `partWork`, or of a single cell that is larger. `sources`: the number of
 * segments from which a sketch without hashes is united.
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

/** A field of a page, a script's work for it, and its number of cells. */
interface Line {
  readonly field: string;
  readonly value: string | Buffer;
  readonly work: number;
  readonly cells: number;
  /** For a row: the names of its values. */
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
  // Rows come first, so a page that begins with another field has no rows.
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

/** Adds hashes to the last of these sketches if it has this field, else adds a sketch. */
function addSketch(sketches: (string | Buffer)[], field: string, hashes: Buffer): void {
  const last = sketches.length - 1;
  if (sketches[last - 1] === field) sketches[last] = Buffer.concat([sketches[last] as Buffer, hashes]);
  else sketches.push(field, hashes);
}

/**
 * Returns the sketches of a merge of segments for staging: Redis unites them. `holders`: the number of segments with
 * the sketch, by field. Redis refuses when it finds fewer.
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
