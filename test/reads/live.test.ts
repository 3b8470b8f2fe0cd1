import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { instant, text } from "../../core/contract/fields.ts";
import { sql } from "../../core/contract/sql.ts";
import { stream } from "../../core/contract/stream.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { view } from "../../core/definition/view.ts";
import { decodeAsOf, encodeAsOf } from "../../core/log/as-of.ts";
import { cutReached, position } from "../../core/log/position.ts";
import { count } from "../../core/measures/kinds/count.ts";
import type { AnswerBody } from "../../serving/answer/answer-schemas.ts";
import { preferredFormat } from "../../serving/answer/format.ts";
import type { Problem } from "../../serving/common/problem.ts";
import { everything, type Tick } from "../fixtures/events/views.ts";
import { until } from "../fixtures/servers/installation.ts";
import { Layers } from "../fixtures/servers/layers.ts";

/** Of another stream. */
const visits = view("visits", {
  stream: stream("visits", {
    revision: 1,
    partitions: 1,
    key: "id",
    eventId: "id",
    eventTime: "at",
    dedupWindow: 10,
    fields: { id: text(), at: instant({ from: "2020-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" }), page: text() },
  }),
  by: { page: sql`page` },
  every: "1 minute",
  measures: { visits: count() },
});

const START = Date.parse("2026-05-01T12:00:00Z");
const PLACES = ["harbour", "=cmd()", "-7", 'quay, "east"', null];

function ticksFrom(first: number, total: number): Tick[] {
  return Array.from({ length: total }, (_, index) => {
    const n = first + index;
    return {
      // Some come twice.
      id: `t${n % 11 === 5 ? n - 1 : n}`,
      at: START + ((n * 7_919) % 3_600) * 1_000,
      place: PLACES[n % PLACES.length] ?? null,
      good: [true, false, null][n % 3] ?? null,
      amount: ((n * 7_907) % 2_000) - 1_000,
      tip: n % 4 === 0 ? null : n % 90,
      test: n % 13 === 0,
    };
  });
}

let layers: Layers;
let sent = 0;

async function send(total: number): Promise<void> {
  await layers.produce("ticks", ticksFrom(sent, total));
  sent += total;
}

const events = (body: AnswerBody) =>
  Object.values(body.position.applied).reduce((sum, offset) => sum + Number(offset), 0);

/** The answer once everything that was sent is in it. */
async function caughtUp(query = ""): Promise<AnswerBody> {
  return until(
    "the answer",
    () => layers.answer("everything", query),
    (body) => body.complete && events(body) === sent,
  );
}

/** A response whose body was read: a server that closes waits for what is not. */
async function whole(url: string, headers: Record<string, string> = {}): Promise<Response> {
  const response = await fetch(url, { headers });
  await response.arrayBuffer();
  return response;
}

async function refused(path: string): Promise<[number, string]> {
  const response = await fetch(layers.url(path));
  const problem = (await response.json()) as Problem;
  expect(response.status, problem.detail).toBe(problem.status);
  return [response.status, problem.code];
}

beforeAll(async () => {
  layers = await Layers.open([everything, visits], { maxStreams: 12 });
  await until(
    "the first version",
    () => whole(layers.url("/ready")),
    ({ status }) => status === 200,
  );
});
afterAll(() => layers?.close());

