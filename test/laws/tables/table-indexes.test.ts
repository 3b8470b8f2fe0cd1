import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type { DuckDBValue } from "@duckdb/node-api";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { type BatchStores, UNWATCHED } from "../../../batch-layer/stores.ts";
import { mergeStates } from "../../../batch-layer/versions/compact.ts";
import { joinParts } from "../../../batch-layer/versions/join-parts.ts";
import { nextManifest, publishVersion, sweepStates } from "../../../batch-layer/versions/publish.ts";
import { writeStates } from "../../../batch-layer/versions/state-file.ts";
import { sql } from "../../../core/contract/sql.ts";
import { generationOf } from "../../../core/definition/generation.ts";
import { table } from "../../../core/definition/table.ts";
import type { View } from "../../../core/definition/view.ts";
import { viewDocument } from "../../../core/definition/view-document.ts";
import type { Manifest, StateFile } from "../../../core/log/documents.ts";
import { EMPTY_LEDGER } from "../../../core/log/ledger.ts";
import { ZERO } from "../../../core/log/position.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { max, min } from "../../../core/measures/kinds/extremes.ts";
import { ANSWER_LIMITS, Budget } from "../../../core/query/budget.ts";
import { filterText } from "../../../core/query/filter.ts";
import type { Row } from "../../../core/query/present.ts";
import { planTable, type TableQuestion } from "../../../core/query/tables/table-query.ts";
import type { TopOrder } from "../../../core/query/top-order.ts";
import { type GroupKey, groupKey, groupValue } from "../../../core/state/cells.ts";
import { stateSql } from "../../../core/state/compile.ts";
import { BatchStates } from "../../../serving/read/batch/batch-states.ts";
import { DuckQueue, type OnChunk } from "../../../serving/read/batch/duck-queue.ts";
import { MOST_ENTRIES } from "../../../serving/read/batch/index-lookup.ts";
import type { GroupCells, StoredTile } from "../../../serving/read/cells/tile-cells.ts";
import { Vanished } from "../../../serving/read/cells/vanished.ts";
import type { ViewStatus } from "../../../serving/read/live/view-status.ts";
import { MergedCells } from "../../../serving/read/merged-cells.ts";
import type { Reader } from "../../../serving/read/reader.ts";
import { readTable } from "../../../serving/tables/table-rows.ts";
import { Manifests } from "../../../store/archive/manifests.ts";
import { eventColumns } from "../../../store/decode/events.ts";
import { type Duck, DuckPool, rowsOf } from "../../../store/duckdb/duck.ts";
import { DataDirectory } from "../../../store/files/files.ts";
import { customerChanges } from "../../fixtures/events/customer-changes.ts";
import { flipBit } from "../../fixtures/events/flip-bit.ts";
import { nightlyOr } from "../../tiers.ts";

/**
 * `where` by an index finds the rows that a scan finds, which are those of a plain fold of all events: for files with
 * an index of the column, of other columns or without one, compacted or not, and keys that have changed since.
 */

const RUNS = nightlyOr(200, 15);
const changes = customerChanges("indexed-changes", 1);
const RECORD = ["name", "balance", "visits", "member", "at", "op", "customer"];
const latestTable = (indexes: readonly string[]) =>
  table("customers", { stream: changes, key: sql`customer`, deleted: sql`op = 'delete'`, shards: 5, indexes });
const measuresTable = (indexes: readonly string[]) =>
  table("activity", {
    stream: changes,
    key: { customer: sql`customer`, entry: sql`balance`, seven: sql`visits = 7` },
    shards: 3,
    measures: { changes: count(), most: max(sql`visits`), least: min(sql`if(member, balance, NULL)`) },
    indexes,
  });
const KINDS = {
  latest: { of: latestTable, all: RECORD, some: ["op"] },
  measures: { of: measuresTable, all: ["customer", "entry", "seven", "most", "least"], some: ["entry"] },
};
type Kind = keyof typeof KINDS;

interface Event {
  readonly customer: string;
  readonly op: string;
  readonly name: string | null;
  /** In hundredths. */
  readonly balance: number;
  readonly visits: number;
  readonly member: boolean | null;
  readonly at: number;
}

