import { archiveActivities } from "./archive-activities.ts";
import { backfillActivities } from "./backfill-activities.ts";
import type { ActivityDeps } from "./deps.ts";
import { generationActivities } from "./generation-activities.ts";
import { proofActivities } from "./proof-activities.ts";
import { rebuildActivities } from "./rebuild-activities.ts";
import { reportActivities } from "./report-activities.ts";
import { retentionActivities } from "./retention-activities.ts";
import { settleActivities } from "./settle-activities.ts";
import { versionActivities } from "./version-activities.ts";

/** The long activities. Nobody waits for them by the second. */
const LONG = [
  "planCompaction",
  "mergeEntries",
  "compact",
  "planRebuild",
  "rebuildPart",
  "finishRebuild",
  "clearRebuilds",
  "planBackfill",
  "backfillDay",
  "finishBackfill",
  "clearBackfill",
  "publishFirstVersion",
  "compareGenerations",
  "proveView",
  "writeReport",
] as const;
type Long = (typeof LONG)[number];

/**
 * Returns the activities of the worker's own queue: all but the long ones. Each can run twice, at the same time, and be
 * killed anywhere (invariant 13). batch-layer/ sees to that.
 */
export function createActivities(deps: ActivityDeps): Activities {
  const own: Partial<EveryActivity> = everyActivity(deps);
  for (const name of LONG) delete own[name];
  return own as Activities;
}

/**
 * Returns the activities of the background process's queue (`inBackground`): the long ones, and short ones of the same
 * workflows.
 */
export function createBackgroundActivities(deps: ActivityDeps): BackgroundActivities {
  const every = everyActivity(deps);
  const long = Object.fromEntries(LONG.map((name) => [name, every[name]])) as Pick<EveryActivity, Long>;
  return { ...long, sweepArchive: every.sweepArchive };
}

function everyActivity(deps: ActivityDeps) {
  return {
    ...archiveActivities(deps),
    ...settleActivities(deps),
    ...versionActivities(deps),
    ...rebuildActivities(deps),
    ...backfillActivities(deps),
    ...generationActivities(deps),
    ...retentionActivities(deps),
    ...proofActivities(deps),
    ...reportActivities(deps),
  };
}

type EveryActivity = ReturnType<typeof everyActivity>;
export type Activities = Omit<EveryActivity, Long>;
export type BackgroundActivities = Pick<EveryActivity, Long | "sweepArchive">;
export type { ArchiveChunk } from "../batch-layer/archive/archive-plan.ts";
export type { BackfillResult } from "../batch-layer/recompute/backfill-finish.ts";
export type { Delivered } from "../batch-layer/report/deliver.ts";
export type { ComparisonJson } from "../core/log/documents.ts";
export type { ViewProof } from "./proof-activities.ts";
export type { RebuildResultJson } from "./rebuild-activities.ts";
export type { ReportWritten } from "./report-activities.ts";
export type { NamedFailure, NamedSettled, SettlementPlan } from "./settle-activities.ts";
