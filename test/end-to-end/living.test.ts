import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Client, Connection } from "@temporalio/client";
import { Redis } from "ioredis";
import { afterAll, beforeAll, describe, expect, inject, test } from "vitest";
import { ensureTopics } from "../../store/kafka/cluster/topics.ts";
import { taskQueueOf, workId } from "../../workflows/shared/names.ts";
import { produce } from "../fixtures/events/produce.ts";
import { someOf } from "../fixtures/oracles/exact.ts";
import { readLog } from "../fixtures/oracles/log-oracle.ts";
import { differenceOf, expectedRows, type Model, type OracleLog, rowKey } from "../fixtures/oracles/oracle.ts";
import { type Answer, Installation, until } from "../fixtures/servers/installation.ts";

/**
 * A view and its stream's contract change under load: what is served is exact before, during and after, and again when
 * one goes back. Both generations live side by side, decoded under two revisions of the contract, from the archive's
 * original bytes.
 */

const brokers = inject("kafkaBrokers");

interface Parcel {
  readonly id: string;
  readonly at: number;
  readonly place: string;
  readonly grams: number;
  readonly insured?: boolean;
}

const schema = (second: boolean) => `
import { flag, instant, integer, text, withDefault } from "../../../core/contract/fields.ts";
import { stream } from "../../../core/contract/stream.ts";

export const parcels = stream("parcels", {
  revision: ${second ? 2 : 1},
  partitions: 2,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 1000,
  fields: {
    id: text({ max: 40 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
    place: text({ max: 20 }),
    grams: integer({ min: 0, max: 1_000_000 }),
    ${second ? "insured: withDefault(flag(), false)," : ""}
  },
});
`;

const views = (second: boolean) => `
import { count } from "../../../core/measures/kinds/count.ts";
import { quantile } from "../../../core/measures/kinds/quantile.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { sql } from "../../../core/contract/sql.ts";
import { view } from "../../../core/definition/view.ts";
import { parcels } from "../schemas/parcels.ts";

export const weight = view("weight", {
  stream: parcels,
  ${second ? "where: sql`NOT insured`," : ""}
  by: { place: sql\`place\`${second ? ", heavy: sql`grams >= 5000`" : ""} },
  every: "1 minute",
  measures: {
    parcels: count({ unit: "parcels" }),
    grams: sum(sql\`grams\`, { unit: "g" }),
    ${second ? "spread: quantile(sql`grams`, { error: 0.01 })," : ""}
  },
});
`;

const decode = (value: Buffer | null): Parcel | null => {
  try {
    const parcel = JSON.parse(String(value)) as Parcel;
    return typeof parcel.id === "string" ? parcel : null;
  } catch {
    return null;
  }
};
const shared = {
  dedupWindow: 1_000,
  decode,
  id: (parcel: Parcel) => parcel.id,
  timeMs: (parcel: Parcel) => parcel.at,
  grainMs: 60_000,
};
const measures: Model<Parcel>["measures"] = {
  parcels: { kind: "count" },
  grams: { kind: "sum", of: (parcel: Parcel) => parcel.grams },
};
const before: Model<Parcel> = { ...shared, counted: () => true, group: ({ place }) => [place], measures };
const after: Model<Parcel> = {
  ...shared,
  counted: ({ insured }) => insured !== true,
  group: ({ place, grams }) => [place, grams >= 5_000],
  measures: {
    ...measures,
    spread: { kind: "quantile", of: (parcel) => parcel.grams, at: [0.5, 0.9, 0.99], error: 0.01 },
  },
};

let folder: string;
let tideline: Installation;
let connection: Connection;
let topic: string;
let sent = 0;

async function define(second: boolean): Promise<void> {
  await writeFile(join(folder, "schemas", "parcels.ts"), schema(second));
  await writeFile(join(folder, "views", "weight.ts"), views(second));
}