/** Longer than the texts of which Parquet files keep the least and the greatest. */
const LONG = "long ".repeat(4_000);
const NAMES = [
  null,
  "",
  "null",
  '"null"',
  "7",
  "007",
  "it's",
  "=",
  "Zürich 東京 🦔",
  "a\u0000b",
  "\n",
  LONG,
  `${LONG}!`,
];
const START = Date.UTC(2026, 0, 1);
const event: fc.Arbitrary<Event> = fc.record({
  customer: fc.constantFrom("c1", "c2", "c3", "", "null", "7", "it's", "é/ü"),
  op: fc.constantFrom("set", "set", "set", "delete"),
  name: fc.constantFrom(...NAMES),
  balance: fc.constantFrom(0, 7, 700, -1_250, 150),
  visits: fc.constantFrom(0, 7, 2 ** 53 - 1),
  member: fc.constantFrom(true, false, null),
  at: fc.integer({ min: 0, max: 2 }).map((second) => START + second * 1_000),
});

type Value = string | number | boolean | null;
const VALUES: Readonly<Record<string, readonly Value[]>> = {
  name: [...NAMES, "nobody's"],
  balance: [0, 0.07, 7, -12.5, 1.5, 12.345],
  visits: [0, 7, 2 ** 53 - 1, 8],
  member: [true, false, null],
  at: [new Date(START).toISOString(), new Date(START + 1_000).toISOString(), "no time"],
  op: ["set", "delete"],
  customer: ["c1", "", "null", "7", "nobody"],
  seven: [true, false],
  entry: [0, 0.07, 7, -12.5, 9],
  most: [0, 7, 2 ** 53 - 1],
  least: [0, 0.07, 7, -12.5, null],
  changes: [1, 2],
};
const INDEXES = ["all", "some", "none"] as const;
type Indexes = (typeof INDEXES)[number];

const filesOf = fc.array(
  fc.record({
    events: fc.array(event, { minLength: 1, maxLength: 20 }),
    indexes: fc.constantFrom<Indexes>("all", "all", "all", ...INDEXES),
  }),
  { minLength: 1, maxLength: 5 },
);
const question = (columns: readonly string[]) =>
  fc.record({
    where: fc
      .uniqueArray(fc.constantFrom(...columns), { minLength: 1, maxLength: 2 })
      .chain((names) =>
        fc.record(
          Object.fromEntries(
            names.map((name) => [name, fc.subarray([...(VALUES[name] ?? [])], { minLength: 1, maxLength: 2 })]),
          ),
        ),
      ),
    order: fc.constantFrom("", "", "-customer"),
    prefix: fc.constantFrom("", "", "c", "n"),
    limit: fc.integer({ min: 1, max: 9 }),
  });

let folder = "";
let pool: DuckPool;
let duck: Duck;
let data: DataDirectory;
let ducks: DuckQueue;
/** The statements that looked into indexes, and of those the ones that scanned files without one. */
let [looked, scanned] = [0, 0];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-table-indexes-"));
  data = new DataDirectory(folder);
  pool = await DuckPool.open({ threads: 1, memoryLimitMb: 256, directories: [folder] });
  duck = await pool.connect();
  ducks = await DuckQueue.open(pool, { connections: 1, maxWaiting: 10, timeoutMs: 60_000 });
});
beforeEach(() => {
  [looked, scanned] = [0, 0];
});
afterAll(async () => {
  ducks.close();
  duck.closeSync();
  pool.close();
  await rm(folder, { recursive: true, force: true });
});

const stores = () => ({ data, pool }) as unknown as BatchStores;

