import { join } from "node:path";
import { cellColumns, mergeSql, stateColumns, stateSql } from "../core/compile.ts";
import {
  type ArchiveEntry,
  BackfilledDay,
  BackfillPin,
  BackfillVerdict,
  type Manifest,
  type StateFile,
} from "../core/documents.ts";
import { TidelineError } from "../core/errors.ts";
import type { Generation } from "../core/generation.ts";
import { DAY_MS, dayOf, insideSql, intervalName, joined, type TimeRange, wholeBuckets } from "../core/interval.ts";
import { at, type Cut, cutFromJson, cutsEqual, partitionsOf } from "../core/position.ts";
import { quoteName } from "../core/sql.ts";
import { rowsOf } from "../store/duck.ts";
import { archivedEvents } from "./archived-events.ts";
import { type BackfillPlan, planBackfill } from "./backfill-plan.ts";
import { parquet, withDuck } from "./duck-run.ts";
import { mayHold, rowGroups } from "./event-times.ts";
import { newestOf, readNewest, replaceNewest } from "./newest.ts";
import { versionPrefix } from "./publish.ts";
import { writeStates } from "./state-file.ts";
import { NO_STATE, stateHashes } from "./state-hash.ts";
import type { BatchStores, ViewTarget, Watch } from "./stores.ts";

/**
 * A backfill: the states of the buckets of an interval of event time from the archive's events, in the place of what the
 * newest version holds for them.
 *
 *   beginBackfill   where its states end: the cut of the version that is newest when its first run begins
 *   surveyBackfill  the interval by day, without those for which there is nothing anywhere
 *   backfillDay     the states of a day: a file, and a document that makes the day done for this run and every later one
 *   finishBackfill  what was refreshed meanwhile added, compared with the newest version, and published in its place
 *   clearBackfill   the files of the days
 *
 * Everything that a run needs of an earlier one lies below `views/<generation>/backfills/<interval>`: the states of a day up
 * to a cut are a function of the log, so they are right however long ago they were built.
 */

/** The stores that planning reads: also without a log. */
type Plannable = Pick<BatchStores, "data" | "archive" | "manifests" | "pool">;

/** One backfill of a view: which buckets, and what it builds on. */
export interface Backfill extends TimeRange {
  /** The interval's name, that of its folder. */
  readonly name: string;
  readonly pin: BackfillPin;
}

const PIN = "pin.json";

/** What a backfill of `interval` builds on: what its first run did, or the newest version when there was none. Writes nothing. */
export async function foreseeBackfill(stores: Plannable, target: ViewTarget, interval: TimeRange): Promise<Backfill> {
  const { view, generation } = target;
  const buckets = wholeBuckets(interval, view.grainMs);
  const name = intervalName(buckets);
  const held = await stores.data.read(join(folder(generation, name), PIN), BackfillPin);
  if (held !== null) return { name, ...buckets, pin: held };
  const { version, topicId, base, cut } = await newestOf(stores, generation);
  const start = (await stores.manifests.version(generation, 0))?.cut ?? base;
  return { name, ...buckets, pin: { version, topicId, start, cut } };
}

/** The same, fixed for this run and those that go on with it. */
export async function beginBackfill(stores: Plannable, target: ViewTarget, interval: TimeRange): Promise<Backfill> {
  const begun = await foreseeBackfill(stores, target, interval);
  const first = await stores.data.createExclusively(join(folder(target.generation, begun.name), PIN), begun.pin);
  return first ? begun : foreseeBackfill(stores, target, interval);
}

export interface BackfillSurvey extends BackfillPlan {
  /** Days that an earlier run, or an earlier attempt, has done. */
  readonly done: readonly string[];
}

/** The interval by day. */
export async function surveyBackfill(
  stores: Plannable,
  target: ViewTarget,
  backfill: Backfill,
  watch: Watch,
): Promise<BackfillSurvey> {
  const { view, stream, generation } = target;
  const { pin, name } = backfill;
  const entries = await covering(stores, target, pin.topicId, cutFromJson(pin.start), cutFromJson(pin.cut));
  const groups = [...(await rowGroups(stores, stream, entries, watch)).values()].flat();
  const states = await readNewest(stores, generation, ({ files }) => statesByDay(stores, files, backfill, watch));
  const plan = planBackfill(backfill, view.grainMs, groups, states);
  const names = new Set(await stores.data.list(folder(generation, name)));
  const done = plan.days.map(({ day }) => day).filter((day) => names.has(dayDocument(backfill, day)));
  return { ...plan, done };
}

