import { createHash } from "node:crypto";
import type { DuckDBValue } from "@duckdb/node-api";
import { isTidelineError } from "../../../core/errors.ts";
import type { Manifest, StateFile } from "../../../core/log/documents.ts";
import type { EpochMs } from "../../../core/log/position.ts";
import { Budget, type BudgetLimits } from "../../../core/query/budget.ts";
import { piecesOf, type RowExtent, rowsRead } from "../../../core/query/extents.ts";
import type { TopOrder } from "../../../core/query/top-order.ts";
import { type Group, type GroupKey, groupKey, groupValue, placeKey } from "../../../core/state/cells.ts";
import type { DataDirectory } from "../../../store/files/files.ts";
import { inTurns } from "../../common/turns.ts";
import type { BucketTile } from "../cells/tile-cells.ts";
import { Vanished } from "../cells/vanished.ts";
import { WeightedCache } from "../cells/weighted-cache.ts";
import {
  type BatchPlan,
  type CellPlace,
  extentsSql,
  hasOneBucket,
  itemsSql,
  lastBucketSql,
  ofForm,
  type Statement,
  sketchesSql,
  topSql,
  valuesSql,
} from "./batch-sql.ts";
import type { DuckQueue, OnChunk } from "./duck-queue.ts";
import { type BatchCells, GatheredCells } from "./gathered-cells.ts";
import { lookupsOf, MOST_ENTRIES, type NamedFile } from "./index-lookup.ts";
import { KeyFilters } from "./key-filters.ts";

/** Some hundred thousand groups. Their hash table fits about into a processor's caches. */
const PIECE_ROWS = 4_000_000;

export interface BatchStatesOptions {
  readonly maxCachedCells: number;
  readonly limits: BudgetLimits;
  /** A query for the first cells of an order groups about this many stored rows at a time. */
  readonly pieceRows?: number;
}

/**
 * Reads the state files of batch versions. A version never changes, so what was read is cached: a dashboard that
 * repeats a query costs no SQL.
 */
export class BatchStates {
  readonly #data: DataDirectory;
  readonly #ducks: DuckQueue;
  readonly #limits: BudgetLimits;
  readonly #pieceRows: number;
  readonly #answers: WeightedCache<BatchCells>;
  readonly #lastBuckets = new WeightedCache<EpochMs | null>(1_000, () => 1);
  readonly #tops: WeightedCache<readonly CellPlace[]>;
  readonly #extents = new WeightedCache<readonly RowExtent[]>(100_000, (extents) => 1 + extents.length);
  readonly #keys = new KeyFilters((file, statement, stopped) => this.#row(file, statement, stopped));

  constructor(
    data: DataDirectory,
    ducks: DuckQueue,
    { maxCachedCells, limits, pieceRows = PIECE_ROWS }: BatchStatesOptions,
  ) {
    this.#data = data;
    this.#ducks = ducks;
    this.#limits = limits;
    this.#pieceRows = pieceRows;
    this.#tops = new WeightedCache(maxCachedCells, (places) => 1 + places.length);
    this.#answers = new WeightedCache(maxCachedCells, ({ weight }) => weight);
  }

