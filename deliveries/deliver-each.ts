import { setTimeout as delay } from "node:timers/promises";
import { position } from "../core/log/position.ts";
import { AlertLog, type AlertLogDeps, type FoundAlert } from "./alert-log.ts";
import { type HandOverDeps, handOver } from "./hand-over.ts";

interface DeliverEachDeps extends AlertLogDeps, HandOverDeps {
  /** Resolves when `states` has what the log has now of a partition of the alerts. */
  readonly caughtUp: (partition: number, signal: AbortSignal) => Promise<void>;
}

const WAIT_MS = 500;

/**
 * One delivery on some partitions of the alerts. An alert is handed over, and then how far the delivery is, with the
 * dead letter if there is one, is written in one transaction. A process that is killed in between hands the alert over
 * again, with the same id. Works until `signal` is aborted; throws what fails in Kafka or DuckDB: begin again from what
 * is stored then.
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

/** Resolves when an alert may be handed over: an escalation waits, and then has to know who has acknowledged what. */
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
