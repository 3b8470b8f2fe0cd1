// biome-ignore-all lint/suspicious/noTemplateCurlyInString: texts of the program
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { type Replacement, testBuild } from "../../faults/mutants/test-build.ts";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { produce } from "../fixtures/events/produce.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { differenceOf, expectedRows, type Model, rowKey } from "../fixtures/oracles/oracle.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";
import { nightly } from "../tiers.ts";

/** A release that computes views otherwise starts on the state of the one before. */

const brokers = inject("kafkaBrokers");

const schema = `
import { instant, integer, stream, text } from "tideline";
export const parcels = stream("parcels", {
  revision: 1, partitions: 2, key: "id", eventId: "id", eventTime: "at", dedupWindow: 1000,
  fields: {
    id: text({ max: 40 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    place: text({ max: 20 }),
    grams: integer({ min: 0, max: 1_000_000 }),
  },
});
`;
const views = `
import { count, sql, sum, view } from "tideline";
import { parcels } from "../schemas/parcels.ts";
const by = { place: sql\`place\` };
export const weight = view("weight", {
  stream: parcels, by, every: "1 minute", measures: { parcels: count(), grams: sum(sql\`grams\`, { unit: "g" }) },
});
export const counted = view("counted", { stream: parcels, by, every: "1 minute", measures: { parcels: count() } });
`;

interface Parcel {
  readonly id: string;
  readonly at: number;
  readonly place: string;
  readonly grams: number;
}

const counted: Model<Parcel> = {
  dedupWindow: 1_000,
  decode: (value) => JSON.parse(String(value)) as Parcel,
  id: ({ id }) => id,
  timeMs: ({ at }) => at,
  grainMs: 60_000,
  counted: () => true,
  group: ({ place }) => [place],
  measures: { parcels: { kind: "count" } },
};
const models: Readonly<Record<string, Model<Parcel>>> = {
  counted,
  weight: { ...counted, measures: { ...counted.measures, grams: { kind: "sum", of: ({ grams }) => grams } } },
};

interface OtherRelease {
  readonly what: string;
  readonly change: Replacement | null;
  readonly frozen: readonly string[];
  /** Whether to try those that look and move, too. */
  readonly commands: boolean;
}

const ANOTHER_ENGINE: OtherRelease = {
  what: "another engine",
  change: { file: "core/definition/generation.ts", find: "ENGINE_REVISION = 2", replace: "ENGINE_REVISION = 3" },
  frozen: ["weight", "counted"],
  commands: false,
};

/**
 * The SQL of one measure is written otherwise; then, in the nightly run, the engine's revision is raised, which
 * concerns every view; then the first release is put back.
 */
const releases: readonly OtherRelease[] = [
  {
    what: "another SQL text of one measure",
    change: {
      file: "core/measures/kinds/sum.ts",
      find: "partial: `sum(${input.text})::BIGINT`",
      replace: "partial: `(sum(${input.text}))::BIGINT`",
    },
    frozen: ["weight"],
    commands: true,
  },
  ...(nightly ? [ANOTHER_ENGINE] : []),
  {
    what: "the first release again",
    change: null,
    frozen: nightly ? ANOTHER_ENGINE.frozen : ["weight"],
    commands: false,
  },
];

let folder: string;
let tideline: Installation;
let connection: Connection;
let sent = 0;
/** Generations that were served, until they are retired. */
const left = new Set<string>();

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-releases-"));
  for (const [room, text] of [
    ["schemas", schema],
    ["views", views],
  ] as const) {
    await mkdir(join(folder, room));
    await writeFile(join(folder, room, "parcels.ts"), text);
  }
  connection = await Connection.connect({ address: inject("temporalAddress") });
  tideline = await Installation.open("releases", {
    TIDELINE_VIEWS: join(folder, "views"),
    TIDELINE_SCHEMAS: join(folder, "schemas"),
    TIDELINE_KEEP_GENERATIONS: "1s",
  });
  await ensureTopics(brokers, [{ name: tideline.topic("parcels"), partitions: 2 }]);
});
afterAll(async () => {
  await tideline.close();
  await connection.close();
  await rm(folder, { recursive: true });
});

