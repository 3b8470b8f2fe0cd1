import { access } from "node:fs/promises";
import type { DuckDBValue } from "@duckdb/node-api";
import { type GroupValue, groupKey } from "../core/cells.ts";
import type { Manifest } from "../core/documents.ts";
import type { EpochMs } from "../core/position.ts";
import type { DataDirectory } from "../store/files.ts";
import { type BatchPlan, integersSql, lastBucketSql, type Statement, sketchesSql } from "./batch-sql.ts";
import type { DuckQueue, OnChunk } from "./duck-queue.ts";
import { tooLarge } from "./problem.ts";
import { type AnswerLimits, type BucketTile, type GroupCells, tileWeight } from "./tile-cells.ts";
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

  /** The newest bucket of a version, null when it has none. Throws Vanished when one of its files is gone. */
  lastBucket(manifest: Manifest): Promise<EpochMs | null> {
    const files = this.#files(manifest);
    if (files.length === 0) return Promise.resolve(null);
    return this.#lastBuckets.get(versionKey(manifest), async () => {
      let last: EpochMs | null = null;
      await this.#read(files, { sql: lastBucketSql(files), values: [] }, ([column]) => {
        if (typeof column?.[0] === "bigint") last = Number(column[0]);
      });
      return last;
    });
  }

  /** The cells of `plan`, filtered and rolled up. Throws Vanished when a file is gone, TOO_LARGE when they are too many. */
  cells(manifest: Manifest, plan: BatchPlan): Promise<readonly BucketTile[]> {
    const files = this.#files(manifest);
    if (files.length === 0 || plan.fromMs >= plan.toMs) return Promise.resolve([]);
    return this.#answers.get(`${versionKey(manifest)} ${planKey(plan)}`, () => this.#cells(files, plan));
  }

  async #cells(files: readonly string[], plan: BatchPlan): Promise<readonly BucketTile[]> {
    const gathered = new Gathered(plan, this.#limits);
    const integers = this.#read(files, integersSql(files, plan), (columns) => gathered.addIntegers(columns));
    const sketches =
      plan.sketches.length === 0
        ? null
        : this.#read(files, sketchesSql(files, plan), (columns) => gathered.addSketches(columns));
    const settled = await Promise.allSettled([integers, sketches]);
    for (const outcome of settled) if (outcome.status === "rejected") throw outcome.reason;
    return gathered.tiles();
  }

  async #read(files: readonly string[], { sql, values }: Statement, onChunk: OnChunk): Promise<void> {
    try {
      await this.#ducks.read(sql, values, onChunk);
    } catch (error) {
      const missing = await firstMissing(files);
      throw missing === null ? error : new Vanished("file", missing, { cause: error });
    }
  }

  #files(manifest: Manifest): string[] {
    return manifest.files.filter(({ rows }) => rows > 0).map(({ file }) => this.#data.path(file));
  }
}

/** A cell while its rows come in. */
interface Gathering {
  readonly bucket: EpochMs;
  readonly group: readonly GroupValue[];
  integers: [component: string, value: bigint][];
  readonly sketches: [component: string, packed: readonly number[]][];
}

/** Rows of both statements by cell. */
class Gathered {
  readonly #cells = new Map<string, Gathering>();
  readonly #plan: BatchPlan;
  readonly #limits: AnswerLimits;
  #registers = 0;

  constructor(plan: BatchPlan, limits: AnswerLimits) {
    this.#plan = plan;
    this.#limits = limits;
  }

  addIntegers(columns: DuckDBValue[][]): void {
    const first = 1 + this.#plan.by.length;
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      const integers = this.#plan.integers.flatMap(({ key }, index): [string, bigint][] => {
        const value = columns[first + index]?.[row];
        return typeof value === "bigint" ? [[key, value]] : [];
      });
      this.#cell(columns, row).integers = integers;
    }
  }

  addSketches(columns: DuckDBValue[][]): void {
    const component = 1 + this.#plan.by.length;
    for (let row = 0; row < (columns[0]?.length ?? 0); row++) {
      const packed = (columns[component + 1]?.[row] as { items: readonly number[] } | undefined)?.items ?? [];
      this.#registers += packed.length;
      if (this.#registers > this.#limits.maxRegisters)
        throw tooLarge("the answer would merge too many distinct counts");
      this.#cell(columns, row).sketches.push([String(columns[component]?.[row]), packed]);
    }
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
    const held = this.#cells.get(key) ?? { bucket, group, integers: [], sketches: [] };
    this.#cells.set(key, held);
    if (this.#cells.size > this.#limits.maxCells)
      throw tooLarge(`the answer would have more than ${this.#limits.maxCells} cells`);
    return held;
  }
}

/** A dimension's value as Redis's JSON gives it: an integer beyond 2^53-1 is text in both. */
function groupValue(value: DuckDBValue | undefined): GroupValue {
  if (typeof value === "bigint") return Number.isSafeInteger(Number(value)) ? Number(value) : value.toString();
  return (value ?? null) as GroupValue;
}

function versionKey({ generation, version }: Manifest): string {
  return `${generation}/${version}`;
}

function planKey({ fromMs, toMs, everyMs, by, where, integers, sketches }: BatchPlan): string {
  const components = [...integers, ...sketches].map(({ key }) => key);
  return JSON.stringify([fromMs, toMs, everyMs, by, [...where], components]);
}

async function firstMissing(files: readonly string[]): Promise<string | null> {
  for (const file of files) {
    const there = await access(file).then(
      () => true,
      () => false,
    );
    if (!there) return file;
  }
  return null;
}
