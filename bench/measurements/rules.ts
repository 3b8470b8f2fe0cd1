import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { startLoad } from "../load/load-process.ts";
import { Probes } from "../load/probes.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";

const RULES = 10;
const EVENTS_PER_SECOND = 1_000;
const ROUNDS = 3;
const PROBES = 100;
const PAUSE_MS = 5_000;
/** How much longer an event may take until it shows when ten rules look at it. */
const BAR = 1.35;

/**
 * What ten rules on events cost: how long it takes until an order shows over HTTP with rules and without, each round
 * one after the other in processes of its own, beside the same load. One order in a hundred meets a rule's condition.
 */
export async function benchRules(report: (line: string) => void): Promise<Figure[]> {
  // In here, so that rules can import what users import.
  await mkdir(".tideline", { recursive: true });
  const folder = resolve(await mkdtemp(join(".tideline", "rules-")));
  try {
    await writeFile(join(folder, "rules.ts"), rulesFile());
    return await withInstallation({ env: { TIDELINE_RULES: folder } }, (installation) => measure(installation, report));
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(installation: Installation, report: (line: string) => void): Promise<Figure[]> {
  await installation.role("serve", "--rate-limit", "0").start();
  const producer = await openProducer({ brokers: installation.brokers });
  const probes = await Probes.open(installation, producer);
  const load = await startLoad(installation, { eventsPerSecond: EVENTS_PER_SECOND, seed: 1 });
  const timesWith = async (env: Readonly<Record<string, string>>) => {
    const speed = installation.speedWith(env);
    await speed.start();
    await delay(PAUSE_MS);
    const times = await probes.measure(PROBES);
    await speed.stop();
    return times;
  };
  const shares: { p50: number; p99: number }[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const without = await timesWith({ TIDELINE_RULES: "" });
    const ten = await timesWith({});
    const share = (rank: number) => quantile(ten, rank) / quantile(without, rank);
    shares.push({ p50: share(0.5), p99: share(0.99) });
    const [before, after] = [without, ten].map((times) => Math.round(quantile(times, 0.5)));
    report(`round ${round} of ${ROUNDS}: p50 ${before} ms without rules, ${after} ms with ${RULES}`);
  }
  await load.stop();
  probes.close();
  await producer.close();
  const what = `freshness with ${RULES} rules over without at ${EVENTS_PER_SECOND.toLocaleString("en-US")} events/s`;
  return [
    limit(
      `${what}, p50`,
      "times",
      BAR,
      shares.map(({ p50 }) => p50),
    ),
    limit(
      `${what}, p99`,
      "times",
      null,
      shares.map(({ p99 }) => p99),
    ),
  ];
}

function rulesFile(): string {
  const rules = Array.from(
    { length: RULES },
    (_, index) =>
      `export const large${index} = rule("large-${index}", { on: orderCompleted, key: sql\`region\`, ` +
      `when: sql\`amount_cents > ${20_000 + 1_000 * index}\`, quiet: "1 minute", says: sql\`'order ' || order_id\` });`,
  );
  const imports = [
    'import { rule, sql } from "../../core/definition/builders.ts";',
    'import { orderCompleted } from "../../schemas/order-completed.ts";',
  ];
  return `${[...imports, ...rules].join("\n")}\n`;
}