async function send(count: number): Promise<void> {
  const records = Array.from({ length: count }, () => {
    const number = sent++;
    const id = `p${number % 37 === 0 ? Math.max(0, number - 5) : number}`;
    const at = Date.parse("2026-01-01") + number * 5_000;
    const parcel: Parcel = { id, at, place: ["north", 'e"ast'][number % 2] ?? "", grams: (number * 7_919) % 9_000 };
    return { key: id, value: Buffer.from(JSON.stringify(parcel)) };
  });
  await produce(brokers, tideline.topic("parcels"), records);
}

const everything = { from: "2020-01-01", to: "2100-01-01", limit: "100000" };
const ask = (name: string) => tideline.ask(name, everything);
const json = async <T>(...args: string[]) => JSON.parse((await tideline.begin(...args, "--json")).stdout) as T;

function run<T>(workflow: string, kind: Parameters<typeof workId>[1], target: string, input: object): Promise<T> {
  return new Client({ connection }).workflow.execute(workflow, {
    workflowId: workId(tideline.namespace, kind, target),
    taskQueue: taskQueueOf(tideline.namespace),
    args: [input],
  }) as Promise<T>;
}

/** Settles one view, or one generation, of the stream. */
const settle = (name: string) =>
  run<{ views: { view: string; published: boolean }[] }>("settleStream", "settle", "parcels", {
    stream: "parcels",
    views: [name],
  });
const adopt = (view: string) =>
  run<{ moved: boolean; comparison: object | null }>("adoptView", "adopt", view, { view });

/** Whether an answer is what the log says below its position, and how many records are in it. */
async function expectExact(view: string, { rows, position }: Answer): Promise<number> {
  const applied = new Map(Object.entries(position.applied).map(([p, offset]) => [Number(p), BigInt(offset)]));
  const expected = expectedRows(
    models[view] as Model<Parcel>,
    await readLog(brokers, tideline.topic("parcels")),
    applied,
  );
  const keyed = rows.map((row) => [rowKey(Date.parse(String(row.bucket)), [row.place ?? null]), row] as const);
  expect(new Set(keyed.map(([key]) => key))).toEqual(new Set(expected.keys()));
  for (const [key, row] of keyed) {
    const want = expected.get(key);
    expect(want === undefined ? "no such row" : differenceOf(row, want)).toBe("");
  }
  return rows.reduce((sum, row) => sum + Number(row.parcels), 0);
}

async function startRoles(): Promise<void> {
  await tideline.stop("speed", "worker", "serve");
  await Promise.all([
    tideline.start("speed"),
    tideline.start("serve"),
    tideline.start("worker", { args: ["--no-schedules"] }),
  ]);
}

