import type { Page } from "playwright-core";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { type AlertEvent, acknowledgedEvent, alertOf, openedEvent } from "../../core/alerts/alert.ts";
import { alerts, OWN_RULE, type Severity } from "../../core/contract/alerts.ts";
import { sql } from "../../core/contract/sql.ts";
import { rule } from "../../core/definition/rule.ts";
import { alertTopics, ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { produce } from "../fixtures/events/produce.ts";
import { everything } from "../fixtures/events/views.ts";
import { Layers } from "../fixtures/servers/layers.ts";
import { type OpenPage, openPage } from "../fixtures/servers/open-page.ts";

/** The page's section of alerts: somebody sees what the rules have found, and what to do about it. */

const HOSTILE = `<img src=x onerror="window.wasRun = true"> '"; \u202edrow\u0007`;
let layers: Layers;
let shown: OpenPage;
let page: Page;
let offset = 0n;

beforeAll(async () => {
  layers = await Layers.open([everything]);
  await ensureTopics(inject("kafkaBrokers"), [
    { name: layers.topic(alerts.name), partitions: alerts.partitions },
    ...alertTopics(layers.namespace),
  ]);
  shown = await openPage();
  page = shown.page;
});

afterAll(async () => {
  await shown?.close();
  await layers?.close();
});

/** An alert about `key`, an hour after the one before. */
function opened(name: string, severity: Severity, key: string, says: string | null = null): AlertEvent {
  offset += 1n;
  const of = rule(name, { on: everything.stream, key: sql`place`, when: sql`amount > 1`, quiet: "1 minute", severity });
  const atMs = Date.UTC(2026, 4, 1) + Number(offset) * 3_600_000;
  return openedEvent(alertOf({ rule: of, partition: 0, offset, atMs, eventId: `e${offset}`, key, says }));
}

const write = (...events: AlertEvent[]) =>
  produce(
    inject("kafkaBrokers"),
    layers.topic(alerts.name),
    events.map((event) => ({ key: event.subject, value: Buffer.from(JSON.stringify(event)) })),
  );

test("shows the open alerts of rules as they come and go, whatever they say, and the commands to respond", async () => {
  const cells = (nth: number) => page.locator(`#open-alerts tbody td:nth-child(${nth})`).allTextContents();
  const title = () => page.locator("#alerts-title").textContent();
  const high = opened("high-tide", "warning", "quay 1", "4.2 m at quay 1");
  const flood = opened("flood", "critical", HOSTILE, HOSTILE);
  await write(high, { ...opened("other", "critical", "kafka"), rule: OWN_RULE }, flood);
  await page.goto(layers.url("/"));
  await expect.poll(title, { timeout: 30_000 }).toBe("2 open alerts (1 critical, 1 warning)");
  expect(await cells(1)).toEqual(["critical", "warning"]);
  expect(await cells(2)).toEqual(["flood", "high-tide"]);
  expect(await cells(3)).toEqual([HOSTILE, "quay 1"]);
  expect(await cells(4)).toEqual([HOSTILE, "4.2 m at quay 1"]);
  expect(await page.locator("#alerts img").count()).toBe(0);
  expect(await page.evaluate("window.wasRun")).toBeUndefined();

  await page.getByRole("button", { name: "Respond" }).first().click();
  expect(await page.locator("#respond code").allTextContents()).toEqual([
    `npx tideline alerts ack ${flood.subject}`,
    "npx tideline alerts silence flood --for 2h",
    `npx tideline alerts explain ${flood.subject}`,
  ]);

  await write(opened("high-tide", "info", "quay 2"));
  await expect.poll(title, { timeout: 30_000 }).toBe("3 open alerts (1 critical, 1 warning, 1 info)");
  // What was chosen stays chosen.
  expect(await page.locator("#respond code").first().textContent()).toContain(flood.subject);
  await write(acknowledgedEvent({ id: flood.subject, rule: "flood" }, { atMs: Date.now(), author: "ann" }));
  await expect.poll(title, { timeout: 30_000 }).toBe("2 open alerts (1 warning, 1 info)");
  expect(await page.locator("#respond code").count()).toBe(0);

  await write(...Array.from({ length: 230 }, (_, n) => opened("high-tide", "info", `quay ${n}`)));
  await expect.poll(title, { timeout: 30_000 }).toBe("232 open alerts (the newest 200: 200 info)");
  expect(await cells(3)).toHaveLength(20);
  expect(await page.locator("#respond").textContent()).toContain("npx tideline alerts list --state open");
  expect(shown.complaints).toEqual([]);
});
