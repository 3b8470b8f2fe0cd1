import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";

const ROOMS = ["activities", "batch-layer", "cli", "core", "monitor", "rules", "serving", "speed-layer", "store"];

/** The files that the page names; where it names several, those after the first one without their folder. */
async function named(): Promise<string[]> {
  const page = await readFile("docs/internals/caches.md", "utf8");
  return page.split("\n").flatMap((line) => {
    const [, , where = ""] = line.startsWith("| ") ? line.split("|") : [];
    const [first = "", ...others] = [...where.matchAll(/`([^`]+\.ts)`/g)].map(([, name = ""]) => name);
    if (first === "") return [];
    const whole = ROOMS.some((room) => first.startsWith(`${room}/`)) ? first : `serving/${first}`;
    return [whole, ...others.map((name) => join(whole, "..", name))];
  });
}

async function sources(): Promise<string[]> {
  const found = await Promise.all(
    ROOMS.map(async (room) => (await readdir(room, { recursive: true })).map((name) => join(room, name))),
  );
  return found.flat().filter((name) => name.endsWith(".ts"));
}

test("the page of caches names each file that has one, and no other", async () => {
  const files = await sources();
  const pages = await named();
  expect(pages.length).toBeGreaterThan(30);
  expect(pages.filter((file) => !files.includes(file))).toEqual([]);
  const caching: string[] = [];
  for (const file of files) {
    const text = await readFile(file, "utf8");
    if (/new (WeightedCache|WeakMap)\b|#(known|kept) = new Map\b/.test(text)) caching.push(file);
  }
  expect(caching.length).toBeGreaterThan(10);
  expect(caching.filter((file) => !pages.includes(file))).toEqual([]);
});
