import { shownAlert } from "../../core/alerts/alert-states.ts";
import { TidelineError } from "../../core/errors.ts";
import type { Config } from "../setup/config.ts";
import { printableLines } from "../terminal/printable.ts";
import { interruptible } from "../terminal/progress.ts";
import { withAlerts } from "./feed.ts";
import { lineOf } from "./list.ts";

const WAIT_MS = 250;

/** `tideline alerts watch`: prints alerts from now on. Throws NOT_READY if no rule was ever run. */
export async function watchAlerts(
  config: Config,
  { rule, count = Number.POSITIVE_INFINITY, json }: { rule?: string; count?: number; json: boolean },
): Promise<void> {
  await withAlerts(config, async (feed) => {
    if (feed === null)
      throw new TidelineError(
        "NOT_READY",
        "there are no alerts: no rule has run yet",
        "Write a rule (docs/your-own-data.md), and start `tideline up`, or `tideline init` and `tideline speed`.",
      );
    let left = count;
    await interruptible(async (stop) => {
      while (!stop.aborted && left > 0) {
        for (const alert of await feed.next(WAIT_MS)) {
          if (left === 0 || (rule !== undefined && alert.opened.rule !== rule)) continue;
          const shown = shownAlert(feed.states, alert, Date.now());
          process.stdout.write(`${json ? printableLines(JSON.stringify(shown)) : lineOf(shown)}\n`);
          left -= 1;
        }
      }
    });
  });
}
