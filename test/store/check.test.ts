import { randomUUID } from "node:crypto";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Kafka, logLevel } from "kafkajs";
import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { checkMarkdown } from "../../cli/check/check-markdown.ts";
import { checkText } from "../../cli/check/check-text.ts";
import { Archive } from "../../store/archive/archive.ts";
import { type CheckReport, checkDefinitions } from "../../store/check/check.ts";
import type { Finding } from "../../store/check/findings.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { Generations } from "../../store/definitions/generations.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import { openRegistry } from "../../store/registry/registry-open.ts";
import { Schemas } from "../../store/registry/registry-schemas.ts";
import { poolForTests } from "../fixtures/oracles/duck.ts";
import { Installation } from "../fixtures/servers/installation.ts";

/** `tideline check` over a log with differences that the test made: it finds these, and no others. */

const brokers = inject("kafkaBrokers");
const kafka = new Kafka({ brokers: brokers.split(","), logLevel: logLevel.NOTHING });
const unique = randomUUID().slice(0, 8);
const topic = `check-${unique}`;
const root = join(process.cwd(), ".tideline", `check-${unique}`);
const pool = poolForTests();
const log = new LogReader({ brokers, clientId: "check-test" });

/** What is different in the files of a pull request. */
interface Changes {
  readonly revision?: number;
  readonly most?: number;
  readonly points?: number;
  readonly window?: number;
  readonly paid?: string;
  readonly extra?: string;
}