describe.sequential("a release that computes views otherwise", () => {
  test("follows the release before", async () => {
    await startRoles();
    await send(800);
    for (const view of ["weight", "counted"]) {
      expect((await settle(view)).views).toMatchObject([{ view, published: true }]);
      const answer = await until(
        "version 1 answers",
        () => ask(view),
        ({ batchVersion }) => batchVersion === 1,
      );
      await expectExact(view, answer);
    }
  });

  describe.each(releases)("with $what", ({ what, change, frozen, commands }) => {
    const others = ["weight", "counted"].filter((view) => !frozen.includes(view));
    let before: ReadonlyMap<string, Answer>;

    test("answers from the newest version of what it cannot continue, and says so everywhere", async () => {
      before = new Map(await Promise.all(["weight", "counted"].map(async (view) => [view, await ask(view)] as const)));
      const place = join(folder, what.replaceAll(" ", "-"));
      tideline.use(change === null ? process.cwd() : await testBuild([change], place));
      await send(200);
      await startRoles();
      for (const view of frozen) {
        const { position, batchVersion } = before.get(view) as Answer;
        const answer = await ask(view);
        expect(answer).toMatchObject({ complete: false, missing: { code: "FROZEN" }, batchVersion });
        expect(answer.position).toEqual({ ...position, applied: position.cut });
        await expectExact(view, answer);
        // By its own name: by the view's, its next generation would be built.
        expect((await settle(position.generation)).views).toEqual([]);
        expect((await ask(view)).position).toEqual(answer.position);
        expect((await fetch(`${tideline.apiUrl}/proof/${view}`)).status).toBe(409);
      }
      for (const view of others) {
        const { position } = before.get(view) as Answer;
        const whole = (answer: Answer) =>
          answer.complete && answer.rows.reduce((sum, row) => sum + Number(row.parcels), 0) > 900;
        const answer = await until("it is followed", () => ask(view), whole);
        expect(answer.position.generation).toBe(position.generation);
        await expectExact(view, answer);
      }
      const speed = (await (await fetch(tideline.speedUrl)).json()) as { views: { generation: string }[] };
      const applied = new Set(speed.views.map(({ generation }) => generation));
      for (const view of frozen) expect(applied.has((before.get(view) as Answer).position.generation)).toBe(false);
    }, 240_000);

    test.runIf(commands)(
      "is named by every command that looks",
      async () => {
        const listed = await json<{ view: string; part: string; state: string; complete: boolean }[]>("views");
        const served = listed.filter(({ part }) => part === "served");
        expect(new Set(served.filter(({ state }) => state === "frozen").map(({ view }) => view))).toEqual(
          new Set(frozen),
        );
        const { views } = await json<{ views: { view: string; missing?: { code: string } }[] }>("status");
        expect(
          views
            .filter(({ missing }) => missing?.code === "FROZEN")
            .map(({ view }) => view)
            .sort(),
        ).toEqual([...frozen].sort());
        const { findings } = await json<{ findings: { check: string }[] }>("doctor");
        expect(findings.filter(({ check }) => check === "view.frozen")).toHaveLength(frozen.length);
        for (const view of frozen)
          for (const yes of [[], ["--yes"]])
            expect((await tideline.run("views", "reset", view, ...yes)).stdout).toContain(
              "nobody reads its live state again",
            );
      },
      120_000,
    );

    test("builds it again and serves that, which grows", async () => {
      for (const view of frozen) {
        const { generation } = (before.get(view) as Answer).position;
        expect(await adopt(view)).toMatchObject({ moved: true, comparison: null });
        left.add(generation);
        const isNew = ({ position, complete }: Answer) => complete && position.generation !== generation;
        const answer = await until("the new generation answers", () => ask(view), isNew);
        expect(await expectExact(view, answer)).toBeGreaterThan(900);

        await send(20);
        expect((await settle(view)).views).toMatchObject([{ view, published: true }]);
      }
    }, 240_000);

    test.runIf(commands)(
      "goes back to the frozen one by one command, and forth by another",
      async () => {
        const [view = ""] = frozen;
        const { generation } = (before.get(view) as Answer).position;
        const next = (await ask(view)).position.generation;
        expect((await tideline.run("views", "back", view)).stdout).toContain("does not grow");
        const served =
          (wanted: string) =>
          ({ position }: Answer) =>
            position.generation === wanted;
        const back = await until("the old one answers", () => ask(view), served(generation));
        expect(back).toMatchObject({ complete: false, missing: { code: "FROZEN" } });
        await expectExact(view, back);
        expect((await adopt(view)).moved).toBe(false);
        await tideline.run("views", "move", next);
        await expectExact(view, await until("the new one answers again", () => ask(view), served(next)));
      },
      120_000,
    );

    // Not after the first change: the next release must be adopted although what people went back to, and forth from,
    // is kept.
    test.runIf(!commands)("lets go of all frozen generations when their time has come", async () => {
      for (const view of frozen) left.delete((await ask(view)).position.generation);
      await until(
        "they are retired",
        async () => {
          const { retired } = await run<{ retired: string[] }>("retireGenerations", "retire", "generations", {});
          for (const generation of retired) left.delete(generation);
          return left.size;
        },
        (size) => size === 0,
      );
    });
  });
});
