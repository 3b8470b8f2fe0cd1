import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";

/** What a formatter does not see. */

const MOST_COLUMNS = 120;
const TEXT = /\.(?:ts|js|mjs|lua|css|html|sh|md)$/;

/** The text files below a folder, without packages and what is hidden. */
async function filesIn(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { withFileTypes: true });
  const found = entries.map(async (entry) => {
    const path = join(folder, entry.name);
    if (entry.name.startsWith(".") || entry.name === "node_modules") return [];
    return entry.isDirectory() ? filesIn(path) : TEXT.test(path) ? [path] : [];
  });
  return (await Promise.all(found)).flat();
}

/** Whether a wide line may stay: in Markdown tables, code and links, and in tests their titles. */
function mayBeWide(path: string, line: string, isFenced: boolean): boolean {
  if (path.endsWith(".md")) return isFenced || /^\s*\||^ {4}|\[[^\]]*\]\(\S+\)$/.test(line);
  return path.startsWith("test/") && /^\s*(?:(?:test|it|describe)\b[\w.]*\(|\]\)\()/.test(line);
}

function wideLines(path: string, text: string): string[] {
  let isFenced = false;
  return text.split("\n").flatMap((line, index) => {
    if (/^\s*```/.test(line)) isFenced = !isFenced;
    return line.length <= MOST_COLUMNS || mayBeWide(path, line, isFenced) ? [] : [`${path}:${index + 1}`];
  });
}

test("no message of an error ends with a full stop: its hint comes after it as a sentence", async () => {
  const files = (await filesIn(".")).filter((path) => path.endsWith(".ts") && !path.startsWith("test/"));
  const messages = (text: string) =>
    [...text.matchAll(/new TidelineError\(\s*"[A-Z_]+",\s*(?:`([^`]*)`|"([^"]*)"),/g)].map(
      ([, one, other]) => one ?? other,
    );
  const found = (await Promise.all(files.map(async (path) => messages(await readFile(path, "utf8"))))).flat();
  expect(found.length).toBeGreaterThan(50);
  expect(found.filter((message) => message?.endsWith("."))).toEqual([]);
});

test(`no line has more than ${MOST_COLUMNS} columns`, async () => {
  const files = await filesIn(".");
  expect(files).toEqual(
    expect.arrayContaining(["test/project/tidy.test.ts", "store/redis/scripts/apply.lua", "README.md"]),
  );
  const wide = await Promise.all(files.map(async (path) => wideLines(path, await readFile(path, "utf8"))));
  expect(wide.flat()).toEqual([]);
});