describe("at=", () => {
  it("answers rows as they were at that position, while events flow and versions replace each other", async () => {
    const query = "by=place,good&every=5m";
    const taken: AnswerBody[] = [await layers.answer("everything", query)];
    const take = async () => {
      await until(
        "the next position",
        () => layers.answer("everything", query),
        (body) => {
          if (body.asOf === taken.at(-1)?.asOf) return false;
          taken.push(body);
          return true;
        },
      );
    };
    for (let round = 0; round < 3; round++) {
      for (let part = 0; part < 2; part++) {
        await send(40 + round);
        await take();
      }
      await caughtUp();
      taken.push(await layers.answer("everything", query));
      if (round < 2) expect(await layers.refresh(everything)).toBe(true);
    }
    expect(new Set(taken.map(({ asOf }) => asOf)).size).toBeGreaterThan(5);
    expect(new Set(taken.map(({ batchVersion }) => batchVersion)).size).toBeGreaterThan(2);
    for (const { asOf, rows, window } of taken) {
      const again = await layers.answer("everything", `${query}&at=${asOf}`);
      expect(again).toMatchObject({ asOf, complete: true, freshnessMs: null, position: decodedPosition(asOf) });
      expect(again.rows).toEqual(rows);
      if (rows.length > 0) expect(again.window).toEqual(window);
    }
  });

  it("answers the same when the live state and all versions but the first are gone", async () => {
    const body = await caughtUp("by=place");
    await send(30);
    await caughtUp();
    const chain = await layers.chain(everything).load();
    expect(await layers.chain(everything).reseed(new Map(), chain?.pointer ?? 0, chain?.nonce ?? null)).toBe(true);
    expect((await layers.answer("everything", `by=place&at=${body.asOf}`)).rows).toEqual(body.rows);
    await caughtUp();
  });

  it("gives a body and an entity tag that never change, to be cached for long", async () => {
    const { asOf } = await caughtUp();
    await send(5);
    await caughtUp();
    const url = layers.url(`/views/everything?by=place&at=${asOf}`);
    const [first, second] = [await fetch(url), await fetch(url)];
    expect(await first.text()).toBe(await second.text());
    expect(first.headers.get("etag")).toMatch(/^"[\w-]+"$/);
    expect(first.headers.get("cache-control")).toContain("immutable");
    const unchanged = await fetch(url, { headers: { "if-none-match": first.headers.get("etag") ?? "" } });
    expect([unchanged.status, await unchanged.text()]).toEqual([304, ""]);
  });

  it("refuses positions of other definitions, beyond the log, and what is not a position", async () => {
    const { asOf } = await caughtUp();
    const real = decodeAsOf(asOf);
    if (real === null) throw new Error("no token");
    const other = encodeAsOf({ ...real, generation: "0123456789abcdef" });
    const beyond = encodeAsOf({ ...real, applied: new Map([...real.applied].map(([p, o]) => [p, position(o + 9n)])) });
    expect(await refused(`/views/everything?at=${other}`)).toEqual([410, "GENERATION_GONE"]);
    expect(await refused(`/views/everything?at=${beyond}`)).toEqual([410, "POSITION_GONE"]);
    for (const wrong of ["at=x", `at=${asOf}&at=${asOf}`, `at=${asOf}&min=${asOf}`])
      expect(await refused(`/views/everything?${wrong}`)).toEqual([400, "BAD_REQUEST"]);
  });
});

describe("min=", () => {
  it("waits for a record that was just written, by its topic, partition and offset", async () => {
    const before = await caughtUp("by=");
    const ends = before.position.applied;
    await send(20);
    const asked = await Promise.all(
      Object.entries(ends).map(([partition, end]) =>
        layers.answer("everything", `by=&min=${layers.topic("ticks")}:${partition}:${end}`),
      ),
    );
    for (const [index, [partition, end]] of Object.entries(ends).entries())
      expect(Number(asked[index]?.position.applied[partition])).toBeGreaterThan(Number(end));
  });

  it("waits for a token's positions, and refuses when they do not come", async () => {
    const { asOf, position: reached } = await caughtUp();
    const real = decodeAsOf(asOf);
    if (real === null) throw new Error("no token");
    expect((await layers.answer("everything", `min=${asOf}`)).asOf).toBe(asOf);
    const began = performance.now();
    const next = `${layers.topic("ticks")}:0:${reached.applied[0]}`;
    expect(await refused(`/views/everything?min=${asOf},${next}&wait=300`)).toEqual([503, "NOT_REACHED"]);
    expect(performance.now() - began).toBeGreaterThanOrEqual(300);
    const ahead = encodeAsOf({ ...real, applied: new Map([[1, position(1_000_000)]]) });
    expect(await refused(`/views/everything?min=${ahead}&wait=0`)).toEqual([503, "NOT_REACHED"]);
  });

  it("waits for a partition that may be added yet", async () => {
    const [status, code] = await refused(`/views/everything?min=${layers.topic("ticks")}:2:1&wait=100`);
    expect([status, code]).toEqual([503, "NOT_REACHED"]);
  });

  it("refuses other topics, and other times", async () => {
    const { asOf } = await layers.answer("everything");
    for (const wrong of [
      `min=${layers.topic("visits")}:0:1`,
      `min=${layers.topic("ticks")}:0:x`,
      "min=,",
      `min=${asOf}&wait=31s`,
      `min=${asOf}&wait=soon`,
    ])
      expect(await refused(`/views/everything?${wrong}`), wrong).toEqual([400, "BAD_REQUEST"]);
    expect(await refused(`/views/visits?min=${asOf}`)).toEqual([410, "GENERATION_GONE"]);
  });
});

