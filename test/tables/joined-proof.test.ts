import { afterAll, beforeAll, expect, inject, test } from "vitest";
import { joinedLine } from "../../cli/query/proof-text.ts";
import { instant, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { joined } from "../../core/definition/joined.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import type { JoinedProof } from "../../core/proof/proof-result.ts";
import type { Problem } from "../../serving/common/problem.ts";
import { openRedis } from "../../store/redis/redis.ts";
import { produce } from "../fixtures/events/produce.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** The proof of a joined table: of each of its tables, at positions of its own. */

const contract = {
  revision: 1,
  partitions: 2,
  key: "guest",
  eventId: "id",
  eventTime: "at",
  dedupWindow: 100,
  fields: {
    id: text({ max: 40 }),
    guest: text({ max: 40 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }),
  },
} as const;
const booked = table("guests-booked", { stream: stream("bookings", contract), key: sql`guest` });
const called = table("guests-called", {
  stream: stream("calls", contract),
  key: sql`guest`,
  measures: { calls: count() },
});
const guests = joined("guests", {
  tables: { booked, called },
  columns: { booking: sql`booked.id`, calls: sql`coalesce(called.calls, 0)` },
});
const views = [booked, called];

let layers: Layers;
let sent = 0;

beforeAll(async () => {
  const definitions = {
    views: new Map(views.map((view) => [view.name, { view, generation: generationOf(view), file: "test" }])),
    streams: new Map(views.map(({ stream }) => [stream.name, stream])),
    joined: new Map([[guests.name, guests]]),
  };
  layers = await Layers.open(views, { definitions });
  await events(60);
});

afterAll(() => layers?.close());

/** Sends as many events to each stream, and waits until its table has them. */
async function events(total: number): Promise<void> {
  sent += total;
  for (const { name, stream } of views) {
    const records = Array.from({ length: total }, (_, n) => {
      const guest = `g${(n * 7) % 40}`;
      const event = { id: `${name}-${sent + n}`, guest, at: Date.UTC(2026, 2, 1) + n };
      return { key: guest, value: Buffer.from(JSON.stringify(event)) };
    });
    await produce(inject("kafkaBrokers"), layers.topic(stream.name), records);
    await until(
      `${name} has all events`,
      async () =>
        (await (await fetch(layers.url(`/tables/${name}?limit=1`))).json()) as { position?: { applied: object } },
      ({ position }) => Object.values(position?.applied ?? {}).reduce((all, one) => all + Number(one), 0) >= sent,
    );
  }
}

async function ask<T>(path: string): Promise<T> {
  const response = await fetch(layers.url(path));
  return (await response.json()) as T;
}

const appliedOf = ({ tables }: JoinedProof) =>
  Object.fromEntries(Object.entries(tables).map(([name, one]) => [name, one.answers.at(-1)?.position.applied]));

test("proves each table and says at which positions: the newest ones, or those of an earlier answer", async () => {
  type Answer = { asOf: string; tables: Record<string, { position: { applied: object } }> };
  const earlier = await ask<Answer>("/tables/guests?limit=1");
  for (const view of views) expect(await layers.refresh(view)).toBe(true);
  await events(30);
  const now = await ask<JoinedProof>("/proof/guests");
  expect(now).toMatchObject({
    view: "guests",
    equal: true,
    tables: { booked: { equal: true }, called: { equal: true } },
  });
  expect(Object.values(now.tables).map(({ view, rows }) => [view, rows])).toEqual([
    ["guests-booked", 40],
    ["guests-called", 40],
  ]);
  expect(joinedLine(now)).toBe("guests: equal; its columns are computed of these 2 tables\n");
  const then = await ask<JoinedProof>(`/proof/guests?rows=0&at=${earlier.asOf}`);
  expect(then.equal).toBe(true);
  const where = Object.entries(earlier.tables).map(([name, { position }]) => [name, position.applied]);
  expect(appliedOf(then)).toEqual(Object.fromEntries(where));
  expect(appliedOf(then)).not.toEqual(appliedOf(now));
});

test("refuses what means nothing for it, and names what does", async () => {
  for (const parameter of [
    "from=2026-01-01",
    "by=",
    "where[guest]=g1",
    "limit=3",
    "min=calls:0:1",
    "at=x",
    "rows=-1",
  ]) {
    const problem = await ask<Problem>(`/proof/guests?${parameter}`);
    expect([parameter, problem.code, problem.errors?.[0]?.parameter]).toEqual([
      ...[parameter, "BAD_REQUEST", parameter.split("=")[0]],
    ]);
  }
  expect(await ask<Problem>("/proof/nobody")).toMatchObject({ code: "VIEW_UNKNOWN" });
});

test("is not equal when one of its tables is not, and says which", async () => {
  const redis = openRedis(inject("redisUrl"), () => {});
  try {
    const prefix = `tl:{${layers.namespace}/${generationOf(called)}}`;
    const segments = JSON.parse((await redis.hget(`${prefix}:chain`, "segments")) ?? "[]") as { id: string }[];
    const pages = await Promise.all(segments.map(({ id }) => redis.keys(`${prefix}:s:${id}:b:*`)));
    const [page = ""] = pages.findLast((some) => some.length > 0) ?? [];
    const field = (await redis.hkeys(page)).find((name) => name.startsWith("rows ")) ?? "";
    await redis.hincrby(page, field, 3);
  } finally {
    redis.disconnect();
  }
  await layers.serving?.close();
  await layers.restart();
  const proof = await ask<JoinedProof>("/proof/guests");
  expect(proof).toMatchObject({ equal: false, tables: { booked: { equal: true }, called: { equal: false } } });
  expect(proof.tables.called?.differences).toMatchObject([{ field: "calls", difference: 3 }]);
  expect(joinedLine(proof)).toBe("guests: NOT EQUAL, because of called\n");
});