beforeAll(async () => {
  // Below the repository, so that its imports read as in views/.
  folder = join(process.cwd(), ".tideline", `living-${Date.now()}`);
  await mkdir(join(folder, "schemas"), { recursive: true });
  await mkdir(join(folder, "views"));
  await define(false);
  connection = await Connection.connect({ address: inject("temporalAddress") });
  tideline = await Installation.open("living", {
    TIDELINE_VIEWS: join(folder, "views"),
    TIDELINE_SCHEMAS: join(folder, "schemas"),
    TIDELINE_KEEP_GENERATIONS: "1s",
  });
  topic = tideline.topic("parcels");
  await ensureTopics(brokers, [{ name: topic, partitions: 2 }]);
});

afterAll(async () => {
  await tideline.close();
  await connection.close();
  await rm(folder, { recursive: true });
});

/** Sends parcels, some of them twice, late, or broken. */
async function send(count: number): Promise<void> {
  const records = Array.from({ length: count }, () => {
    const number = sent++;
    const parcel: Parcel = {
      id: `p${number % 37 === 0 ? Math.max(0, number - 5) : number}`,
      at: Date.now() - (number % 20 === 0 ? 300_000 : 0),
      place: ["north", "south", 'e"ast'][number % 3] ?? "",
      grams: (number * 7_919) % 9_000,
      ...(number % 4 === 0 ? { insured: number % 8 === 0 } : {}),
    };
    return { key: parcel.id, value: Buffer.from(number % 101 === 0 ? "{broken" : JSON.stringify(parcel)) };
  });
  await produce(brokers, topic, records);
}

const ask = (name = "weight") => tideline.ask(name, { from: "2020-01-01", to: "2100-01-01", limit: "100000" });

function run<T>(workflow: string, kind: Parameters<typeof workId>[1], target: string, input: object): Promise<T> {
  return new Client({ connection }).workflow.execute(workflow, {
    workflowId: workId(tideline.namespace, kind, target),
    taskQueue: taskQueueOf(tideline.namespace),
    args: [input],
  }) as Promise<T>;
}

function expectExact(answer: Answer, log: OracleLog): void {
  const model = "heavy" in (answer.rows[0] ?? {}) ? after : before;
  const applied = new Map(Object.entries(answer.position.applied).map(([p, offset]) => [Number(p), BigInt(offset)]));
  const expected = expectedRows(model, log, applied);
  const keys = answer.rows.map((row) =>
    rowKey(Date.parse(String(row.bucket)), [row.place ?? null, ...("heavy" in row ? [row.heavy ?? null] : [])]),
  );
  expect(new Set(keys)).toEqual(new Set(expected.keys()));
  for (const [index, row] of answer.rows.entries()) {
    const want = expected.get(keys[index] ?? "");
    expect(want === undefined ? "no such row" : differenceOf(row, want)).toBe("");
  }
}

/** Sends and asks again and again while `work` continues; answers every answer with a position of its own. */
async function underLoad(work: () => Promise<unknown>): Promise<Answer[]> {
  const answers = new Map<string, Answer>();
  let working = true;
  const load = (async () => {
    while (working) {
      await send(30);
      await ask().then(
        (answer) => answers.set(answer.asOf, answer),
        () => undefined,
      );
      await new Promise((resolve) => setTimeout(resolve, 150));
    }
  })();
  await work().finally(() => {
    working = false;
  });
  await load;
  return [...answers.values()];
}

