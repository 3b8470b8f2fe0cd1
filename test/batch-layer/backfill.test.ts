import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, inject, it } from "vitest";
import { archiveChunk } from "../../batch-layer/archive/archive-chunk.ts";
import { planStream } from "../../batch-layer/archive/archive-stream.ts";
import {
  type Backfill,
  backfillDay,
  beginBackfill,
  foreseeBackfill,
  surveyBackfill,
} from "../../batch-layer/recompute/backfill.ts";
import { finishBackfill } from "../../batch-layer/recompute/backfill-finish.ts";
import type { BackfillDay } from "../../batch-layer/recompute/backfill-plan.ts";
import { writeDelta } from "../../batch-layer/refresh/delta.ts";
import { publishDelta } from "../../batch-layer/refresh/refresh.ts";
import { type BatchStores, UNWATCHED, type ViewTarget } from "../../batch-layer/stores.ts";
import { nextManifest, publishVersion, versionPrefix } from "../../batch-layer/versions/publish.ts";
import { writeStates } from "../../batch-layer/versions/state-file.ts";
import { stateHash } from "../../batch-layer/versions/state-hash.ts";
import { generationOf } from "../../core/definition/generation.ts";
import type { View } from "../../core/definition/view.ts";
import { byDay, DAY_MS, dayOf, intervalName, parseInterval, wholeBuckets } from "../../core/interval.ts";
import type { Manifest } from "../../core/log/documents.ts";
import { addLedgers, EMPTY_LEDGER } from "../../core/log/ledger.ts";
import { bucketOf } from "../../core/time.ts";
import { beginGeneration } from "../../store/archive/generation-start.ts";
import { DuckPool } from "../../store/duckdb/duck.ts";
import { DataDirectory } from "../../store/files/files.ts";
import { LogReader } from "../../store/kafka/read/log.ts";
import type { backfillView } from "../../workflows/index.ts";
import { taskQueueOf } from "../../workflows/shared/names.ts";
import { flipBit } from "../fixtures/events/flip-bit.ts";
import { produce } from "../fixtures/events/produce.ts";
import { everything, scaled, type Tick, ticks } from "../fixtures/events/views.ts";
import { Installation, until } from "../fixtures/servers/installation.ts";
import { storesOf } from "../fixtures/servers/stores.ts";
import { nightlyOr } from "../tiers.ts";

describe("the interval of a backfill", () => {
  const time = fc.integer({ min: Date.parse("1960-01-01"), max: Date.parse("2100-01-01") });
  const span = fc.record({ fromMs: time, lengthMs: fc.integer({ min: 1, max: 40 * DAY_MS }) });
  const grain = fc.constantFrom(1_000, 60_000, 7 * 3_600_000, DAY_MS, 36 * 3_600_000, 7 * DAY_MS);

  it("includes a date that it ends with, and ends at an instant", () => {
    const january = { fromMs: Date.parse("2026-01-01"), toMs: Date.parse("2026-02-01") };
    expect(parseInterval("2026-01-01", "2026-01-31")).toEqual(january);
    expect(parseInterval("2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z")).toEqual(january);
    expect(parseInterval("2026-01-31", "2026-01-31").toMs).toBe(january.toMs);
    for (const [from, to] of [
      ["2026-01-02", "2026-01-01"],
      ["2026-02-31", "2026-03-31"],
      ["yesterday", "2026-01-01"],
      ["2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"],
    ] as const)
      expect(() => parseInterval(from, to)).toThrowError(expect.objectContaining({ code: "BAD_REQUEST" }));
  });

  it("has a name that means it", () => {
    expect(intervalName(parseInterval("2026-01-01", "2026-01-31"))).toBe("2026-01-01..2026-01-31");
    fc.assert(
      fc.property(span, ({ fromMs, lengthMs }) => {
        const range = { fromMs, toMs: fromMs + lengthMs };
        const [from = "", to = ""] = intervalName(range).split("..");
        expect(parseInterval(from, to)).toEqual(range);
      }),
    );
  });

  it("is divided into whole buckets, each in the day that it starts in, without gap or overlap", () => {
    fc.assert(
      fc.property(span, grain, ({ fromMs, lengthMs }, grainMs) => {
        const range = { fromMs, toMs: fromMs + lengthMs };
        const whole = wholeBuckets(range, grainMs);
        expect(whole).toEqual({
          fromMs: bucketOf(fromMs, grainMs),
          toMs: bucketOf(range.toMs - 1, grainMs) + grainMs,
        });
        const days = byDay(whole, grainMs);
        expect(days.map(({ fromMs: from }) => from)).toEqual([
          whole.fromMs,
          ...days.slice(0, -1).map(({ toMs }) => toMs),
        ]);
        expect(days.at(-1)?.toMs).toBe(whole.toMs);
        for (const day of days) {
          expect(bucketOf(day.fromMs, grainMs)).toBe(day.fromMs);
          expect(dayOf(bucketOf(day.toMs - 1, grainMs))).toBe(dayOf(day.fromMs));
        }
        expect(new Set(days.map((day) => dayOf(day.fromMs))).size).toBe(days.length);
      }),
    );
  });
});

