import { join } from "node:path";
import { z } from "zod";
import { quoteName } from "../../core/contract/sql.ts";
import type { Generation } from "../../core/definition/generation.ts";
import { requireTimes } from "../../core/definition/table.ts";
import { DAY_MS, insideSql, intervalName, type TimeRange, wholeBuckets } from "../../core/interval.ts";
import { type ArchiveEntry, BackfilledDay, BackfillPin, type StateFile } from "../../core/log/documents.ts";
import { at, partitionsOf } from "../../core/log/position.ts";
import type { Span } from "../../core/log/spans.ts";
import { stateSql } from "../../core/state/compile.ts";
import { bucketSql } from "../../core/time.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { archivedEvents } from "../archive/archived-events.ts";
import { mayHold, rowGroups } from "../archive/event-times.ts";
import { parquet, withDuck } from "../duck-run.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { newestOf, readNewest } from "../versions/newest.ts";
import { versionPrefix } from "../versions/publish.ts";
import { writeStates } from "../versions/state-file.ts";
import { type BackfillDay, type BackfillPlan, planBackfill } from "./backfill-plan.ts";

/**
 * A backfill computes the states of the buckets in an interval of event time from the archive's events. They replace
 * those of the newest version.
 *
 *   beginBackfill   fixes where its states end: at the cut of the newest version when its first run begins
 *   surveyBackfill  divides the interval by day, without days that have neither events nor states
 *   backfillDay     writes the states of a day to a file, and a document by which this run and later ones know that the
 *                   day is done
 *   finishBackfill  (backfill-finish.ts) adds events that were refreshed in the meantime, compares with the newest
 *                   version, and publishes
 *   clearBackfill   deletes the files of the days
 *
 * Runs share their work below `views/<generation>/backfills/<interval>`. The states of a day up to a cut are a function
 * of the log, so they are right however long ago they were built.
 */

/** The stores that planning needs. It works without a log. */
type Plannable = Pick<BatchStores, "data" | "archive" | "manifests" | "pool">;

/** A backfill of a view: its range of buckets, and the version that it is built on. */
export interface Backfill extends TimeRange {
  /** The name of the interval, which is also the name of its folder. */
  readonly name: string;
  readonly pin: BackfillPin;
}

const PIN = "pin.json";

/**
 * Returns the backfill of `interval`. If an earlier run has begun it, it is built on the same version, else on the
 * newest one. Writes nothing.
 */
export async function foreseeBackfill(stores: Plannable, target: ViewTarget, interval: TimeRange): Promise<Backfill> {
  const { view, generation } = target;
  requireTimes(view);
  const buckets = wholeBuckets(interval, view.grainMs);
  const name = intervalName(buckets);
  const held = await stores.data.read(join(folderOf(generation, name), PIN), BackfillPin);
  if (held !== null) return { name, ...buckets, pin: held };
  const { version, topicId, base, cut } = await newestOf(stores, generation);
  const start = (await stores.manifests.version(generation, 0))?.cut ?? base;
  return { name, ...buckets, pin: { version, topicId, start, cut } };
}

/** As `foreseeBackfill`, but fixes the version for this run and for later runs that continue it. */
export async function beginBackfill(stores: Plannable, target: ViewTarget, interval: TimeRange): Promise<Backfill> {
  const begun = await foreseeBackfill(stores, target, interval);
  const name = join(folderOf(target.generation, begun.name), PIN);
  const first = await stores.data.createExclusively(name, z.encode(BackfillPin, begun.pin));
  return first ? begun : foreseeBackfill(stores, target, interval);
}

export interface BackfillSurvey extends BackfillPlan {
  /** Days that an earlier run or attempt has finished. */
  readonly done: readonly string[];
  /** The first archive files that are damaged or gone. Days that need one of them will fail. */
  readonly damaged: readonly string[];
}

/** How many damaged files a survey names. */
const NAMED = 20;

/** Divides the interval by day. Damaged archive files do not fail the survey: a day that needs one fails by itself. */
export async function surveyBackfill(
  stores: Plannable,
  target: ViewTarget,
  backfill: Backfill,
  watch: Watch,
): Promise<BackfillSurvey> {
  const { view, stream, generation } = target;
  const { pin, name } = backfill;
  const span = { topicId: pin.topicId, from: pin.start, to: pin.cut };
  const entries = await covering(stores, target, span);
  const groups = [...(await rowGroups(stores, stream, entries, watch)).values()].flat();
  const states = await readNewest(stores, generation, ({ files }) => statesByDay(stores, files, backfill, watch));
  const plan = planBackfill(backfill, view.grainMs, groups, states);
  const names = new Set(await stores.data.list(folderOf(generation, name)));
  const done = plan.days.map(({ day }) => day).filter((day) => names.has(dayDocument(backfill, day)));
  const damaged = (await stores.data.damaged(entries)).slice(0, NAMED).map(({ file }) => file ?? "");
  return { ...plan, done, damaged };
}

