import { proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { Activities } from "../activities/activities.ts";
import type { CutJson } from "../core/log/position.ts";
import { archiveTo } from "./archive-to.ts";
import { label, runStartedMs, STEP, secondsSince } from "./shared/run.ts";

/** What a refresh is started with, from Temporal's UI too: `{ "view": "revenue" }`, under the id `refresh/revenue`. */
export interface RefreshViewInput {
  readonly view: string;
}

export interface RefreshViewResult {
  /** The newest version that this run knows of, and its cut. */
  readonly version: number;
  readonly cut: CutJson;
  /** Whether this run published it. */
  readonly published: boolean;
  readonly records: number;
  readonly seconds: number;
}

const { beginRefresh, sealCut, writeDelta, publishDelta, finishPublish, compact } = proxyActivities<Activities>(STEP);

/** The protocol's batch refresh: each step an activity that may be repeated, run twice at once, or be the last. */
export async function refreshView({ view }: RefreshViewInput): Promise<RefreshViewResult> {
  label({ kind: "refresh", view });
  const base = await beginRefresh.executeWithOptions({ summary: "newest version" }, [{ view }]);
  label({ stream: base.stream });
  const result = { version: base.version, cut: base.cut, published: false, records: 0 };
  if (base.frozen)
    return tell({ ...result, seconds: secondsSince(runStartedMs()) }, "frozen: another release computed it");
  const sealed = await sealCut.executeWithOptions({ summary: `cut of version ${base.version + 1}` }, [base]);
  if (sealed === null) return tell({ ...result, seconds: secondsSince(runStartedMs()) }, "nothing new");
  await archiveTo(base.stream, base.namespace, sealed.cut);
  const delta = await writeDelta.executeWithOptions({ summary: `states up to the cut that the ${sealed.by} gave` }, [
    { base, to: sealed.cut },
  ]);
  const version = base.version + 1;
  if (!(await publishDelta.executeWithOptions({ summary: `version ${version}` }, [{ base, delta }]))) {
    return tell({ ...result, seconds: secondsSince(runStartedMs()) }, "another writer was first");
  }
  const seconds = secondsSince(runStartedMs());
  await finishPublish.executeWithOptions({ summary: "pointer, segments and files of old versions" }, [
    { view: base.generation, version, seconds },
  ]);
  const folded = await compact.executeWithOptions({ summary: "folds small files when there are many" }, [
    { view: base.generation },
  ]);
  if (folded !== null)
    await finishPublish.executeWithOptions({ summary: `pointer to version ${folded.version}` }, [
      { view: base.generation, version: folded.version, seconds },
    ]);
  const ledger = delta.compared ? "ledger equal to the speed layer's" : "no speed ledger to compare with";
  const how = folded === null ? ledger : `${ledger}; ${folded.folded} files folded as version ${folded.version}`;
  return tell(
    { version: folded?.version ?? version, cut: sealed.cut, published: true, records: delta.ledger.records, seconds },
    how,
  );
}

function tell(result: RefreshViewResult, how: string): RefreshViewResult {
  const cut = Object.entries(result.cut)
    .map(([partition, position]) => `${partition}:${position}`)
    .join(" ");
  setCurrentDetails(`version ${result.version} at ${cut}: ${result.records} records in ${result.seconds} s; ${how}`);
  return result;
}
