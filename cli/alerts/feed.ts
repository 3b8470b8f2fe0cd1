import type { Alert } from "../../core/alerts/alert-states.ts";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { AlertFeed } from "../../store/alerts/alert-feed.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { Config } from "../setup/config.ts";

/** Runs `work` on the alerts that are now in the log; null if no rule was ever run. */
export async function withAlerts<T>(
  { kafkaBrokers, namespace }: Config,
  work: (feed: AlertFeed | null) => Promise<T>,
): Promise<T> {
  const log = new LogReader({ brokers: kafkaBrokers, clientId: "tideline-alerts" });
  try {
    const feed = await AlertFeed.open(log, namespace).catch((error: unknown) => {
      if (isTidelineError(error, "TOPIC_MISSING")) return null;
      throw error;
    });
    return await work(feed);
  } finally {
    await log.close();
  }
}

/** Returns the alert with this id. Throws ALERT_UNKNOWN. */
export function alertNamed(feed: AlertFeed | null, id: string): Alert {
  const found = feed?.states.get(id);
  if (found !== undefined) return found;
  throw new TidelineError(
    "ALERT_UNKNOWN",
    `there is no alert "${id}"`,
    "`tideline alerts list` shows the newest ones.",
  );
}
