import { retentionText } from "../core/log/retention.ts";
import { retentionOf } from "../store/archive/retention.ts";
import { attempt } from "./attempt.ts";
import { type ActivityDeps, streamTarget } from "./deps.ts";

export interface RetentionState {
  /** The installation's namespace. */
  readonly namespace: string;
  /** Null: Kafka will delete nothing that is still needed. */
  readonly secondsLeft: number | null;
  /** Whether less time is left than `retentionWarnHours`. */
  readonly close: boolean;
  readonly message: string;
}

export function retentionActivities(deps: ActivityDeps) {
  const { stores, brokers, namespace, definitions, metrics, logger, retentionWarnHours } = deps;
  return {
    /** Finds out when Kafka will delete records of a stream that are still needed. */
    checkRetention: ({ stream }: { stream: string }): Promise<RetentionState> =>
      attempt(deps, async () => {
        const { topic } = streamTarget(deps, stream);
        const views = await deps.generations.reading(stream, definitions);
        const { risk } = await retentionOf({ brokers, ...stores }, topic, views);
        metrics.retentionSecondsLeft.set({ stream }, risk?.secondsLeft ?? Number.POSITIVE_INFINITY);
        if (risk === null)
          return {
            namespace,
            secondsLeft: null,
            close: false,
            message: "Kafka will delete nothing that is still needed",
          };
        const { secondsLeft, partition, needed } = risk;
        const close = secondsLeft < retentionWarnHours * 3_600;
        const message = `${retentionText(risk)} (partition ${partition}, from ${needed})`;
        if (close) logger.warn({ stream, partition, needed: String(needed), secondsLeft }, message);
        return { namespace, secondsLeft, close, message };
      }),
  };
}