  /**
   * Returns the row groups of a version with the range of event time that each covers. Throws Vanished when a file is
   * gone or damaged.
   */
  async extents(manifest: Manifest): Promise<readonly RowExtent[]> {
    // Cached by file: the next version has most of the same files, and a large version has thousands of row groups.
    const files = filesOf(manifest);
    const missing = files.filter(({ file }) => !this.#extents.has(file));
    const read = missing.length === 0 ? null : this.#readExtents(missing);
    const found = await Promise.all(
      files.map(({ file }) => this.#extents.get(file, async () => extentsIn(await read, this.#data.path(file)))),
    );
    return found.flat();
  }

  /** Reads the row groups of files, by path. */
  async #readExtents(files: readonly StateFile[]): Promise<ReadonlyMap<string, readonly RowExtent[]>> {
    const extents = new Map<string, RowExtent[]>();
    await this.#read(files, extentsSql, function* ([paths = [], rows = [], firsts = [], lasts = []]) {
      for (const [row, path] of paths.entries()) {
        const held = extents.get(String(path)) ?? [];
        extents.set(String(path), held);
        held.push({ rows: Number(rows[row]), fromMs: Number(firsts[row]), lastMs: Number(lasts[row]) });
      }
      yield paths.length;
    });
    return extents;
  }

  /**
   * Returns the newest bucket of a version that does not start after `untilMs`; null if there is none. Throws as
   * `extents`.
   */
  async lastBucket(manifest: Manifest, untilMs: EpochMs): Promise<EpochMs | null> {
    const files = filesOf(manifest);
    const lasts = (await this.extents(manifest)).map(({ lastMs }) => lastMs);
    const newest = lasts.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
    if (newest <= untilMs) return lasts.length === 0 ? null : newest;
    return this.#lastBuckets.get(`${versionKey(manifest)} ${untilMs}`, async () => {
      let last: EpochMs | null = null;
      await this.#read(
        files,
        (paths) => lastBucketSql(paths, untilMs),
        function* ([column]) {
          if (typeof column?.[0] === "bigint") last = Number(column[0]);
          yield 1;
        },
      );
      return last;
    });
  }

  /**
   * Returns the cells of `plan`, filtered and rolled up, and what reading them costs. Throws Vanished when a file is
   * gone or damaged, OverBudget when there are too many cells. `asker` is aborted when the caller's client has left.
   */
  async cells(manifest: Manifest, plan: BatchPlan, asker: AbortSignal | null = null): Promise<BatchCells> {
    const files = filesOf(manifest);
    if (files.length === 0 || plan.fromMs >= plan.toMs) return { tiles: [], rows: 0, weight: 0 };
    const rows = rowsRead(await this.extents(manifest), plan);
    new Budget(this.#limits).require("rows", rows);
    const load = async (left: AbortSignal) => {
      const asked = rows === 0 ? [] : this.#keys.among(files, plan);
      return asked.length === 0 ? { tiles: [], rows, weight: 0 } : { ...(await this.#cells(asked, plan, left)), rows };
    };
    return this.#answers.get(`${versionKey(manifest)} ${planKey(plan)}`, load, asker);
  }

  /**
   * Returns at least the first `most` cells of `plan` in an order (or all, if there are fewer), and how many rows were
   * read for them. Holds no more cells than it returns, however many there are. `asker` is as for `cells`. Throws as
   * `cells`.
   */
  async top(
    manifest: Manifest,
    plan: BatchPlan,
    order: TopOrder,
    { most, asker }: { readonly most: number; readonly asker: AbortSignal | null },
  ): Promise<{ places: readonly CellPlace[]; rows: number }> {
    const files = filesOf(manifest);
    if (files.length === 0 || plan.fromMs >= plan.toMs) return { places: [], rows: 0 };
    const extents = await this.extents(manifest);
    const rows = rowsRead(extents, plan);
    if (rows === 0) return { places: [], rows };
    new Budget(this.#limits).require("rows", rows);
    const pieces = hasOneBucket(plan)
      ? piecesOf(extents, plan, { rows: this.#pieceRows, grainMs: plan.view.grainMs })
      : [plan];
    // The number of live cells varies. A rounded number of cells is read, so that the cached result serves for a while.
    const read = 2 ** Math.ceil(Math.log2(most + 1));
    const name = JSON.stringify([
      versionKey(manifest),
      planKey(plan),
      order.keys,
      order.prefix,
      order.after ?? null,
      order.filters ?? [],
      read,
    ]);
    const load = async (left: AbortSignal) => {
      const [found, budget]: [CellPlace[], Budget] = [[], new Budget(this.#limits, left)];
      const indexed = await this.#indexed(files, plan, order, left);
      if (indexed !== null && indexed.length <= order.limit) return indexed;
      const among = indexed === null ? plan : { ...plan, only: indexed };
      const statement = (paths: readonly string[]) => topSql(paths, among, order, { most: read, pieces });
      await this.#read(files, statement, function* ([buckets = [], ...dimensions]) {
        budget.requireWanted();
        for (const [row, bucket] of buckets.entries())
          found.push({ bucket: Number(bucket), ...groupAt(dimensions, row) });
        yield buckets.length;
      });
      return found;
    };
    return { places: await this.#tops.get(name, load, asker), rows };
  }

  /**
   * Returns places that include all cells that the filters of `order` allow, from an index of the table. Null if no
   * index has a column of the filters, or if the index returns too many entries.
   */
  async #indexed(
    files: readonly StateFile[],
    plan: BatchPlan,
    order: TopOrder,
    left: AbortSignal,
  ): Promise<readonly CellPlace[] | null> {
    const budget = new Budget(this.#limits, left);
    for (const { files: looked, statement } of lookupsOf(await this.#withIndexes(files), plan, order)) {
      const found = new Map<GroupKey, CellPlace>();
      let entries = 0;
      await this.#read(looked, statement, function* (columns) {
        budget.requireWanted();
        const rows = columns[0]?.length ?? 0;
        for (let row = 0; row < rows; row++) {
          const of = groupAt(columns, row);
          found.set(of.key, { bucket: 0, ...of });
        }
        entries += rows;
        yield rows;
      });
      if (entries <= MOST_ENTRIES) return [...found.values()];
    }
    return null;
  }

  /** Returns the files without the indexes that are gone: a newer version may have the same file without its index. */
  #withIndexes(files: readonly StateFile[]): Promise<StateFile[]> {
    return Promise.all(
      files.map(async ({ index, ...file }) => {
        const isThere = index !== undefined && (await this.#data.has(index.file));
        return isThere ? { ...file, index } : file;
      }),
    );
  }

  /**
   * Returns the cells of `plan` at these places, and caches them if `isKept`. `asker` is as for `cells`. Throws as
   * `cells`.
   */
  async among(
    manifest: Manifest,
    plan: BatchPlan,
    only: readonly CellPlace[],
    { isKept, asker }: { readonly isKept: boolean; readonly asker: AbortSignal | null },
  ): Promise<readonly BucketTile[]> {
    const files = filesOf(manifest);
    if (files.length === 0 || only.length === 0) return [];
    const load = async (left: AbortSignal | null) => ({ ...(await this.#among(files, plan, only, left)), rows: 0 });
    if (!isKept) return (await load(asker)).tiles;
    const places = createHash("sha256")
      .update(JSON.stringify(only.map(({ bucket, key }) => placeKey(bucket, key))))
      .digest("base64url");
    const name = `${versionKey(manifest)} ${planKey(plan)} among ${places}`;
    return (await this.#answers.get(name, load, asker)).tiles;
  }

  /** Reads the cells of `plan` at these places. For a table, each file is only asked for the keys that it may have. */
  async #among(
    files: readonly StateFile[],
    plan: BatchPlan,
    only: readonly CellPlace[],
    left: AbortSignal | null,
  ): Promise<Omit<BatchCells, "rows">> {
    const held = plan.view.table === null || !hasOneBucket(plan) ? null : this.#keys.held(files, plan.view, only);
    if (held === null) return this.#cells(files, { ...plan, only }, left);
    const isAsked = (_: unknown, index: number) => held[index]?.length !== 0;
    const asked = files.filter(isAsked);
    if (asked.length === 0) return { tiles: [], weight: 0 };
    return this.#cells(asked, { ...plan, only, onlyIn: held.filter(isAsked) }, left);
  }

  /** Resolves when no background read is running. */
  idle(): Promise<void> {
    return this.#keys.idle();
  }

  /** Ends the background reads. */
  close(): Promise<void> {
    return this.#keys.close();
  }

  async #row(
    file: StateFile,
    statement: (path: string) => Statement,
    stopped: AbortSignal,
  ): Promise<readonly DuckDBValue[]> {
    const row: DuckDBValue[] = [];
    await this.#read(
      [file],
      ([path = ""]) => statement(path),
      function* (columns) {
        for (const [first = null] of columns) row.push(first);
        yield 1;
      },
      stopped,
    );
    return row;
  }

  async #cells(
    files: readonly StateFile[],
    plan: BatchPlan,
    left: AbortSignal | null,
  ): Promise<Omit<BatchCells, "rows">> {
    const budget = new Budget(this.#limits, left);
    const gathered = new GatheredCells(plan, budget);
    const read = (sql: typeof valuesSql, onChunk: OnChunk) =>
      this.#read(
        files,
        (paths) => sql(paths, plan),
        (columns) => {
          budget.requireWanted();
          return onChunk(columns);
        },
      );
    const readings = [read(valuesSql, (columns) => gathered.addValues(columns))];
    if (ofForm(plan, "items").length > 0) readings.push(read(itemsSql, (columns) => gathered.addItems(columns)));
    if (ofForm(plan, "registers").length > 0)
      readings.push(read(sketchesSql, (columns) => gathered.addSketches(columns)));
    const settled = await Promise.allSettled(readings);
    for (const outcome of settled) if (outcome.status === "rejected") throw outcome.reason;
    return inTurns(gathered.tiles(), null);
  }

  async #read(
    files: readonly NamedFile[],
    statement: (paths: readonly string[]) => Statement,
    onChunk: OnChunk,
    stopped: AbortSignal | null = null,
  ): Promise<void> {
    await this.#require(files);
    const { sql, values } = statement(files.map(({ file }) => this.#data.path(file)));
    try {
      await this.#ducks.read(sql, values, onChunk, stopped);
    } catch (error) {
      await this.#require(files); // one may have gone away in between
      throw error;
    }
  }

  /** Throws Vanished for a file that is gone or damaged: a newer version may not need it. */
  async #require(files: readonly NamedFile[]): Promise<void> {
    try {
      await this.#data.requireIntact(files);
    } catch (error) {
      throw isTidelineError(error, "ARCHIVE_DAMAGED") ? new Vanished("file", error.message, { cause: error }) : error;
    }
  }
}

/** Returns the group in row `row` of columns that hold the dimensions. */
function groupAt(dimensions: readonly (readonly DuckDBValue[])[], row: number): Group {
  const group = dimensions.map((column) => groupValue(column[row]));
  return { group, key: groupKey(group) };
}

/** Returns the row groups of a file. Every file has rows, so a file without row groups was not read. */
function extentsIn(read: ReadonlyMap<string, readonly RowExtent[]> | null, path: string): readonly RowExtent[] {
  const found = read?.get(path);
  if (found === undefined) throw new RangeError(`no extents were read of ${path}`);
  return found;
}

function filesOf({ files }: Manifest): StateFile[] {
  return files.filter(({ rows }) => rows > 0);
}

const versionKeys = new WeakMap<Manifest, string>();

/**
 * Returns the cache key for the state of a version: the names of its files, which are never used twice. A version's
 * number may be used twice: after the data directory is restored from a backup, numbers are given again.
 */
export function versionKey(manifest: Manifest): string {
  const held = versionKeys.get(manifest);
  if (held !== undefined) return held;
  const { generation, version, files } = manifest;
  const names = JSON.stringify(files.map(({ file }) => file));
  const key = `${generation}/${version}/${createHash("sha256").update(names).digest("base64url").slice(0, 16)}`;
  versionKeys.set(manifest, key);
  return key;
}

function planKey({ fromMs, toMs, everyMs, calendar, by, where, components }: BatchPlan): string {
  const grain = calendar?.grain ?? null;
  return JSON.stringify([fromMs, toMs, everyMs, grain, by, [...where], components.map(({ key }) => key)]);
}
