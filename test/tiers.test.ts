import { readdir, readFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { SYSTEM, UNIT } from "./tiers.ts";

test("every file of a tier exists, and none is in two tiers", async () => {
  const folder = new URL(".", import.meta.url);
  const files = (await readdir(folder, { recursive: true })).map((name) => `test/${name}`);
  const listed = [...UNIT, ...SYSTEM].filter((file) => !file.includes("*"));
  expect(listed.filter((file) => !files.includes(file))).toEqual([]);
  expect(UNIT.filter((file) => SYSTEM.includes(file))).toEqual([]);
});

test("no file of the unit tier asks for a server", async () => {
  const asking: string[] = [];
  for (const file of UNIT) {
    const text = await readFile(new URL(`../${file}`, import.meta.url), "utf8");
    if (/\bimport \{[^}]*\binject\b[^}]*\} from "vitest"/.test(text)) asking.push(file);
  }
  expect(asking).toEqual([]);
});
