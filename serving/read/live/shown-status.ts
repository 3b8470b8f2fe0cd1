import { type CutJson, cutToJson } from "../../../core/log/position.ts";
import type { ViewStatus } from "./view-status.ts";

/** The position and state of a view, in the form of the API and the commands. */
export interface ShownStatus {
  /** Null while nothing is published, or if the newest version cannot be read. The other fields are null then too. */
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
