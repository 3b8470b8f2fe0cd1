import { type CutJson, cutToJson } from "../../../core/log/position.ts";
import type { ViewStatus } from "./view-status.ts";

/** Where a view stands, as the API and the commands show it. */
export interface ShownStatus {
  /** Null while nothing is published, or what is published cannot be read; so are the others. */
  readonly version: number | null;
  readonly cut: CutJson | null;
  readonly applied: CutJson | null;
  readonly freshnessMs: number | null;
  readonly complete: boolean;
}

const NOT_READY: ShownStatus = { version: null, cut: null, applied: null, freshnessMs: null, complete: false };

export function shownStatus(status: ViewStatus | null): ShownStatus {
  if (status === null) return NOT_READY;
  return {
    version: status.manifest.version,
    cut: cutToJson(status.cut),
    applied: cutToJson(status.applied),
    freshnessMs: status.freshnessMs,
    complete: status.missing === null,
  };
}
