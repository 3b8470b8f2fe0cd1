import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { sql } from "../../core/contract/sql.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { produce } from "../fixtures/events/produce.ts";
import { everything, type Tick } from "../fixtures/events/views.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";
import { type OpenPage, openPage } from "../fixtures/servers/open-page.ts";

/** The page of the tables: somebody looks up a key, and sees its row and where it comes from. */

const places = table("places", {
  stream: everything.stream,
  key: { place: sql`place`, good: sql`good` },
  measures: { seen: count() },
});
/** A key with what has a meaning in addresses and in HTML. */
const ODD = "a/b%2F&<i>c</i>#1";

let layers: Layers;
let shown: OpenPage;
let page: Page;

beforeAll(async () => {
  layers = await Layers.open([places]);
  const ticks = Array.from({ length: 30 }, (_, n): Tick => {
    const place = n % 10 === 0 ? ODD : `quay ${n % 4}`;
    return { ...{ id: `t${n}`, at: Date.UTC(2026, 4, 1) + n, place, good: true }, amount: n, tip: 1, test: false };
  });
  const records = ticks.map((tick) => ({ key: tick.id, value: Buffer.from(JSON.stringify(tick)) }));
  await produce(inject("kafkaBrokers"), layers.topic("ticks"), records);
  await until(
    "all is applied",
    async () => (await (await fetch(layers.url("/tables/places"))).json()) as { rows?: { seen: number }[] },
    ({ rows = [] }) => rows.reduce((all, { seen }) => all + seen, 0) === ticks.length,
  );
  shown = await openPage();
  page = shown.page;
});

afterAll(async () => {
  await shown?.close();
  await layers?.close();
});

test("shows the tables, the rows of one, and of a key its row and its events, also after a reload", async () => {
  const cells = (nth: number) => page.locator(`#table tbody td:nth-child(${nth})`).allTextContents();
  await page.goto(layers.url("/"));
  await page.getByRole("link", { name: "Tables" }).click();
  await page.getByRole("heading", { name: "places" }).waitFor();
  await expect.poll(() => cells(1)).toEqual([ODD, "quay 0", "quay 1", "quay 2", "quay 3"]);
  expect(await cells(3)).toEqual(["3", "6", "8", "6", "7"]);

  await page.getByRole("link", { name: ODD }).click();
  // Positions of two partitions have no order.
  const events = async () => (await cells(3)).map((text) => /"id":"(\w+)"/.exec(text)?.[1]).sort();
  await expect.poll(events).toEqual(["t0", "t10", "t20"]);
  expect(await page.locator("#facts dd").allTextContents()).toEqual([ODD, "true", "3"]);
  await page.reload();
  await expect.poll(events).toEqual(["t0", "t10", "t20"]);

  await page.getByRole("textbox", { name: "Key (place/good)" }).fill("quay 2/true");
  await page.getByRole("button", { name: "Look up" }).click();
  await expect.poll(() => page.locator("#facts dd").allTextContents()).toEqual(["quay 2", "true", "6"]);
  await page.getByRole("textbox", { name: "Key (place/good)" }).fill("nowhere/true");
  await page.keyboard.press("Enter");
  await page.getByText("There is no row with this key.").waitFor();
  await page.getByRole("textbox", { name: "Key (place/good)" }).fill("one part");
  await page.keyboard.press("Enter");
  await page.getByText(/has 1 part, not 2/).waitFor();
  await page.getByRole("link", { name: "All rows" }).click();
  await expect.poll(async () => (await cells(1)).length).toBe(5);
  expect(shown.complaints.filter((one) => !one.includes("400 (Bad Request)"))).toEqual([]);
});
