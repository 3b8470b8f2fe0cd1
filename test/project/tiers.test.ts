import { readdir, readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { LONG, MODULES, SYSTEM, UNIT } from "../tiers.ts";

const root = new URL("../..", import.meta.url);
const files = (await readdir(new URL("test", root), { recursive: true })).map((name) => `test/${name}`);

test("every file of a tier exists, and none is in two tiers", async () => {
  const listed = [...UNIT, ...MODULES, ...SYSTEM, ...LONG].filter((file) => !file.includes("*"));
  expect(listed.filter((file) => !files.includes(file))).toEqual([]);
  expect(listed.filter((file, index) => listed.indexOf(file) !== index)).toEqual([]);
});

test("no file of the tiers without servers asks for one, nor a file of test/ that it imports", async () => {
  const seen = new Set<string>();
  const asking: string[] = [];
  const visit = async (file: string) => {
    if (seen.has(file) || !files.includes(file)) return;
    seen.add(file);
    const text = await readFile(new URL(file, root), "utf8");
    if (/\bimport \{[^}]*\binject\b[^}]*\} from "vitest"/.test(text)) asking.push(file);
    for (const [, path = ""] of text.matchAll(/from "(\.{1,2}\/[^"]+\.ts)"/g)) await visit(join(dirname(file), path));
  };
  for (const file of [...UNIT, ...MODULES]) await visit(file);
  expect(asking).toEqual([]);
});