describe.sequential("a definition changes under load", () => {
  test("served as its file says, and refreshed", async () => {
    await Promise.all([
      tideline.start("speed"),
      tideline.start("serve"),
      tideline.start("worker", { args: ["--no-schedules"] }),
    ]);
    await send(1_500);
    await run("settleStream", "settle", "parcels", { stream: "parcels", views: ["weight"] });
    await send(500);
    const answer = await until("version 1 answers", ask, ({ batchVersion }) => batchVersion === 1);
    expectExact(answer, await readLog(brokers, topic));
  });

  test("the new generation is built beside it, compared and moved to; every answer is exact", async () => {
    const old = (await ask()).position.generation;
    await define(true);
    const answers = await underLoad(async () => {
      for (const role of ["speed", "worker", "serve"]) {
        await tideline.stop(role);
        await tideline.restart(role);
      }
      const adopted = await run<{ moved: boolean; comparison: { measures: unknown[] } }>(
        "adoptView",
        "adopt",
        "weight",
        {
          view: "weight",
        },
      );
      expect(adopted.moved).toBe(true);
      await until("the new generation answers", ask, ({ position }) => position.generation !== old);
      // For the load to see it too.
      await new Promise((resolve) => setTimeout(resolve, 1_500));
    });
    const log = await readLog(brokers, topic);
    for (const answer of someOf(answers)) expectExact(answer, log);
    expect(new Set(answers.map(({ position }) => position.generation)).size).toBe(2);
    expect(answers.some(({ complete }) => complete)).toBe(true);

    const comparison = JSON.parse((await tideline.run("views", "compare", "weight", "--json")).stdout) as {
      served: string;
      cut: Record<string, string>;
      measures: { measure: string; totals: { served: string; next: string } }[];
      notComparable: string[];
    };
    expect(comparison).toMatchObject({ served: old, notComparable: ["spread", "heavy"] });
    const cut = new Map(Object.entries(comparison.cut).map(([p, offset]) => [Number(p), BigInt(offset)]));
    for (const [side, model] of Object.entries({ served: before, next: after })) {
      const rows = [...expectedRows(model, log, cut).values()];
      const total = (measure: string) => String(rows.reduce((sum, { values }) => sum + Number(values[measure]), 0));
      for (const { measure, totals } of comparison.measures)
        expect(totals[side as "served" | "next"]).toBe(total(measure));
    }
  }, 240_000);

  test("one goes back by one command: exact, and so is the other under its own name", async () => {
    const current = (await ask()).position.generation;
    const answers = await underLoad(async () => {
      await tideline.run("views", "back", "weight");
      await until("what was before answers", ask, ({ position }) => position.generation !== current);
    });
    const other = await ask(current);
    const log = await readLog(brokers, topic);
    for (const answer of [...someOf(answers), other]) expectExact(answer, log);
    expect(other.position.generation).toBe(current);
    // It was chosen by people: the file's definition is kept ready, and does not take its place again.
    const again = await run<{ moved: boolean }>("adoptView", "adopt", "weight", {
      view: "weight",
    });
    expect(again.moved).toBe(false);
  });

  test("a view whose file is removed is let go after its grace, and then deleted", async () => {
    await rm(join(folder, "views", "weight.ts"));
    const [one] = Object.values((await ask()).position.generation.split(" "));
    await tideline.stop("worker");
    await tideline.restart("worker");
    const retire = () =>
      run<{ retired: string[]; deleted: string[] }>("retireGenerations", "retire", "generations", {});
    const first = await retire();
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    const retired = [...first.retired, ...(await retire()).retired];
    expect(retired).toContain(one);
    expect(retired).toHaveLength(2);
    // Processes have ten minutes to notice; the test does not wait for them, but ends the one that would still say how
    // fresh the log is.
    await tideline.stop("speed");
    for (const generation of retired) {
      const mark = join(tideline.home, "data", "views", generation, "retired.json");
      const { atMs } = JSON.parse(await readFile(mark, "utf8")) as { atMs: number };
      await writeFile(mark, JSON.stringify({ atMs: atMs - 3_600_000 }));
    }
    await until(
      "nobody serves it",
      async () => (await fetch(`${tideline.apiUrl}/views/weight`)).status,
      (status) => status === 404,
    );
    expect((await retire()).deleted).toEqual(expect.arrayContaining(retired));
    const redis = new Redis(inject("redisUrl"));
    const left = await redis.keys(`tl:{${tideline.namespace}/weight.*`);
    redis.disconnect();
    expect(left).toEqual([]);
  });
});
