import { join } from "node:path";
import type { Generation } from "../../core/definition/generation.ts";
import { TidelineError } from "../../core/errors.ts";
import { dayOf, insideSql, joined, type TimeRange } from "../../core/interval.ts";
import { BackfilledDay, BackfillVerdict, type Manifest, type StateFile } from "../../core/log/documents.ts";
import { cutsEqual } from "../../core/log/position.ts";
import { cellColumns, mergeSql, stateColumns } from "../../core/state/compile.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { parquet, withDuck } from "../duck-run.ts";
import type { BatchStores, ViewTarget, Watch } from "../stores.ts";
import { namingOverflow } from "../versions/merge-overflow.ts";
import { newestOf, readNewest, replaceNewest, requireCutReached } from "../versions/newest.ts";
import { versionPrefix } from "../versions/publish.ts";
import { writeStates } from "../versions/state-file.ts";
import { NO_STATE, stateHashes } from "../versions/state-hash.ts";
import { type Backfill, dayDocument, folderOf, statesOf } from "./backfill.ts";
import type { BackfillDay } from "./backfill-plan.ts";

export interface BackfillResult extends BackfillVerdict {
  /** The published version; null if every day was the same as in the version it was compared with. */
  readonly version: number | null;
}

/** A backfill whose days are built, and the run that publishes it. */
export interface BuiltBackfill {
  readonly backfill: Backfill;
  readonly days: readonly BackfillDay[];
  readonly createdBy: string;
  /** Publishes it even if no day differs. */
  readonly force: boolean;
}

/**
 * Compares the days with the newest version, and publishes that version with the days that differ replaced. Publishes
 * nothing if no day differs, unless `force`. The new version has the cut and the ledger of the one before, because it
 * is made from the same span of the log.
 */
export async function finishBackfill(
  stores: BatchStores,
  target: ViewTarget,
  { backfill, days, createdBy, force }: BuiltBackfill,
  watch: Watch,
): Promise<BackfillResult> {
  const { generation } = target;
  const here = folderOf(generation, backfill.name);
  const earlier = await publishedBy(stores, generation, createdBy, backfill.pin.version);
  if (earlier !== null) {
    const verdict = await stores.data.read(join(here, verdictDocument(earlier)), BackfillVerdict);
    if (verdict !== null) return { version: earlier, ...verdict };
  }
  const built = await builtFiles(stores, generation, backfill, days);
  const ranges = joined(days);
  let covered = backfill.pin.cut;
  const judge = async (newest: Manifest) => {
    const to = newest.cut;
    requireCutReached(newest, covered);
    if (!cutsEqual(covered, to)) {
      const late = await statesOf(stores, target, { backfill, from: covered, to, ranges, prefix: "late" }, watch);
      if (late !== null) built.push(late);
      covered = to;
    }
    return compare(stores, target, { newest, built, days }, watch);
  };
  let verdict = await readNewest(stores, generation, judge);
  if (!force && verdict.days.every(({ identical }) => identical)) return { version: null, ...verdict };
  const { version } = await replaceNewest(stores, generation, createdBy, async (newest) => {
    if (verdict.compared !== newest.version) verdict = await judge(newest);
    const identical = new Set(verdict.days.filter((day) => day.identical).map(({ day }) => day));
    const exchanged = force ? days : days.filter(({ day }) => !identical.has(day));
    const files = await exchange(stores, target, { newest, built, ranges: joined(exchanged) }, watch);
    await stores.data.createExclusively(join(here, verdictDocument(newest.version + 1)), verdict);
    return { files, ledger: newest.ledger };
  });
  return { version, ...verdict };
}

/**
 * Returns the version that an earlier attempt of this run has published; null if there is none. The result of such an
 * attempt was lost.
 */
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
    const built = await data.read(join(folderOf(generation, backfill.name), dayDocument(backfill, day)), BackfilledDay);
    if (built === null)
      throw new TidelineError(
        "BAD_REQUEST",
        `the states of ${day} are gone: another run of ${backfill.name} has ended in between`,
        "Look at what that run says; start a backfill under the id that names its " +
          "view and interval, so that there is one at a time.",
      );
    if (built.file !== null) files.push(built.file);
  }
  return files;
}

/** The newest version, and the files that a backfill has built to replace parts of it. */
interface BuiltStates {
  readonly newest: Manifest;
  readonly built: readonly StateFile[];
}

async function compare(
  stores: BatchStores,
  { view }: ViewTarget,
  { newest, built, days }: BuiltStates & { readonly days: readonly BackfillDay[] },
  watch: Watch,
): Promise<BackfillVerdict> {
  const parts = { view, where: insideSql("bucket", joined(days)), partOf: dayOf };
  const recomputed = await stateHashes(stores, { ...parts, files: built }, watch);
  const held = await stateHashes(stores, { ...parts, files: newest.files }, watch);
  return {
    compared: newest.version,
    days: days.map(({ day }) => {
      const [now, before] = [recomputed.get(day) ?? NO_STATE, held.get(day) ?? NO_STATE];
      return { day, rows: now.rows, before: before.rows, identical: now.hash === before.hash };
    }),
  };
}

/**
 * Returns the files of a version after its buckets in `ranges` were replaced by those of `built`. A file without such
 * buckets stays as it is.
 */
async function exchange(
  stores: BatchStores,
  { view, generation }: ViewTarget,
  { newest, built, ranges }: BuiltStates & { readonly ranges: readonly TimeRange[] },
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
    const merged = mergeSql(view, `(${rows})`, cellColumns(view), "stored");
    const prefix = versionPrefix(newest.version + 1);
    const folder = stores.manifests.stateFolder(generation);
    const file = await namingOverflow(duck, view, `(${rows})`, () =>
      writeStates(stores, duck, { view, select: merged }, { folder, prefix }),
    );
    return file === null ? kept : [file, ...kept];
  });
}

function verdictDocument(version: number): string {
  return `verdict-${versionPrefix(version)}.json`;
}
