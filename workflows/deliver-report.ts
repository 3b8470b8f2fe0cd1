import { condition, defineSignal, proxyActivities, setCurrentDetails, setHandler } from "@temporalio/workflow";
import type { Activities, Delivered } from "../activities/activities.ts";
import { label, STEP } from "./shared/run.ts";

export interface DeliverReportInput {
  readonly date: string;
  /** The time of delivery, epoch milliseconds; absent: at once. */
  readonly atMs?: number;
}

/** Ends the wait for the time of delivery. */
export const deliverNow = defineSignal("deliverNow");

/** Tries for a day: a mail server that is down in the morning is likely to be up by noon. */
const { mailReport } = proxyActivities<Activities>({
  ...STEP,
  retry: { initialInterval: "5 seconds", maximumInterval: "5 minutes" },
  scheduleToCloseTimeout: "1 day",
});

/**
 * Mails the newest edition of a day's report at the time of delivery. Only one run a day does this, so that no edition
 * is mailed twice.
 */
export async function deliverReport({ date, atMs = 0 }: DeliverReportInput): Promise<Delivered> {
  label({ kind: "delivery" });
  let told = false;
  setHandler(deliverNow, () => {
    told = true;
  });
  const waitMs = atMs - Date.now();
  if (waitMs > 0) {
    setCurrentDetails(`waits until ${new Date(atMs).toISOString()}; the signal deliverNow ends that`);
    await condition(() => told, waitMs);
  }
  const delivered = await mailReport.executeWithOptions({ summary: `report of ${date}` }, [{ date }]);
  setCurrentDetails(delivered.how);
  return delivered;
}
