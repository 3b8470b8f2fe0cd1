import { componentsOf } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { type Cut, cutsEqual, cutText } from "../../core/log/position.ts";
import { Budget, type BudgetLimits, OverBudget } from "../../core/query/budget.ts";
import { calendarWork } from "../../core/query/calendar.ts";
import { presenting } from "../../core/query/present.ts";
import { gapOf, type Query, readRange } from "../../core/query/query.ts";
import { type TopOrder, topOrder } from "../../core/query/top-order.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { damagedHint } from "../../store/files/intact.ts";
import { inTurns } from "../common/turns.ts";
import { Vanished } from "./cells/vanished.ts";
import type { History } from "./history.ts";
import type { ViewStatuses } from "./live/view-status.ts";
import { MergedCells } from "./merged-cells.ts";
import type { ReadAnswer, Reading, Tiles } from "./reading.ts";
import { readSessions } from "./session-pieces.ts";
import { AnswerTiles, type TileSources, VANISHED } from "./tiles.ts";
import { queryKey } from "./validators.ts";

export interface ReaderOptions extends TileSources {
  readonly history: History;
  readonly limits: BudgetLimits;
  /** The most cells of answers (without their open segment) that are kept in memory. */
  readonly maxCachedCells?: number;
}

/** The cells that are wanted of a query. */
interface Asked {
  /** The order that decides which cells are returned when there are too many; null: too many cells are refused. */
  readonly top: TopOrder | null;
  /** Aborted when the client has left; null: the answer is always wanted. */
  readonly left: AbortSignal | null;
}

export interface ReadOptions extends Partial<Asked> {
  /** Absent or null: the newest position. */
  readonly at?: Cut | null;
}

export interface AnswerOptions extends Omit<ReadOptions, "top"> {
  /** An earlier answer to the same query. Its rows are returned again if nothing has changed since. */
  readonly held?: ReadAnswer | null;
}

/** The tiles that an attempt begins with. */
type Attempt = "cached" | "newest" | "batch alone";

/**
 * After this many attempts, either the files of every newest manifest keep disappearing, or Redis keeps losing
 * segments.
 */
const MAX_STARTS = 4;
const MOST_WIDE = 1_000;

/**
 * The protocol's Reader. It reads the manifest first, then Redis, and answers only from tiles that cover the log
 * without gap or overlap.
 *
 *   newest manifest M (cached, checked against the pointer)
 *   -> chain and open segment in one atomic step -> do they tile from M.cut?
 *     yes  M's states + closed segments + open segment
 *     no   load the newest M, once more; then M alone, and say what is missing
 *   a file or segment is gone: M was two versions old; start again with the newest
 */
export class Reader {
  readonly #statuses: ViewStatuses;
  readonly #tiles: AnswerTiles;
  readonly #cells: MergedCells;
  readonly #history: History;
  readonly #limits: BudgetLimits;
  /** Queries that had too many cells. The next time only their first cells are read. */
  readonly #wide = new Set<string>();

  constructor({ history, limits, maxCachedCells = 1_000_000, ...sources }: ReaderOptions) {
    this.#statuses = sources.statuses;
    this.#tiles = new AnswerTiles(sources);
    this.#cells = new MergedCells(sources.batch, limits, maxCachedCells);
    this.#history = history;
    this.#limits = limits;
  }

  /** The most cells that are held at once for one answer. */
  get mostCells(): number {
    return this.#limits.cells;
  }

  /** Answers a query. Throws as `read`. */
  async answer(
    definition: Definition,
    query: Query,
    { at = null, held = null, left = null }: AnswerOptions = {},
  ): Promise<ReadAnswer> {
    const top = topOf(definition.view, query);
    const reading =
      at === null
        ? await this.#again(definition, (attempt) => this.#newest(definition, query, attempt, { held, top, left }))
        : await this.read(definition, query, { at, top, left });
    if ("rows" in reading) return reading;
    const { cells, budget, firstOnly: _, ...rest } = reading;
    const rows = await inTurns(presenting({ view: definition.view, query, window: rest }, cells, budget), budget);
    return { ...rest, ...rows };
  }

