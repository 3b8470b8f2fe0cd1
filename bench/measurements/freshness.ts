import { setTimeout as delay } from "node:timers/promises";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { startLoad } from "../load/load-process.ts";
import { Probes } from "../load/probes.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { withInstallation } from "../setup/installation.ts";

/** Events a second beside the probes, and the bars: 30 ms is the aim when there is next to nothing to do. */
const RATES = [
  { eventsPerSecond: 100, p50: 30, p99: 100 },
  { eventsPerSecond: 5_000, p50: null, p99: 100 },
  { eventsPerSecond: 50_000, p50: null, p99: null },
] as const;
const ROUNDS = 3;
const PROBES = 100;
const PAUSE_MS = 3_000;

/**
 * How long it takes until an event shows over HTTP, from Kafka's acknowledgement on: orders of a category of their own
 * are sent one by one, each time asking for that category until the answer counts it. That is what somebody sees who
 * asks again and again; nothing is waited for in the server. The shop's five views of orders are kept, by the speed
 * layer and the server as processes of their own; the load is a third one.
 */
export async function benchFreshness(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async (installation) => {
    await installation.role("speed").start();
    await installation.role("serve", "--rate-limit", "0").start();
    const producer = await openProducer({ brokers: installation.brokers });
    const probes = await Probes.open(installation, producer);
    const figures: Figure[] = [];
    for (const [index, { eventsPerSecond, p50, p99 }] of RATES.entries()) {
      const load = await startLoad(installation, { eventsPerSecond, seed: index + 1 });
      await delay(PAUSE_MS);
      const rounds: number[][] = [];
      for (let round = 1; round <= ROUNDS; round++) {
        const times = await probes.measure(PROBES);
        rounds.push(times);
        const [half, most] = [quantile(times, 0.5), quantile(times, 0.99)].map((ms) => Math.round(ms ?? 0));
        report(`${eventsPerSecond} events/s, round ${round} of ${ROUNDS}: p50 ${half} ms, p99 ${most} ms`);
      }
      await load.stop();
      const what = `from acknowledged to visible over HTTP at ${eventsPerSecond.toLocaleString("en-US")} events/s`;
      const of = (share: number) => rounds.map((times) => quantile(times, share));
      figures.push(limit(`${what}, p50`, "ms", p50, of(0.5)), limit(`${what}, p99`, "ms", p99, of(0.99)));
    }
    probes.close();
    await producer.close();
    return figures;
  });
}
