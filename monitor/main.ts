import type { Logger } from "pino";
import { OWN_RULE } from "../core/contract/alerts.ts";
import { type Delivery, delivery, mail as mailTo, withEscalation } from "../core/definition/delivery.ts";
import { PACE } from "../deliveries/attempts.ts";
import { type JournalVersion, OwnAlertJournal } from "../store/alerts/own-alert-journal.ts";
import { DataDirectory } from "../store/files/files.ts";
import { pause } from "../store/pause.ts";
import { monitorMetrics } from "./metrics.ts";
import type { MonitorOptions, MonitorPace } from "./options.ts";
import { Watcher } from "./watcher.ts";

const MONITOR_PACE: MonitorPace = {
  everyMs: 5_000,
  takeOverMs: 25_000,
  patienceMs: 10_000,
  againMs: 30_000,
  // Twice the time after which positions are written.
  positionsMs: 10_000,
  delivery: PACE,
};

export interface RunningMonitor {
  /** Stops the monitor. Another process that runs a monitor continues at once. */
  close(): Promise<void>;
}

/**
 * The name of the delivery to TIDELINE_ALERTS_TO. A system's deliveries cannot have this name, because theirs have no
 * dot.
 */
const MAIL_DELIVERY = "tideline.mail";

/**
 * Watches the installation and sends Tideline's own alerts. Each role runs a monitor. One of them watches, and the
 * others wait until it ends or stops beating.
 */
export function startMonitor(options: MonitorOptions): RunningMonitor {
  const { registry, logger, pace = MONITOR_PACE } = options;
  const stopping = new AbortController();
  const journal = new OwnAlertJournal(new DataDirectory(options.dataDir));
  let watcher: Watcher | null = null;
  const metrics = monitorMetrics(
    registry,
    () => watcher !== null,
    () => watcher?.openBySeverity() ?? new Map(),
  );
  const watch = async () => {
    const number = await turn(journal, pace, stopping.signal);
    if (number === null) return;
    watcher = await Watcher.begin({ ...options, pace, journal, metrics, deliveries: deliveriesOf(options) }, number);
    if (watcher === null) return;
    logger.info("this process watches the installation");
    try {
      await watcher.run(stopping.signal);
    } finally {
      await watcher.close();
      watcher = null;
    }
    if (!stopping.signal.aborted) logger.info("another process watches the installation");
  };
  const running = repeated(watch, { pace, signal: stopping.signal, logger });
  return {
    close: async () => {
      stopping.abort();
      await running;
    },
  };
}

/** Returns the system's deliveries with their escalations, and the one to TIDELINE_ALERTS_TO. */
function deliveriesOf({ definitions, alertsTo }: MonitorOptions): Delivery[] {
  const own = { to: mailTo({ to: alertsTo }), rules: [OWN_RULE] };
  const defined = [...(definitions.deliveries?.values() ?? [])].flatMap(withEscalation);
  return [...defined, ...(alertsTo === "" ? [] : [delivery(MAIL_DELIVERY, own)])];
}

/**
 * Waits until it is this process's turn to watch: no process watches, or the one that did has stopped beating. Returns
 * the number of the journal's newest version then. Returns null when the signal is aborted.
 */
async function turn(journal: OwnAlertJournal, pace: MonitorPace, signal: AbortSignal): Promise<number | null> {
  let known: JournalVersion = { number: -1, beatAtMs: -1 };
  // The monotonic clock, because another machine's file system may have other times.
  let aliveAtMs = performance.now();
  while (!signal.aborted) {
    const newest = await journal.newest();
    if (known.number !== newest.number) {
      const { number, journal: found } = await journal.read();
      if (found.holder === null) return number;
    }
    if (known.number !== newest.number || known.beatAtMs !== newest.beatAtMs) {
      known = newest;
      aliveAtMs = performance.now();
    }
    if (performance.now() - aliveAtMs >= pace.takeOverMs) return newest.number;
    await pause(pace.everyMs, { signal, ref: false });
  }
  return null;
}

/** Repeats `work`. Logs its errors: a monitor never ends its role. */
async function repeated(
  work: () => Promise<void>,
  { pace, signal, logger }: { readonly pace: MonitorPace; readonly signal: AbortSignal; readonly logger: Logger },
): Promise<void> {
  while (!signal.aborted) {
    try {
      await work();
    } catch (error) {
      if (signal.aborted) return;
      logger.error({ error: (error as Error).message }, "the monitor is interrupted");
      await pause(pace.everyMs, { signal, ref: false });
    }
  }
}
