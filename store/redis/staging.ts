import type { EpochMs } from "../../core/log/position.ts";
import { MERGE, type Merge, type StateValue } from "../../core/measures/measure.ts";
import type { BucketDelta } from "./chain-state.ts";

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
/** What a sketch costs: adding hashes to it, or uniting it from those of several segments. */
const SKETCH_WORK = 16;
const HASHES_PER_WORK = 4;
const UNION_WORK_PER_SOURCE = 16;

/**
 * A cell as it is staged: what it holds, or for a sketch the hashes that it gets (8 bytes each; empty: united from the
 * claim's segments).
 */
export interface StagedBucket {
  readonly bucket: EpochMs;
  readonly values: Iterable<readonly [field: string, value: StateValue]>;
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
}

/** Pages that one script writes. */
export type Part = readonly Page[];

/** More hashes of one sketch than this go to Redis in several pages: adding to a sketch twice is the same as once. */
const CHUNK_BYTES = 8 * 4_000;

const EMPTY = Buffer.alloc(0);

/** What applying these deltas would cost one script. */
export function workOf(deltas: readonly BucketDelta[]): number {
  let work = 0;
  for (const { values, sketches } of deltas) {
    work += PAGE_WORK;
    for (const { field, value } of values) work += valueWork(field, value);
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
  for (const { bucket, values, sketches } of buckets) {
    let page: { values: string[]; sketches: (string | Buffer)[] } = { values: [], sketches: [] };
    let pages = 0;
    const close = () => {
      if (page.values.length + page.sketches.length > 0)
        part.push({ name: pages === 0 ? String(bucket) : `${bucket}/${pages}`, bucket, ...page });
      pages += 1;
      page = { values: [], sketches: [] };
    };
    work += PAGE_WORK;
    for (const [field, hashes] of cellsOf(values, sketches)) {
      const isSketch = typeof hashes !== "string" && typeof hashes !== "bigint";
      const cost = isSketch ? sketchWork(field, hashes, sources) : valueWork(field, hashes);
      if (work + cost > partWork && (part.length > 0 || page.values.length + page.sketches.length > 0)) {
        close();
        yield part;
        part = [];
        work = PAGE_WORK;
      }
      work += cost;
      if (isSketch) addSketch(page.sketches, field, hashes);
      else page.values.push(field, hashes.toString());
    }
    close();
  }
  if (part.length > 0) yield part;
}

/** Adds hashes to the last of these sketches if it has this field, else a sketch. */
function addSketch(sketches: (string | Buffer)[], field: string, hashes: Buffer): void {
  const last = sketches.length - 1;
  if (sketches[last - 1] === field) sketches[last] = Buffer.concat([sketches[last] as Buffer, hashes]);
  else sketches.push(field, hashes);
}

function* cellsOf(
  values: StagedBucket["values"],
  sketches: StagedBucket["sketches"],
): Generator<readonly [string, StateValue | Buffer]> {
  yield* values;
  yield* sketches;
}

/** What several partitions of a batch add, as one: cells that more than one of them has are merged. */
export function mergedDeltas(deltas: Iterable<BucketDelta>): StagedBucket[] {
  const buckets = new Map<EpochMs, BucketDelta[]>();
  for (const delta of deltas) {
    const held = buckets.get(delta.bucket);
    if (held === undefined) buckets.set(delta.bucket, [delta]);
    else held.push(delta);
  }
  return [...buckets].map(([bucket, held]) => ({ bucket, values: mergedValues(held), sketches: mergedSketches(held) }));
}

function mergedValues(deltas: readonly BucketDelta[]): Map<string, StateValue> {
  const merged = new Map<string, StateValue>();
  for (const { values } of deltas)
    for (const { merge, field, value } of values) merged.set(field, joined(merge, merged.get(field), value));
  return merged;
}

function mergedSketches(deltas: readonly BucketDelta[]): (readonly [field: string, hashes: Buffer])[] {
  const merged = new Map<string, Buffer[]>();
  for (const { sketches } of deltas) {
    for (const { field, hashes } of sketches) {
      const before = merged.get(field);
      if (before === undefined) merged.set(field, [hashes]);
      else before.push(hashes);
    }
  }
  return [...merged].flatMap(([field, hashes]) => chunks(Buffer.concat(hashes)).map((one) => [field, one] as const));
}

/** A merge of segments, as it is staged: Redis unites their sketches. */
export function unitedSketches(fields: Iterable<string>): (readonly [field: string, hashes: Buffer])[] {
  return [...fields].map((field) => [field, EMPTY] as const);
}

function chunks(hashes: Buffer): Buffer[] {
  const count = Math.ceil(hashes.length / CHUNK_BYTES);
  return Array.from({ length: count }, (_, index) => hashes.subarray(index * CHUNK_BYTES, (index + 1) * CHUNK_BYTES));
}

function joined(merge: Merge, before: StateValue | undefined, value: StateValue): StateValue {
  return before === undefined ? value : MERGE[merge](before, value);
}

function valueWork(field: string, value: StateValue): number {
  const bytes = field.length + (typeof value === "string" ? value.length : 0);
  return 1 + Math.floor(bytes / BYTES_PER_WORK);
}

function sketchWork(field: string, hashes: Buffer, sources: number): number {
  const filling =
    hashes.length === 0 ? sources * UNION_WORK_PER_SOURCE : Math.ceil(hashes.length / 8 / HASHES_PER_WORK);
  return SKETCH_WORK + filling + Math.floor(field.length / BYTES_PER_WORK);
}
