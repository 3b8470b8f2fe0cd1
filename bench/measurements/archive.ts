import { rm } from "node:fs/promises";
import { join } from "node:path";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";
import { bareLoop } from "../setup/bare-loop.ts";
import { BatchLayer } from "../setup/batch-layer.ts";
import { type Figure, figure } from "../setup/figure.ts";
import { withInstallation } from "../setup/installation.ts";
import { BatchSender, prepareOrders } from "../setup/prepared-batches.ts";

const RECORDS = 600_000;
const ROUNDS = 3;
const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * Kafka to Parquet, as the archive activity does it: decoded, deduplicated, with the original bytes, sorted,
 * compressed, synced and read back. The ceiling is a loop that fetches the same records and parses each.
 */
export async function benchArchive(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async ({ brokers, home }) => {
    report(`sending ${RECORDS.toLocaleString("en-US")} orders`);
    const { name: topic, partitions } = orderCompleted;
    const sender = await BatchSender.open(brokers, topic);
    const options = { seed: 1, count: RECORDS, size: 500, partitions, startMs: 1_760_000_000_000, everyMs: 20 };
    for (const batch of prepareOrders(options)) await sender.send(batch);
    await sender.close();
    const rounds: { ours: number; ceiling: number }[] = [];
    for (let round = 0; round <= ROUNDS; round++) {
      const dataDir = join(home, `archive-${round}`);
      const batch = await BatchLayer.open({ brokers, dataDir });
      try {
        const end = (await batch.stores.log.bounds(topic)).stable;
        const ceiling = await bareLoop({ brokers, topic, end, maxBytes: FETCH_BYTES });
        const startMs = performance.now();
        const records = await batch.archive(batch.target(revenue));
        const ours = (records / (performance.now() - startMs)) * 1_000;
        // The first one warms up what is measured.
        if (round === 0) continue;
        rounds.push({ ours, ceiling });
        report(`round ${round} of ${ROUNDS}: ${Math.round(ours)} against ${Math.round(ceiling)} records/s`);
      } finally {
        await batch.close();
        await rm(dataDir, { recursive: true, force: true });
      }
    }
    return [figure("archive, Kafka to Parquet", "records/s", 0.5, rounds)];
  });
}
