import { expect, test } from "vitest";
import { filledPlace, useServers } from "./place.ts";

/**
 * Answers whole, as clients see them: status, type and body. A change of the API shows as a change of the file:
 * `vitest -u` writes it. What they have to be is not decided here; `answers.test.ts` compares with a plain fold.
 */

useServers();

const RANGE = "from=2026-03-01T00:00:00Z&to=2026-03-02T00:00:00Z";
const PATHS = [
  `/views/takings?${RANGE}&every=1d&by=`,
  `/views/takings?${RANGE}&every=6h&by=floor&measures=sales,cents,mean`,
  `/views/takings?${RANGE}&every=3h&by=shop&where[shop]=north&where[shop]=null&measures=buyers`,
  `/views/takings?${RANGE}&every=1h&window=3h&by=online&limit=5&order=-cents,online`,
  `/views/takings?${RANGE}&every=1d&zone=Asia/Kolkata&by=online`,
  `/views/takings?from=2026-03-01T01:30:00Z&to=2026-03-01T02:30:00Z&every=1h&by=`,
  `/views/takings?${RANGE}&every=12h&by=shop,online&format=csv`,
  `/views/takings?${RANGE}&every=12h&by=online&numbers=text`,
  "/views/takings?from=2020-01-01&to=2020-01-02&by=",
  "/views/takings?every=7x&by=nobody&limit=-1&colour=red",
  "/views/nothing",
  "/views/unborn?by=",
  "/views/takings/keys?dimension=shop&limit=3",
  "/nowhere",
];

test("answers and refusals are as their file has them", async () => {
  const { at } = await filledPlace();
  const seen = [];
  for (const path of PATHS) {
    const { status, type, text } = await at.ask(path);
    seen.push(`GET ${path}\n${status} ${type}\n${shown(type, text)}\n`);
  }
  await expect(seen.join("\n")).toMatchFileSnapshot("answers/takings.txt");
});

/** The body, one line for each field, row and column; how old the answer is differs each time. */
function shown(type: string, text: string): string {
  if (!type.includes("json")) return text.replaceAll("\r\n", "\n");
  const body: Record<string, unknown> = JSON.parse(text);
  return Object.entries(body)
    .map(([name, value]) => `${name}: ${name === "freshnessMs" ? typeof value : lines(value)}`)
    .join("\n");
}

function lines(value: unknown): string {
  if (Array.isArray(value)) return value.map((one) => `\n  ${JSON.stringify(one)}`).join("");
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  return Object.entries(value)
    .map(([name, one]) => `\n  ${name}: ${JSON.stringify(one)}`)
    .join("");
}
