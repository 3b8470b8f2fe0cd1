import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection, ScheduleOverlapPolicy } from "@temporalio/client";
import { execa } from "execa";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { eachPort, freePorts, type Ports } from "../../stack/servers/ports.ts";
import { loadDefinitions } from "../../store/definitions/definitions.ts";
import { report } from "../../systems/shop/report/report.ts";
import { desiredSchedules } from "../../workflows/schedules.ts";
import { produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { differenceOf, expectedRows, type Model, rowKey } from "../fixtures/oracles/oracle.ts";
import { type Answer, until } from "../fixtures/servers/installation.ts";
import { DEFINITIONS, READINGS, Release, unpackHome } from "../releases/release.ts";

/**
 * The release before was ended in the middle of its work (test/releases/record.ts). `tideline up` of this one starts on
 * all that it had stored: Kafka's log, Redis, Temporal with schedules and runs in flight, and the data directory.
 */

const releases = join(process.cwd(), "test", "releases");
const program = join(process.cwd(), "cli", "tideline.js");

interface Reading {
  readonly id: string;
  readonly station: string;
  readonly at: number;
  readonly celsius: number;
  readonly wind?: number;
}

const weather: Model<Reading> = {
  dedupWindow: 500,
  decode: (value) => {
    try {
      const reading = JSON.parse(String(value)) as Reading;
      // Some of the recorder's readings have more digits than the contract allows.
      return /^-?\d+(\.\d)?$/.test(String(reading.celsius)) ? reading : null;
    } catch {
      return null;
    }
  },
  id: ({ id }) => id,
  timeMs: ({ at }) => at,
  grainMs: 3_600_000,
  counted: () => true,
  group: ({ station }) => [station],
  measures: {
    readings: { kind: "count" },
    wind: { kind: "sum", of: ({ wind }) => wind ?? null },
    coldest: { kind: "min", of: ({ celsius }) => celsius },
    warmest: { kind: "max", of: ({ celsius }) => celsius },
    mean: { kind: "avg", of: ({ celsius }) => Math.round(celsius * 10), places: 1 },
    spread: { kind: "quantile", of: ({ wind }) => wind ?? null, at: [0.5, 0.9, 0.99], error: 0.05 },
    stations: { kind: "distinct", of: ({ station }) => station },
    latest: { kind: "last", of: ({ id }) => id },
  },
};

let place: string;
let release: Release;
let ports: Ports;
let env: Record<string, string>;
let connection: Connection;
let up: ReturnType<typeof begin>;

const begin = (...args: string[]) => execa(process.execPath, [program, ...args], { env, reject: false });
const url = (port: number, path: string) => `http://127.0.0.1:${port}/${path}`;
const json = async <T>(address: string) => (await (await fetch(address)).json()) as T;
const everything = new URLSearchParams({ from: "1990-01-01", to: "2100-01-01", limit: "10000" });
const ask = (view: string) => json<Answer>(url(ports.api, `views/${view}?${everything}`));

beforeAll(async () => {
  const [description = ""] = (await readdir(releases)).filter((name) => name.endsWith(".json"));
  release = Release.parse(JSON.parse(await readFile(join(releases, description), "utf8")));
  place = await mkdtemp(join(tmpdir(), "tideline-upgrade-"));
  const home = join(place, "home");
  await unpackHome(join(releases, `${release.release}.tar.br`), home);
  ports = await freePorts();
  env = {
    TIDELINE_HOME: home,
    TIDELINE_SCHEMAS: [join(process.cwd(), "schemas"), join(DEFINITIONS, "schemas")].join(),
    TIDELINE_VIEWS: [join(process.cwd(), "systems/shop/views"), join(DEFINITIONS, "views")].join(),
    TIDELINE_API_URL: url(ports.api, ""),
  };
  eachPort((name, { variable }) => {
    env[variable] = String(ports[name]);
    return ports[name];
  });
  up = begin("up", "--no-simulate");
  const ended = up.then(({ all, stdout, stderr }) => {
    throw new Error(`tideline up has ended: ${all ?? ""}${stdout}${stderr}`);
  });
  const isReady = () =>
    fetch(url(ports.api, "ready")).then(
      ({ status }) => status,
      () => 0,
    );
  await Promise.race([until("the API is ready", isReady, (status) => status === 200, 840_000), ended]);
  connection = await Connection.connect({ address: `127.0.0.1:${ports.temporal}` });
}, 900_000);

afterAll(async () => {
  await connection?.close();
  up?.kill("SIGTERM");
  await up?.catch(() => {});
  await rm(place, { recursive: true, force: true });
});

/** Whether an answer is what the log says below its position. */
async function expectExact({ rows, position }: Answer, model: Model<Reading>): Promise<void> {
  const applied = new Map(Object.entries(position.applied).map(([p, offset]) => [Number(p), BigInt(offset)]));
  const expected = expectedRows(model, await readLog(`127.0.0.1:${ports.kafka}`, "readings"), applied);
  const keyed = rows.map((row) => [rowKey(Date.parse(String(row.bucket)), [row.station ?? null]), row] as const);
  expect(new Set(keyed.map(([key]) => key))).toEqual(new Set(expected.keys()));
  for (const [key, row] of keyed) {
    const want = expected.get(key);
    expect(want === undefined ? "no such row" : differenceOf(row, want)).toBe("");
  }
}

describe.sequential("the release before is opened", () => {
  test("every view answers completely, and a user's is what the log says", async () => {
    const views = () => json<{ views: { name: string; complete: boolean }[] }>(url(ports.api, "views"));
    const { views: found } = await until("all complete", views, ({ views: all }) =>
      all.every(({ complete }) => complete),
    );
    const { views: defined } = await loadDefinitions({
      schemas: [env.TIDELINE_SCHEMAS ?? ""].flatMap((text) => text.split(",")),
      views: [env.TIDELINE_VIEWS ?? ""].flatMap((text) => text.split(",")),
    });
    expect(found.map(({ name }) => name).sort()).toEqual([...defined.keys()].sort());
    await expectExact(await ask("weather"), weather);
  });

  test("every view is proven by plain SQL over the whole log", async () => {
    const { stdout, exitCode } = await begin("proof", "--all", "--sample", "4");
    expect([exitCode, stdout]).toEqual([0, expect.stringContaining("weather")]);
  }, 240_000);

  test("runs that were under way end well, of every kind of workflow", async () => {
    const { workflow } = new Client({ connection });
    const ends = await Promise.all(
      release.runs.map(async ({ type, workflowId, runId }) => {
        const result = await workflow
          .getHandle(workflowId, runId)
          .result()
          .then(
            () => "ended",
            (error: Error) => `${error.message}: ${error.cause}`,
          );
        return `${type} ${result}`;
      }),
    );
    expect(ends).toEqual(release.runs.map(({ type }) => `${type} ended`));
    expect((await ask("gusts")).position.generation).not.toBe("");
  }, 240_000);

  test("schedules are there, a paused one stays paused, and they publish versions", async () => {
    const { schedule } = new Client({ connection });
    const { streams, views } = await loadDefinitions({
      schemas: (env.TIDELINE_SCHEMAS ?? "").split(","),
      views: (env.TIDELINE_VIEWS ?? "").split(","),
    });
    const desired = desiredSchedules("", streams.keys(), views.keys(), report.views).map(({ id }) => id);
    expect(desired).toEqual(expect.arrayContaining(release.schedules));
    // The worker makes them in the background, and Temporal lists them a moment later.
    const found = await until(
      "the schedules are those of this release",
      async () => {
        const listed: { id: string; paused: boolean }[] = [];
        for await (const { scheduleId: id, state } of schedule.list()) listed.push({ id, paused: state.paused });
        return listed;
      },
      (listed) => listed.length === desired.length && desired.every((id) => listed.some((one) => one.id === id)),
    );
    expect(found.filter(({ paused }) => paused).map(({ id }) => id)).toEqual([release.paused]);

    const before = await ask("weather");
    await produce(
      `127.0.0.1:${ports.kafka}`,
      "readings",
      READINGS.slice(-40).map(({ key, value }) => ({
        key,
        value: Buffer.from(String(value).replace('"id":"r', '"id":"n')),
      })),
    );
    await schedule.getHandle("settle-readings").trigger(ScheduleOverlapPolicy.BUFFER_ONE);
    const after = await until(
      "the next version",
      () => ask("weather"),
      ({ batchVersion }) => batchVersion > before.batchVersion,
    );
    expect(Object.values(after.position.cut)).not.toEqual(Object.values(before.position.cut));
    await expectExact(after, weather);
  }, 240_000);

  test("one goes back to a generation of the release before, which is up to date", async () => {
    const now = (await ask("weather")).position.generation;
    expect((await begin("views", "back", "weather")).exitCode).toBe(0);
    const back = await until(
      "what was before answers",
      () => ask("weather"),
      ({ position, complete }) => complete && position.generation !== now,
    );
    await expectExact(back, { ...weather, grainMs: 86_400_000 });
  });

  test("nothing fails again and again, and nothing is wrong", async () => {
    // What failed while all of it was starting ends by itself; what the release before has left behind does not.
    const failing = async () => {
      const texts = await Promise.all(
        [ports.api, ports.speed, ports.worker].map(async (port) => (await fetch(url(port, "metrics"))).text()),
      );
      return texts.flatMap((text) => text.split("\n").filter((line) => line.startsWith("tideline_failing{")));
    };
    await until("nothing fails", failing, (lines) => lines.length === 0);
    expect(await json(url(ports.api, "health"))).toEqual({ alive: true });
    const examine = async () =>
      JSON.parse((await begin("doctor", "--json")).stdout) as {
        findings: { check: string; level: string; message: string }[];
      };
    const { findings } = await until("the doctor finds no problem", examine, ({ findings: found }) =>
      found.every(({ level, check }) => level !== "problem" || check.startsWith("machine")),
    );
    expect(findings.map(({ message }) => message)).toContainEqual(
      expect.stringContaining("schedule report-daily runs"),
    );
  });
});
