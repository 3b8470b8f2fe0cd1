import { proxyActivities, setCurrentDetails } from "@temporalio/workflow";
import type { Activities } from "../activities/activities.ts";
import { label, STEP } from "./shared/run.ts";

const activities = proxyActivities<Activities>(STEP);

/** Retires generations that are no longer needed, and deletes those that were retired some time ago. Has no input. */
export async function retireGenerations(): Promise<{ retired: string[]; deleted: string[] }> {
  label({ kind: "retire" });
  const done = await activities.retireGenerations.executeWithOptions({ summary: "old generations" }, []);
  setCurrentDetails(`retired: ${done.retired.join(", ") || "none"}; deleted: ${done.deleted.join(", ") || "none"}`);
  return done;
}
