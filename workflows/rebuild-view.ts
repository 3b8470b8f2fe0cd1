import { CancellationScope, defineQuery, proxyActivities, setCurrentDetails, setHandler } from "@temporalio/workflow";
import type { Activities, RebuildResultJson } from "../activities/activities.ts";
import { inParallel } from "./shared/parallel.ts";
import { inBackground, label, runStartedMs, STEP, secondsSince } from "./shared/run.ts";

export interface RebuildViewInput {
  readonly view: string;
}

export interface RebuildViewResult extends RebuildResultJson {
  readonly seconds: number;
}

export interface RebuildProgress {
  readonly done: number;
  /** 0 until the archive is divided into parts. */
  readonly parts: number;
}

export const rebuildProgress = defineQuery<RebuildProgress>("rebuildProgress");

const PARTS_AT_ONCE = 2;
const { finishPublish } = proxyActivities<Activities>(STEP);

/**
 * Rebuilds a view from the whole archive and publishes the result. Returns whether it equals what the refreshes have
 * added up.
 */
export async function rebuildView({ view }: RebuildViewInput): Promise<RebuildViewResult> {
  label({ kind: "rebuild", view });
  let progress: RebuildProgress = { done: 0, parts: 0 };
  setHandler(rebuildProgress, () => progress);
  const activities = inBackground();
  let generation = view;
  try {
    const plan = await activities.planRebuild.executeWithOptions({ summary: "hash of the newest version" }, [{ view }]);
    const { pinned, parts } = plan;
    generation = plan.generation;
    progress = { done: 0, parts: parts.length };
    const built = await inParallel(PARTS_AT_ONCE, parts, async (part, index) => {
      const summary = `states of part ${index + 1} of ${parts.length}`;
      const made = await activities.rebuildPart.executeWithOptions({ summary }, [
        { view: generation, topicId: pinned.topicId, part },
      ]);
      progress = { ...progress, done: progress.done + 1 };
      setCurrentDetails(`${progress.done} of ${progress.parts} parts`);
      return made;
    });
    const result = await activities.finishRebuild.executeWithOptions({ summary: "merge, comparison, publication" }, [
      { view: generation, pinned, parts: built },
    ]);
    const seconds = secondsSince(runStartedMs());
    const damaged = result.comparedHash === null ? ", which was damaged" : "";
    const verdict = result.equal ? "equal to" : "NOT EQUAL to";
    await finishPublish.executeWithOptions({ summary: `pointer to version ${result.version}` }, [
      { view: generation, version: result.version, seconds },
    ]);
    setCurrentDetails(
      `version ${result.version}: ${result.rows} states in ${seconds} s, ` +
        `${verdict} those of version ${result.compared}${damaged}`,
    );
    return { ...result, seconds };
  } finally {
    await CancellationScope.nonCancellable(() =>
      activities.clearRebuilds.executeWithOptions({ summary: "files of the parts" }, [{ view: generation }]),
    );
  }
}
