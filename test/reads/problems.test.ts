import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import type { Failure } from "../../core/failures.ts";
import type { Trouble } from "../../serving/common/trouble.ts";
import type { ViewOverview } from "../../serving/operations/overview.ts";
import { RefreshWatch } from "../../serving/operations/problems.ts";
import { everything } from "../fixtures/events/views.ts";
import { until } from "../fixtures/servers/installation.ts";
import { failuresOf, Layers } from "../fixtures/servers/layers.ts";

const START = Date.parse("2026-05-01T12:00:00Z");

let layers: Layers;
let stored: ReturnType<typeof failuresOf>[0];
let close: () => void;

beforeAll(async () => {
  layers = await Layers.open([everything]);
  [stored, close] = failuresOf(layers.namespace);
  const tick = { id: "t1", at: START, place: "quay", good: true, amount: 5, tip: 1, test: false };
  await layers.produce("ticks", [tick]);
  await until(
    "it is counted",
    () => ask(),
    ({ body }) => body.rows?.length === 1,
  );
});

afterAll(async () => {
  close?.();
  await layers?.close();
});

interface Body {
  readonly rows?: readonly unknown[];
  readonly asOf: string;
  readonly problems?: readonly Trouble[];
}

async function ask(path = "/views/everything", headers: Record<string, string> = {}) {
  const response = await fetch(layers.url(path), { headers });
  const text = await response.text();
  const isJson = response.headers.get("content-type")?.includes("json") === true;
  return { status: response.status, headers: response.headers, text, body: (isJson ? JSON.parse(text) : {}) as Body };
}

const failure = (name: string, views: string[], atMs = Date.now()): Failure => ({
  kind: "lane",
  name,
  views,
  code: "UNEXPECTED",
  message: "WRONGTYPE",
  hint: "Look at Redis.",
  failures: 4,
  sinceMs: START,
  atMs,
});

const shown = {
  kind: "lane",
  name: "ticks",
  code: "UNEXPECTED",
  message: "WRONGTYPE",
  hint: "Look at Redis.",
  since: "2026-05-01T12:00:00.000Z",
};

const known = (wanted: number) =>
  until(
    "the API knows",
    () => ask("/health"),
    ({ body }) => (body.problems ?? []).length === wanted,
  );

describe("what keeps an answer from growing", () => {
  test("is in every answer of the view, whatever was cached before, and in none about an earlier position", async () => {
    const before = await ask();
    const etag = before.headers.get("etag") ?? "";
    expect((await ask("/views/everything", { "if-none-match": etag })).status).toBe(304);
    expect(before.body).not.toHaveProperty("problems");

    await stored.write([failure("ticks", [generationOf(everything)])], []);
    await known(1);
    const after = await ask("/views/everything", { "if-none-match": etag });
    expect(after.status).toBe(200);
    expect(after.body).toEqual({ ...before.body, freshnessMs: expect.any(Number), problems: [shown] });
    expect(after.headers.get("etag")).toBeNull();
    expect((await ask()).body.problems).toEqual([shown]);
    const csv = await ask("/views/everything?format=csv");
    expect(csv.headers.get("tideline-problems")).toBe("UNEXPECTED");
    expect(csv.text).not.toContain("WRONGTYPE");
    expect((await ask("/views/everything/keys?dimension=place")).body.problems).toEqual([shown]);
    expect((await ask("/views")).body).toMatchObject({ problems: [shown], views: [{ problems: [shown] }] });
    const past = await ask(`/views/everything?at=${before.body.asOf}`);
    expect(past.body).not.toHaveProperty("problems");
    expect(past.headers.get("etag")).not.toBeNull();
    expect((await ask("/metrics")).text).toContain('tideline_failing{kind="lane",name="ticks",code="UNEXPECTED"} 1');

    await stored.write([], ["lane/ticks"]);
    await known(0);
    const mended = await ask();
    expect(mended.body).not.toHaveProperty("problems");
    expect(mended.headers.get("etag")).toBe(etag);
  });

  test("is told to those who watch the view, although nothing moves", async () => {
    const watching = new AbortController();
    const response = await fetch(layers.url("/views/everything/live?interval=50"), { signal: watching.signal });
    const events: string[] = [];
    const reading = (async () => {
      for await (const chunk of response.body ?? []) events.push(Buffer.from(chunk).toString());
    })().catch(() => {});
    const heard = async () => events.join("");
    await until("the first answer", heard, (text) => text.includes("event: answer"));
    await stored.write([failure("ticks", ["everything"])], []);
    await until("the problem", heard, (text) => text.includes('"problems":[{"kind":"lane"'));
    const told = events.join("").split("event: answer").length;
    await stored.write([], ["lane/ticks"]);
    await until("its end", heard, (text) => text.split("event: answer").length > told);
    expect(events.join("").split("event: answer").at(-1)).not.toContain("problems");
    watching.abort();
    await reading;
  });

  test("concerns nobody else's answers, and is over when nobody renews it", async () => {
    await stored.write([failure("others", ["other-view"]), failure("old", ["everything"], Date.now() - 121_000)], []);
    const { body } = await known(1);
    expect(body.problems).toMatchObject([{ name: "others" }]);
    expect((await ask()).body).not.toHaveProperty("problems");
    await stored.write([], ["lane/others", "lane/old"]);
    await known(0);
  });
});

test("a view whose records wait for a version for twenty minutes is told, however old that version is", () => {
  const status = (version: number, applied: bigint) =>
    ({
      definition: { view: { name: "everything" }, generation: "everything.1" },
      status: {
        manifest: { version, createdAtMs: 0 },
        chain: {},
        cut: new Map([[0, 7n]]),
        applied: new Map([[0, applied]]),
      },
    }) as unknown as ViewOverview;
  const watch = new RefreshWatch();
  const told = (minute: number, one: ViewOverview) =>
    watch.observe([one], minute * 60_000).map(({ name, code, sinceMs }) => [name, code, sinceMs / 60_000]);
  expect(told(1_000, status(3, 7n))).toEqual([]);
  expect(told(1_001, status(3, 8n))).toEqual([]);
  expect(told(1_020, status(3, 9n))).toEqual([]);
  expect(told(1_021, status(3, 9n))).toEqual([["everything", "NOT_REFRESHED", 1_001]]);
  expect(told(1_022, status(4, 9n))).toEqual([]);
  expect(told(1_041, status(4, 9n))).toEqual([]);
  expect(told(1_042, status(4, 7n))).toEqual([]);
});
