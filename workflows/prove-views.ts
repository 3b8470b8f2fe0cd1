import { isCancellation, proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { Activities, ViewProof } from "../activities/activities.ts";
import { inBackground, label, STEP } from "./shared/run.ts";

export interface ProveViewsInput {
  /** The views to prove; absent: every served view. */
  readonly views?: readonly string[];
  /** How many buckets of each view are proven, chosen at random. */
  readonly sample?: number;
}

export interface ProveViewsResult {
  /** Views whose answers equal the log. */
  readonly proven: readonly string[];
  /** Views whose answers differ from the log, or that could not be proven. */
  readonly others: readonly ViewProof[];
}

const SAMPLE = 24;
const { listProvable } = proxyActivities<Activities>(STEP);

/**
 * Compares answers of every view with the raw log, in some buckets of each view. Proves one view after the other,
 * because the API runs one proof at a time.
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

/** Returns the proof of a view. A failure is part of the result, so that it does not stop the other proofs. */
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
