import { execa } from "execa";
import { topicName } from "../../core/contract/topic-names.ts";
import { randomNumbers, seedState } from "../../core/numbers/random.ts";
import { type EventProducer, openProducer } from "../../store/kafka/produce/producer.ts";
import { stockMovements } from "../../systems/inventory/schemas/stock-movements.ts";
import { type Figure, limit, quantile } from "../setup/figure.ts";
import { type Installation, withInstallation } from "../setup/installation.ts";
import { undeclaredOf } from "../setup/sales.ts";

/** Redis holds the state of this many keys between two settlements. */
const KEYS_A_ROUND = 150_000;
/** One in this many movements is followed by another one of an earlier key. Most of those are of a few keys. */
const REPEATED_EVERY = 5;
const BATCH = 20_000;
const READS = 500;
const BESIDE_A_SECOND = 5_000;
const WAREHOUSES = ["berlin", "lisbon", "osaka", "quito"];
/** One SKU in this many has quotes, slashes or letters of other scripts in its name. */
const ODD_EVERY = 50;
/** One record in this many has 20 fields that the contract does not name. */
const WIDE_EVERY = 10;
const START_MS = Date.UTC(2026, 0, 1);
const PATIENCE_MS = 300_000;

/**
 * Two tables over movements of an inventory, made up: each key of SKU and warehouse has one, and a few keys have many;
 * some SKUs are odd texts, and some records have many fields that nobody declared. How fast they are sent and applied,
 * what a cell takes in Redis, how long the settlement of the last part takes, and what is waited for: reads of one key
 * and the first hundred rows by a measure, from caches, cold, and beside 5,000 events/s, and the events of one key.
 */
export async function benchTables(
  report: (line: string) => void,
  { keys }: { readonly keys: number },
): Promise<Figure[]> {
  const env = { TIDELINE_SYSTEM: "systems/inventory" };
  return withInstallation({ temporal: true, env }, async (installation) => {
    const producer = await openProducer({ brokers: installation.brokers });
    try {
      return await measured(installation, producer, { keys, report });
    } finally {
      await producer.close();
    }
  });
}

interface Run {
  readonly keys: number;
  readonly report: (line: string) => void;
}

async function measured(installation: Installation, producer: EventProducer, { keys, report }: Run): Promise<Figure[]> {
  await installation.role("serve", "--rate-limit", "0").start();
  await installation.role("speed").start();
  await installation.role("worker", "--no-schedules").start();
  const chosen = Array.from({ length: READS }, (_, index) => pathOf((index * 7_919) % keys));
  const rates: number[] = [];
  const settledMs: number[] = [];
  const live: number[] = [];
  const cellBytes: number[] = [];
  let sent = 0;
  for (let from = 0; from < keys; from += KEYS_A_ROUND) {
    const to = Math.min(keys, from + KEYS_A_ROUND);
    const records = movements(from, to);
    sent += records.length;
    // From the first record that is sent: the speed layer does not wait for the last one.
    const appliedMs = await timed(async () => {
      for (let at = 0; at < records.length; at += BATCH)
        await producer.send(topicName("", stockMovements.name), records.slice(at, at + BATCH));
      await until(async () => (await applied(installation)) >= sent);
    });
    rates.push((records.length / appliedMs) * 1_000);
    cellBytes.push(await bytesPerCell(installation));
    if (to === keys) live.push(...(await readEach(installation, chosen)));
    settledMs.push(await timed(() => settle(installation)));
    report(
      `${to} keys: applied at ${Math.round(rates.at(-1) ?? 0)}/s, settled in ${Math.round(settledMs.at(-1) ?? 0)} ms`,
    );
  }
  const [first, again] = [await readEach(installation, chosen), await readEach(installation, chosen)];
  const top = "/tables/stock?order=-movements&limit=100";
  const firstTopMs = await timed(() => get(installation, top));
  const topMs = await timed(() => get(installation, top));
  const where = "/tables/stock?where[movements]=3&limit=100";
  const whereMs = await timed(() => get(installation, where));
  const field = "/tables/last-movement?where[quantity]=7&limit=100";
  const fieldMs = await timed(() => get(installation, field));
  const history = `/history/stock?key=${encodeURIComponent(pathOf(keys - 1))}`;
  const historyMs = await timed(() => get(installation, history));
  const beside = await readBeside(installation, producer, chosen);
  const of = `of ${keys.toLocaleString("en-US")}`;
  return [
    limit("movements sent and applied to two tables (at least 50,000)", "events/s", null, [quantile(rates, 0.5)]),
    limit("a cell between two settlements in Redis", "bytes", 100, cellBytes),
    limit(`the last ${KEYS_A_ROUND.toLocaleString("en-US")} keys ${of} settled`, "s", 60, [
      (settledMs.at(-1) ?? 0) / 1_000,
    ]),
    limit(`one key ${of} that are not all settled yet, p99`, "ms", null, [quantile(live, 0.99)]),
    limit(`one key ${of}, read for the first time, p50`, "ms", null, [quantile(first, 0.5)]),
    limit(`one key ${of}, read for the first time, p99`, "ms", 25, [quantile(first, 0.99)]),
    limit(`one key ${of}, read again, p99`, "ms", 10, [quantile(again, 0.99)]),
    limit(`one key ${of}, beside 5,000 events/s, p99`, "ms", 40, [quantile(beside, 0.99)]),
    limit("first 100 rows by a measure, asked for the first time", "s", 2, [firstTopMs / 1_000]),
    limit("first 100 rows by a measure, asked again", "ms", 200, [topMs]),
    limit(`events of one key among ${sent.toLocaleString("en-US")}`, "s", 2, [historyMs / 1_000]),
    limit("100 rows by where on a measure, asked for the first time", "s", null, [whereMs / 1_000]),
    limit("100 rows by where on a field of the newest record, asked for the first time", "s", null, [fieldMs / 1_000]),
  ];
}

