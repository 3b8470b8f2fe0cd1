import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DuckDBBitValue, type DuckDBValue } from "@duckdb/node-api";
import { afterAll, beforeAll, expect, test } from "vitest";
import { sql } from "../../../core/contract/sql.ts";
import { componentsOf } from "../../../core/definition/components.ts";
import { table } from "../../../core/definition/table.ts";
import type { View } from "../../../core/definition/view.ts";
import type { Manifest, StateFile } from "../../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { ZERO } from "../../../core/log/position.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { randomNumbers, seedState } from "../../../core/numbers/random.ts";
import { ANSWER_LIMITS } from "../../../core/query/budget.ts";
import { planTable } from "../../../core/query/tables/table-query.ts";
import { stateSql } from "../../../core/state/compile.ts";
import type { BatchPlan } from "../../../serving/read/batch/batch-sql.ts";
import { BatchStates } from "../../../serving/read/batch/batch-states.ts";
import { DuckQueue, type OnChunk } from "../../../serving/read/batch/duck-queue.ts";
import { KeyFilters } from "../../../serving/read/batch/key-filters.ts";
import { eventColumns } from "../../../store/decode/events.ts";
import { type Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { customerChanges } from "../../fixtures/events/customer-changes.ts";

/**
 * A question for single keys leaves out the files that have none of them, and misses nothing of those that have: with
 * keys of each type and of several parts, and files that share some keys.
 */

const changes = customerChanges("keyed-changes", 1);
const measures = { changes: count(), total: sum(sql`visits`) };
const TABLES = {
  text: table("by-text", { stream: changes, key: sql`customer`, measures }),
  integer: table("by-integer", { stream: changes, key: sql`visits`, measures }),
  boolean: table("by-flag", { stream: changes, key: sql`coalesce(member, false)`, measures }),
  decimal: table("by-decimal", { stream: changes, key: sql`balance`, measures }),
  parts: table("by-parts", { stream: changes, key: { a: sql`customer`, b: sql`balance`, c: sql`visits` }, measures }),
  latest: table("by-newest", { stream: changes, key: sql`customer` }),
};
const FILES = 8;
const EVENTS_A_FILE = 150;
const ODD = ["", "null", '"null"', "a/b", "tab\t", "Zürich", "東京 🦔", "it's", "x\u001fy", "%"];

interface Event {
  readonly customer: string;
  readonly visits: number;
  readonly member: boolean;
  readonly balance: number;
}

let folder = "";
let pool: DuckPool;
let duck: Duck;
let data: DataDirectory;
let ducks: DuckQueue;
/** How many files each statement was over. */
let read: number[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-key-filters-"));
  data = new DataDirectory(folder);
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  duck = await pool.connect();
  ducks = await DuckQueue.open(pool, { connections: 2, maxWaiting: 100, timeoutMs: 60_000 });
});
afterAll(async () => {
  ducks.close();
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

/** The same events for the same number of a file: some keys are in one file only, some in all. */
function eventsOf(file: number): Event[] {
  const random = randomNumbers(seedState(7), file);
  return Array.from({ length: EVENTS_A_FILE }, (_, index) => {
    const own = index % 3 === 0 ? index % 30 : file * 1_000 + Math.floor(random() * 500);
    const odd = index % 40 === 0 ? (ODD[(index / 40 + file) % ODD.length] ?? "") : "";
    return { customer: `c${own}${odd}`, visits: own, member: false, balance: (own - 400) * 25 };
  });
}

async function fileOf(of: View, events: readonly Event[]): Promise<StateFile> {
  await duck.run(`CREATE OR REPLACE TABLE events (${eventColumns(changes)})`);
  const types = '[{"customer":"VARCHAR","visits":"BIGINT","member":"BOOLEAN","balance":"BIGINT"}]';
  await duck.run(
    `INSERT INTO events BY NAME SELECT 0 AS _partition, row_number() OVER () AS _offset, 'e' || _offset AS id, ` +
      `1767225600000 AS at, 'set' AS op, 'e' || _offset AS _id, false AS _duplicate, NULL AS _reject, * ` +
      "FROM (SELECT unnest(from_json($1::VARCHAR, $2), recursive := true))",
    [JSON.stringify(events), types],
  );
  const file = await data.attempt("states", "keyed", "parquet");
  await duck.run(`COPY (${stateSql(of, "events")}) TO '${data.path(file)}' (FORMAT parquet)`);
  const [[rows] = []] = (await duck.runAndReadAll(`SELECT count(*) FROM '${data.path(file)}'`)).getRows();
  return { file, rows: Number(rows), ...(await data.settle(file)) };
}

const versionOf = (files: readonly StateFile[]): Manifest => ({
  ...{ generation: "g", version: 1, base: new Map([[0, ZERO]]), cut: new Map([[0, ZERO]]), files: [...files] },
  ...{ ledger: EMPTY_LEDGER, topicId: "t", createdBy: "t", createdAtMs: 0 },
});

/** Keeps nothing of what it read, so that each question reads files; counts the files that it reads. */
function statesOf(): BatchStates {
  const counted = {
    read: (text: string, values: DuckDBValue[], onChunk: OnChunk) => {
      if (text.includes("FILTER (component")) read.push(text.match(/\.parquet'/g)?.length ?? 0);
      return ducks.read(text, values, onChunk);
    },
  };
  return new BatchStates(data, counted as unknown as DuckQueue, { maxCachedCells: 0, limits: ANSWER_LIMITS });
}

function planOf(of: View, keys: readonly (readonly string[])[]): BatchPlan {
  const plan = planTable(of, { keys });
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  const { fromMs, toMs, everyMs, by, where } = plan.question.query;
  const components = componentsOf(of);
  return { view: of, fromMs: fromMs ?? 0, toMs: toMs ?? 0, everyMs, calendar: null, by, where, components };
}

/** The key of an event as a client writes it. */
function keyOf(of: View, { customer, visits, member, balance }: Event): string[] {
  const text = { customer, visits: String(visits), balance: (balance / 100).toFixed(2) };
  if (of === TABLES.parts) return [text.customer, text.balance, text.visits];
  if (of === TABLES.integer) return [text.visits];
  if (of === TABLES.boolean) return [String(member)];
  return [of === TABLES.decimal ? text.balance : text.customer];
}

for (const [name, of] of Object.entries(TABLES))
  test(`keys of ${name}: filtered files have all that all files have`, async () => {
    const files: StateFile[] = [];
    const holders = new Map<string, { readonly key: string[]; readonly files: Set<number>; events: number }>();
    for (let file = 0; file < FILES; file++) {
      const events = eventsOf(file);
      files.push(await fileOf(of, events));
      for (const event of events) {
        const key = keyOf(of, event);
        const text = JSON.stringify(key);
        const held = holders.get(text) ?? { key, files: new Set(), events: 0 };
        holders.set(text, { ...held, files: held.files.add(file), events: held.events + 1 });
      }
    }
    const manifest = versionOf(files);
    const states = statesOf();
    const eventsSeen = async (...keys: readonly string[][]) => {
      const { tiles } = await states.cells(manifest, planOf(of, keys));
      const groups = tiles.flatMap((tile) => tile.groups);
      return groups.map(({ values }) => Number(new Map(values).get("rows"))).sort();
    };
    const [first] = holders.values();
    read = [];
    expect(await eventsSeen(first?.key ?? [])).toEqual([first?.events]);
    // Nothing is known of the files: all of them are read.
    expect(read).toEqual([FILES]);
    await states.idle();

    const asked = [...holders.values()].filter((_, index) => index % 7 === 0 || holders.size < 20);
    read = [];
    for (const { key, events } of asked) expect(await eventsSeen(key), JSON.stringify(key)).toEqual([events]);
    const total = read.reduce((sum, one) => sum + one, 0);
    const having = asked.reduce((sum, one) => sum + one.files.size, 0);
    expect(total).toBeGreaterThanOrEqual(having);
    // One other key in seventy passes a filter.
    expect(total).toBeLessThanOrEqual(having + asked.length * FILES * 0.1);

    const [one, other] = [asked[0], asked.at(-1)];
    if (one === undefined || other === undefined || one === other) return;
    expect(await eventsSeen(one.key, other.key)).toEqual([one.events, other.events].sort());
  });

/** Filters over made-up files; `read` tells how often each file was read. */
function filtersOf(answer: (file: string, stopped: AbortSignal) => Promise<DuckDBValue[]>, mostBytes?: number) {
  const read: string[] = [];
  const filters = new KeyFilters((file, _statement, stopped) => {
    read.push(file.file);
    return answer(file.file, stopped);
  }, mostBytes);
  const files = ["a", "b"].map((file) => ({ file, bytes: 1, rows: 1_000, sha256: "" }) as unknown as StateFile);
  const plan = planOf(TABLES.text, [["c1"]]);
  const ask = async () => {
    const left = filters.among(files, plan).map(({ file }) => file);
    await filters.idle();
    return left;
  };
  return { filters, read, ask };
}

test("a filter for which there is no room, or that cannot be made, is not made again with each question", async () => {
  const none = DuckDBBitValue.fromLengthAndPredicate(4_096, () => false);
  const one = filtersOf(async () => [none], none.data.length + 10);
  expect(await one.ask()).toEqual(["a", "b"]);
  for (let again = 0; again < 5; again++) expect(await one.ask()).toEqual(["b"]);
  expect(one.read).toEqual(["a", "b"]);

  const failing = filtersOf(async () => Promise.reject(new Error("no memory")));
  for (let again = 0; again < 5; again++) expect(await failing.ask()).toEqual(["a", "b"]);
  expect(failing.read).toEqual(["a", "b"]);
});

test("closing ends the filter that is being made, and makes no other", async () => {
  const { filters, read } = filtersOf(
    (_file, stopped) =>
      new Promise((_resolve, reject) => stopped.addEventListener("abort", () => reject(stopped.reason))),
  );
  const plan = planOf(TABLES.text, [["c1"]]);
  const files = ["a", "b", "c"].map((file) => ({ file, rows: 10 }) as unknown as StateFile);
  expect(filters.among(files, plan)).toHaveLength(3);
  await expect.poll(() => read).toEqual(["a"]);
  await filters.close();
  expect(filters.among(files, plan)).toHaveLength(3);
  await filters.idle();
  expect(read).toEqual(["a"]);
});
