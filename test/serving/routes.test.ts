import { beforeAll, describe, expect, it } from "vitest";
import { generationOf } from "../../core/definition/generation.ts";
import type { Problem } from "../../serving/common/problem.ts";
import type { ServingOptions } from "../../serving/main.ts";
import { cutAt, takings, unborn, WHOLE } from "../fixtures/events/takings.ts";
import { filledPlace, type Place, useServers } from "./place.ts";

useServers();

describe("a question that costs too much", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await filledPlace());
  });

  /** The same state behind a server with other limits. */
  async function restarted(options: Partial<ServingOptions>): Promise<void> {
    await at.close();
    await at.start(options);
  }

  it("has the same first rows from a server that cannot hold all of them, in batch, closed and open state", async () => {
    const all = `${WHOLE}&limit=30`;
    const shapes = [
      all,
      `${all}&order=-sales`,
      `${all}&order=cents,-shop`,
      `${all}&order=-least&by=shop,floor`,
      `${all}&order=-bucket&measures=buyers,mean,sales`,
      `${all}&order=shop,-most&where[online]=true`,
    ];
    const answersOf = (paths: readonly string[]) => Promise.all(paths.map((path) => at.answer(path)));
    const whole = await answersOf(shapes);
    await restarted({ maxAnswerCells: 1_600 });
    const first = await answersOf(shapes);
    for (const [index, { rows, truncated }] of first.entries())
      expect([shapes[index], rows, truncated]).toEqual([shapes[index], whole[index]?.rows, whole[index]?.truncated]);
    const refused: [string, string][] = [
      [`${all}&order=-mean`, "sorted by mean"],
      [`${all}&order=buyers`, "sorted by buyers"],
      [`${all}&window=60m`, "windows slide, so that all of them have to be held"],
    ];
    for (const [path, why] of refused) {
      const { status, text } = await at.ask(`/views/takings?${path}`);
      expect([path, status, JSON.parse(text)]).toMatchObject([path, 400, { code: "TOO_LARGE" }]);
      expect((JSON.parse(text) as Problem).detail).toContain(why);
    }
  });

  it("is refused live when its answer is too large to be sent again and again", async () => {
    await restarted({ maxLiveAnswerSize: 20_000 });
    const { status, text } = await at.ask(`/views/takings/live?${WHOLE}&limit=100000`);
    expect([status, JSON.parse(text)]).toMatchObject([400, { code: "TOO_LARGE", errors: [{ parameter: "limit" }] }]);
    await restarted({ maxLiveHeldSize: 20_000 });
    const later = await at.ask(`/views/takings/live?${WHOLE}&limit=100000`);
    expect([later.status, JSON.parse(later.text)]).toMatchObject([503, { code: "TOO_MANY_STREAMS" }]);
    expect(Number(later.headers["retry-after"])).toBeGreaterThan(0);
  });
});

