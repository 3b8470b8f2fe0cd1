import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { messyOrders, produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { countedEvents } from "../fixtures/oracles/oracle.ts";
import { revenueModel } from "../fixtures/oracles/revenue-model.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

/** A view that the repository has never seen, as somebody would write it: one file, in a folder of their own. */
const source = `
import { avg, count, sql, view } from "tideline";
import { orderCompleted } from "tideline/schemas/order-completed";

export const bigOrders = view("big-orders", {
  stream: orderCompleted,
  where: sql\`amount_cents >= 10000 AND NOT test_order\`,
  by: { size: sql\`CASE WHEN amount_cents >= 50000 THEN 'huge' ELSE 'big' END\`, even: sql\`amount_cents % 2 = 0\` },
  every: "1 hour",
  measures: { orders: count({ unit: "orders" }), average: avg(sql\`amount_cents\`, { unit: "cents" }) },
});
`;

let tideline: Installation;
let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-own-"));
  await writeFile(join(folder, "big-orders.ts"), source);
  tideline = await Installation.open("newview", {
    TIDELINE_VIEWS: `${join(process.cwd(), "systems/shop/views")},${folder}`,
  });
});

afterAll(async () => {
  await tideline.close();
  await rm(folder, { recursive: true });
});

test("a view is one new file: answered, documented and listed without any other change", async () => {
  const topic = tideline.topic("order-completed");
  await produce(inject("kafkaBrokers"), topic, messyOrders(9, 1_500, Date.now()));
  const log = await readLog(inject("kafkaBrokers"), topic);
  const end = [...log].map(([partition, records]): [number, bigint] => [
    partition,
    (records.at(-1)?.offset ?? -1n) + 1n,
  ]);
  await Promise.all([tideline.start("speed"), tideline.start("serve")]);
  const answer = await until(
    "big-orders catches up",
    // Refused before anything has been applied.
    () => tideline.ask("big-orders", { from: "2020-01-01", to: "2100-01-01" }).catch(() => null),
    (found) =>
      found?.complete === true &&
      end.every(([partition, offset]) => BigInt(found.position.applied[partition] ?? "0") >= offset),
  );

  const orders = countedEvents(revenueModel, log, new Map(end))
    .lines.map(({ line }) => line)
    .filter(({ amount_cents }) => amount_cents >= 10_000);
  const cells = new Map<string, number[]>();
  for (const { completed_at, amount_cents } of orders) {
    const key = JSON.stringify([
      new Date(Math.floor(completed_at / 3_600_000) * 3_600_000).toISOString(),
      amount_cents >= 50_000 ? "huge" : "big",
      amount_cents % 2 === 0,
    ]);
    cells.set(key, [...(cells.get(key) ?? []), amount_cents]);
  }
  const expected = new Map(
    [...cells].map(([key, amounts]) => [key, [amounts.length, amounts.reduce((a, b) => a + b, 0) / amounts.length]]),
  );
  expect(orders.length).toBeGreaterThan(20);
  expect(
    new Map(
      answer?.rows.map(({ bucket, size, even, orders: count, average }) => [
        JSON.stringify([bucket, size, even]),
        [count, average],
      ]),
    ),
  ).toEqual(expected);

  const views = (await (await fetch(`${tideline.apiUrl}/views`)).json()) as { views: { name: string }[] };
  expect(views.views.map(({ name }) => name)).toContain("big-orders");
  const openapi = (await (await fetch(`${tideline.apiUrl}/openapi.json`)).json()) as { paths: Record<string, unknown> };
  expect(Object.keys(openapi.paths)).toContain("/views/big-orders");
});
