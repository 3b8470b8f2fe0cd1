import { rm } from "node:fs/promises";
import { join } from "node:path";
import { quoteText } from "../../core/contract/sql.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
import { parquetRows } from "../../store/duckdb/parquet.ts";
import { revenue } from "../../systems/shop/views/revenue.ts";
import { BatchLayer } from "../setup/batch-layer.ts";
import { type Figure, figure, type RatioFigure } from "../setup/figure.ts";
import { withInstallation } from "../setup/installation.ts";
import { sendOrders } from "../setup/prepared-batches.ts";

const RECORDS = 2_000_000;
const DAY_MS = 86_400_000;
const ROUNDS = 3;

type Round = RatioFigure["rounds"][number];

/**
 * A full rebuild of `revenue` from the archive: decoded events to published states. The ceiling is SQL written by hand
 * for the same purpose over the same files: the same aggregates by minute, region and category, in a form that can be
 * added to later (sums, extremes, bins, registers), as sorted Parquet. It hashes as DuckDB hashes, where Tideline
 * hashes as Redis does; it checks no ledger and compares nothing.
 */
export async function benchRebuild(report: (line: string) => void): Promise<Figure[]> {
  return withInstallation({}, async ({ brokers, home }) => {
    report(`archiving ${RECORDS.toLocaleString("en-US")} orders of a day`);
    const dataDir = join(home, "data");
    const startMs = Math.floor(Date.now() / DAY_MS - 2) * DAY_MS;
    await sendOrders(brokers, { records: RECORDS, startMs, lengthMs: DAY_MS });
    const batch = await BatchLayer.open({ brokers, dataDir });
    try {
      await batch.archive(batch.target(revenue));
      const builds: Round[] = [];
      const rebuilds: Round[] = [];
      // The first round warms up what is measured.
      for (let round = 0; round <= ROUNDS; round++) {
        const ceiling = await rate(() => byHand(batch, join(dataDir, "archive", `by-hand-${round}`)));
        // Under another name it is another generation, which has no version yet.
        const target = batch.target({ ...revenue, name: `revenue-${round}` });
        const build = await rate(() => batch.firstVersion(target));
        const rebuild = await rate(async () => {
          const { equal } = await batch.rebuild(target, `bench-${round}`);
          if (!equal) throw new Error("a rebuild made another state than the one before");
        });
        if (round === 0) continue;
        builds.push({ ours: build, ceiling });
        rebuilds.push({ ours: rebuild, ceiling });
        report(
          `round ${round} of ${ROUNDS}: ${Math.round(build)}, with comparing ` +
            `${Math.round(rebuild)}, against ${Math.round(ceiling)} records/s`,
        );
      }
      return [
        figure("states of revenue from the whole archive, against SQL by hand", "records/s", 0.5, builds),
        figure("full rebuild of revenue, which also compares both states by hash", "records/s", null, rebuilds),
      ];
    } finally {
      await batch.close();
      await rm(dataDir, { recursive: true, force: true });
    }
  });
}

async function rate(work: () => Promise<void>): Promise<number> {
  const startMs = performance.now();
  await work();
  return (RECORDS / (performance.now() - startMs)) * 1_000;
}

async function byHand({ stores: { archive, data, log, pool } }: BatchLayer, folder: string): Promise<void> {
  const topic = orderCompleted.name;
  const { id, partitions } = await log.topic(topic);
  const files: string[] = [];
  for (const partition of partitions)
    for (const { file } of await archive.entries(topic, id, partition)) if (file !== null) files.push(data.path(file));
  const cell = "completed_at // 60000 * 60000 AS bucket, region, category";
  const source = `${parquetRows(files)} WHERE _reject IS NULL AND NOT _duplicate AND NOT test_order`;
  const statements = {
    values:
      `SELECT ${cell}, count(*) AS orders, sum(amount_cents)::BIGINT AS cents, sum(tax_cents)::BIGINT AS tax, ` +
      `min(amount_cents) AS smallest, max(amount_cents) AS largest FROM ${source} GROUP BY ALL`,
    bins:
      `SELECT ${cell}, floor(ln(amount_cents + 1) * 10)::INTEGER AS bin, ` +
      `count(*) AS orders FROM ${source} GROUP BY ALL`,
    registers:
      `SELECT ${cell}, hash(buyer_id) & 16383 AS register, max(bit_count(xor(hash(buyer_id) >> 14, ` +
      `(hash(buyer_id) >> 14) - 1)::BIGINT)) AS rank FROM ${source} GROUP BY ALL`,
  };
  const duck = await pool.connect();
  try {
    for (const [name, sql] of Object.entries(statements))
      await duck.run(
        `COPY (SELECT * FROM (${sql}) ORDER BY ALL) TO ` +
          `${quoteText(`${folder}-${name}.parquet`)} (FORMAT parquet, COMPRESSION zstd)`,
      );
  } finally {
    duck.closeSync();
  }
}
