/** Every workflow, for the worker's bundle. */
export { adoptView } from "./adopt-view.ts";
export { archiveStream } from "./archive-stream.ts";
export { backfillView } from "./backfill-view.ts";
export { compactArchive } from "./compact-archive.ts";
export { compactViews } from "./compact-views.ts";
export { dailyReport } from "./daily-report.ts";
export { deliverReport } from "./deliver-report.ts";
export { guardRetention } from "./guard-retention.ts";
export { proveViews } from "./prove-views.ts";
export { rebuildView } from "./rebuild-view.ts";
export { retireGenerations } from "./retire-generations.ts";
export { scheduledRun } from "./scheduled-run.ts";
export { settleStream } from "./settle-stream.ts";