/** The archive's entries of `[from, to)`. */
async function covering(
  { archive }: Plannable,
  { topic }: ViewTarget,
  topicId: string,
  from: Cut,
  to: Cut,
): Promise<ArchiveEntry[]> {
  const entries: ArchiveEntry[] = [];
  for (const partition of partitionsOf(from, to))
    entries.push(...(await archive.covering(topic, topicId, partition, at(from, partition), at(to, partition))));
  return entries;
}

/** How many state rows these files hold for the buckets of each day, by epoch milliseconds. */
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
  const day = `bucket - ((bucket % ${DAY_MS}) + ${DAY_MS}) % ${DAY_MS}`;
  const counts = await withDuck(stores, watch, (duck) =>
    rowsOf(duck, `SELECT ${day}, count(*) FROM ${rows} WHERE ${insideSql("bucket", [range])} GROUP BY ALL`),
  );
  return new Map(counts.map(([dayMs, count]) => [Number(dayMs), Number(count)]));
}

/** Builds the states of a day up to the pin's cut, unless that has been done. */
export async function backfillDay(
  stores: BatchStores,
  target: ViewTarget,
  backfill: Backfill,
  { day, fromMs, toMs }: TimeRange & { readonly day: string },
  watch: Watch,
): Promise<{ readonly rows: number }> {
  const { generation } = target;
  const { name, pin } = backfill;
  const document = join(folder(generation, name), dayDocument(backfill, day));
  const done = await stores.data.read(document, BackfilledDay);
  if (done !== null) return { rows: done.file?.rows ?? 0 };
  const span = { from: cutFromJson(pin.start), to: cutFromJson(pin.cut) };
  const file = await statesOf(stores, target, backfill, span, [{ fromMs, toMs }], day, watch);
  const made: BackfilledDay = { day, version: pin.version, file };
  // Another attempt was first: its file says the same.
  if (!(await stores.data.createExclusively(document, made)) && file !== null) await stores.data.remove(file.file);
  return { rows: file?.rows ?? 0 };
}

/** The states of a span's events whose time lies in `ranges`, in a file of the backfill's folder; null when there are none. */
async function statesOf(
  stores: BatchStores,
  target: ViewTarget,
  { name, pin }: Backfill,
  { from, to }: { readonly from: Cut; readonly to: Cut },
  ranges: readonly TimeRange[],
  prefix: string,
  watch: Watch,
): Promise<StateFile | null> {
  const { view, stream, generation } = target;
  const groups = await rowGroups(stores, stream, await covering(stores, target, pin.topicId, from, to), watch);
  // An entry that the archive has made of others meanwhile is not among the groups.
  const wanted = ({ file }: ArchiveEntry) => {
    const held = file === null ? [] : groups.get(file);
    return held === undefined || mayHold(held, ranges);
  };
  return withDuck(stores, watch, async (duck) => {
    const { relation } = await archivedEvents(stores, duck, target, pin.topicId, from, to, wanted);
    if (relation === null) return null;
    const events = `(SELECT * FROM ${relation} WHERE ${insideSql(quoteName(stream.eventTime), ranges)})`;
    return writeStates(stores, duck, view, stateSql(view, events), folder(generation, name), prefix);
  });
}

export interface BackfillResult extends BackfillVerdict {
  /** The version that was published; null when every day was as the version compared with held it. */
  readonly version: number | null;
}

/**
 * Compares the days with the newest version and publishes it with those that differ exchanged; nothing when none does,
 * unless `force`. The version has the cut and the ledger of the one before: other events of the same span are not its matter.
 */
export async function finishBackfill(
  stores: BatchStores,
  target: ViewTarget,
  backfill: Backfill,
  days: readonly (TimeRange & { readonly day: string })[],
  { createdBy, force }: { readonly createdBy: string; readonly force: boolean },
  watch: Watch,
): Promise<BackfillResult> {
  const { generation } = target;
  const here = folder(generation, backfill.name);
  const earlier = await publishedBy(stores, generation, createdBy, backfill.pin.version);
  if (earlier !== null) {
    const verdict = await stores.data.read(join(here, verdictDocument(earlier)), BackfillVerdict);
    if (verdict !== null) return { version: earlier, ...verdict };
  }
  const built = await builtFiles(stores, generation, backfill, days);
  const ranges = joined(days);
  let covered = cutFromJson(backfill.pin.cut);
  const judge = async (newest: Manifest) => {
    const to = cutFromJson(newest.cut);
    if (!cutsEqual(covered, to)) {
      const late = await statesOf(stores, target, backfill, { from: covered, to }, ranges, "late", watch);
      if (late !== null) built.push(late);
      covered = to;
    }
    return compare(stores, target, newest, built, days, watch);
  };
  let verdict = await readNewest(stores, generation, judge);
  if (!force && verdict.days.every(({ identical }) => identical)) return { version: null, ...verdict };
  const { version } = await replaceNewest(stores, generation, createdBy, async (newest) => {
    if (verdict.compared !== newest.version) verdict = await judge(newest);
    const identical = new Set(verdict.days.filter((day) => day.identical).map(({ day }) => day));
    const exchanged = force ? days : days.filter(({ day }) => !identical.has(day));
    const files = await exchange(stores, target, newest, built, joined(exchanged), watch);
    await stores.data.createExclusively(join(here, verdictDocument(newest.version + 1)), verdict);
    return { files, ledger: newest.ledger };
  });
  return { version, ...verdict };
}

