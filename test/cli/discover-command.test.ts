import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { produce } from "../fixtures/events/produce.ts";
import { Installation } from "../fixtures/servers/installation.ts";

/** `tideline discover`, as people run it. */

const SLOW_MS = 180_000;
const brokers = inject("kafkaBrokers");
const unique = Date.now().toString(36);
const [topic, empty, foreign] = ["Clicks", "Empty", "Foreign"].map((name) => `prod.${name}_${unique}`) as [
  string,
  string,
  string,
];
const folder = join(process.cwd(), ".tideline", `discover-${unique}`);
const schema = join(folder, "schemas", "clicks.ts");
const click = (index: number) => ({
  key: `k${index % 7}`,
  value: Buffer.from(
    index % 50 === 49
      ? "{"
      : JSON.stringify({
          clickId: `c${index}`,
          at: Date.now() - index * 1_000,
          page: { name: ["home", "cart"][index % 2] },
        }),
  ),
});

let tideline: Installation;

beforeAll(async () => {
  await ensureTopics(
    brokers,
    [topic, empty, foreign].map((name) => ({ name, partitions: 3 })),
  );
  await produce(
    brokers,
    topic,
    Array.from({ length: 500 }, (_, index) => click(index)),
  );
  await produce(brokers, foreign, [{ key: "a", value: Buffer.from("<xml/>") }]);
  tideline = await Installation.open("discover", { TIDELINE_SYSTEM: "" });
});

afterAll(async () => {
  await tideline?.close();
  await rm(folder, { recursive: true, force: true });
});

const discover = (...given: string[]) => tideline.begin("discover", ...given);

test("a dry run prints both files and writes none; then they are written, load, and are not overwritten by accident", {
  timeout: SLOW_MS,
}, async () => {
  const flags = [topic, "--name", "clicks", "--to", folder];
  const printed = await discover(...flags, "--dry-run");
  expect(printed.exitCode).toBe(0);
  expect(printed.stdout).toContain(`topic: "${topic}"`);
  expect(printed.stdout).toContain('click_id: text({ from: "$.clickId" })');
  expect(printed.stdout).toContain("export const clicksByPageName = view(");
  // The client that sent them may have sent some again, while the topic's leaders were new.
  expect(printed.stderr).toMatch(/read all \d+ records in 3 partitions\nthe contract has 4 fields/);

  const written = await discover(...flags);
  expect(written.exitCode).toBe(0);
  // One in fifty is not JSON; with records that were sent again it is about as many.
  expect(written.stdout).toMatch(
    /fields and accepts 9[78](\.\d)? % of the records\n {2}\d+ \([123](\.\d)? %\) are refused: not-json; the first is/,
  );
  expect(written.stdout).toContain(`export TIDELINE_SYSTEM=${folder}`);
  expect(await readFile(schema, "utf8")).toContain("revision: 1,");

  expect(await discover(...flags)).toMatchObject({ exitCode: 1, stderr: expect.stringContaining("exist already") });
  expect((await discover(...flags, "--force")).exitCode).toBe(0);
  expect(await readFile(schema, "utf8")).toContain("revision: 2,");

  const other = await discover(topic, "--name", "others", "--to", folder);
  expect(other.stderr).toContain(`topic "${topic}" is read by stream "clicks" already`);
});

test.each([
  [empty, "has no records"],
  [foreign, "1 (100 %) are refused: not-json"],
  [`${topic}x`, `there is no topic "${topic}x"`],
])("of %s it says why there is nothing to write", { timeout: SLOW_MS }, async (name, says) => {
  const { exitCode, stderr } = await discover(name, "--to", folder);
  expect(exitCode).toBe(1);
  expect(stderr).toContain(says);
});

test("without a topic it lists them", { timeout: SLOW_MS }, async () => {
  expect((await discover()).stdout).toContain(`\n  ${topic}\n`);
});