// From here on with real servers, and workers as processes of their own.

const VIEW = everything.name;
const FIRST = Date.parse("2025-01-01T00:00:00Z");
const PER_DAY = 4;
/** Of the long backfill. */
const DAYS = nightlyOr(365, 84);
const LAST = new Date(FIRST + (DAYS - 1) * 86_400_000).toISOString().slice(0, 10);

let folder = "";
let client: Client;
let log: LogReader;
let damaged = 0;
const installations: Installation[] = [];
const pools: DuckPool[] = [];

beforeAll(async () => {
  folder = join(process.cwd(), ".tideline", `backfill-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "everything.ts"), 'export { everything } from "../../test/fixtures/events/views.ts";\n');
  await writeFile(join(folder, "scaled.ts"), 'export { scaled } from "../../test/fixtures/events/views.ts";\n');
  client = new Client({ connection: await Connection.connect({ address: inject("temporalAddress") }) });
  log = new LogReader({ brokers: inject("kafkaBrokers"), clientId: "backfill-test" });
});

afterAll(async () => {
  for (const installation of installations) await installation.close();
  for (const pool of pools) pool.close();
  await client?.connection.close();
  await log?.close();
  await rm(folder, { recursive: true, force: true });
});

interface Place {
  readonly tideline: Installation;
  readonly stores: BatchStores;
  readonly target: ViewTarget;
}

/**
 * An installation whose view has one version, with some events a day for `days` days: a delta and archive files for
 * every 12 days or more.
 */
async function place(name: string, days: number, view: View = everything): Promise<Place> {
  const tideline = await Installation.open(name, { TIDELINE_VIEWS: folder });
  installations.push(tideline);
  const data = new DataDirectory(join(tideline.home, "data"));
  await mkdir(data.root, { recursive: true });
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [data.root] });
  pools.push(pool);
  const stores = storesOf(data, { log, pool });
  const target = {
    view,
    stream: ticks,
    generation: generationOf(view),
    topic: tideline.topic("ticks"),
  };
  const step = Math.max(12, Math.ceil(days / 7));
  for (let day = 0; day < days; day += step)
    await refresh({ tideline, stores, target }, day, Math.min(day + step, days));
  return { tideline, stores, target };
}

/** Events for `[from, to)`, days since the first, and a version that has them. */
async function refresh(here: Place, from: number, to: number): Promise<void> {
  await publish(
    here,
    Array.from({ length: (to - from) * PER_DAY }, (_, index) => tick(from * PER_DAY + index)),
  );
}

/** These events, and a version that has them in a file of its own. */
async function publish({ stores, target }: Place, events: readonly Tick[]): Promise<void> {
  const records = events.map((event) => ({ key: event.id, value: Buffer.from(JSON.stringify(event)) }));
  await produce(inject("kafkaBrokers"), target.topic, records);
  const { version, cut, topicId } = await beginGeneration(stores, target.generation, target.topic, "test");
  const plan = await planStream(stores, target, null);
  for (const chunk of plan.chunks)
    await archiveChunk(stores, { ...target, topicId: plan.topicId }, { chunk }, UNWATCHED);
  const end = await stores.archive.archived(target.topic, topicId);
  const states = stores.manifests.stateFolder(target.generation);
  const span = { topicId, from: cut, to: end };
  const { file, ledgers } = await writeDelta(
    stores,
    target,
    { ...span, folder: states, prefix: versionPrefix(version + 1) },
    UNWATCHED,
  );
  const ledger = [...ledgers.values()].reduce(addLedgers, EMPTY_LEDGER);
  expect(
    await publishDelta(stores, target, { version, from: span.from, to: end, file, ledger, createdBy: "test" }),
  ).toBe(version + 1);
}

/** Events in order, but every eleventh is two days late. */
function tick(index: number): Tick {
  const day = Math.floor(index / PER_DAY) - (index % 11 === 10 ? 2 : 0);
  return {
    id: `t${index}`,
    at: FIRST + day * DAY_MS + (index % PER_DAY) * 5 * 3_600_000,
    place: index % 3 === 0 ? null : `p${index % 5}`,
    good: index % 2 === 0,
    amount: (index * 37) % 1_000,
    tip: index % 4 === 0 ? null : index % 7,
    test: index % 13 === 0,
  };
}

const newest = async ({ stores, target }: Place): Promise<Manifest> => {
  const manifest = await stores.manifests.newest(target.generation);
  if (manifest === null) throw new Error("no version");
  return manifest;
};

const hashOf = async (here: Place) =>
  (await stateHash(here.stores, everything, (await newest(here)).files, UNWATCHED)).hash;

/** SQL: the rows of these files. */
const rowsIn = ({ stores }: Place, files: readonly { readonly file: string }[]) =>
  `read_parquet([${files.map(({ file }) => `'${stores.data.path(file)}'`).join(", ")}])`;

/**
 * Publishes a version whose state is what `select` makes of the newest one's rows, as a bug or a wrong hand would; the
 * last files stay as they are.
 */
async function corrupt(here: Place, select: (rows: string) => string, kept = 0): Promise<void> {
  const { stores, target } = here;
  const held = await newest(here);
  const duck = await stores.pool.connect();
  const whole = held.files.slice(held.files.length - kept);
  const rows = rowsIn(here, held.files.slice(0, held.files.length - kept));
  const states = stores.manifests.stateFolder(target.generation);
  const file = await writeStates(
    stores,
    duck,
    { view: target.view, select: select(rows) },
    { folder: states, prefix: versionPrefix(held.version + 1) },
  );
  duck.closeSync();
  const files = [...(file === null ? [] : [file]), ...whole];
  expect(
    await publishVersion(stores, nextManifest(held, { files, ledger: held.ledger, createdBy: "a wrong hand" })),
  ).toBe(true);
}

const dayStart = (day: number) => FIRST + day * DAY_MS;
const inDay = (day: number) => `(bucket >= ${dayStart(day)} AND bucket < ${dayStart(day + 1)})`;
const everyRowOff = (rows: string) =>
  `SELECT * REPLACE (value + 1 AS value) FROM ${rows} WHERE component = 'rows' ` +
  `UNION ALL SELECT * FROM ${rows} WHERE component <> 'rows'`;

const idOf = ({ tideline, target }: Place, interval: string) =>
  `${tideline.namespace}/backfill/${target.view.name}/${interval}`;

const start = (here: Place, from: string, to: string) =>
  client.workflow.start<typeof backfillView>("backfillView", {
    workflowId: idOf(here, `${from}..${to}`),
    taskQueue: taskQueueOf(here.tideline.namespace),
    args: [{ view: here.target.view.name, from, to }],
  });

/** Names of the days that are done: their documents. */
async function daysDone({ stores, target }: Place, interval: string): Promise<string[]> {
  const names = await stores.data.list(join("views", target.generation, "backfills", interval));
  return names.flatMap((name) => /^\d{9}-(\d{4}-\d{2}-\d{2})\.json$/.exec(name)?.[1] ?? []);
}

describe("a backfill", () => {
  it("heals the days that are wrong, names them, and says that the others are identical", async () => {
    const here = await place("backfill", 20);
    const { tideline } = here;
    const sound = await hashOf(here);
    const { cut, ledger } = await newest(here);
    const asked = ["--from", "2025-01-01", "--to", "2025-01-12"];
    await tideline.start("worker", { args: ["--no-schedules"] });

    // The 6th: wrong values. The 9th: gone. The 11th: some that belong elsewhere. The 16th and the 28th are wrong too,
    // but not asked for.
    await corrupt(here, (rows) =>
      [
        `SELECT * REPLACE (CASE WHEN ${inDay(5)} OR ${inDay(15)} THEN value + 1 ELSE ` +
          `value END AS value) FROM ${rows} WHERE NOT ${inDay(8)}`,
        `SELECT * REPLACE (${Date.parse("2025-01-11T12:00:00Z")} AS bucket) FROM ${rows} WHERE ${inDay(7)}`,
        `SELECT * REPLACE (${Date.parse("2025-01-28T12:00:00Z")} AS bucket) FROM ${rows} WHERE ${inDay(7)}`,
      ].join(" UNION ALL "),
    );
    const broken = await hashOf(here);
    const plan = JSON.parse((await tideline.run("backfill", VIEW, ...asked, "--dry-run", "--json")).stdout);
    expect(plan).toMatchObject({
      days: { length: 12 },
      skipped: 0,
      done: [],
      pin: { version: (await newest(here)).version },
    });
    expect(
      (await tideline.run("backfill", VIEW, "--from", "2024-01-01", "--to", "2025-02-28", "--dry-run")).stderr,
    ).toContain("21 days to recompute");
    await expect(client.workflow.getHandle(idOf(here, "2025-01-01..2025-01-12")).describe()).rejects.toThrow();

    const healed = JSON.parse((await tideline.run("backfill", VIEW, ...asked, "--json")).stdout);
    const wrong = healed.days.filter(({ identical }: { identical: boolean }) => !identical);
    expect(wrong.map(({ day }: { day: string }) => day)).toEqual(["2025-01-06", "2025-01-09", "2025-01-11"]);
    expect(healed.days).toHaveLength(12);
    const after = await newest(here);
    expect(after).toMatchObject({ version: healed.version, cut, base: cut, ledger });
    expect(after.createdBy).toContain(idOf(here, "2025-01-01..2025-01-12"));
    expect(await hashOf(here)).not.toBe(broken);

    // From Temporal's UI: these fields alone.
    const rest = await (await start(here, "2025-01-13", "2025-01-31")).result();
    expect(rest).toMatchObject({ version: healed.version + 1, skipped: 10 });
    expect(rest.days.filter(({ identical }) => !identical)).toEqual([
      expect.objectContaining({ day: "2025-01-16" }),
      expect.objectContaining({ day: "2025-01-28", rows: 0 }),
    ]);
    expect(await hashOf(here)).toBe(sound);

    const again = await tideline.run("backfill", VIEW, ...asked);
    expect(again.stdout).toContain("nothing to publish, 12 of 12 days identical");
    expect(await newest(here)).toMatchObject({ version: rest.version });
    expect(await daysDone(here, "2025-01-01..2025-01-12")).toEqual([]);

    expect(await tideline.begin("backfill", VIEW, "--from", "2025-02-01", "--to", "2025-01-01")).toMatchObject({
      exitCode: 2,
    });
    for (const input of [
      undefined,
      { view: VIEW, from: "2025-01-01" },
      { view: VIEW, from: "2025-01-01", to: "2024-01-01" },
      { view: "none", from: "2025-01-01", to: "2025-01-01" },
    ]) {
      const handle = await client.workflow.start("backfillView", {
        workflowId: `${tideline.namespace}/wrong`,
        taskQueue: taskQueueOf(tideline.namespace),
        args: input === undefined ? [] : [input],
      });
      await expect(handle.result()).rejects.toMatchObject({ message: "Workflow execution failed" });
    }
  }, 900_000);

  it("lists the days that fail, publishes the others, and tries only the failed ones again", async () => {
    const here = await place("failing", 0, scaled);
    const { tideline, stores } = here;
    let sent = 0;
    const at = (day: number, amount: number): Tick => ({ ...tick(0), id: `f${sent++}`, at: dayStart(day), amount });
    // Two events of the 3rd are too large together. Each was published by itself, in a file of its own.
    await publish(here, [at(0, 1), at(1, 2), at(3, 3), at(4, 4)]);
    for (let event = 0; event < 2; event++) await publish(here, [at(2, 1_000_000)]);
    const rowsOf = async () => {
      const duck = await stores.pool.connect();
      const rows =
        "SELECT bucket, sum(value)::INT FROM " +
        `${rowsIn(here, (await newest(here)).files)} WHERE component = 'rows' GROUP ` +
        "BY 1 ORDER BY 1";
      const result = (await duck.runAndReadAll(rows)).getRows();
      duck.closeSync();
      return result.map(([bucket, count]) => [(Number(bucket) - FIRST) / DAY_MS, count]);
    };
    await corrupt(here, everyRowOff, 2);
    expect(await rowsOf()).toEqual([0, 1, 2, 3, 4].map((day) => [day, 2]));
    await tideline.start("worker", { args: ["--no-schedules"] });

    const [from, to] = ["2025-01-01", "2025-01-05"];
    const told = await tideline.begin("backfill", "scaled", "--from", from, "--to", to);
    expect([told.exitCode, told.stdout]).toEqual([1, expect.stringMatching(/FAILED.*2025-01-03: STATE_OVERFLOW/s)]);
    const failed = [{ day: "2025-01-03", code: "STATE_OVERFLOW", message: expect.stringContaining("INT64") }];
    const healed = ["2025-01-01", "2025-01-02", "2025-01-04", "2025-01-05"];
    const first = client.workflow.getHandle(idOf(here, `${from}..${to}`));
    expect(await first.result()).toMatchObject({
      version: (await newest(here)).version,
      failed,
      days: healed.map((day) => ({ day, rows: 2, before: 2, identical: false })),
    });
    expect(await rowsOf()).toEqual([0, 1, 2, 3, 4].map((day) => [day, day === 2 ? 2 : 1]));

    const again = await start(here, from, to);
    expect(await again.result()).toMatchObject({ version: null, days: { length: 4 }, failed });
    expect(await scheduled(here, `${from}..${to}`, again.firstExecutionRunId)).toBe(1);
    await expect((await start(here, "2025-01-03", "2025-01-03")).result()).rejects.toMatchObject({
      cause: { type: "STATE_OVERFLOW", message: expect.stringContaining("every day failed") },
    });
  }, 900_000);

  it.each([
    ["is gone", (path: string) => rm(path)],
    ["is not what was archived", (path: string) => flipBit(path)],
  ])(
    "fails the days that need an archive file that %s, names it, and publishes the others",
    async (_, damage) => {
      const here = await place(`damaged-${damaged++}`, 0);
      const { stores, target } = here;
      for (let day = 0; day < 10; day += 2) await refresh(here, day, day + 2);
      await corrupt(here, everyRowOff);
      const { id: topicId } = await log.topic(target.topic);
      const partitions = await stores.archive.partitions(target.topic);
      const archived = await Promise.all(
        partitions.map((partition) => stores.archive.entries(target.topic, topicId, partition)),
      );
      const { file, times } = archived.flat().find((entry) => entry.times?.fromMs === dayStart(6)) ?? {};
      if (!file || !times) throw new Error("no file begins on the seventh day");
      await damage(stores.data.path(file));
      const backfill = await beginBackfill(stores, target, parseInterval("2025-01-01", "2025-01-10"));
      const survey = await surveyBackfill(stores, target, backfill, UNWATCHED);
      expect(survey).toMatchObject({ days: { length: 10 }, skipped: 0, damaged: [file] });
      const built: BackfillDay[] = [];
      const failed: string[] = [];
      for (const day of survey.days)
        await backfillDay(stores, target, { backfill, ...day }, UNWATCHED).then(
          () => built.push(day),
          (error: unknown) => {
            expect(error).toMatchObject({ code: "ARCHIVE_DAMAGED", message: expect.stringContaining(file) });
            failed.push(day.day);
          },
        );
      const needing = survey.days.filter(({ fromMs, toMs }) => fromMs < times.toMs && toMs > times.fromMs);
      expect(failed).toEqual(needing.map(({ day }) => day));
      expect(built.length).toBeGreaterThanOrEqual(8);
      const { version, days } = await finish(here, backfill, built);
      expect(version).toBe((await newest(here)).version);
      expect(days.map(({ identical }) => identical)).toEqual(built.map(() => false));
    },
    900_000,
  );

  it("adds what was refreshed while it went on", async () => {
    const here = await place("late", 12);
    const { stores, target } = here;
    await corrupt(here, everyRowOff);
    const backfill = await beginBackfill(stores, target, parseInterval("2025-01-01", "2025-01-31"));
    const { days } = await surveyBackfill(stores, target, backfill, UNWATCHED);
    for (const day of days) await backfillDay(stores, target, { backfill, ...day }, UNWATCHED);
    await refresh(here, 12, 14); // it has events for the last days before it, too
    const result = await finish(here, backfill, days);
    expect(result).toMatchObject({ compared: backfill.pin.version + 1, version: backfill.pin.version + 2 });
    const fresh = await place("fresh", 12);
    await refresh(fresh, 12, 14);
    expect(await hashOf(here)).toBe(await hashOf(fresh));
    // An attempt whose answer was lost is repeated: it says what the first one said, and publishes nothing.
    expect(await finish(here, backfill, days)).toEqual(result);
    expect(await newest(here)).toMatchObject({ version: result.version });
  }, 900_000);

  it("of many days, whose worker is killed and which is then cancelled, goes on with what is left, and heals every day", async () => {
    const here = await place("year", DAYS);
    const { tideline, stores, target } = here;
    const sound = await hashOf(here);
    const interval = `2025-01-01..${LAST}`;
    const year = ["backfill", VIEW, "--from", "2025-01-01", "--to", LAST];
    await corrupt(here, everyRowOff);
    const backfill = await foreseeBackfill(stores, target, parseInterval("2025-01-01", LAST));
    const { days } = await surveyBackfill(stores, target, backfill, UNWATCHED);
    expect(days).toHaveLength(DAYS);
    // A day reads the archive files that can hold it, not all of them.
    for (const { records } of days) expect(records).toBeLessThan((DAYS * PER_DAY) / 3);

    await tideline.start("worker", { args: ["--no-schedules"] });
    const command = tideline.begin(...year);
    const done = () => daysDone(here, interval).then(({ length }) => length);
    await until("some days", done, (count) => count >= 15);
    await tideline.kill("worker");
    command.kill("SIGINT");
    const { exitCode, stderr } = await command;
    expect(stderr).toContain("continues without this command");
    expect(stderr).not.toContain("Warning");
    expect(exitCode).toBe(130);
    const atKill = await done();
    await tideline.restart("worker");
    await until("more days", done, (count) => count >= atKill + 5);
    expect((await tideline.run(...year, "--cancel")).stdout).toContain("is being cancelled");
    const first = client.workflow.getHandle(idOf(here, interval));
    await expect(first.result()).rejects.toThrow();
    const { runId } = await first.describe();
    const atEnd = await done();
    expect(atEnd).toBeLessThan(days.length);
    // The days of the killed worker were tried again, not scheduled again; those that were done are not begun again.
    expect(await scheduled(here, interval, runId)).toBeLessThanOrEqual(atEnd + 2);

    const second = await start(here, "2025-01-01", LAST);
    const result = await second.result();
    expect(result.days.map(({ day }) => day)).toEqual(days.map(({ day }) => day));
    expect(result.days.every(({ identical }) => !identical)).toBe(true);
    expect(await scheduled(here, interval, second.firstExecutionRunId)).toBeLessThanOrEqual(days.length - atEnd);
    expect(await hashOf(here)).toBe(sound);
    expect(await done()).toBe(0);
  }, 900_000);
});

const finish = ({ stores, target }: Place, backfill: Backfill, days: readonly BackfillDay[]) =>
  finishBackfill(stores, target, { backfill, days, createdBy: "test-run", force: false }, UNWATCHED);

/** How many days a run has scheduled. */
async function scheduled(here: Place, interval: string, runId: string): Promise<number> {
  const { events } = await client.workflow.getHandle(idOf(here, interval), runId).fetchHistory();
  return (events ?? []).filter(
    ({ activityTaskScheduledEventAttributes: attributes }) => attributes?.activityType?.name === "backfillDay",
  ).length;
}