describe("the other routes", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await filledPlace());
  });

  it("document every view with its own measures and dimensions, and answer what they document", async () => {
    const document = JSON.parse((await at.ask("/openapi.json")).text);
    expect(document.openapi).toMatch(/^3\.1\./);
    expect(Object.keys(document.paths).sort()).toEqual([
      "/alerts",
      "/alerts/live",
      "/dictionary",
      "/health",
      "/metrics",
      "/openapi.json",
      "/proof/{view}",
      "/ready",
      "/streams",
      "/streams/{name}/quality",
      "/streams/{name}/records",
      "/tables",
      "/views",
      "/views/takings",
      "/views/takings/keys",
      "/views/takings/live",
      "/views/unborn",
      "/views/unborn/live",
    ]);
    const operations = Object.values(
      document.paths as Record<
        string,
        { get: { operationId: string; summary: string; responses: Record<string, { description: string }> } }
      >,
    );
    expect(new Set(operations.map(({ get }) => get.operationId)).size).toBe(operations.length);
    for (const { get } of operations) {
      expect(get.summary).toEqual(expect.any(String));
      for (const { description } of Object.values(get.responses)) expect(description).toEqual(expect.any(String));
    }
    const references = JSON.stringify(document).match(/"\$ref":"[^"]+"/g) ?? [];
    expect(references.length).toBeGreaterThan(5);
    for (const reference of references)
      expect(Object.keys(document.components.schemas)).toContain(reference.slice(8, -1).split("/").at(-1));
    const { parameters, responses } = document.paths["/views/takings"].get;
    const parameter = (name: string) => parameters.find((candidate: { name: string }) => candidate.name === name);
    expect(parameter("by").schema.items.enum).toEqual(["shop", "online", "floor"]);
    expect(parameter("measures").schema.items.enum).toEqual(Object.keys(takings.measures));
    expect(parameter("where[shop]")).toBeDefined();
    const schema = responses["200"].content["application/json"].schema;
    const answer = await at.answer("");
    for (const name of schema.required) expect(Object.keys(answer)).toContain(name);
    for (const name of Object.keys(answer)) expect(Object.keys(schema.properties)).toContain(name);
    const columns = Object.keys(schema.properties.rows.items.properties);
    expect([...Object.keys(answer.rows[0] ?? {}), "partial"]).toEqual(columns);
  });

  it("are data to a browser, never a script or a page of somebody else", async () => {
    for (const path of ["/views", "/views/takings", "/views/nothing", "/nowhere", "/health"])
      expect((await at.ask(path)).headers, path).toMatchObject({
        "x-content-type-options": "nosniff",
        "cross-origin-resource-policy": "same-origin",
      });
  });

  it("show a docs page whose scripts its own policy allows", async () => {
    const page = await at.ask("/docs");
    expect(page.status).toBe(200);
    expect(String(page.headers["content-security-policy"])).toContain("script-src 'self'");
    expect(page.text).not.toMatch(/<script(?![^>]*\bsrc=)[^>]*>\s*\S/);
    const scripts = [...page.text.matchAll(/<script[^>]*src="([^"]+)"/g)].map(
      ([, source]) => new URL(source ?? "", "http://x/docs").pathname,
    );
    expect(scripts.length).toBeGreaterThan(0);
    for (const script of scripts) expect((await at.ask(script)).status, script).toBe(200);
  });

  it("list the views and where they stand", async () => {
    const { views } = JSON.parse((await at.ask("/views")).text);
    expect(views.map(({ name }: { name: string }) => name)).toEqual(["takings", "unborn"]);
    expect(views[0]).toMatchObject({
      stream: "sales",
      grain: "1m",
      dimensions: [
        { name: "shop", type: "text" },
        { name: "online", type: "boolean" },
        { name: "floor", type: "integer" },
      ],
      generation: at.generation,
      version: 2,
      cut: { 0: "1000" },
      applied: { 0: "2500" },
      complete: true,
    });
    expect(views[0].measures[1]).toEqual({
      name: "cents",
      type: "sum",
      unit: "cents",
      exact: true,
      error: 0,
      note: "exact",
      values: "integer",
      json: "number",
    });
  });

  it("tell monitoring what it needs", async () => {
    expect(JSON.parse((await at.ask("/health")).text)).toEqual({ alive: true });
    expect(JSON.parse((await at.ask("/ready")).text)).toMatchObject({
      ready: false,
      redis: "answers",
      views: [
        { view: "takings", ready: true, version: 2, complete: true },
        { view: "unborn", ready: false },
      ],
    });
    await at.manifests.genesis(generationOf(unborn), cutAt(0), "t", "test");
    expect((await at.ask("/ready")).status).toBe(200);
    const { text } = await at.ask("/metrics");
    for (const line of [
      'tideline_view_complete{view="takings"} 1',
      'tideline_view_batch_version{view="takings"} 2',
      "process_cpu_seconds_total",
      'tideline_http_request_seconds_count{route="/ready",method="GET",status="200"}',
    ]) {
      expect(text).toContain(line);
    }
    expect(Number(/tideline_view_cells\{view="takings"\} (\d+)/.exec(text)?.[1])).toBeGreaterThan(100);
  });

  it("answer HEAD as GET without a body", async () => {
    expect(await at.ask("/views/takings", "HEAD")).toMatchObject({ status: 200, text: "" });
  });

  it("let requests under way finish when the server closes", async () => {
    const { at: closing } = await filledPlace();
    const asked = Array.from({ length: 10 }, () => closing.ask(`/views/takings?${WHOLE}&every=1h`));
    await expect.poll(async () => (await closing.ask("/metrics")).text).toContain('route="/views/:name"');
    await closing.close();
    closing.serving = null;
    for (const { status } of await Promise.all(asked)) expect(status).toBe(200);
  });
});
