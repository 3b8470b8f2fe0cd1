import { setTimeout as delay } from "node:timers/promises";
import { position } from "../core/log/position.ts";
import { AlertLog, type AlertLogDeps, type FoundAlert } from "./alert-log.ts";
import { type HandOverDeps, handOver } from "./hand-over.ts";

interface DeliverEachDeps extends AlertLogDeps, HandOverDeps {
  /** Resolves when `states` has read all events that a partition of the alerts has at the time of the call. */
  readonly caughtUp: (partition: number, signal: AbortSignal) => Promise<void>;
}

const WAIT_MS = 500;

/**
 * Runs one delivery on some partitions of the alerts. For each alert: hands it over, then writes the position, and the
 * dead letter if there is one, in one transaction. A process that is killed in between hands the alert over again, with
 * the same id. Works until `signal` is aborted. Throws errors of Kafka and DuckDB; the caller begins again at the
 * stored positions.
 */
export async function deliverEach(
  deps: DeliverEachDeps,
  partitions: readonly number[],
  signal: AbortSignal,
): Promise<void> {
  await AlertLog.use(deps, partitions, signal, async (log) => {
    while (!signal.aborted) {
      const batch = await log.fetch(log.positions, WAIT_MS);
      for (const alert of await log.alertsIn(batch)) {
        const { partition, offset } = alert;
        log.pass(partition, position(offset));
        await log.flush(deps.nowMs());
        await isTime(deps, alert, signal);
        const letters = await handOver(deps, [alert], ([one]) => one, signal);
        await log.commit(new Map([[partition, position(offset + 1n)]]), letters);
      }
      for (const { partition, to } of batch) log.pass(partition, to);
      await log.flush(deps.nowMs());
    }
  });
}

/**
 * Waits until an alert may be handed over. An escalation waits for its delay, and then until all acknowledgements up to
 * now are known.
 */
async function isTime(
  { delivery, caughtUp, nowMs }: DeliverEachDeps,
  { partition, writtenAtMs }: FoundAlert,
  signal: AbortSignal,
): Promise<void> {
  if (delivery.delayMs === 0) return;
  const restMs = writtenAtMs + delivery.delayMs - nowMs();
  if (restMs > 0) await delay(restMs, undefined, { signal });
  await caughtUp(partition, signal);
}