  /**
   * Reads the cells of a query. When there are too many cells and `top` is given, returns only cells that include the
   * first ones of that order. Throws NOT_READY before the first manifest, OverBudget for a query that costs too much,
   * ARCHIVE_DAMAGED when published files are gone or damaged; for an earlier position also the errors of History.
   */
  async read(
    definition: Definition,
    query: Query,
    { at = null, top = null, left = null }: ReadOptions = {},
  ): Promise<Reading> {
    if (at === null)
      return this.#again(definition, (attempt) => this.#newest(definition, query, attempt, { held: null, top, left }));
    const { applied } = await this.#statuses.find(definition);
    if (cutsEqual(applied, at)) {
      const newest = await this.read(definition, query, { top, left });
      if (cutsEqual(newest.applied, at)) return newest;
    }
    return this.#again(definition, (attempt) => this.#past(definition, query, attempt, { at, top, left }));
  }

  /** Starts again when a file or segment disappears during a read. */
  async #again<T>(definition: Definition, attempt: (which: Attempt) => Promise<T>): Promise<T> {
    for (let start = 1; ; start++) {
      try {
        return await attempt(start === 1 ? "cached" : start > MAX_STARTS ? "batch alone" : "newest");
      } catch (error) {
        if (!(error instanceof Vanished)) throw error;
        // The last attempt reads no segments, so only a file can be gone then.
        if (start > MAX_STARTS || (start === MAX_STARTS && error.what === "file")) throw damaged(definition, error);
      }
    }
  }

  async #newest<Held extends ReadAnswer | null>(
    definition: Definition,
    query: Query,
    attempt: Attempt,
    { held, ...asked }: Asked & { readonly held: Held },
  ): Promise<Reading | NonNullable<Held>> {
    const { view } = definition;
    const manifest = await this.#statuses.manifest(definition, attempt === "cached" ? "cached" : "newest");
    const tiles =
      attempt === "batch alone"
        ? await this.#tiles.alone(view, query, manifest, VANISHED)
        : await this.#tiles.newest(definition, query, manifest, held);
    return "rows" in tiles ? tiles : this.#merge(view, query, tiles, asked);
  }

  async #past(
    definition: Definition,
    query: Query,
    attempt: Attempt,
    { at, ...asked }: Asked & { readonly at: Cut },
  ): Promise<Reading> {
    const { view } = definition;
    const { manifest, closed } = await this.#history.at(definition, at, {
      segments: attempt !== "batch alone",
      left: asked.left,
    });
    const nowMs = this.#statuses.now();
    const window = await this.#tiles.window(query, view, { manifest, closed, open: null, nowMs });
    const status = { ...this.#statuses.of(manifest, null, null), applied: at };
    const closedName = `at ${cutText(at)}`;
    return this.#merge(view, query, { manifest, live: { closed, closedName, open: [] }, status, window }, asked);
  }

  async #merge(view: View, query: Query, tiles: Tiles, { top, left }: Asked): Promise<Reading> {
    const { status, window } = tiles;
    await warmCalendar(query, window);
    const budget = new Budget(this.#limits, left);
    const gapMs = gapOf(view, query);
    const found =
      gapMs === null
        ? await this.#buckets(view, query, tiles, { top, budget })
        : { cells: await this.#sessions(view, query, tiles, { gapMs, budget }), firstOnly: false };
    return { ...status, ...found, budget, ...window };
  }

  async #sessions(
    view: View,
    query: Query,
    tiles: Tiles,
    { gapMs, budget }: { readonly gapMs: number; readonly budget: Budget },
  ): Promise<Reading["cells"]> {
    const read = (part: Query, range: TimeRange, piece: Budget) =>
      this.#cells.all(view, part, { ...tiles, range }, piece);
    const extents = await this.#cells.extents(tiles);
    return readSessions(view, query, tiles.window, { gapMs, extents, limits: this.#limits, budget, read });
  }

  /** Returns the cells of a query whose rows are buckets: all of them, or the first ones when there are too many. */
  async #buckets(
    view: View,
    query: Query,
    tiles: Tiles,
    { top, budget }: { readonly top: TopOrder | null; readonly budget: Budget },
  ): Promise<Pick<Reading, "cells" | "firstOnly">> {
    const range = readRange(view, query, tiles.window);
    const wide = () =>
      `${tiles.manifest.generation} ${range.fromMs} ${range.toMs} ${queryKey({ ...query, order: [], limit: 0 })}`;
    const canBeTop =
      top !== null &&
      top.limit < this.#limits.cells &&
      (top.keys.some(({ by }) => by === "bucket") || range.fromMs >= 0 || range.toMs <= 0);
    const isWide =
      (this.#wide.size > 0 && this.#wide.has(wide())) || leastRows(view, query, tiles.manifest) > this.#limits.cells;
    if (!canBeTop || !isWide) {
      try {
        return { cells: await this.#cells.all(view, query, { ...tiles, range }, budget), firstOnly: false };
      } catch (error) {
        if (!(error instanceof OverBudget) || error.unit !== "cells") throw error;
        if (!canBeTop) throw withoutOrder(error, view, query);
        if (this.#wide.size >= MOST_WIDE) this.#wide.clear();
        this.#wide.add(wide());
      }
    }
    return {
      cells: await this.#cells.first(view, query, { ...tiles, range, left: budget.left }, top),
      firstOnly: true,
    };
  }
}

const knownTops = new WeakMap<Query, TopOrder | null>();

/** Returns the order of a query's rows; null if SQL cannot sort like this. Computed once for each query. */
function topOf(view: View, query: Query): TopOrder | null {
  const held = knownTops.get(query);
  if (held !== undefined) return held;
  const order = topOrder(view, query);
  const top = "keys" in order ? order : null;
  knownTops.set(query, top);
  return top;
}

/**
 * Returns a lower bound for the number of cells of a query for all rows of a table: the cells of its largest file. A
 * file has at most one stored row for each cell and component, if that is an integer or pick.
 */
function leastRows(view: View, query: Query, { files }: Manifest): number {
  const components = componentsOf(view);
  const isOneRowEach = components.every(({ form }) => form === "integer" || form === "pick");
  if (view.table === null || query.where.size > 0 || !isOneRowEach) return 0;
  return Math.max(0, ...files.map(({ rows }) => rows)) / components.length;
}

/**
 * For a query with too many cells whose first ones cannot be found without holding all: names the key of `order` that
 * prevents it.
 */
function withoutOrder(error: OverBudget, view: View, query: Query): TidelineError {
  const order = topOrder(view, query);
  const first = view.table === null ? "bucket, dimensions, and" : "the key, and by";
  const why =
    query.windowMs > query.everyMs
      ? "windows slide, so that all of them have to be held"
      : "unsortable" in order
        ? `sorted by ${order.unsortable}, all of them have to be held; sorted by ${first} ` +
          "measures that are a count, sum, min or max, only those up to limit"
        : "all of them have to be held";
  const { details } = view.table === null ? error : error.ofTable();
  return new TidelineError(error.code, error.message, why, details);
}

/** Computes a calendar's buckets in turns and caches them. An error in them is reported later, when they are used. */
async function warmCalendar({ calendar }: Query, { fromMs, toMs }: TimeRange): Promise<void> {
  if (calendar === null) return;
  await inTurns(calendarWork(calendar, fromMs, toMs), null).catch((error: unknown) => {
    if (!(error instanceof RangeError)) throw error;
  });
}

function damaged({ view }: Definition, cause: Vanished): TidelineError {
  return new TidelineError(
    "ARCHIVE_DAMAGED",
    `a published state file of view "${view.name}" is missing or damaged`,
    damagedHint("views/"),
    { cause },
  );
}
