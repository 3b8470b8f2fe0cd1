import { CancellationScope, proxyActivities, setCurrentDetails, sleep } from "@temporalio/workflow";
import type { Activities, ComparisonJson } from "../activities/activities.ts";
import { settleStream } from "./settle-stream.ts";
import { inParallel } from "./shared/parallel.ts";
import { inBackground, label, STEP } from "./shared/run.ts";
import { startOrJoin } from "./shared/start-or-join.ts";

/** The input of an adoption, also from Temporal's UI: `{ "view": "revenue" }`, under the id `adopt/revenue`. */
export interface AdoptViewInput {
  readonly view: string;
}

export interface AdoptViewResult {
  /** The served generation when the run ends; null if there was nothing to adopt. */
  readonly served: string | null;
  readonly moved: boolean;
  readonly comparison: ComparisonJson | null;
}

const PARTS_AT_ONCE = 2;
/** If the speed layer does not catch up within this many tries, the next scheduled run looks again. */
const TRIES = 60;
const activities = proxyActivities<Activities>(STEP);

/**
 * Brings a changed view into service. Its new generation is built from the archive beside the served one, and follows
 * the log until it is as fresh. Both are compared at one cut. Then one record makes the new generation the served one.
 * If the served generation is frozen (another release computed it), it does not grow and is not compared: the next one
 * replaces it once it has reached its cut.
 */
export async function adoptView({ view }: AdoptViewInput): Promise<AdoptViewResult> {
  label({ kind: "adopt", view });
  const adoption = await activities.planAdoption.executeWithOptions({ summary: "what the view's file says" }, [
    { view },
  ]);
  if (adoption === null) return { served: null, moved: false, comparison: null };
  const { namespace, served, next, stream, held, frozen = false } = adoption;
  label({ stream });
  await build(next);
  const settle = (views: readonly string[]) =>
    startOrJoin({ workflow: settleStream, namespace, kind: "settle", target: stream, input: { stream, views } });
  let comparison: ComparisonJson | null = null;
  let caughtUp = false;
  for (let attempt = 1; attempt <= TRIES && !caughtUp; attempt++) {
    setCurrentDetails(`${next}: catching up with ${served}, attempt ${attempt}`);
    // The next generation is settled first. They are compared at the cut of the served one, and the next one must not
    // be beyond that cut.
    await settle(frozen ? [next] : [next, view]);
    const ready = await activities.hasCaughtUp.executeWithOptions({ summary: "is it as fresh?" }, [{ served, next }]);
    if (ready && !frozen)
      comparison = await inBackground().compareGenerations.executeWithOptions({ summary: `against ${served}` }, [
        { served, next },
      ]);
    caughtUp = frozen ? ready : comparison !== null;
    if (!caughtUp) await sleep("1 second");
  }
  const moved =
    caughtUp &&
    !held &&
    (await activities.moveView.executeWithOptions({ summary: `serves ${next}` }, [{ view, served, next }]));
  const why = !caughtUp ? "has not caught up yet" : held ? "is ready; the view was moved back by hand" : "is served";
  const compared = frozen ? `${served} is frozen, and not compared` : comparison === null ? "" : shown(comparison);
  setCurrentDetails(`${next} ${moved ? "is served" : why}. ${compared}`);
  return { served: moved ? next : served, moved, comparison };
}

/** Builds version 1 from the archive, unless it exists. */
async function build(generation: string): Promise<void> {
  const plan = await activities.planFirstVersion.executeWithOptions({ summary: "the archive in parts" }, [
    { generation },
  ]);
  if (plan === null) return;
  const { topicId, parts } = plan;
  const background = inBackground();
  let done = 0;
  try {
    const built = await inParallel(PARTS_AT_ONCE, parts, async (part, index) => {
      const summary = `states of part ${index + 1} of ${parts.length}`;
      const made = await background.rebuildPart.executeWithOptions({ summary }, [{ view: generation, topicId, part }]);
      done += 1;
      setCurrentDetails(`${generation}: ${done} of ${parts.length} parts of the archive`);
      return made;
    });
    const input = { generation, first: plan, parts: built };
    if (await background.publishFirstVersion.executeWithOptions({ summary: "version 1" }, [input]))
      await activities.finishPublish.executeWithOptions({ summary: "pointer to version 1" }, [
        { view: generation, version: 1, seconds: 0 },
      ]);
  } finally {
    await CancellationScope.nonCancellable(() =>
      background.clearRebuilds.executeWithOptions({ summary: "files of the parts" }, [{ view: generation }]),
    );
  }
}

function shown({ groups, measures }: ComparisonJson): string {
  const different = measures.filter((one) => one.different > 0).map(({ measure }) => measure);
  const state = different.length === 0 ? "every shared measure is the same" : `different: ${different.join(", ")}`;
  return `${groups.both} groups in both, ${groups.servedOnly} only before, ${groups.nextOnly} only now; ${state}`;
}
