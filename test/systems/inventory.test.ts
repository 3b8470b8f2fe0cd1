import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { simulatedRecords } from "../../ingest/simulate/records.ts";
import { deadLetterTopic, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { stock as simulator } from "../../systems/inventory/simulators/stock.ts";
import { lastMovement, stock } from "../../systems/inventory/tables/stock.ts";
import { produce } from "../fixtures/events/produce.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** The inventory: what its tables say, against the movements themselves. */

const OPTIONS = { seed: 11, rate: 50, fromMs: Date.parse("2026-01-01T00:00:00Z"), parameters: { skus: 40 } };
const STEPS = 9_000;
const untidy = simulatedRecords(simulator, OPTIONS, { duplicates: 0.02, late: 0.05, malformed: 0.02 });
const tidy = simulatedRecords(simulator, OPTIONS, { duplicates: 0, late: 0, malformed: 0 });

interface Movement {
  readonly movement_id: string;
  readonly sku: string;
  readonly warehouse: string;
  readonly kind: string;
  readonly quantity: number;
}

const movements = Array.from({ length: STEPS }, (_, step) => tidy(step)).flat();

let layers: Layers;

beforeAll(async () => {
  layers = await Layers.open([stock, lastMovement]);
  const topic = layers.topic("stock-movements");
  await ensureTopics(inject("kafkaBrokers"), [{ name: deadLetterTopic(topic), partitions: 1 }]);
  const records = Array.from({ length: STEPS }, (_, step) => untidy(step)).flat();
  await produce(
    inject("kafkaBrokers"),
    topic,
    records.map(({ key, value }) => ({ key, value: Buffer.from(value) })),
  );
});

afterAll(async () => {
  await layers?.close();
});

const rowsOf = async (path: string) => {
  const response = await fetch(layers.url(path));
  return response.ok ? ((await response.json()) as { rows: Record<string, unknown>[] }).rows : [];
};

test("the stock is exact to the unit, whatever is repeated, late or malformed, and never below zero", async () => {
  const expected = new Map<string, Record<string, unknown> & { available: number; on_hand: number }>();
  for (const { value } of movements) {
    const { sku, warehouse, kind, quantity } = JSON.parse(value) as Movement;
    const key = `${sku}/${warehouse}`;
    const row = expected.get(key) ?? { available: 0, on_hand: 0, received: 0, shipped: 0, movements: 0 };
    row.available += kind === "received" || kind === "released" ? quantity : -quantity;
    if (kind === "received") row.on_hand += quantity;
    if (kind === "shipped") row.on_hand -= quantity;
    row.received = Number(row.received) + (kind === "received" ? quantity : 0);
    row.shipped = Number(row.shipped) + (kind === "shipped" ? quantity : 0);
    row.movements = Number(row.movements) + 1;
    expected.set(key, row);
  }
  const total = (rows: Record<string, unknown>[]) => rows.reduce((sum, { movements }) => sum + Number(movements), 0);
  const rows = await until(
    "all movements",
    () => rowsOf("/tables/stock?limit=10000"),
    (found) => total(found) >= STEPS,
  );
  const found = rows.map(({ sku, warehouse, last_kind: _, ...row }) => [`${sku}/${warehouse}`, row]);
  expect(Object.fromEntries(found)).toEqual(Object.fromEntries(expected));
  expect(Math.min(...rows.map(({ available }) => Number(available)))).toBeGreaterThanOrEqual(0);
  expect(await layers.refresh(stock)).toBe(true);
  expect(await rowsOf("/tables/stock?limit=10000")).toEqual(rows);
  const newest = await rowsOf("/tables/last-movement?limit=10000");
  const bySku = new Map(
    movements.map(({ value }) => [(JSON.parse(value) as Movement).sku, JSON.parse(value) as Movement]),
  );
  expect(newest.map(({ sku, movement_id }) => [sku, movement_id]).sort()).toEqual(
    [...bySku].map(([sku, { movement_id }]) => [sku, movement_id]).sort(),
  );
});

test("a simulator writes the same bytes for the same seed", async () => {
  const files = ["a", "b", "c"].map((name) => join(tmpdir(), `tideline-stock-${process.pid}-${name}.json`));
  const env = { TIDELINE_SYSTEM: "systems/inventory" };
  const args = ["simulate", "stock", "--mode", "file", "--count", "2000", "--malformed", "1%", "--late", "2%"];
  for (const [index, file] of files.entries()) {
    const seed = index < 2 ? "7" : "8";
    await execa(process.execPath, ["cli/tideline.js", ...args, "--seed", seed, "--outfile", file], { env });
  }
  const [one, same, other] = await Promise.all(files.map((file) => readFile(file, "utf8")));
  expect(one).toBe(same);
  expect(one).not.toBe(other);
  expect(one?.split("\n").length).toBeGreaterThan(2_000);
});
