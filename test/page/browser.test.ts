import type { Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { activeBuyers } from "../../systems/shop/views/active-buyers.ts";
import { everything, type Tick } from "../fixtures/events/views.ts";
import { failuresOf, Layers } from "../fixtures/servers/layers.ts";
import { type OpenPage, openPage } from "../fixtures/servers/open-page.ts";

const START = Date.parse("2026-05-01T12:00:00Z");
let layers: Layers;
let shown: OpenPage;
let page: Page;
/** Requests to elsewhere. */
const strayed: string[] = [];
let sent = 0;

async function send(total: number): Promise<void> {
  const ticks = Array.from({ length: total }, (_, index): Tick => {
    const n = sent + index;
    const place = ["harbour", "quay"][n % 2] ?? null;
    return { id: `t${n}`, at: START + (n % 600) * 1_000, place, good: true, amount: n, tip: 1, test: false };
  });
  await layers.produce("ticks", ticks);
  sent += total;
}

/** The cells of a column of the table, top down. */
async function column(name: string): Promise<string[]> {
  const heads = await page.locator("#table th").allTextContents();
  // A name, and behind it its unit.
  const index = heads.findIndex((head) => head === name || head.startsWith(`${name} `));
  return page.locator(`#table tbody td:nth-child(${index + 1})`).allTextContents();
}

/** The sum of a column of whole numbers. */
async function total(name: string): Promise<number> {
  return (await column(name)).reduce((sum, text) => sum + Number(text.replaceAll(/\D/g, "")), 0);
}

beforeAll(async () => {
  layers = await Layers.open([activeBuyers, everything]);
  shown = await openPage({ timezoneId: "Europe/Lisbon", viewport: { width: 1280, height: 900 } });
  page = shown.page;
  page.on("request", (request) => {
    if (!request.url().startsWith(layers.url("/")) && !request.url().startsWith("data:")) strayed.push(request.url());
  });
});
afterAll(async () => {
  await shown?.close();
  await layers?.close();
});

describe("the page", () => {
  it("shows the views, and says when one holds nothing yet", async () => {
    await page.goto(layers.url("/"));
    await page.getByRole("heading", { name: "active-buyers" }).waitFor();
    await page.getByText("No events in the last 7 days").waitFor();
    await page.getByRole("link", { name: "everything no events yet up to date" }).click();
    await page.getByText("No events in the last 24 hours").waitFor();
    await page.getByText("Connected", { exact: true }).waitFor();
  });

  it("moves with the events, without being reloaded", async () => {
    for (const more of [50, 30]) {
      await send(more);
      await expect.poll(() => total("ticks")).toBe(sent);
    }
    // Noon in UTC is one o'clock in Lisbon's summer.
    expect((await column("Bucket begins")).at(-1)).toBe("1 May 2026, 13:00");
    await expect.poll(() => page.locator("#chart canvas").count()).toBe(1);
  });

  it("opens at its top on the view that moves, in words that hold, with units", async () => {
    await page.goto(layers.url("/docs"));
    await page.goto(layers.url("/"));
    await page.getByRole("heading", { name: "everything" }).waitFor();
    await page.getByRole("link", { name: /^everything changed (just now|\d+ s ago) up to date$/ }).waitFor();
    await page.getByRole("link", { name: "active-buyers no events yet up to date" }).waitFor();
    await expect.poll(() => page.locator("#table th").allTextContents()).toContain("ticks events");
    await page.setViewportSize({ width: 1280, height: 400 });
    await page.evaluate("scrollTo(0, document.documentElement.scrollHeight)");
    expect(await page.evaluate("scrollY")).toBeGreaterThan(0);
    await page.getByRole("link", { name: "active-buyers" }).click();
    await expect.poll(() => page.evaluate("scrollY")).toBe(0);
    await page.setViewportSize({ width: 1280, height: 900 });
    await page.getByRole("link", { name: "everything" }).click();
    await expect.poll(() => total("ticks")).toBe(sent);
  });

  it("follows what is chosen, by keyboard too, and keeps it over a reload", async () => {
    await page.getByRole("combobox", { name: "Grouped by" }).focus();
    await page.keyboard.type("place");
    await expect.poll(async () => [...new Set(await column("place"))].sort()).toEqual(["harbour", "quay"]);
    await page.getByRole("combobox", { name: "Measure" }).selectOption("total");
    await page.getByRole("combobox", { name: "Buckets of" }).selectOption("1h");
    await expect.poll(() => column("ticks")).toEqual(["40", "40"]);
    await page.reload();
    await expect.poll(() => column("ticks")).toEqual(["40", "40"]);
    expect(await page.getByRole("combobox", { name: "Measure" }).inputValue()).toBe("total");
    expect(page.url()).toContain("by=place");
  });

  it("says in words above everything else what fails again and again, until it does not", async () => {
    const [failures, close] = failuresOf(layers.namespace);
    const failure = { kind: "view", name: "everything", views: ["everything"], code: "LOG_TRUNCATED" } as const;
    const message = "the log is <b>shorter</b> than before";
    const atMs = Date.now();
    await failures.write([{ ...failure, message, hint: "Look at Kafka.", failures: 3, sinceMs: atMs, atMs }], []);
    const region = page.getByRole("status", { name: "Problems" });
    await region.getByText("The view everything is stopped since").waitFor();
    expect(await region.textContent()).toContain(message);
    await page.getByRole("link", { name: "does not grow" }).waitFor();
    await failures.write([], ["view/everything"]);
    await region.waitFor({ state: "hidden" });
    close();
  });

  it("fits a small screen", async () => {
    await page.setViewportSize({ width: 360, height: 700 });
    // Charts are drawn again a moment after the window has changed.
    await expect.poll(() => page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    await page.setViewportSize({ width: 1280, height: 900 });
  });

  it("says that the server has gone, and goes on when it is back", async () => {
    await layers.serving?.close();
    await page.getByText("Disconnected").waitFor({ timeout: 120_000 });
    expect(await column("ticks")).toEqual(["40", "40"]);
    await layers.restart();
    await page.getByText("Connected", { exact: true }).waitFor({ timeout: 120_000 });
    await send(20);
    await expect.poll(() => column("ticks")).toEqual(["50", "50"]);
  });

  it("ran into nothing: no error, no request to elsewhere, nothing that its policy forbids", () => {
    expect(shown.complaints.filter((one) => !one.includes("ERR_CONNECTION_REFUSED"))).toEqual([]);
    expect(strayed).toEqual([]);
  });
});
