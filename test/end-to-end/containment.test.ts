import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { produce } from "../fixtures/events/produce.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";

const header = `
import { count } from "../../core/measures/kinds/count.ts";
import { sum } from "../../core/measures/kinds/sum.ts";
import { sql } from "../../core/contract/sql.ts";
import { view } from "../../core/definition/view.ts";
import { orderCompleted } from "../../schemas/order-completed.ts";
`;

let tideline: Installation;
let folder: string;

beforeAll(async () => {
  folder = join(process.cwd(), ".tideline", `views-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "sound.ts"),
    `${header} export const sound = view("sound", { stream: orderCompleted, ` +
      `every: "1 day", measures: { orders: count() } });`,
  );
  await writeFile(
    join(folder, "breaks.ts"),
    `${header} export const breaks = view("breaks", { stream: orderCompleted, every: "1 day", measures: { ` +
      `power: sum(sql\`amount_cents * amount_cents * amount_cents * amount_cents\`) } });`,
  );
  await writeFile(
    join(folder, "narrow.ts"),
    `${header} export const narrow = view("narrow", { stream: orderCompleted, every: "1 day", by: { ` +
      `buyer: sql\`buyer_id\` }, measures: { orders: count() }, maxCells: 1 });`,
  );
  tideline = await Installation.open("containment", { TIDELINE_VIEWS: folder });
});

afterAll(async () => {
  await tideline.close();
  await rm(folder, { recursive: true });
});

test("a view that fails on an event, or grows past its limit, stops with its error; the others go on", async () => {
  await Promise.all([tideline.start("speed"), tideline.start("serve")]);
  const order = (index: number, amount_cents: number) => {
    const made = {
      event_id: `e${index}`,
      order_id: `o${index}`,
      completed_at: 1_760_000_000_000,
      region: "eu",
      category: "toys",
      buyer_id: `b${index}`,
      amount_cents,
      test_order: false,
    };
    return { key: made.order_id, value: Buffer.from(JSON.stringify(made)) };
  };
  await produce(
    inject("kafkaBrokers"),
    tideline.topic("order-completed"),
    Array.from({ length: 20 }, (_, index) => order(index, index === 7 ? 1_000_000_000 : index)),
  );
  const total = () => tideline.ask("sound", { from: "2025-01-01", to: "2026-01-01" });
  const answer = await until("the sound view has all", total, ({ rows }) => rows[0]?.orders === 20);
  expect(answer.complete).toBe(true);

  const health = await fetch(`http://127.0.0.1:${tideline.env.TIDELINE_SPEED_PORT}/health`);
  expect(health.status).toBe(200);
  const { views } = (await health.json()) as { views: { view: string; phase: string; code: string | null }[] };
  expect(views.map(({ view, phase, code }) => [view, phase, code]).sort()).toEqual([
    ["breaks", "stopped", "VIEW_FAILED"],
    ["narrow", "stopped", "VIEW_TOO_LARGE"],
    ["sound", "live", null],
  ]);
  const metrics = await (await fetch(`http://127.0.0.1:${tideline.env.TIDELINE_SPEED_PORT}/metrics`)).text();
  expect(metrics).toContain('tideline_view_stopped{view="breaks",code="VIEW_FAILED"} 1');
});