describe("an entity tag", () => {
  it("spares an answer until the position moves, and is another for another question", async () => {
    await caughtUp();
    const url = layers.url("/views/everything?by=place");
    const first = await whole(url);
    const etag = first.headers.get("etag") ?? "";
    expect(first.headers.get("cache-control")).toBe("no-cache");
    const held = (headers: Record<string, string>, at = url) => whole(at, headers);
    expect((await held({ "if-none-match": `"x", ${etag}` })).status).toBe(304);
    expect((await held({ "if-none-match": etag, accept: "text/csv" })).status).toBe(200);
    expect((await held({ "if-none-match": etag }, `${url}&limit=1`)).status).toBe(200);
    await send(3);
    await caughtUp();
    expect((await held({ "if-none-match": etag })).status).toBe(200);
  });
});

describe("CSV", () => {
  it("has the rows of JSON as they are, says where it stands in headers, and holds no formula for a spreadsheet", async () => {
    const body = await caughtUp("by=place&every=1h");
    const response = await fetch(layers.url("/views/everything?by=place&every=1h"), {
      headers: { accept: "text/csv" },
    });
    expect(response.headers.get("content-type")).toBe("text/csv; charset=utf-8; header=present");
    expect(response.headers.get("tideline-as-of")).toBe(body.asOf);
    expect(response.headers.get("tideline-complete")).toBe("true");
    const lines = (await response.text()).split("\r\n");
    expect(lines[0]?.startsWith("bucket,place,ticks,total,")).toBe(true);
    expect(lines).toHaveLength(body.rows.length + 2);
    const written = new Map([
      ["=cmd()", ["=cmd()", "'=cmd()"]],
      ["-7", ["-7", "-7"]],
      ['quay, "east"', ['"quay, ""east"""', '"quay, ""east"""']],
      ["harbour", ["harbour", "harbour"]],
    ]);
    const spreadsheet = await fetch(layers.url("/views/everything?by=place&every=1h&format=spreadsheet"));
    expect(spreadsheet.headers.get("content-type")).toBe("text/csv; charset=utf-8; header=present");
    const safe = (await spreadsheet.text()).split("\r\n");
    for (const [index, row] of body.rows.entries())
      for (const [form, found] of [lines, safe].entries()) {
        const place = row.place === null ? "" : written.get(String(row.place))?.[form];
        const begins = `${row.bucket},${place},${row.ticks},${row.total},`;
        expect(found[index + 1]?.startsWith(begins), found[index + 1]).toBe(true);
      }
    const asked = await whole(layers.url("/views/everything?format=csv&by=&limit=1"));
    expect(asked.headers.get("content-type")).toContain("text/csv");
    expect(await refused("/views/everything?format=xml")).toEqual([400, "BAD_REQUEST"]);
  });

  it("is chosen by the Accept header's weights", () => {
    const cases: [string | undefined, string][] = [
      [undefined, "json"],
      ["*/*", "json"],
      ["text/csv", "csv"],
      ["text/*", "csv"],
      ["text/html, text/csv;q=0.5, */*;q=0.1", "csv"],
      ["text/csv;q=0.5, application/json", "json"],
      ["text/csv;q=0, */*", "json"],
      ["TEXT/CSV ; q=0.9, application/json;q=0.8", "csv"],
      ["image/png", "json"],
    ];
    for (const [accept, format] of cases) expect(preferredFormat(accept), accept).toBe(format);
  });
});

