import { setTimeout as delay } from "node:timers/promises";
import { Client, Connection, ScheduleOverlapPolicy } from "@temporalio/client";
import type { Logger } from "pino";
import type { FailureTracker } from "../../store/redis/failure-tracker.ts";
import type { SettleRequests } from "../../store/redis/settle-requests.ts";

const LOOK_EVERY_MS = 1_000;

export interface SettlePlace {
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  readonly requests: SettleRequests;
  /** The id of the schedule that refreshes this view. */
  readonly scheduleOf: (view: string) => string;
  readonly failures: Pick<FailureTracker, "watch">;
  readonly logger: Logger;
}

const ON_DEMAND = { kind: "schedule", name: "refreshes on demand", views: [] } as const;

/**
 * Has views refreshed that the speed layer wants published now, because their live cells grow towards the limit: triggers their schedule. A run that
 * is under way is joined; the view is asked for again while it still grows. Returns what ends that.
 */
export function followSettleRequests(place: SettlePlace, everyMs = LOOK_EVERY_MS): () => void {
  const ending = new AbortController();
  const follow = async () => {
    for (;;) {
      await delay(everyMs, undefined, { signal: ending.signal, ref: false });
      // Redis or Temporal may be away: whoever wants a view published asks again.
      await place.failures
        .watch(ON_DEMAND, () => trigger(place))
        .catch((error: unknown) =>
          place.logger.warn(
            { error: (error as Error).message },
            "cannot start a refresh that the speed layer asked for",
          ),
        );
    }
  };
  follow().catch(() => {}); // ended
  return () => ending.abort();
}

async function trigger({ temporalAddress, temporalNamespace: namespace, requests, scheduleOf, logger }: SettlePlace) {
  const views = await requests.take();
  if (views.length === 0) return;
  const connection = await Connection.connect({ address: temporalAddress });
  try {
    const { schedule } = new Client({ connection, namespace });
    for (const view of views) {
      try {
        await schedule.getHandle(scheduleOf(view)).trigger(ScheduleOverlapPolicy.SKIP);
        logger.info({ view }, "refresh started: its live cells grow towards the limit");
      } catch (error) {
        logger.warn({ view, error: (error as Error).message }, "cannot start a refresh that the speed layer asked for");
      }
    }
  } finally {
    await connection.close();
  }
}
