import { groupsOf } from "../core/alerts/alert-groups.ts";
import type { GroupSeal } from "../core/alerts/group-seal.ts";
import type { Delivery } from "../core/definition/delivery.ts";
import type { Cut, Position } from "../core/log/position.ts";
import { AlertLog, type AlertLogDeps, type FoundAlert } from "./alert-log.ts";
import { type HandOverDeps, handOver } from "./hand-over.ts";

type DeliverGroupsDeps = AlertLogDeps & HandOverDeps;

const WAIT_MS = 500;
/** A period with this many alerts ends at once. */
const MOST_ALERTS = 1_000;

/**
 * Runs a delivery that groups alerts, on all partitions. A period begins with an alert and lasts `withinMs`. When it is
 * over, a seal stores the positions up to which it reaches. Then its groups are handed over one after the other, and
 * each is noted in the seal. A process that begins again finds the seal, reads the same alerts, and sends the groups
 * that are not noted, with the same ids. Works until `signal` is aborted. Throws errors of Kafka and DuckDB; the caller
 * begins again at the stored positions.
 */
export async function deliverGroups(
  deps: DeliverGroupsDeps,
  partitions: readonly number[],
  group: NonNullable<Delivery["group"]>,
  signal: AbortSignal,
): Promise<void> {
  await AlertLog.use(deps, partitions, signal, async (log) => {
    const begun = await log.seal(signal);
    if (begun !== null) await send(deps, log, { by: group.by, seal: begun, alerts: null }, signal);
    while (!signal.aborted) {
      const period = await gather(deps, log, group.withinMs, signal);
      if (period === null) return;
      const seal = log.sealOf(period.to, []);
      await log.commit(new Map(), [], seal);
      await send(deps, log, { by: group.by, seal, alerts: period.alerts }, signal);
    }
  });
}

interface Period {
  readonly to: Cut;
  readonly alerts: readonly FoundAlert[];
}

/** Returns the alerts of the next period when it is over. Returns null if the signal is aborted before. */
async function gather(
  { nowMs }: DeliverGroupsDeps,
  log: AlertLog,
  withinMs: number,
  signal: AbortSignal,
): Promise<Period | null> {
  const alerts: FoundAlert[] = [];
  const to = new Map<number, Position>(log.positions);
  let endsAtMs = Number.POSITIVE_INFINITY;
  while (!signal.aborted) {
    const restMs = endsAtMs - nowMs();
    if (restMs <= 0 || alerts.length >= MOST_ALERTS) return { to, alerts };
    const batch = await log.fetch(to, Math.min(WAIT_MS, Math.max(1, Math.ceil(restMs))));
    for (const alert of await log.alertsIn(batch)) {
      alerts.push(alert);
      endsAtMs = Math.min(endsAtMs, alert.writtenAtMs + withinMs);
    }
    for (const { partition, to: next } of batch) {
      to.set(partition, next);
      // Records without alerts for this delivery need not be read again.
      if (alerts.length === 0) log.pass(partition, next);
    }
    await log.flush(nowMs());
  }
  return null;
}

/** Hands over the groups of a sealed period, and moves the positions to its end. `alerts`: null reads them again. */
async function send(
  deps: DeliverGroupsDeps,
  log: AlertLog,
  period: {
    readonly by: "rule" | "severity";
    readonly seal: GroupSeal;
    readonly alerts: readonly FoundAlert[] | null;
  },
  signal: AbortSignal,
): Promise<void> {
  const { by, seal } = period;
  const alerts = period.alerts ?? (await log.alertsUpTo(seal.to, signal));
  const done = [...seal.done];
  for (const { id, value, members } of groupsOf(alerts, by)) {
    if (done.includes(id)) continue;
    const letters = await handOver(deps, members, (open) => ({ id, by, value, alerts: open }), signal);
    done.push(id);
    await log.commit(new Map(), letters, log.sealOf(seal.to, done));
  }
  await log.commit(seal.to, [], null);
}