/** Which version an attempt of this run has published, whose answer was lost. */
async function publishedBy(
  stores: BatchStores,
  generation: Generation,
  createdBy: string,
  after: number,
): Promise<number | null> {
  const newest = await newestOf(stores, generation);
  for (let version = newest.version; version > after; version--)
    if ((await stores.manifests.version(generation, version))?.createdBy === createdBy) return version;
  return null;
}

async function builtFiles(
  { data }: BatchStores,
  generation: Generation,
  backfill: Backfill,
  days: readonly { readonly day: string }[],
): Promise<StateFile[]> {
  const files: StateFile[] = [];
  for (const { day } of days) {
    const built = await data.read(join(folder(generation, backfill.name), dayDocument(backfill, day)), BackfilledDay);
    if (built === null)
      throw new TidelineError(
        "BAD_REQUEST",
        `the states of ${day} are gone: another run of ${backfill.name} has ended meanwhile`,
        "Look at what that run says; start a backfill under the id that names its view and interval, so that there is one at a time.",
      );
    if (built.file !== null) files.push(built.file);
  }
  return files;
}

async function compare(
  stores: BatchStores,
  { view }: ViewTarget,
  newest: Manifest,
  built: readonly StateFile[],
  days: readonly (TimeRange & { readonly day: string })[],
  watch: Watch,
): Promise<BackfillVerdict> {
  const inside = insideSql("bucket", joined(days));
  const recomputed = await stateHashes(stores, view, built, inside, dayOf, watch);
  const held = await stateHashes(stores, view, newest.files, inside, dayOf, watch);
  return {
    compared: newest.version,
    days: days.map(({ day }) => {
      const [now, before] = [recomputed.get(day) ?? NO_STATE, held.get(day) ?? NO_STATE];
      return { day, rows: now.rows, before: before.rows, identical: now.hash === before.hash };
    }),
  };
}

/** The files of a version in which the buckets of `ranges` are those of `built`. A file without such buckets stays as it is. */
async function exchange(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  newest: Manifest,
  built: readonly StateFile[],
  ranges: readonly TimeRange[],
  watch: Watch,
): Promise<StateFile[]> {
  const inside = insideSql("bucket", ranges);
  const columns = stateColumns(view).join(", ");
  const rowsIn = (files: readonly StateFile[], where: string) => {
    const names = files.map(({ file }) => file);
    return files.length === 0 ? [] : [`SELECT ${columns} FROM ${parquet(stores, names)} WHERE ${where}`];
  };
  return withDuck(stores, watch, async (duck) => {
    const touched: StateFile[] = [];
    for (const file of newest.files)
      if ((await rowsOf(duck, `${rowsIn([file], inside).join("")} LIMIT 1`)).length > 0) touched.push(file);
    const kept = newest.files.filter((file) => !touched.includes(file));
    const rows = [...rowsIn(touched, `NOT ${inside}`), ...rowsIn(built, inside)].join(" UNION ALL ");
    if (rows === "") return kept;
    const merged = mergeSql(view, `(${rows})`, cellColumns(view));
    const prefix = versionPrefix(newest.version + 1);
    const file = await writeStates(stores, duck, view, merged, stores.manifests.stateFolder(generation), prefix);
    return file === null ? kept : [file, ...kept];
  });
}

/** Deletes what the runs of a backfill have written for each other. */
export async function clearBackfill({ data }: BatchStores, { generation }: ViewTarget, name: string): Promise<void> {
  const here = folder(generation, name);
  for (const file of await data.list(here)) await data.remove(join(here, file));
}

function folder(generation: Generation, name: string): string {
  return join("views", generation, "backfills", name);
}

/** It names what it was built on: what a killed attempt leaves behind after the end is in nobody's way. */
function dayDocument({ pin }: Backfill, day: string): string {
  return `${versionPrefix(pin.version)}-${day}.json`;
}

function verdictDocument(version: number): string {
  return `verdict-${versionPrefix(version)}.json`;
}