/** A table of events in DuckDB, whose offsets begin at `from`. */
async function eventsTable(events: readonly Event[], from: number): Promise<void> {
  await duck.run(`CREATE OR REPLACE TABLE events (${eventColumns(changes)})`);
  const types = { customer: "VARCHAR", op: "VARCHAR", name: "VARCHAR", balance: "BIGINT", visits: "BIGINT" };
  const all = JSON.stringify([{ ...types, member: "BOOLEAN", at: "BIGINT" }]);
  await duck.run(
    `INSERT INTO events BY NAME SELECT 0 AS _partition, row_number() OVER () + ${from} AS _offset, ` +
      "'e' || _offset AS id, 'e' || _offset AS _id, false AS _duplicate, NULL AS _reject, * " +
      "FROM (SELECT unnest(from_json($1::VARCHAR, $2), recursive := true))",
    [JSON.stringify(events), all],
  );
}

const PLACE = { folder: "views/g/states", prefix: "test" };
function written(view: View): Promise<StateFile | null> {
  return writeStates(stores(), duck, { view, select: stateSql(view, "events") }, PLACE);
}

/** The state of the table `events` as the open segment has it. */
async function liveTiles(view: View): Promise<StoredTile[]> {
  const by = Object.keys(view.by);
  const tiles = new Map<number, Map<GroupKey, GroupCells>>();
  for (const row of await rowsOf(duck, `SELECT * FROM (${stateSql(view, "events")})`)) {
    const [bucket, component] = [Number(row[0]), String(row[1 + by.length])];
    const [label, value] = row.slice(3 + by.length);
    const group = row.slice(1, 1 + by.length).map(groupValue);
    const groups = tiles.get(bucket) ?? new Map<GroupKey, GroupCells>();
    tiles.set(bucket, groups);
    const key = groupKey(group);
    const held = groups.get(key);
    const own = [component, typeof label === "string" ? label : (value as bigint)] as const;
    groups.set(key, { group, key, values: [...(held?.values ?? []), own], items: [], sketches: [] });
  }
  return [...tiles].map(([bucket, groups]) => ({ bucket, groups }));
}

const manifestOf = (files: readonly StateFile[]): Manifest => ({
  ...{ generation: "g", version: 1, base: new Map([[0, ZERO]]), cut: new Map([[0, ZERO]]), files: [...files] },
  ...{ ledger: EMPTY_LEDGER, topicId: "t", createdBy: "t", createdAtMs: 0 },
});

/** Reads a version and live state as a server does that holds few cells: the first ones of a question alone. */
function readerOf(manifest: Manifest, open: readonly StoredTile[]) {
  const counted = {
    read: (text: string, values: DuckDBValue[], onChunk: OnChunk) => {
      if (text.includes("_entry")) looked += 1;
      if (text.includes("_entry") && text.includes("unnest(")) scanned += 1;
      return ducks.read(text, values, onChunk);
    },
  };
  const batch = new BatchStates(data, counted as unknown as DuckQueue, { maxCachedCells: 0, limits: ANSWER_LIMITS });
  const cells = new MergedCells(batch, ANSWER_LIMITS, 0);
  const read: Reader["read"] = async ({ view }, query, { top } = {}) => {
    const range = { fromMs: query.fromMs ?? 0, toMs: query.toMs ?? 0 };
    const window = { ...range, laterMs: null, movesWithClock: false };
    const live = { closed: [], closedName: "", open };
    const tiles = { manifest, live, status: {} as never, window, range, left: null };
    const found = await cells.first(view, query, tiles, top as TopOrder);
    const status = { applied: new Map() } as unknown as ViewStatus;
    return { ...status, ...window, cells: found, budget: new Budget(ANSWER_LIMITS), firstOnly: true };
  };
  return { mostCells: 24, read, idle: () => batch.idle() } as unknown as Reader & { idle(): Promise<void> };
}

async function rowsOfTable(view: View, reader: Reader, asked: TableQuestion) {
  const definition = { view, generation: "g", file: "test" };
  return readTable(reader, definition, asked, { at: null, left: null });
}

