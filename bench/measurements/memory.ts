import { setTimeout as delay } from "node:timers/promises";
import { startLoad } from "../load/load-process.ts";
import { type Figure, limit, median } from "../setup/figure.ts";
import { withInstallation } from "../setup/installation.ts";
import { usageOf } from "../setup/process-usage.ts";

/**
 * About as much as one process of the speed layer takes here; what is more waits in Kafka, which is as full a load as
 * any.
 */
const EVENTS_PER_SECOND = 50_000;
const READS_PER_SECOND = 100;
const SAMPLES = 120;
const MIB = 2 ** 20;

/**
 * Whether memory stays flat: resident memory of the speed layer and the server while events and questions come in. The
 * figure is the last third's median as a share of the second third's; the first third is start-up.
 */
export async function benchMemory(
  report: (line: string) => void,
  { minutes }: { readonly minutes: number },
): Promise<Figure[]> {
  return withInstallation({}, async (installation) => {
    const { speed: speedPort, api: apiPort } = installation.ports;
    await installation.role("speed").start();
    await installation.role("serve", "--rate-limit", "0").start();
    const load = await startLoad(installation, { eventsPerSecond: EVENTS_PER_SECOND, seed: 1 });
    installation.fork("../load/http-load.ts", {
      port: apiPort,
      paths: ["/views/revenue", "/views/revenue?every=1h", "/views/top-products", "/views/active-buyers?every=1d"],
      connections: 4,
      seconds: minutes * 60,
      requestsPerSecond: READS_PER_SECOND,
    });
    const held = { speed: [] as number[], serve: [] as number[] };
    for (let sample = 1; sample <= SAMPLES; sample++) {
      await delay((minutes * 60_000) / SAMPLES);
      held.speed.push((await usageOf(speedPort)).residentBytes / MIB);
      held.serve.push((await usageOf(apiPort)).residentBytes / MIB);
      if (sample % 20 === 0) {
        const [speed = 0, serve = 0] = [held.speed.at(-1), held.serve.at(-1)].map((mib) => Math.round(mib ?? 0));
        report(`${load.sent.toLocaleString("en-US")} events: speed layer ${speed} MiB, server ${serve} MiB`);
      }
    }
    await load.stop();
    return Object.entries(held).flatMap(([role, samples]) => {
      const third = Math.floor(samples.length / 3);
      const [second, last] = [samples.slice(third, 2 * third), samples.slice(2 * third)];
      const what = `memory of ${role} over ${minutes} minutes at ${EVENTS_PER_SECOND.toLocaleString("en-US")} events/s`;
      return [
        limit(`${what}, median`, "MiB", null, samples),
        // Of a short run the second third is still start-up, so the bar is for runs of ten minutes.
        limit(`${what}, last third against the second`, "times", minutes >= 10 ? 1.1 : null, [
          median(last) / median(second),
        ]),
      ];
    });
  });
}