function keyOf(n: number): { readonly sku: string; readonly warehouse: string } {
  const number = Math.floor(n / WAREHOUSES.length);
  const sku = number % ODD_EVERY === 7 ? `größe "${number}" / 東京` : `SKU-${number}`;
  return { sku, warehouse: WAREHOUSES[n % WAREHOUSES.length] ?? "" };
}

/** The key as an address has it. */
function pathOf(n: number): string {
  const { sku, warehouse } = keyOf(n);
  return `${encodeURIComponent(sku)}/${warehouse}`;
}

/** One movement of each key, and of some keys before them more. */
function movements(from: number, to: number): { key: string; value: string }[] {
  const random = randomNumbers(seedState(1), from);
  return Array.from({ length: to - from }, (_, index) => from + index).flatMap((n) => {
    const more = n % REPEATED_EVERY === 0 ? [movement(Math.floor(n * random() ** 8), `${n}-again`, random)] : [];
    return [movement(n, String(n), random), ...more];
  });
}

function movement(n: number, id: string, random: () => number) {
  const { sku, warehouse } = keyOf(n);
  const at = START_MS + Math.floor(random() * 86_400_000);
  const quantity = 1 + Math.floor(random() * 200);
  const more = random() * WIDE_EVERY < 1 ? undeclaredOf(at % 100_000) : {};
  return {
    key: sku,
    value: JSON.stringify({ ...more, movement_id: id, at, sku, warehouse, kind: "received", quantity }),
  };
}

/** Reads each key once while movements of other keys come in. */
async function readBeside(
  installation: Installation,
  producer: EventProducer,
  keys: readonly string[],
): Promise<number[]> {
  const random = randomNumbers(seedState(2), 0);
  let ended = false;
  const produce = async () => {
    const beganMs = performance.now();
    for (let sent = 0; !ended; sent += BESIDE_A_SECOND / 10) {
      const some = Array.from({ length: BESIDE_A_SECOND / 10 }, (_, index) =>
        movement(Math.floor(random() * KEYS_A_ROUND), `beside-${sent + index}`, random),
      );
      await producer.send(topicName("", stockMovements.name), some);
      const dueMs = beganMs + (sent / BESIDE_A_SECOND) * 1_000;
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    }
  };
  const producing = produce();
  try {
    return await readEach(installation, keys);
  } finally {
    ended = true;
    await producing;
  }
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

/** What Redis holds for a cell of live state, everything that it holds included. */
async function bytesPerCell({ redis }: Installation): Promise<number> {
  const used = Number(/used_memory:(\d+)/.exec(await redis.info("memory"))?.[1]);
  const chains = await redis.keys("tl:{*}:chain");
  const cells = await Promise.all(chains.map(async (chain) => Number(await redis.hget(chain, "cells"))));
  return used / cells.reduce((sum, one) => sum + one, 0);
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