describe("keys", () => {
  it("are the values of a dimension with their rows, from both layers", async () => {
    const { rows } = await caughtUp("by=place&every=1w");
    const response = await fetch(layers.url("/views/everything/keys?dimension=place"));
    const body = (await response.json()) as { keys: { key: string | null; rows: number }[]; complete: boolean };
    const counted = new Map(rows.map((row) => [row.place, row.ticks]));
    expect(body.complete).toBe(true);
    expect(new Map(body.keys.map(({ key, rows }) => [key, rows]))).toEqual(counted);
    expect(body.keys.map(({ rows }) => rows)).toEqual([...body.keys.map(({ rows }) => rows)].sort((a, b) => b - a));
    const ask = async (query: string) =>
      (await (await fetch(layers.url(`/views/everything/keys?${query}`))).json()) as typeof body;
    expect((await ask("dimension=place&prefix=quay")).keys.map(({ key }) => key)).toEqual(['quay, "east"']);
    expect(await ask("dimension=good&limit=2")).toMatchObject({ keys: [{}, {}], truncated: true });
    expect((await ask("dimension=place&where[place]=-7")).keys).toHaveLength(1);
    for (const wrong of ["", "dimension=x", "dimension=place&limit=0", "dimension=place&measures=ticks"])
      expect(await refused(`/views/everything/keys?${wrong}`)).toEqual([400, "BAD_REQUEST"]);
  });
});

interface Heard {
  readonly event: string;
  readonly id: string;
  readonly body: AnswerBody;
}

/** A subscriber that reads the stream as it is on the wire. */
class Ear {
  readonly heard: Heard[] = [];
  readonly #stop = new AbortController();
  ended = false;

