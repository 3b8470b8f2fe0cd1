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

/**
 * Every activity. Each can run twice, at the same time, and be killed anywhere (invariant 13): what makes that so lies
 * in batch-layer/.
 */
export function createActivities(deps: ActivityDeps) {
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

export type Activities = ReturnType<typeof createActivities>;
export type { ArchiveChunk } from "../batch-layer/archive/archive-plan.ts";
export type { BackfillResult } from "../batch-layer/recompute/backfill-finish.ts";
export type { RebuildResult } from "../batch-layer/recompute/rebuild.ts";
export type { Delivered } from "../batch-layer/report/deliver.ts";
export type { Comparison } from "../core/log/documents.ts";
export type { ViewProof } from "./proof-activities.ts";
export type { ReportWritten } from "./report-activities.ts";
export type { NamedFailure, NamedSettled, SettlementPlan } from "./settle-activities.ts";