/** The rows of all keys, from the events alone, in any order. */
function fold(kind: Kind, events: readonly Event[]): Row[] {
  const rows = new Map<string, Row | null>();
  for (const [offset, one] of events.entries()) {
    const { customer, balance, visits, member, at } = one;
    const shown = { ...one, balance: balance / 100, at: new Date(at).toISOString() };
    if (kind === "latest") rows.set(customer, one.op === "delete" ? null : { ...shown, id: `e${offset + 1}` });
    if (kind === "latest") continue;
    const key = JSON.stringify([customer, balance, visits === 7]);
    const held = rows.get(key) as { changes: number; most: number; least: number | null } | undefined;
    const least = [...(held?.least == null ? [] : [held.least]), ...(member === true ? [balance / 100] : [])];
    rows.set(key, {
      ...{ customer, entry: balance / 100, seven: visits === 7, changes: (held?.changes ?? 0) + 1 },
      ...{ most: Math.max(held?.most ?? 0, visits), least: least.length === 0 ? null : Math.min(...least) },
    });
  }
  return [...rows.values()].filter((row) => row !== null);
}

function plan(view: View, parameters: Parameters<typeof planTable>[1]): TableQuestion {
  const planned = planTable(view, parameters);
  if (!planned.ok) throw new Error(JSON.stringify(planned.problems));
  return planned.question;
}

const texts = (values: readonly Value[]) =>
  values.map((value) => (value === null ? "null" : filterText(String(value))));

describe.each(Object.keys(KINDS) as Kind[])("where on the indexed columns of a table, %s", (kind) => {
  const { of, all, some } = KINDS[kind];
  const columnsOf = { all, some, none: [] };
  const [indexed, unindexed] = [of(all), of([])];

  test("finds what a scan finds, which are the rows of a plain fold", async () => {
    await fc.assert(
      fc.asyncProperty(
        filesOf,
        fc.integer({ min: 0, max: 3 }),
        fc.array(event, { maxLength: 8 }),
        fc.array(question(kind === "latest" ? RECORD : [...all, "changes"]), { minLength: 3, maxLength: 6 }),
        async (files, merged, live, questions) => {
          const states: StateFile[] = [];
          const events: Event[] = [];
          for (const { events: own, indexes } of files) {
            await eventsTable(own, events.length);
            events.push(...own);
            const file = await written(of(columnsOf[indexes]));
            if (file !== null) states.push(file);
          }
          const parts = states.splice(0, merged);
          const compacted = await mergeStates(stores(), duck, { view: indexed, files: parts }, PLACE);
          const manifest = manifestOf(compacted === null ? states : [compacted, ...states]);
          await eventsTable(live, events.length);
          const reader = readerOf(manifest, await liveTiles(indexed));
          const folded = fold(kind, [...events, ...live]);
          for (const { where, order, prefix, limit } of questions) {
            const parameters = {
              ...{ keys: null, order, prefix, limit: String(limit) },
              where: new Map(Object.entries(where).map(([name, values]) => [name, texts(values)])),
            };
            const [found, byScan] = [
              await rowsOfTable(indexed, reader, plan(indexed, parameters)),
              await rowsOfTable(unindexed, reader, plan(unindexed, parameters)),
            ];
            expect(found).toEqual(byScan);
            // From the second question on it is known which files may have a key.
            await reader.idle();
            const expected = folded.filter(
              (row) =>
                String(row.customer).startsWith(prefix) &&
                Object.entries(where).every(([name, values]) => values.includes((row[name] ?? null) as Value)),
            );
            expect(found.truncated).toBe(expected.length > limit);
            expect(found.rows).toHaveLength(Math.min(limit, expected.length));
            expect(expected).toEqual(expect.arrayContaining(found.rows.map((row) => expect.objectContaining(row))));
          }
        },
      ),
      { numRuns: RUNS },
    );
    // Mostly some 60 and some 20 of 15 runs; one seed in many had 2 scans.
    expect(looked).toBeGreaterThan(RUNS);
    expect(scanned).toBeGreaterThan(0);
  });
});

