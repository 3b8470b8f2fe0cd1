import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DuckDBInstance } from "@duckdb/node-api";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { flightsFile } from "../../systems/shop/flights/flights.ts";
import { sketchBytes } from "../fixtures/oracles/oracle.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";
import { nightlyOr } from "../tiers.ts";

/** The data set has three million flights; every night they are all replayed. */
const ROWS = nightlyOr(3_000_000, 100_000);
const HALF = ROWS / 2;
const ALL_DAYS = { from: "2001-01-01", to: "2002-01-01", limit: "100000" };

interface Expected {
  readonly exact: {
    readonly flights: number;
    readonly delay: number;
    readonly average_delay: number;
    readonly earliest: number;
    readonly latest: number;
  };
  readonly destinations: readonly string[];
}

let tideline: Installation;
let folder: string;
let redis: Redis;
let speed: ProcessHandle;

beforeAll(async () => {
  redis = new Redis(inject("redisUrl"));
  // This one view: the others of the flights hold a cell for every bin and route, and are held against DuckDB in
  // flight-delays.test.ts.
  folder = join(process.cwd(), ".tideline", `flights-${Date.now()}`);
  await mkdir(folder, { recursive: true });
  await writeFile(
    join(folder, "only.ts"),
    'export { flightsByOrigin } from "../../systems/shop/views/flights-by-origin.ts";\n',
  );
  tideline = await Installation.open("flights", { TIDELINE_VIEWS: folder });
  [speed] = await Promise.all([tideline.start("speed"), tideline.start("serve")]);
});

afterAll(async () => {
  await tideline.close();
  redis.disconnect();
  await rm(folder, { recursive: true });
});

/** The first `rows` rows of the source file, by origin and day, as plain DuckDB counts them. */
async function oracle(rows: number): Promise<Map<string, Expected>> {
  const instance = await DuckDBInstance.create(":memory:", { threads: "2" });
  const duck = await instance.connect();
  const result = await duck.runAndReadAll(
    `SELECT strftime(date, '%Y-%m-%d'), origin, count(*), sum(delay)::BIGINT,
       epoch_ms(min(date)), epoch_ms(max(date)), list(DISTINCT destination)
     FROM read_parquet('${flightsFile()}', file_row_number = true) WHERE file_row_number < ${rows} GROUP BY ALL`,
  );
  const expected = result
    .getRows()
    .map(([day, origin, flights, delay, earliest, latest, destinations]): [string, Expected] => [
      `${day} ${origin}`,
      {
        exact: {
          flights: Number(flights),
          delay: Number(delay),
          average_delay: Number(delay) / Number(flights),
          earliest: Number(earliest),
          latest: Number(latest),
        },
        destinations: (destinations as { items: readonly string[] }).items,
      },
    ]);
  duck.closeSync();
  instance.closeSync();
  return new Map(expected);
}

/**
 * Exact fields to the unit for every origin and day; distinct as the registers that PFADD of every value sets,
 * estimated by PFCOUNT.
 */
async function expectEqual(answer: Answer, expected: Map<string, Expected>): Promise<void> {
  expect(answer.rows).toHaveLength(expected.size);
  const key = `oracle:${tideline.namespace}`;
  const pipeline = redis.pipeline();
  for (const row of answer.rows) {
    const want = expected.get(`${String(row.bucket).slice(0, 10)} ${row.origin}`);
    expect(row).toMatchObject(want?.exact ?? { missing: true });
    pipeline
      .pfadd(key, ...(want?.destinations ?? []).map(sketchBytes))
      .pfcount(key)
      .del(key);
  }
  const replies = (await pipeline.exec()) ?? [];
  answer.rows.forEach((row, index) => {
    expect(row.destinations, `destinations of ${row.origin} on ${row.bucket}`).toBe(replies[index * 3 + 1]?.[1]);
  });
}

const ask = () => tideline.ask("flights-by-origin", ALL_DAYS);

/** Waits until `records` records are applied (this topic has no gaps: nothing was aborted or compacted away). */
async function applied(records: number): Promise<Answer> {
  const narrow = () => tideline.ask("flights-by-origin", { ...ALL_DAYS, limit: "1" });
  await until(
    `${records} flights applied`,
    narrow,
    ({ complete, position }) =>
      complete && Object.values(position.applied).reduce((sum, offset) => sum + Number(offset), 0) === records,
    300_000,
  );
  // On a busy machine live state of forty thousand cells may come too late for one answer, which says so.
  return until(`a complete answer about ${records} flights`, ask, ({ complete }) => complete, 60_000);
}

describe.sequential("real flights, as many as there are every night", () => {
  test("half of them, replayed and answered from the speed layer alone", async () => {
    await tideline.run("replay", "flights", "--limit", String(HALF));
    const answer = await applied(HALF);
    expect(answer.batchVersion).toBe(0);
    await expectEqual(answer, await oracle(HALF));
  }, 600_000);

  test("the rest, answered across the seam: half from the batch version, half from the stream", async () => {
    await tideline.start("worker", { args: ["--no-schedules"] });
    await tideline.refresh("flights-by-origin");
    await tideline.run("replay", "flights", "--limit", String(ROWS));
    const answer = await applied(ROWS);
    expect(answer.batchVersion).toBe(1);
    expect(Object.values(answer.position.cut).reduce((sum, offset) => sum + Number(offset), 0)).toBe(HALF);
    await expectEqual(answer, await oracle(ROWS));
  }, 600_000);

  test("all of them from the batch version alone, when the speed layer and its state are gone", async () => {
    await tideline.refresh("flights-by-origin");
    await speed.stop();
    await tideline.emptyRedis();
    const answer = await ask();
    expect(answer.complete).toBe(false);
    expect(answer.position.applied).toEqual(answer.position.cut);
    await expectEqual(answer, await oracle(ROWS));
  }, 600_000);

  test("rebuilt in full from the archive: the same state, to the bit", async () => {
    const { stdout } = await tideline.run("rebuild", "flights-by-origin", "--json");
    expect(JSON.parse(stdout)).toMatchObject({ equal: true });
  }, 600_000);

  test("all of them from the speed layer alone, read again from the log", async () => {
    await tideline.stop("worker", "serve");
    await rm(join(tideline.home, "data"), { recursive: true });
    await speed.start();
    await tideline.restart("serve");
    const answer = await applied(ROWS);
    expect(answer.batchVersion).toBe(0);
    await expectEqual(answer, await oracle(ROWS));
  }, 600_000);

  test("a second replay says that it is done and sends nothing", async () => {
    const { stdout } = await tideline.run("replay", "flights", "--limit", String(ROWS), "--json");
    expect(JSON.parse(stdout)).toMatchObject({ sent: 0 });
    await expectEqual(await ask(), await oracle(ROWS));
  }, 240_000);
});
