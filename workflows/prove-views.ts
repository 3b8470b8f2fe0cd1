import { isCancellation, proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { Activities, ViewProof } from "../activities/activities.ts";
import { inBackground, label, STEP } from "./shared/run.ts";

export interface ProveViewsInput {
  /** Which views; absent: every one that is answered. */
  readonly views?: readonly string[];
  /** At how many times each is proven, chosen at random. */
  readonly sample?: number;
}

export interface ProveViewsResult {
  /** Views whose answers are what the log says. */
  readonly proven: readonly string[];
  /** Those that are not, or that could not be proven. */
  readonly others: readonly ViewProof[];
}

const SAMPLE = 24;
const { listProvable } = proxyActivities<Activities>(STEP);

/**
 * Compares answers of every view with the raw log, at some times of each, one view after the other: the API proves one
 * at a time.
 */
export async function proveViews({ views, sample = SAMPLE }: ProveViewsInput = {}): Promise<ProveViewsResult> {
  label({ kind: "prove" });
  const wanted = views ?? (await listProvable.executeWithOptions({ summary: "every view" }, []));
  const proven: string[] = [];
  const others: ViewProof[] = [];
  for (const view of wanted) {
    const found = await proof(view, sample);
    if (found.equal === true) proven.push(view);
    else others.push(found);
    setCurrentDetails(
      `${proven.length} of ${wanted.length} views are what the log says; ${others.map(told).join("; ")}`,
    );
  }
  return { proven, others };
}

/** A view that fails is told, and does not keep the others from being proven. */
async function proof(view: string, sample: number): Promise<ViewProof> {
  try {
    return await inBackground().proveView.executeWithOptions({ summary: `${view} against the raw log` }, [
      { view, sample },
    ]);
  } catch (error) {
    if (isCancellation(error)) throw error;
    const { cause, message } = error as Error;
    const problem = cause instanceof Error ? cause.message : message;
    return { view, equal: null, rows: 0, mismatches: 0, fields: [], problem };
  }
}

function told({ view, equal, mismatches, fields, problem }: ViewProof): string {
  return equal === null ? `${view}: ${problem}` : `${view} DIFFERS: ${mismatches} times, in ${fields.join(", ")}`;
}
