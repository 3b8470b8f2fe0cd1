import { once } from "node:events";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { endChild, type Installation } from "../setup/installation.ts";
import type { LoadMessage, LoadOptions } from "./load.ts";

export interface RunningLoad {
  /** How many events Kafka had acknowledged when it was last heard of. */
  readonly sent: number;
  stop(): Promise<void>;
}

/** Starts load.ts with orders; resolves when they begin to flow. */
export async function startLoad(
  installation: Installation,
  { eventsPerSecond, seed }: Pick<LoadOptions, "eventsPerSecond" | "seed">,
): Promise<RunningLoad> {
  const { name: topic, partitions } = orderCompleted;
  const options: LoadOptions = { brokers: installation.brokers, topic, partitions, eventsPerSecond, seed };
  const child = installation.fork("../load/load.ts", options);
  await once(child, "message");
  let sent = 0;
  child.on("message", (message: LoadMessage) => {
    if ("sent" in message) sent = message.sent;
  });
  return {
    get sent() {
      return sent;
    },
    stop: () => endChild(child),
  };
}