/** Returns the archive's entries of `[from, to)`. */
async function covering(
  { archive }: Plannable,
  { topic }: ViewTarget,
  { topicId, from, to }: Span & { readonly topicId: string },
): Promise<ArchiveEntry[]> {
  const entries: ArchiveEntry[] = [];
  for (const partition of partitionsOf(from, to)) {
    const span = { partition, from: at(from, partition), to: at(to, partition) };
    entries.push(...(await archive.covering(topic, topicId, span)));
  }
  return entries;
}

/** Returns how many state rows these files have for the buckets of each day, by epoch milliseconds. */
async function statesByDay(
  stores: Plannable,
  files: readonly StateFile[],
  range: TimeRange,
  watch: Watch,
): Promise<ReadonlyMap<number, number>> {
  if (files.length === 0) return new Map();
  const rows = parquet(
    stores,
    files.map(({ file }) => file),
  );
  const day = bucketSql("bucket", DAY_MS);
  const counts = await withDuck(stores, watch, (duck) =>
    rowsOf(duck, `SELECT ${day}, count(*) FROM ${rows} WHERE ${insideSql("bucket", [range])} GROUP BY ALL`),
  );
  return new Map(counts.map(([dayMs, count]) => [Number(dayMs), Number(count)]));
}

/** Builds the states of a day up to the pin's cut, unless they exist. */
export async function backfillDay(
  stores: BatchStores,
  target: ViewTarget,
  { backfill, day, fromMs, toMs }: BackfillDay & { readonly backfill: Backfill },
  watch: Watch,
): Promise<{ readonly rows: number }> {
  const { generation } = target;
  const { name, pin } = backfill;
  const document = join(folderOf(generation, name), dayDocument(backfill, day));
  const done = await stores.data.read(document, BackfilledDay);
  if (done !== null) return { rows: done.file?.rows ?? 0 };
  const span = { from: pin.start, to: pin.cut };
  const wanted = { backfill, ...span, ranges: [{ fromMs, toMs }], prefix: day };
  const file = await statesOf(stores, target, wanted, watch);
  const made: BackfilledDay = { day, version: pin.version, file };
  if (!(await stores.data.createExclusively(document, made)) && file !== null) {
    // Another attempt was first, and has the same states in a file of its own.
    const first = await stores.data.read(document, BackfilledDay);
    if (first?.file?.file !== file.file) await stores.data.remove(file.file);
  }
  return { rows: file?.rows ?? 0 };
}

/**
 * The states of a backfill that one file holds: the span and times of their events, and the prefix of the file's name.
 */
export interface BackfilledStates extends Span {
  readonly backfill: Backfill;
  readonly ranges: readonly TimeRange[];
  readonly prefix: string;
}

/**
 * Writes the states of a span's events with a time in `ranges` to a file in the backfill's folder. Returns null if
 * there are none.
 */
export async function statesOf(
  stores: BatchStores,
  target: ViewTarget,
  { backfill: { name, pin }, from, to, ranges, prefix }: BackfilledStates,
  watch: Watch,
): Promise<StateFile | null> {
  const { view, stream, generation } = target;
  const groups = await rowGroups(
    stores,
    stream,
    await covering(stores, target, { topicId: pin.topicId, from, to }),
    watch,
  );
  // An entry that was merged from others in between has no groups here. It may hold any time, so it is read.
  const wanted = ({ file }: ArchiveEntry) => {
    const held = file === null ? [] : groups.get(file);
    return held === undefined || mayHold(held, ranges);
  };
  return withDuck(stores, watch, async (duck) => {
    const { relation } = await archivedEvents(stores, duck, { ...target, topicId: pin.topicId, from, to }, wanted);
    if (relation === null) return null;
    const events = `(SELECT * FROM ${relation} WHERE ${insideSql(quoteName(stream.eventTime), ranges)})`;
    return writeStates(
      stores,
      duck,
      { view, select: stateSql(view, events) },
      { folder: folderOf(generation, name), prefix },
    );
  });
}

/** Deletes the files that the runs of a backfill share. */
export async function clearBackfill({ data }: BatchStores, { generation }: ViewTarget, name: string): Promise<void> {
  const here = folderOf(generation, name);
  for (const file of await data.list(here)) await data.remove(join(here, file));
}

/** Returns the folder of the files that the runs of a backfill share. */
export function folderOf(generation: Generation, name: string): string {
  return join("views", generation, "backfills", name);
}

/**
 * Returns the name of the document by which a day is done. It begins with the version that the backfill is built on. So
 * a later backfill does not use a document that a killed attempt left behind.
 */
export function dayDocument({ pin }: Backfill, day: string): string {
  return `${versionPrefix(pin.version)}-${day}.json`;
}
