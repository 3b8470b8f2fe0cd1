import { setTimeout as delay } from "node:timers/promises";
import { BatchSender, prepareOrders } from "../setup/prepared-batches.ts";

/**
 * A program: sends orders at an even rate until its parent ends it. Everything is encoded before the first one leaves.
 */
export interface LoadOptions {
  readonly brokers: string;
  readonly topic: string;
  readonly partitions: number;
  readonly eventsPerSecond: number;
  readonly seed: number;
}

/** Messages to the parent: one when it is ready, then every second the total of events that Kafka has acknowledged. */
export type LoadMessage = { readonly ready: true } | { readonly sent: number };

/** A batch every so often, or less often when that would be less than one event. */
const TICK_MS = 10;
/**
 * The events repeat after this many. That is more than the dedup window of any partition, so the repeats are counted.
 */
const PREPARED = 200_000;

const { brokers, topic, partitions, eventsPerSecond, seed } = JSON.parse(process.argv[2] ?? "{}") as LoadOptions;
const size = Math.max(1, Math.round((eventsPerSecond * TICK_MS) / 1_000));
const everyMs = 1_000 / eventsPerSecond;
const count = Math.min(PREPARED, Math.max(20_000, eventsPerSecond * 60));
const batches = prepareOrders({ seed, count, size, partitions, startMs: Date.now(), everyMs });
const sender = await BatchSender.open(brokers, topic);
const tell = (message: LoadMessage) => process.send?.(message);

let acknowledged = 0;
setInterval(() => tell({ sent: acknowledged }), 1_000);
process.on("disconnect", () => process.exit());
tell({ ready: true });
const startMs = performance.now();
for (let sent = 0, next = 0; ; ) {
  const due = ((performance.now() - startMs) * eventsPerSecond) / 1_000;
  while (sent < due) {
    const batch = batches[next++ % batches.length];
    if (batch === undefined) break;
    sent += batch.records;
    sender.send(batch).then(
      () => {
        acknowledged += batch.records;
      },
      (error: unknown) => {
        process.stderr.write(`load: ${String(error)}\n`);
        process.exit(1);
      },
    );
  }
  await delay(Math.max(1, (sent / eventsPerSecond) * 1_000 - (performance.now() - startMs)));
}
