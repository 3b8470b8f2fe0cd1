import { beforeAll, expect, it } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import { cutAt, unborn, WHOLE } from "../fixtures/events/takings.ts";
import { filledPlace, type Place, redis, useServers } from "./place.ts";

useServers();

/** What may stand in the place of a chain's list of segments or its positions, and cannot be read as such. */
const UNREADABLE: readonly (readonly [string, "chain" | "applied", string, string])[] = [
  ["a list of segments that is cut off", "chain", "segments", '[{"id":"1'],
  ["a list of segments that is none", "chain", "segments", '{"from":1}'],
  ["a position that is not a number", "applied", "0", "many"],
];

const TOTAL = `${WHOLE}&every=7d&by=&measures=sales,buyers`;
const BATCH_ALONE = { complete: false, missing: { code: "LIVE_STATE_UNREADABLE" }, rows: [{ sales: 1_000 }] };

let at: Place;
beforeAll(async () => {
  ({ at } = await filledPlace());
  await at.manifests.genesis(generationOf(unborn), cutAt(0), "t", "test");
});

it.each(UNREADABLE)("%s in Redis is a named problem of its view, and the others go on", async (_, key, field, text) => {
  const name = `tl:{${at.namespace}/${at.generation}}:${key}`;
  const before = await redis.hget(name, field);
  await redis.hset(name, field, text);
  const json = async (path: string) => {
    const { status, text } = await at.ask(path);
    return [status, JSON.parse(text)];
  };
  const problem = {
    ...{ kind: "view", name: "takings", code: "LIVE_STATE_UNREADABLE" },
    hint: expect.stringContaining("tideline views reset takings --yes"),
  };
  expect(await json("/ready")).toMatchObject([
    200,
    {
      views: [
        { view: "takings", ready: true, version: 2, complete: false },
        { view: "unborn", ready: true },
      ],
      problems: [problem],
    },
  ]);
  expect(await json("/views")).toMatchObject([
    200,
    {
      views: [
        { name: "takings", version: 2, complete: false, missing: { code: "LIVE_STATE_UNREADABLE" } },
        { name: "unborn", version: 0 },
      ],
      problems: [problem],
    },
  ]);
  const { text: metrics } = await at.ask("/metrics");
  for (const line of [
    'tideline_failing{kind="view",name="takings",code="LIVE_STATE_UNREADABLE"} 1',
    'tideline_view_complete{view="takings"} 0',
    'tideline_view_batch_version{view="unborn"} 0',
  ])
    expect(metrics).toContain(line);
  expect(await json(`/views/takings?${TOTAL}`)).toMatchObject([200, BATCH_ALONE]);
  expect((await at.ask("/views/unborn")).status).toBe(200);
  // What is written down in the place of it is read at once, and the problem is over.
  await redis.hset(name, field, before ?? "");
  expect(await json("/ready")).toMatchObject([200, { views: [{ complete: true, version: 2 }, { ready: true }] }]);
  expect((await json("/views"))[1]).not.toHaveProperty("problems");
});

/** Puts a text in the place of a cell, a group's key or a sketch of a segment. */
const DAMAGED: readonly (readonly [string, (segment: string) => Promise<unknown>])[] = [
  ["a cell", async (segment) => redis.hset(...(await cellOf(segment)), "many")],
  [
    "a group",
    async (segment) => {
      const [key, field] = await cellOf(segment);
      await redis.hdel(key, field);
      await redis.hset(key, field.replace("]", ""), "1");
    },
  ],
  ["a sketch", async (segment) => redis.set((await redis.keys(`${segment}:h:*`))[0] ?? "", "none")],
];

async function cellOf(segment: string): Promise<[key: string, field: string]> {
  const [key = ""] = (await redis.keys(`${segment}:b:*`)).sort();
  const cells = Object.entries(await redis.hgetall(key));
  return [key, cells.find(([field, value]) => field.startsWith("rows ") && value !== "hll")?.[0] ?? expect.fail(key)];
}

/** The first answer of a live stream. */
async function firstLive({ serving }: Place, query: string): Promise<unknown> {
  const left = new AbortController();
  const url = `http://127.0.0.1:${serving?.port}/views/takings/live?${query}`;
  const { body } = await fetch(url, { signal: left.signal });
  let text = "";
  for await (const chunk of body ?? []) {
    text += Buffer.from(chunk).toString();
    if (/^data: .*\n\n/m.test(text)) break;
  }
  left.abort();
  return JSON.parse(/^data: (.*)$/m.exec(text)?.[1] ?? "null");
}

it.each(DAMAGED)(
  "%s that cannot be read leaves the batch version, for questions and live streams",
  async (_, damage) => {
    for (const segment of ["open", "closed"] as const) {
      const { at } = await filledPlace();
      const segments = (await at.chain.load())?.segments ?? [];
      const id = segments.at(segment === "open" ? -1 : 0)?.id;
      await damage(`tl:{${at.namespace}/${at.generation}}:s:${id}`);
      expect([segment, await at.answer(TOTAL)]).toMatchObject([segment, BATCH_ALONE]);
      const events = await firstLive(at, TOTAL);
      expect([segment, events]).toMatchObject([segment, BATCH_ALONE]);
    }
  },
);

it("that cannot be read is dropped as any other, and begins again", async () => {
  const name = `tl:{${at.namespace}/${at.generation}}:chain`;
  for (const again of ["drop", "reseed"]) {
    await redis.hset(name, "segments", "[");
    await expect(at.chain.load()).rejects.toMatchObject({ code: "LIVE_STATE_UNREADABLE" });
    if (again === "drop") await at.chain.drop();
    const nonce = await redis.hget(name, "nonce");
    expect(await at.chain.reseed(cutAt(1_000), 2, nonce)).toBe(true);
    expect(await at.chain.load()).toMatchObject({ pointer: 2, applied: cutAt(1_000) });
  }
});