  static async open(path: string, lastEventId?: string): Promise<Ear> {
    const ear = new Ear();
    const headers = lastEventId === undefined ? {} : { "last-event-id": lastEventId };
    const response = await fetch(layers.url(path), { headers, signal: ear.#stop.signal });
    expect(response.headers.get("content-type")).toContain("text/event-stream");
    void ear.#read(response);
    return ear;
  }

  async #read(response: Response): Promise<void> {
    let text = "";
    try {
      for await (const chunk of response.body ?? []) {
        text += Buffer.from(chunk as Uint8Array).toString();
        const blocks = text.split("\n\n");
        text = blocks.pop() ?? "";
        for (const block of blocks) {
          const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(block)?.[1] ?? "";
          if (field("event") !== "")
            this.heard.push({ event: field("event"), id: field("id"), body: JSON.parse(field("data")) });
        }
      }
    } catch (error) {
      if (!this.#stop.signal.aborted) throw error;
    }
    this.ended = true;
  }

  get last(): Heard | undefined {
    return this.heard.at(-1);
  }

  close(): void {
    this.#stop.abort();
  }
}

const LIVE = "/views/everything/live?by=&every=1h&interval=50";

describe("a live stream", () => {
  it("gives many subscribers the answer, and each change of it, in order", async () => {
    await caughtUp();
    const ears = await Promise.all(Array.from({ length: 10 }, () => Ear.open(LIVE)));
    await until("the first answers", async () => ears.every(({ heard }) => heard.length > 0), Boolean);
    for (let round = 0; round < 5; round++) {
      await send(10);
      const { asOf, rows } = await caughtUp("by=&every=1h");
      await until("the news", async () => ears.every(({ last }) => last?.id === asOf), Boolean);
      for (const { last } of ears)
        expect(last).toMatchObject({ event: "answer", body: { asOf, rows, complete: true } });
    }
    for (const { heard } of ears) {
      for (const [index, { id }] of heard.slice(1).entries()) {
        const [earlier, later] = [decodeAsOf(heard[index]?.id ?? ""), decodeAsOf(id)];
        expect(earlier !== null && later !== null && cutReached(later.applied, earlier.applied)).toBe(true);
      }
      expect(new Set(heard.map(({ id }) => id)).size).toBe(heard.length);
    }
    for (const ear of ears) ear.close();
  });

  it("goes on after the last event that a subscriber has, and repeats nothing", async () => {
    const { asOf } = await caughtUp();
    const ear = await Ear.open(LIVE, asOf);
    await send(5);
    const next = await caughtUp();
    await until(
      "the news",
      async () => ear.last?.id,
      (id) => id === next.asOf,
    );
    expect(ear.heard.map(({ id }) => id)).not.toContain(asOf);
    ear.close();
  });

  it("never takes a subscriber back when the live state is lost, and says so", async () => {
    await send(20);
    await caughtUp();
    await layers.refresh(everything);
    await send(20);
    const { asOf } = await caughtUp();
    const ear = await Ear.open(LIVE);
    await until(
      "the answer",
      async () => ear.last?.id,
      (id) => id === asOf,
    );
    await layers.stopSpeed();
    const chain = await layers.chain(everything).load();
    expect(await layers.chain(everything).reseed(new Map(), chain?.pointer ?? 0, chain?.nonce ?? null)).toBe(true);
    await until(
      "the notice",
      async () => ear.last,
      (last) => last?.event === "behind",
      10_000,
    );
    expect(ear.last?.body).toMatchObject({ complete: false, missing: {} });
    await layers.startSpeed();
    await send(5);
    const next = await caughtUp();
    await until(
      "the news",
      async () => ear.last?.id,
      (id) => id === next.asOf,
    );
    const seen = ear.heard
      .filter(({ event }) => event === "answer")
      .map(({ id }) => decodeAsOf(id)?.applied ?? new Map());
    for (const [index, applied] of seen.slice(1).entries())
      expect(cutReached(applied, seen[index] ?? new Map())).toBe(true);
    expect(new Set(ear.heard.slice(1, -1).map(({ event }) => event))).toEqual(new Set(["behind"]));
    ear.close();
  });

  it("is refused beyond the limit, and when the question is wrong; what is left makes room", async () => {
    const ears: { close: () => unknown }[] = [];
    await until(
      "room",
      async () => {
        const response = await fetch(layers.url(LIVE));
        await response.body?.cancel();
        return response.status;
      },
      (status) => status === 200,
    );
    for (let n = 0; n < 11; n++) ears.push(await Ear.open(`${LIVE}&limit=${n + 1}`));
    await until(
      "the last place",
      async () => {
        const response = await fetch(layers.url(LIVE));
        if (response.status === 200) ears.push({ close: () => response.body?.cancel() });
        return response.status;
      },
      (status) => status === 503,
    );
    expect(await refused(LIVE)).toEqual([503, "TOO_MANY_STREAMS"]);
    for (const ear of ears) ear.close();
    await until(
      "room",
      async () => {
        const response = await fetch(layers.url(LIVE));
        await response.body?.cancel();
        return response.status;
      },
      (status) => status === 200,
    );
    expect(await refused("/views/everything/live?interval=10")).toEqual([400, "BAD_REQUEST"]);
    expect(await refused("/views/everything/live?by=x")).toEqual([400, "BAD_REQUEST"]);
    expect(await refused("/views/nothing/live")).toEqual([404, "VIEW_UNKNOWN"]);
  });

  it("ends when the server closes, and so does the server", async () => {
    const ears = await Promise.all([LIVE, LIVE, `${LIVE}&limit=3`].map((path) => Ear.open(path)));
    await until("the answers", async () => ears.every(({ heard }) => heard.length > 0), Boolean, 5_000);
    const began = performance.now();
    await layers.serving?.close();
    await until("the end", async () => ears.every(({ ended }) => ended), Boolean, 5_000);
    expect(performance.now() - began).toBeLessThan(5_000);
    await layers.restart();
    expect((await layers.answer("everything")).complete).toBe(true);
  });
});

function decodedPosition(asOf: string) {
  const token = decodeAsOf(asOf);
  return { generation: generationOf(everything), version: token?.version };
}
