import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { produce } from "../fixtures/events/produce.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

const VIEW = `
import { count } from "../../core/measures/kinds/count.ts";
import { sql } from "../../core/contract/sql.ts";
import { view } from "../../core/definition/view.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
export const buyers = view("buyers", {
  stream: orderCompleted, every: "1 day", by: { buyer: sql\`buyer_id\` },
  measures: { orders: count() }, maxCells: 4_000,
});
`;
const ORDERS = 2_500;

let tideline: Installation;
let folder: string;

beforeAll(async () => {
  folder = join(process.cwd(), ".tideline", `views-room-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "buyers.ts"), VIEW);
  tideline = await Installation.open("room", { TIDELINE_VIEWS: folder });
});

afterAll(async () => {
  await tideline.close();
  await rm(folder, { recursive: true });
});

test("a view that fills its room in Redis has itself published, and goes on", async () => {
  await tideline.start("worker");
  // Its schedule may still be triggered: only the speed layer's requests start a settlement.
  await tideline.run("schedules", "pause", "settle-order-completed", "--reason", "test");
  await Promise.all([tideline.start("speed"), tideline.start("serve")]);
  const order = (index: number) => {
    const made = {
      event_id: `e${index}`,
      order_id: `o${index}`,
      completed_at: 1_760_000_000_000,
      region: "eu",
      category: "toys",
      buyer_id: `b${index}`,
      amount_cents: 1,
      test_order: false,
    };
    return { key: made.order_id, value: Buffer.from(JSON.stringify(made)) };
  };
  const topic = tideline.topic("order-completed");
  const total = () => tideline.ask("buyers", { from: "2025-01-01", to: "2026-01-01", by: "", measures: "orders" });
  // A cell a buyer: each wave fills most of the room, so that the second does not fit before the first is published.
  for (const wave of [0, 1, 2]) {
    const orders = Array.from({ length: ORDERS }, (_, index) => order(wave * ORDERS + index));
    await produce(inject("kafkaBrokers"), topic, orders);
    const answer = await until(
      `wave ${wave} is counted`,
      total,
      ({ rows, complete }) => complete && rows[0]?.orders === (wave + 1) * ORDERS,
      120_000,
    );
    expect(answer.batchVersion).toBeGreaterThanOrEqual(wave);
  }
}, 600_000);
