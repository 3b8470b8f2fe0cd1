import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ApiKey, hashOf, parseToken, tokenOf } from "../../core/access/api-key.ts";
import { ApiKeys } from "../../store/api-keys/api-keys.ts";
import { everything, type Tick } from "../fixtures/events/views.ts";
import { Layers } from "../fixtures/servers/layers.ts";
import { launchBrowser } from "../fixtures/servers/open-page.ts";

let home: string;
let keys: ApiKeys;
let layers: Layers;
let browser: Browser;

beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-page-keys-"));
  keys = new ApiKeys(home);
  layers = await Layers.open([everything], { apiKeys: { home, isRequired: true } });
  browser = await launchBrowser();
});
afterAll(async () => {
  await browser?.close();
  await layers?.close();
  await rm(home, { recursive: true });
});

async function made(name: string): Promise<[key: ApiKey, token: string]> {
  const id = randomBytes(6).toString("hex");
  const token = tokenOf(id, randomBytes(32));
  const times = { createdAtMs: Date.now(), expiresAtMs: null, revokedAtMs: null };
  const key: ApiKey = {
    ...{ id, name, hash: hashOf(parseToken(token)?.secret ?? ""), actions: ["read"], only: null },
    ...times,
  };
  await keys.add(key);
  return [key, token];
}

it("the page asks for a key where one is required, follows a view with it, and asks again when it is revoked", async () => {
  const tick = (id: string): Tick => {
    const at = Date.parse("2026-05-01T12:00:00Z");
    return { id, at, place: "quay", good: true, amount: 1, tip: 1, test: false };
  };
  await layers.produce("ticks", [tick("a"), tick("b")]);
  const [first, firstToken] = await made("first");
  const [, secondToken] = await made("second");
  const page = await browser.newPage();
  const enter = async (token: string) => {
    await page.getByLabel("API key").fill(token);
    await page.getByRole("button", { name: "Use it" }).click();
  };
  await page.goto(layers.url("/"));
  await page.getByText("this needs an API key").waitFor();
  await enter("nonsense \u2603");
  await page.getByText("the Authorization header has no API key").waitFor();
  await enter(firstToken);
  await page.getByText("Connected", { exact: true }).waitFor();
  expect(await page.locator("#key").isVisible()).toBe(false);
  const ticks = () => page.locator("#table tbody tr").count();
  await expect.poll(ticks).toBe(1);
  await keys.revoke(first, Date.now());
  await page.getByText("the API key first was revoked").first().waitFor();
  await enter(secondToken);
  await page.getByText("Connected", { exact: true }).waitFor();
  const another = { ...tick("c"), at: tick("c").at + 7_200_000 };
  await layers.produce("ticks", [another]);
  await expect.poll(ticks).toBeGreaterThan(1);
  expect(page.url()).not.toContain("tideline_");
});
