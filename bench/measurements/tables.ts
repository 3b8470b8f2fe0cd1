import { execa } from "execa";
import { topicName } from "../../core/contract/topic-names.ts";
import { simulatedRecords } from "../../ingest/simulate/records.ts";
import { openProducer } from "../../store/kafka/produce/producer.ts";
import { stockMovements } from "../../systems/inventory/schemas/stock-movements.ts";
import { stock } from "../../systems/inventory/simulators/stock.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";

const MOVEMENTS = 1_000_000;
const SKUS = 400_000;
const BATCH = 20_000;
const READS = 500;
const PATIENCE_MS = 300_000;

/**
 * Two tables over a million movements of an inventory, made up: a few SKUs move most, and some 90,000 keys of SKU and
 * warehouse have rows. How fast they are applied, how long a settlement takes, and what reads of one key and the first
 * hundred rows by a measure wait for.
 */
export async function benchTables(report: (line: string) => void): Promise<Figure[]> {
  const env = { TIDELINE_SYSTEM: "systems/inventory" };
  return withInstallation({ temporal: true, env }, async (installation) => {
    const keys = await sendAll(installation);
    report(`${MOVEMENTS} movements of ${keys.length} keys are in the log`);
    await installation.role("serve", "--rate-limit", "0").start();
    const beganMs = performance.now();
    await installation.role("speed").start();
    await until(async () => (await applied(installation)) >= MOVEMENTS);
    const seconds = (performance.now() - beganMs) / 1_000;
    report(`applied in ${seconds.toFixed(1)} s`);
    const chosen = Array.from({ length: READS }, (_, index) => keys[(index * 7_919) % keys.length] ?? "");
    const live = await readEach(installation, chosen);
    await installation.role("worker", "--no-schedules").start();
    const settledMs = await timed(() => settle(installation));
    report(`settled in ${(settledMs / 1_000).toFixed(1)} s`);
    const [first, again] = [await readEach(installation, chosen), await readEach(installation, chosen)];
    const top = "/tables/stock?order=-movements&limit=100";
    const firstTopMs = await timed(() => get(installation, top));
    const topMs = await timed(() => get(installation, top));
    return [
      limit("a million movements applied to two tables", "s", null, [seconds]),
      limit("the same settled", "s", 60, [settledMs / 1_000]),
      limit("one key of a table that is not settled yet, p50", "ms", null, [quantile(live, 0.5)]),
      limit("one key of a table that is not settled yet, p99", "ms", null, [quantile(live, 0.99)]),
      limit("the first of these", "ms", null, [live[0] ?? Number.NaN]),
      limit("one key of a table, read for the first time, p50", "ms", null, [quantile(first, 0.5)]),
      limit("one key of a table, read for the first time, p99", "ms", 25, [quantile(first, 0.99)]),
      limit("one key of a table, read again, p99", "ms", 10, [quantile(again, 0.99)]),
      limit("first 100 rows by a measure, asked for the first time", "s", 2, [firstTopMs / 1_000]),
      limit("first 100 rows by a measure, asked again", "ms", 200, [topMs]),
    ];
  });
}

/** Sends all movements; returns the keys that they have, SKU and warehouse, as they are asked for. */
async function sendAll({ brokers }: Installation): Promise<string[]> {
  const options = { seed: 1, rate: 1_000, fromMs: Date.UTC(2026, 0, 1), parameters: { skus: SKUS } };
  const records = simulatedRecords(stock, options, { duplicates: 0.01, late: 0.02, malformed: 0 });
  const producer = await openProducer({ brokers });
  const keys = new Set<string>();
  try {
    for (let step = 0; step < MOVEMENTS; step += BATCH) {
      const made = Array.from({ length: BATCH }, (_, index) => records(step + index)).flat();
      for (const { value } of made) {
        const { sku, warehouse } = JSON.parse(value) as { sku: string; warehouse: string };
        keys.add(`${sku}/${warehouse}`);
      }
      await producer.send(topicName("", stockMovements.name), made);
    }
  } finally {
    await producer.close();
  }
  return [...keys];
}

interface Listed {
  readonly tables: readonly { readonly applied: Readonly<Record<string, string>> | null }[];
}

/** How many records the slowest table has applied. */
async function applied(installation: Installation): Promise<number> {
  const { tables } = (await get(installation, "/tables")) as Listed;
  const counts = tables.map(({ applied }) => Object.values(applied ?? {}).reduce((sum, one) => sum + Number(one), 0));
  return Math.min(...counts);
}

async function get({ ports }: Installation, path: string): Promise<unknown> {
  const response = await fetch(`http://127.0.0.1:${ports.api}${path}`);
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return response.json();
}

async function readEach(installation: Installation, keys: readonly string[]): Promise<number[]> {
  const times: number[] = [];
  for (const key of keys) times.push(await timed(() => get(installation, `/tables/stock/${key}`)));
  return times;
}

async function settle({ env }: Installation): Promise<void> {
  await execa(process.execPath, ["cli/tideline.js", "settle", stockMovements.name], { env });
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const startMs = performance.now();
  await work();
  return performance.now() - startMs;
}

async function until(done: () => Promise<boolean>): Promise<void> {
  const endMs = performance.now() + PATIENCE_MS;
  while (!(await done())) {
    if (performance.now() > endMs) throw new Error("it takes too long");
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
