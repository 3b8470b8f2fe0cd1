import { proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { Activities } from "../activities/activities.ts";
import { label, STEP } from "./shared/run.ts";

const activities = proxyActivities<Activities>(STEP);

/** Lets go of generations that nobody needs any more, and deletes what was let go some time ago. Needs no input. */
export async function retireGenerations(): Promise<{ retired: string[]; deleted: string[] }> {
  label({ kind: "retire" });
  const done = await activities.retireGenerations.executeWithOptions({ summary: "old generations" }, []);
  setCurrentDetails(`let go: ${done.retired.join(", ") || "none"}; deleted: ${done.deleted.join(", ") || "none"}`);
  return done;
}
