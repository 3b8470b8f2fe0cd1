/** Every workflow, for the worker's bundle. */
export { archiveStream } from "./archive-stream.ts";
export { rebuildView } from "./rebuild-view.ts";
export { refreshView } from "./refresh-view.ts";
export { scheduledRun } from "./scheduled-run.ts";