const file = ({ revision = 1, most = 1000, points = 0, window = 100, paid, extra }: Changes) => `
import { count, instant, integer, sql, stream, sum, text, view, withDefault } from "tideline";
export const orders = stream("orders", {
  topic: "${topic}", revision: ${revision}, partitions: 2, dedupWindow: ${window},
  key: "id", eventId: "id", eventTime: "at",
  fields: {
    id: text(), at: instant(), amount: integer({ min: 0, max: ${most} }), shop: text(),
    points: withDefault(integer({ min: 0, max: 9 }), ${points}),
  },
});
const by = { shop: sql\`shop\` };
export const totals = view("totals", {
  stream: orders, by, every: "1 minute",
  measures: { orders: count(), amount: sum(sql\`amount\`), points: sum(sql\`points\`) },
});
${
  paid === undefined
    ? ""
    : `export const paid = view("paid", {
  stream: orders, by, where: sql\`${paid}\`, every: "1 minute",
  measures: { orders: count(), amount: sum(sql\`amount\`) },
});`
}
${extra ?? ""}
`;

const PAID = "shop <> 'test'";
const START_MS = Date.parse("2026-03-01T08:00:00Z");

interface Sent {
  readonly partition: number;
  readonly id: string;
  readonly amount: number;
  readonly shop: string;
  readonly points?: number;
}

/**
 * 400 plain orders and, in known places of partition 1, what the changes below concern. The oldest lies before the last
 * 300.
 */
function orders(): Sent[] {
  const sent: Sent[] = [{ partition: 1, id: "old", amount: 900, shop: "a", points: 1 }];
  for (let index = 0; index < 400; index++)
    sent.push({ partition: index % 2, id: `o${index}`, amount: index % 300, shop: "abc"[index % 3] ?? "a", points: 1 });
  for (const id of ["large-1", "large-2", "large-3"])
    sent.push({ partition: 1, id, amount: 700, shop: "a", points: 1 });
  for (const id of ["bare-1", "bare-2"]) sent.push({ partition: 1, id, amount: 10, shop: "b" });
  for (const id of ["demo-1", "demo-2"]) sent.push({ partition: 1, id, amount: 20, shop: "demo", points: 1 });
  sent.push({ partition: 1, id: "test-1", amount: 40, shop: "test", points: 1 });
  for (const id of ["o397", "o399"]) sent.push({ partition: 1, id, amount: 30, shop: "c", points: 1 });
  return sent;
}

const sent = orders();
/** By id, the last place where it lies. */
const places = new Map<string, string>();
let home: string;
let data: DataDirectory;
let tideline: Installation;

async function folder(name: string, changes: Changes): Promise<string> {
  const path = join(root, name);
  await mkdir(path, { recursive: true });
  await writeFile(join(path, "orders.ts"), file(changes));
  return path;
}

beforeAll(async () => {
  await ensureTopics(brokers, [{ name: topic, partitions: 2 }]);
  const next = [0, 0];
  const messages = sent.map(({ partition, ...order }, index) => {
    const offset = next[partition] ?? 0;
    next[partition] = offset + 1;
    places.set(order.id, `${partition}:${offset}`);
    const at = START_MS + (index % 10) * 60_000;
    const value = JSON.stringify({ ...order, at });
    return { partition, key: order.id, value, timestamp: String(START_MS + index) };
  });
  const producer = kafka.producer();
  await producer.connect();
  await producer.send({ topic, acks: -1, messages });
  await producer.disconnect();
  const before = await folder("before", { paid: PAID });
  tideline = await Installation.open("check", { TIDELINE_SCHEMAS: before, TIDELINE_VIEWS: before });
  home = tideline.home;
  data = new DataDirectory(join(home, "data"));
  await new Generations(data).register(await loadDefinitions({ schemas: [before], views: [before] }), "test");
});

afterAll(async () => {
  await log.close();
  await tideline?.close();
  await rm(root, { recursive: true, force: true });
});

interface Asked {
  readonly last?: number;
  readonly view?: string;
  /** What runs: its data directory. */
  readonly of?: DataDirectory;
}

async function checked(changes: Changes, { last = 300, view, of = data }: Asked = {}) {
  const path = await folder(randomUUID(), changes);
  const definitions = await loadDefinitions({ schemas: [path], views: [path] });
  const schemas = Schemas.withoutTrace(data, openRegistry(data, null));
  const sources = { data: of, archive: new Archive(of), log, schemas, pool: pool() };
  const signal = new AbortController().signal;
  const request = { definitions, namespace: "", last, view: view ?? null, signal, onRecords: () => {} };
  return checkDefinitions(sources, request);
}

const found = (findings: readonly Finding<string>[]) =>
  findings.map(({ kind, detail, records, examples }) => [
    kind,
    detail,
    records,
    examples.map(({ position }) => position),
  ]);
const at = (...ids: string[]) => ids.map((id) => places.get(id));
const viewOf = ({ views }: CheckReport, name: string) => views.find(({ view }) => view === name);
const sumOf = (orders: readonly Sent[]) => orders.reduce((sum, { amount }) => sum + amount, 0);
/** As a view over the last 300 records counts them: without the two repeats. */
const LAST = sent.slice(-300, -2);
const LAST_PAID = LAST.filter(({ shop }) => shop !== "test");

test("the definitions that run are the same", async () => {
  const report = await checked({ paid: PAID });
  expect(report.same).toBe(true);
  expect(report.streams.map(({ stream, status, read }) => [stream, status, read])).toEqual([["orders", "same", null]]);
  expect(report.views.map(({ view, status }) => [view, status])).toEqual([
    ["paid", "same"],
    ["totals", "same"],
  ]);
});

test("a changed contract refuses, reads differently and counts twice exactly what the test changed", async () => {
  const report = await checked({ paid: PAID, revision: 2, most: 500, points: 5, window: 1 });
  const [stream] = report.streams;
  expect(report.same).toBe(false);
  expect(stream?.read?.records).toBe(300);
  expect(stream?.refusals).toEqual([]);
  expect(stream?.changes).toEqual([
    "dedupWindow was 100 and is now 1",
    "fields.amount.max was 1000 and is now 500",
    "fields.points.value was 0 and is now 5",
  ]);
  const tooBig = expect.stringMatching(/^contract: amount: /);
  expect(found(stream?.findings ?? [])).toEqual([
    ["refused", tooBig, 3, at("large-1", "large-2", "large-3")],
    ["no duplicate", "its id came before", 2, at("o397", "o399")],
    ["read differently", "points", 2, at("bare-1", "bare-2")],
  ]);
  const totals = viewOf(report, "totals");
  expect(found(totals?.differences?.records ?? [])).toEqual([
    ["counted no more", expect.stringMatching(/^refused: contract: amount: /), 3, at("large-1", "large-2", "large-3")],
    ["counted now", "duplicate", 2, at("o397", "o399")],
    ["counted otherwise", "points", 2, at("bare-1", "bare-2")],
  ]);
  expect(totals?.differences?.measures).toMatchObject({
    orders: { before: 298, after: 297 },
    amount: { before: sumOf(LAST), after: sumOf(LAST) - 3 * 700 + 2 * 30 },
  });
  // The three large orders lie in as many minutes, and so do the others.
  expect(totals?.differences?.cells.different).toBe(7);
  // The first ones of the repeats lie before the last five records.
  const few = await checked({ paid: PAID, revision: 2, window: 1 }, { last: 5 });
  expect(found(few.streams[0]?.findings ?? [])).toEqual([
    ["no duplicate", "its id came before", 2, at("o397", "o399")],
  ]);
  const whole = await checked({ paid: PAID, revision: 2, most: 500, points: 5, window: 1 }, { last: 10_000 });
  expect(found(whole.streams[0]?.findings ?? [])[0]).toEqual([
    "refused",
    tooBig,
    4,
    at("old", "large-1", "large-2", "large-3"),
  ]);
});

test("a changed view counts otherwise exactly what the test changed, and others stay as they are", async () => {
  const report = await checked({ paid: "shop NOT IN ('test', 'demo')", extra: NEWCOMER });
  expect(report.streams.map(({ status }) => status)).toEqual(["same"]);
  expect(report.views.map(({ view, status }) => [view, status])).toEqual([
    ["newcomer", "new"],
    ["paid", "changed"],
    ["totals", "same"],
  ]);
  const differences = viewOf(report, "paid")?.differences;
  expect(found(differences?.records ?? [])).toEqual([
    ["counted no more", "where is not true", 2, at("demo-1", "demo-2")],
  ]);
  expect(differences?.cells.different).toBe(2);
  expect(differences?.examples.map(({ cell, before, after }) => [cell.shop, before, after])).toEqual([
    ["demo", { orders: 1, amount: 20 }, null],
    ["demo", { orders: 1, amount: 20 }, null],
  ]);
  expect(differences?.measures.amount).toEqual({
    different: 2,
    before: sumOf(LAST_PAID),
    after: sumOf(LAST_PAID) - 40,
  });
  const wider = viewOf(await checked({ paid: "shop IS NOT NULL" }), "paid")?.differences;
  expect(found(wider?.records ?? [])).toEqual([["counted now", "where is not true", 1, at("test-1")]]);
  expect(wider?.examples).toEqual([
    {
      cell: { bucket: expect.stringContaining("2026-03-01T08:"), shop: "test" },
      before: null,
      after: { orders: 1, amount: 40 },
    },
  ]);
  const one = await checked({ paid: "shop <> 'demo'" }, { view: "totals" });
  expect([one.same, one.views.map(({ view }) => view)]).toEqual([true, ["totals"]]);
});

const NEWCOMER =
  `export const newcomer = view("newcomer", { stream: orders, every: ` + `"1 day", measures: { orders: count() } });`;

test("a changed table differs in the rows of exactly the keys that the test changed", async () => {
  const shops = (where: string) => `
    import { table } from "tideline";
    export const shops = table("shops", { stream: orders, key: sql\`shop\`, where: sql\`${where}\` });
  `;
  const before = await folder("table", { paid: PAID, extra: shops("amount <> 30") });
  const definitions = await loadDefinitions({ schemas: [before], views: [before] });
  const other = new DataDirectory(join(home, "with-table"));
  await new Generations(other).register(definitions, "test");
  const report = await checked({ paid: PAID, extra: shops("true") }, { view: "shops", of: other });
  const differences = viewOf(report, "shops")?.differences;
  // Orders of 30 are the repeats, and one of each 300 plain ones.
  const now = found(differences?.records ?? []);
  expect(now).toEqual([["counted now", "where is not true", 1, at("o330")]]);
  expect(differences?.cells).toEqual({ before: 5, after: 5, different: 0 });
  const moved = await checked(
    { paid: PAID, extra: shops("shop <> 'demo' AND amount <> 30") },
    { view: "shops", of: other },
  );
  expect(viewOf(moved, "shops")?.differences?.examples).toEqual([
    { cell: { shop: "demo" }, before: { latest: expect.objectContaining({ id: "demo-2", amount: 20 }) }, after: null },
  ]);
  const view = 'export const shops = view("shops", { stream: orders, every: "1 day", measures: { orders: count() } });';
  const turned = await checked({ paid: PAID, extra: view }, { view: "shops", of: other });
  expect([turned.same, viewOf(turned, "shops")?.changes[0]]).toEqual([false, "it was a table and is now a view"]);
});

test("a view without a file, and a contract that changes under its revision, are differences", async () => {
  const removed = await checked({});
  expect([removed.same, viewOf(removed, "paid")?.status]).toEqual([false, "removed"]);
  const kept = await checked({ paid: PAID, most: 999 });
  expect(kept.same).toBe(false);
  expect(kept.streams[0]?.refusals).toEqual([
    "stream orders: fields.amount.max was 1000 and is now 999; but its revision is still 1",
  ]);
  expect(kept.streams[0]?.findings).toEqual([]);
  await expect(checked({}, { view: "piad" })).rejects.toMatchObject({ code: "VIEW_UNKNOWN" });
});

test("the report reads as text and as Markdown", async () => {
  const report = await checked({ paid: "shop NOT IN ('test', 'demo')" });
  const text = checkText(report);
  expect(text).toContain("view paid: changed, compared over 300 records (");
  expect(text).toContain("  2 records would not be counted any more: where is not true\n");
  expect(text).toMatch(/ {4}1:\d+ demo-1 {2}\{"bucket":"2026-03-01T08:/);
  const markdown = checkMarkdown(report);
  expect(markdown).toContain("### View `paid`: changed");
  expect(markdown).toContain(`| \`amount\` | 2 | \`${sumOf(LAST_PAID)}\` | \`${sumOf(LAST_PAID) - 40}\` |`);
  const hostile = { ...report, streams: [{ ...report.streams[0], changes: ["<b>| `x` \u001b"], status: "changed" }] };
  expect(checkMarkdown(hostile as unknown as CheckReport)).toContain("- \\<b\\>\\| \\`x\\` \\u001b");
});

test("the exit code is 0 for no differences, 1 for differences, and 2 for what cannot be checked", async () => {
  const changed = await folder("changed", { paid: "shop = 'a'" });
  const empty = await mkdtemp(join(tmpdir(), "tideline-check-"));
  const env = { TIDELINE_NAMESPACE: "" };
  const run = (more: Record<string, string>, ...args: string[]) =>
    tideline.beginWith({ ...env, ...more }, "check", ...args);
  const [same, differs, unchecked] = await Promise.all([
    run({}),
    run({ TIDELINE_SCHEMAS: changed, TIDELINE_VIEWS: changed }, "--format", "json", "--last", "50"),
    run({ TIDELINE_HOME: empty }),
  ]);
  await rm(empty, { recursive: true, force: true });
  expect([same.exitCode, differs.exitCode, unchecked.exitCode]).toEqual([0, 1, 2]);
  expect(same.stdout).toContain("No differences");
  expect((JSON.parse(differs.stdout) as CheckReport).views.map(({ status }) => status)).toEqual(["changed", "same"]);
  expect(unchecked.stderr).toContain("NOT_READY: nothing runs here yet");
});
