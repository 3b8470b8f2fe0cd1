import { fileURLToPath } from "node:url";
import { generationOf } from "../../core/definition/generation.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { Chain } from "../../store/redis/chain.ts";
import { partedSale } from "../definitions/partitions/schemas/parted-sale.ts";
import { partedSales } from "../definitions/partitions/views/parted-sales.ts";
import { type Figure, limit } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";
import { BatchSender, prepareBatch } from "../setup/prepared-batches.ts";
import { saleOf } from "../setup/sales.ts";
import { reached } from "../setup/speed-rounds.ts";

/** More than all dedup windows hold together. */
const EVENTS = 3_000_000;
const BATCH_EVENTS = 500;
/** What comes while the speed layer is away: some in each partition. */
const WAITING = 256 * BATCH_EVENTS;
const ROUNDS = 3;

const folder = (name: string) => fileURLToPath(new URL(`../definitions/partitions/${name}`, import.meta.url));

/**
 * How long the speed layer takes from its start until it is at the end of a topic with 256 partitions, when 128,000
 * made-up sales came after it was killed: before it decodes any of them it reads the ids of 2,560,000 records.
 */
export async function benchPartitions(report: (line: string) => void): Promise<Figure[]> {
  const env = { TIDELINE_SCHEMAS: folder("schemas"), TIDELINE_VIEWS: folder("views") };
  return withInstallation({ env }, (installation) => measure(installation, report));
}

async function measure(installation: Installation, report: (line: string) => void): Promise<Figure[]> {
  const chains = [new Chain(installation.redis, "", generationOf(partedSales))];
  const speed = installation.role("speed");
  let sent = await send(installation.brokers, 0, EVENTS);
  const first = await seconds(async () => {
    await speed.start();
    await reached(chains, await endOf(installation.brokers));
  });
  report(`${EVENTS.toLocaleString("en-US")} events read in ${first.toFixed(1)} s`);
  const rounds: number[] = [];
  for (let round = 1; round <= ROUNDS; round++) {
    await speed.kill("SIGKILL");
    sent += await send(installation.brokers, sent, WAITING);
    const end = await endOf(installation.brokers);
    rounds.push(
      await seconds(async () => {
        await speed.start();
        await reached(chains, end);
      }),
    );
    report(`round ${round} of ${ROUNDS}: at the end after ${rounds.at(-1)?.toFixed(1)} s`);
  }
  return [limit("speed layer killed, started again, to the end of 256 partitions", "s", 15, rounds)];
}

/** Sends sales from this index on, a batch to each partition in turn. Returns how many. */
async function send(brokers: string, from: number, count: number): Promise<number> {
  const sender = await BatchSender.open(brokers, partedSale.name);
  for (let first = from; first < from + count; first += BATCH_EVENTS) {
    const events = Array.from({ length: BATCH_EVENTS }, (_, index) => {
      const sale = saleOf(first + index);
      return { key: sale.sale_id, value: JSON.stringify(sale) };
    });
    await sender.send(prepareBatch((first / BATCH_EVENTS) % partedSale.partitions, events));
  }
  await sender.close();
  return count;
}

async function endOf(brokers: string) {
  const log = new LogReader({ brokers, clientId: "bench" });
  const { stable } = await log.bounds(partedSale.name);
  await log.close();
  return stable;
}

async function seconds(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (performance.now() - startMs) / 1_000;
}
