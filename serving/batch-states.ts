import type { DuckDBValue } from "@duckdb/node-api";
import { type GroupValue, groupKey, groupValue } from "../core/cells.ts";
import type { Manifest, StateFile } from "../core/documents.ts";
import { isTidelineError } from "../core/errors.ts";
import type { Item, StateValue } from "../core/measures/measure.ts";
import type { EpochMs } from "../core/position.ts";
import type { DataDirectory } from "../store/files.ts";
import {
  type BatchPlan,
  itemsSql,
  lastBucketSql,
  ofForm,
  type Statement,
  sketchesSql,
  valuesSql,
} from "./batch-sql.ts";
import type { DuckQueue, OnChunk } from "./duck-queue.ts";
import { tooLarge } from "./problem.ts";
import { type AnswerLimits, type BucketTile, type GroupCells, tileWeight, tooManyPieces } from "./tile-cells.ts";
import { Vanished } from "./vanished.ts";
import { WeightedCache } from "./weighted-cache.ts";

export interface BatchStatesOptions {
  readonly maxCachedCells: number;
  readonly limits: AnswerLimits;
}

/**
 * The state files of batch versions. A version never changes, so what was read of it is kept: a dashboard that asks the same again costs no SQL.
 */
export class BatchStates {
  readonly #data: DataDirectory;
  readonly #ducks: DuckQueue;
  readonly #limits: AnswerLimits;
  readonly #answers: WeightedCache<readonly BucketTile[]>;
  readonly #lastBuckets = new WeightedCache<EpochMs | null>(1_000, () => 1);

  constructor(data: DataDirectory, ducks: DuckQueue, { maxCachedCells, limits }: BatchStatesOptions) {
    this.#data = data;
    this.#ducks = ducks;
    this.#limits = limits;
    this.#answers = new WeightedCache(maxCachedCells, tileWeight);
  }

  /** The newest bucket of a version, null when it has none. Throws Vanished when one of its files is gone or damaged. */
  lastBucket(manifest: Manifest): Promise<EpochMs | null> {
    const files = filesOf(manifest);
    if (files.length === 0) return Promise.resolve(null);
    return this.#lastBuckets.get(versionKey(manifest), async () => {
      let last: EpochMs | null = null;
      const newest = (paths: readonly string[]) => ({ sql: lastBucketSql(paths), values: [] });
      await this.#read(files, newest, ([column]) => {
        if (typeof column?.[0] === "bigint") last = Number(column[0]);
      });
      return last;
    });
  }

  /** The cells of `plan`, filtered and rolled up. Throws Vanished when a file is gone or damaged, TOO_LARGE when they are too many. */
  cells(manifest: Manifest, plan: BatchPlan): Promise<readonly BucketTile[]> {
    const files = filesOf(manifest);
    if (files.length === 0 || plan.fromMs >= plan.toMs) return Promise.resolve([]);
    return this.#answers.get(`${versionKey(manifest)} ${planKey(plan)}`, () => this.#cells(files, plan));
  }

  async #cells(files: readonly StateFile[], plan: BatchPlan): Promise<readonly BucketTile[]> {
    const gathered = new Gathered(plan, this.#limits);
    const read = (sql: typeof valuesSql, onChunk: OnChunk) => this.#read(files, (paths) => sql(paths, plan), onChunk);
    const readings = [read(valuesSql, (columns) => gathered.addValues(columns))];
    if (ofForm(plan, "items").length > 0) readings.push(read(itemsSql, (columns) => gathered.addItems(columns)));
    if (ofForm(plan, "registers").length > 0)
      readings.push(read(sketchesSql, (columns) => gathered.addSketches(columns)));
    const settled = await Promise.allSettled(readings);
    for (const outcome of settled) if (outcome.status === "rejected") throw outcome.reason;
    return gathered.tiles();
  }

  async #read(
    files: readonly StateFile[],
    statement: (paths: readonly string[]) => Statement,
    onChunk: OnChunk,
  ): Promise<void> {
    await this.#require(files);
    const { sql, values } = statement(files.map(({ file }) => this.#data.path(file)));
    try {
      await this.#ducks.read(sql, values, onChunk);
    } catch (error) {
      await this.#require(files); // one may have gone away meanwhile
      throw error;
    }
  }

  /** A newer version may do without a file that is gone or damaged. */
  async #require(files: readonly StateFile[]): Promise<void> {
    try {
      await this.#data.requireIntact(files);
    } catch (error) {
      throw isTidelineError(error, "ARCHIVE_DAMAGED") ? new Vanished("file", error.message, { cause: error }) : error;
    }
  }
}