describe("an index of a table", () => {
  const view = latestTable(["name"]);
  const byName = (of: View, name: string, limit = 10) =>
    plan(of, { keys: null, where: new Map([["name", [name]]]), limit: String(limit) });
  const many = (total: number): Event[] =>
    Array.from({ length: total }, (_, n) => ({
      ...{ customer: `c${n}`, op: "set", name: n % 100 === 0 ? "rare" : "often", balance: 0, visits: n },
      ...{ member: null, at: START },
    }));
  const one = async (of: View, events: readonly Event[]) => {
    await eventsTable(events, 0);
    return (await written(of)) as StateFile;
  };

  test("is not part of the generation, and of the columns that are declared now", async () => {
    expect(generationOf(view)).toBe(generationOf(latestTable([])));
    expect(viewDocument(view)).toEqual(viewDocument(latestTable([])));
    const file = await one(view, many(200));
    expect(file.index).toMatchObject({ columns: ["name"], rows: 200 });
    const reader = readerOf(manifestOf([file]), []);
    expect((await rowsOfTable(latestTable(["op"]), reader, byName(view, "rare"))).rows).toHaveLength(2);
    expect(looked).toBe(0);
    expect((await rowsOfTable(view, reader, byName(view, "rare"))).rows).toHaveLength(2);
    expect(looked).toBe(1);
  });

  test("is left for a scan when it has too many keys of a value", async () => {
    const file = await one(view, many(MOST_ENTRIES + 1_000));
    const reader = readerOf(manifestOf([file]), []);
    const often = plan(view, { keys: null, where: new Map([["name", ["often"]]]), order: "-customer", limit: "1" });
    expect((await rowsOfTable(view, reader, often)).rows).toMatchObject([{ customer: "c9999" }]);
    const rare = await rowsOfTable(view, reader, byName(view, "rare", 1_000));
    expect(rare).toMatchObject({ truncated: false, rows: { length: MOST_ENTRIES / 100 + 10 } });
  });

  test("is written beside the files that manifests name, and goes with them", async () => {
    const manifests = new Manifests(data);
    const all = { ...stores(), manifests, readersMs: 0 };
    const folder = manifests.stateFolder("h");
    const indexed = () => data.list("views/h/indexes");
    const part = async (into: string) => {
      await eventsTable(many(50), 0);
      const rows = { view, select: stateSql(view, "events") };
      return (await writeStates(all, duck, rows, { folder: into, prefix: "000000001" })) as StateFile;
    };
    const ofRun = await part("views/h/rebuilds/run");
    expect(ofRun.index).toBeUndefined();
    const files = await joinParts(all, { view, files: [ofRun] }, { folder, prefix: "000000001" }, UNWATCHED);
    expect(files).toMatchObject([{ index: { columns: ["name"], rows: 50 } }]);
    expect(await indexed()).toHaveLength(1);

    const genesis = await manifests.genesis("h", new Map(), "t", "test");
    const next = (own: readonly StateFile[], createdBy: string, previous = genesis) =>
      nextManifest(previous, {
        files: [...own],
        ledger: EMPTY_LEDGER,
        createdBy,
        moved: { cut: new Map(), marks: {} },
      });
    const winner = next(files, "winner");
    expect(await publishVersion(all, winner)).toBe(true);
    expect(await publishVersion(all, next([await part(folder)], "loser"))).toBe(false);
    expect(await indexed()).toHaveLength(1);

    const unnamed = await part(folder);
    expect(await publishVersion(all, next(files, "later", winner))).toBe(true);
    expect(await indexed()).toHaveLength(2);
    await sweepStates(all, "h");
    expect(await indexed()).toEqual([basename(files[0]?.index?.file ?? "")]);
    expect(await data.has(unnamed.file)).toBe(false);
  });

  test("that is missing is as none: a newer version may have named its file without it", async () => {
    const file = await one(view, many(200));
    await data.remove(file.index?.file ?? "");
    const reader = readerOf(manifestOf([file]), []);
    expect((await rowsOfTable(view, reader, byName(view, "rare"))).rows).toHaveLength(2);
    expect(scanned).toBe(1);
  });

  test("that is damaged is noticed as a state file is", async () => {
    const file = await one(view, many(200));
    await flipBit(data.path(file.index?.file ?? ""));
    const reader = readerOf(manifestOf([file]), []);
    await expect(rowsOfTable(view, reader, byName(view, "rare"))).rejects.toThrow(Vanished);
    await expect(rowsOfTable(view, reader, plan(view, { keys: null }))).resolves.toMatchObject({ truncated: false });
  });
});
