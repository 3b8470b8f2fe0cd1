import { connect } from "node:net";
import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import type { Problem } from "../../serving/common/problem.ts";
import { anyText } from "../fixtures/events/any-text.ts";
import { filledPlace, type Place, place, useServers } from "./place.ts";

useServers();

describe("a request that is wrong", () => {
  let at: Place;
  beforeAll(async () => {
    ({ at } = await filledPlace({ maxAnswerCells: 1_000 }));
  });

  const view = "/views/takings?";
  const wrong: [path: string, status: number, parameter: string | null][] = [
    [`${view}from=yesterday`, 400, "from"],
    [`${view}from=`, 400, "from"],
    [`${view}from=2026-13-01`, 400, "from"],
    [`${view}from=1&from=2`, 400, "from"],
    [`${view}to=99999999999999999999`, 400, "to"],
    [`${view}to=1e3`, 400, "to"],
    [`${view}from=2026-01-02&to=2026-01-01`, 400, "to"],
    [`${view}every=90s`, 400, "every"],
    [`${view}every=0m`, 400, "every"],
    [`${view}every=-1h`, 400, "every"],
    [`${view}every=fortnight`, 400, "every"],
    [`${view}every=1h&every=2h`, 400, "every"],
    [`${view}by=country`, 400, "by"],
    [`${view}by=shop;DROP`, 400, "by"],
    [`${view}by=__proto__`, 400, "by"],
    [`${view}measures=profit`, 400, "measures"],
    [`${view}measures=cents,constructor`, 400, "measures"],
    [`${view}where[country]=eu`, 400, "where[country]"],
    [`${view}where[]=eu`, 400, "where[]"],
    [`${view}where[shop=eu`, 400, "where[shop"],
    [`${view}where=eu`, 400, "where"],
    [`${view}where[__proto__]=x`, 400, "where[__proto__]"],
    [`${view}order=profit`, 400, "order"],
    [`${view}order=--cents`, 400, "order"],
    [`${view}by=&order=shop`, 400, "order"],
    [`${view}order=`, 400, "order"],
    [`${view}limit=0`, 400, "limit"],
    [`${view}limit=-5`, 400, "limit"],
    [`${view}limit=1.5`, 400, "limit"],
    [`${view}limit=100001`, 400, "limit"],
    [`${view}limit=ten`, 400, "limit"],
    [`${view}form=2026-01-01`, 400, "form"],
    [`${view}__proto__=1`, 400, "__proto__"],
    [`${view}=1`, 400, ""],
    [`${view}from=%FF`, 400, "from"],
    [`${view}from=%E0%A4`, 400, "from"],
    [`${view}from=%`, 400, "from"],
    [`${view}from=a%00b`, 400, "from"],
    [`${view}where[sh%00op]=a`, 400, null],
    [`${view}%FF=1`, 400, "%FF=1"],
    [`${view}from=0`, 400, "every"],
    [`${view}where[shop]=${"x".repeat(9_000)}`, 414, null],
    [`/views/%FF`, 400, "request"],
    [`/views/%`, 400, "request"],
    [`/views/a%00b`, 404, "name"],
    [`/views/${"x".repeat(300)}`, 414, null],
    ["/views/profit", 404, "name"],
    ["/views/takings/x", 404, null],
    ["/views?x=1", 400, "x"],
    ["/nothing", 404, null],
    ["/nothing?x=%FF", 404, null],
    ["/docs/../../etc/passwd", 404, null],
    ["/docs/static/..%2f..%2fpackage.json", 404, null],
  ];

  it.each(wrong.map((request) => [request[0].slice(0, 60), ...request] as const))(
    "%s is answered with problem details",
    async (_, path, status, parameter) => {
      const answered = await at.ask(path);
      expect([answered.status, answered.type.split(";")[0]], answered.text).toEqual([
        status,
        "application/problem+json",
      ]);
      const problem = JSON.parse(answered.text) as Problem;
      expect(problem).toMatchObject({
        status,
        type: expect.any(String),
        title: expect.any(String),
        detail: expect.any(String),
        code: expect.stringMatching(/^[A-Z_]+$/),
      });
      if (parameter !== null) {
        expect(problem.errors?.map((error) => error.parameter)).toContain(parameter);
        for (const { problem: what, allowed } of problem.errors ?? [])
          expect([what !== "", allowed !== ""]).toEqual([true, true]);
      }
    },
  );

  it("names every parameter that is wrong, and the views that exist", async () => {
    const problem = JSON.parse((await at.ask(`${view}from=x&every=never&limit=z`)).text) as Problem;
    expect(problem.errors?.map(({ parameter }) => parameter)).toEqual(["from", "every", "limit"]);
    expect(JSON.parse((await at.ask("/views/profit")).text)).toMatchObject({
      code: "VIEW_UNKNOWN",
      errors: [{ allowed: "takings, unborn" }],
    });
  });

  it.each(["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND"])("%s is not allowed", async (method) => {
    for (const path of ["/views/takings", "/views/takings/live", "/views", "/health", "/openapi.json"]) {
      // Questions that may be too long for an address.
      if (path === "/views/takings" && method === "POST") continue;
      const { status, headers, text } = await at.ask(path, method);
      const allow = path === "/views/takings" ? "GET, HEAD, POST" : "GET, HEAD";
      expect([status, headers.allow, (JSON.parse(text) as Problem).code]).toEqual([405, allow, "METHOD_NOT_ALLOWED"]);
    }
    expect((await at.ask("/nothing", method)).status).toBe(404);
  });

  it("for another host is refused at every address, before anything is read", async () => {
    for (const path of [
      "/",
      "/views",
      "/views/takings",
      "/views/takings/live",
      "/openapi.json",
      "/health",
      "/nothing",
    ]) {
      const socket = connect(at.serving?.port ?? 0, "127.0.0.1");
      socket.write(`GET ${path} HTTP/1.1\r\nHost: rebound.example:7070\r\nConnection: close\r\n\r\n`);
      let text = "";
      for await (const chunk of socket) text += chunk;
      expect(text, path).toMatch(/^HTTP\/1\.1 421 /);
      expect(text, path).toContain('"code":"HOST_NOT_ALLOWED"');
      expect(text, path).not.toContain("takings");
    }
  });

  it.each([
    "GET /views/takings?from=\u0001 HTTP/1.1",
    "nonsense",
    "GET /views/a b HTTP/1.1",
    `GET / HTTP/1.1\r\nX: ${"x".repeat(20_000)}`,
  ])("that is not HTTP is refused (%#)", async (head) => {
    const socket = connect(at.serving?.port ?? 0, "127.0.0.1");
    socket.write(`${head}\r\nHost: x\r\n\r\n`);
    let text = "";
    for await (const chunk of socket) text += chunk;
    expect(text).toMatch(/^HTTP\/1\.1 4\d\d /);
    expect(text).toContain("application/problem+json");
  });

  it("never yields a 5xx, whatever the query string", async () => {
    const name = fc.constantFrom(
      "from",
      "to",
      "every",
      "by",
      "measures",
      "order",
      "limit",
      "where[shop]",
      "where[online]",
      "where[floor]",
      "where[x]",
      "__proto__",
      "",
    );
    const sensible = fc.constantFrom(
      "2026-03-01",
      "2026-03-01T05:00:00Z",
      "0",
      "-1",
      "999999999999999",
      "-999999999999999",
      "999999w",
      "all",
      "1h",
      "5m",
      "shop",
      "floor,online",
      "cents",
      "buyers",
      "-buyers",
      "-bucket",
      "north",
      "null",
      "true",
      "1",
      "100000",
      "",
    );
    const value = fc.oneof(
      { weight: 3, arbitrary: sensible },
      anyText({ maxLength: 12 }),
      fc.string({ unit: "grapheme", maxLength: 8 }),
    );
    const encoded = fc
      .tuple(value, fc.boolean())
      .map(([text, plain]) =>
        plain ? text.replaceAll(/[^\x21-\x7e]|#/g, "") : encodeURIComponent(text.toWellFormed()),
      );
    const query = fc
      .array(fc.tuple(name, encoded), { maxLength: 6 })
      .map((pairs) => pairs.map(([key, text]) => `${key}=${text}`).join("&"));
    const path = fc.constantFrom("/views/takings", "/views/takings", "/views/takings", "/views", "/ready", "/docs/");
    await fc.assert(
      fc.asyncProperty(path, query, async (base, text) => {
        const { status, type } = await at.ask(`${base}?${text}`);
        // /ready is about the other view, of which nothing is published.
        if (base !== "/ready") expect(status).toBeLessThan(500);
        if (status >= 400 && base !== "/ready") expect(type).toContain("application/problem+json");
      }),
      { numRuns: 600 },
    );
  });

  it("too often is refused with 429", async () => {
    const limited = await place({ requestsPerMinute: 3 });
    const asked = [];
    for (let n = 0; n < 5; n++) asked.push(await limited.ask("/views"));
    expect(asked.map(({ status }) => status)).toEqual([200, 200, 200, 429, 429]);
    expect(asked[3]?.type).toContain("application/problem+json");
    expect(Number(asked[3]?.headers["retry-after"])).toBeGreaterThan(0);
    expect((await limited.ask("/health")).status).toBe(200);
  });
});