function filesOf({ files }: Manifest): StateFile[] {
  return files.filter(({ rows }) => rows > 0);
}

/** A cell while its rows come in. */
interface Gathering {
  readonly bucket: EpochMs;
  readonly group: readonly GroupValue[];
  values: [component: string, value: StateValue][];
  readonly items: [component: string, item: Item, value: bigint][];
  readonly sketches: [component: string, packed: readonly number[]][];
}

/** Rows of all statements by cell. */
class Gathered {
  readonly #cells = new Map<string, Gathering>();
  readonly #plan: BatchPlan;
  readonly #limits: AnswerLimits;
  #pieces = 0;

  constructor(plan: BatchPlan, limits: AnswerLimits) {
    this.#plan = plan;
    this.#limits = limits;
  }

  addValues(columns: DuckDBValue[][]): void {
    const first = 1 + this.#plan.by.length;
    const wanted = ofForm(this.#plan, "integer", "pick");
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      this.#cell(columns, row).values = wanted.flatMap(({ key }, index): [string, StateValue][] => {
        const value = columns[first + index]?.[row];
        return typeof value === "bigint" || typeof value === "string" ? [[key, value]] : [];
      });
    }
  }

  addItems(columns: DuckDBValue[][]): void {
    const first = 1 + this.#plan.by.length;
    const [components, items, labels, values] = columns.slice(first, first + 4);
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      this.#add(1);
      const item = labels?.[row] ?? Number(items?.[row]);
      this.#cell(columns, row).items.push([String(components?.[row]), item as Item, values?.[row] as bigint]);
    }
  }

  addSketches(columns: DuckDBValue[][]): void {
    const component = 1 + this.#plan.by.length;
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      const packed = (columns[component + 1]?.[row] as { items: readonly number[] } | undefined)?.items ?? [];
      this.#add(packed.length);
      this.#cell(columns, row).sketches.push([String(columns[component]?.[row]), packed]);
    }
  }

  #add(pieces: number): void {
    this.#pieces += pieces;
    if (this.#pieces > this.#limits.maxPieces) throw tooManyPieces();
  }

  tiles(): BucketTile[] {
    const buckets = new Map<EpochMs, GroupCells[]>();
    for (const { bucket, ...cells } of this.#cells.values()) {
      const groups = buckets.get(bucket) ?? [];
      buckets.set(bucket, groups);
      groups.push(cells);
    }
    return [...buckets].map(([bucket, groups]) => ({ bucket, groups }));
  }

  #cell(columns: DuckDBValue[][], row: number): Gathering {
    const bucket = Number(columns[0]?.[row]);
    const group = this.#plan.by.map((_, index) => groupValue(columns[1 + index]?.[row]));
    const key = `${bucket}${groupKey(group)}`;
    const held = this.#cells.get(key) ?? { bucket, group, values: [], items: [], sketches: [] };
    this.#cells.set(key, held);
    if (this.#cells.size > this.#limits.maxCells)
      throw tooLarge(`the answer would have more than ${this.#limits.maxCells} cells`);
    return held;
  }
}

function versionKey({ generation, version }: Manifest): string {
  return `${generation}/${version}`;
}

function planKey({ fromMs, toMs, everyMs, starts, by, where, components }: BatchPlan): string {
  return JSON.stringify([fromMs, toMs, everyMs, starts, by, [...where], components.map(({ key }) => key)]);
}
