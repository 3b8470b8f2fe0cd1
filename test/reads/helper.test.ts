import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { fileURLToPath } from "node:url";
import Fastify, { type FastifyInstance } from "fastify";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { refusalOf } from "../../serving/common/problem.ts";
import { tooLarge } from "../../serving/common/refusals.ts";
import { forwarding } from "../../serving/forward.ts";
import { Helper } from "../../serving/helper.ts";
import { createMetrics, type ServingMetrics } from "../../serving/operations/metrics.ts";
import { parseParameters } from "../../serving/request/parameters.ts";

/** The process that answers what is too large for the server, with a small program in its place. */

const program = fileURLToPath(new URL("../fixtures/servers/helper-program.js", import.meta.url));

let children: ChildProcess[];
let helper: Helper;
let metrics: ServingMetrics;
let app: FastifyInstance;
/** Paths that the server tried to answer itself. */
let tried: string[];

function open({ idleMs = 600_000, longMs = 600_000 } = {}): void {
  children = [];
  tried = [];
  const start = () => {
    const child = fork(program, { execArgv: [] });
    children.push(child);
    return child;
  };
  helper = new Helper({ start, logger: pino({ level: "silent" }), idleMs, longMs });
  const querystringParser = (text: string) => ({ ...parseParameters(text) });
  app = Fastify({ forceCloseConnections: true, routerOptions: { querystringParser } });
  metrics = createMetrics(() => [], helper);
  forwarding(app, helper, {
    answerError: (error, _request, reply) => {
      const { problem, headers } = refusalOf(error);
      void reply.status(problem.status).headers(headers).send(problem);
    },
    observe: (status) => metrics.observeLarge(status),
  });
  app.get<{ Params: { name: string } }>("/views/:name", async ({ url, params }) => {
    tried.push(url);
    if (params.name === "small") return { pid: process.pid };
    throw params.name === "wrong" ? new Error("no") : tooLarge("more than 10,000 cells");
  });
  app.get("/held", async () => {
    throw tooLarge("more than 10,000 cells");
  });
  app.get("/proof/:view", async () => "the server's own");
}

beforeEach(() => open());
afterEach(async () => {
  await app.close();
  await helper.close();
});

const ask = async (url: string, headers: Record<string, string> = {}) => {
  const response = await app.inject({ url, headers });
  return {
    status: response.statusCode,
    headers: response.headers,
    body: response.body === "" ? null : response.json(),
  };
};

test("what is too large for the server is answered by the helper, and asked of the server once", async () => {
  const { status, headers, body } = await ask("/views/large?by=", { accept: "text/csv" });
  expect(status).toBe(200);
  expect(body).toEqual({ pid: children[0]?.pid, method: "GET", url: "/views/large?by=", accept: "text/csv" });
  expect(headers).toMatchObject({ "content-type": "application/json", "tideline-truncated": "true" });
  expect((await ask("/views/large?by=")).body).toMatchObject({ pid: children[0]?.pid });
  expect(tried).toEqual(["/views/large?by="]);
  expect(children).toHaveLength(1);
});

test("a question that was too large is not tried again over another range that is as long, but over a shorter one", async () => {
  const over = (from: string, to: string) => `/views/large?from=${from}&to=${to}&every=1m`;
  await ask(over("2026-01-01", "2026-01-08"));
  await ask(over("2026-02-01", "2026-02-09"));
  expect(tried).toHaveLength(1);
  await ask(over("2026-02-01", "2026-02-07"));
  await ask(`${over("2026-01-01", "2026-01-08")}&by=region`);
  expect(tried).toHaveLength(3);
  await ask(over("2026-03-01", "2026-03-07"));
  expect(tried).toHaveLength(3);
});

test("everything else is answered by the server, and no helper is started for it", async () => {
  expect((await ask("/views/small")).body).toEqual({ pid: process.pid });
  expect((await ask("/views/wrong")).status).toBe(500);
  expect(children).toEqual([]);
});

test("a helper that is expected to be needed is there for the first question, and is started ahead only once", async () => {
  await app.close();
  open({ idleMs: 300 });
  helper.expect();
  helper.expect();
  expect(children).toHaveLength(1);
  expect(helper.inUse).toBe(0);
  const { body } = await ask("/views/large");
  expect(children).toHaveLength(1);
  expect(body.pid).toBe(children[0]?.pid);
  await expect.poll(() => children[0]?.exitCode ?? null).not.toBeNull();
  helper.expect();
  expect(children).toHaveLength(1);
});

test("proofs are the helper's", async () => {
  expect((await ask("/proof/revenue?sample=3")).body).toMatchObject({ url: "/proof/revenue?sample=3" });
});

test("a client that has the answer already gets the helper's 304", async () => {
  expect(await ask("/views/large", { "if-none-match": '"same"' })).toMatchObject({
    status: 304,
    headers: { etag: '"same"' },
    body: null,
  });
});

test("a helper that dies is a 503 for those who wait for it, and the next question starts another one", async () => {
  const first = (await ask("/views/large")).body.pid;
  const waiting = ask("/held");
  await expect.poll(() => helper.inUse).toBe(1);
  process.kill(first, "SIGKILL");
  expect(await waiting).toMatchObject({ status: 503, headers: { "retry-after": "5" }, body: { code: "NOT_READY" } });
  expect((await ask("/views/large")).body).toMatchObject({ pid: children[1]?.pid });
});

test("one large question is computed at a time, 64 wait, and the next one is refused; metrics say so", async () => {
  await ask("/views/large");
  const held = Array.from({ length: 65 }, (_, number) => ask(`/held?${number}`));
  await expect.poll(() => helper.waiting).toBe(64);
  expect(helper.inUse).toBe(1);
  expect(await ask("/held?65")).toMatchObject({
    status: 429,
    headers: { "retry-after": "1" },
    body: { code: "TOO_MANY_REQUESTS" },
  });
  const scraped = async () =>
    (await metrics.registry.metrics()).split("\n").filter((line) => line.startsWith("tideline_helper"));
  expect(await scraped()).toEqual([
    'tideline_helper_answers_total{status="200"} 1',
    'tideline_helper_answers_total{status="429"} 1',
    "tideline_helper_answering 1",
    "tideline_helper_waiting 64",
  ]);
  const release = setInterval(() => children[0]?.kill("SIGUSR2"), 5);
  expect(new Set((await Promise.all(held)).map(({ status }) => status))).toEqual(new Set([200]));
  clearInterval(release);
  expect(await scraped()).toContain('tideline_helper_answers_total{status="200"} 66');
});

test("one question that is known to take long is computed at a time, and another one passes those that wait", async () => {
  await app.close();
  open({ longMs: 1 });
  await ask("/views/large?by=");
  const release = async (answer: ReturnType<typeof ask>) => {
    const releasing = setInterval(() => children[0]?.kill("SIGUSR2"), 5);
    await answer;
    clearInterval(releasing);
  };
  const first = ask("/held");
  await expect.poll(() => helper.inUse).toBe(1);
  await release(first);
  const long = Array.from({ length: 3 }, () => ask("/held"));
  await expect.poll(() => [helper.inUse, helper.waiting]).toEqual([1, 2]);
  expect((await ask("/views/large")).body).toMatchObject({ pid: children[0]?.pid });
  expect([helper.inUse, helper.waiting]).toEqual([1, 2]);
  await release(Promise.all(long).then(([answer]) => answer as Awaited<ReturnType<typeof ask>>));
});

test("a question that turns out to take long leaves its place to those that wait, and is answered all the same", async () => {
  await app.close();
  open({ longMs: 50 });
  await ask("/views/large?by=");
  const held = Array.from({ length: 3 }, (_, number) => ask(`/held?limit=${number}`));
  // The first has the place of long questions by now, the second waits for it, and nobody waits for that of the third.
  await expect.poll(() => [helper.inUse, helper.waiting]).toEqual([2, 1]);
  expect((await ask("/views/large")).body).toMatchObject({ pid: children[0]?.pid });
  await expect.poll(() => [helper.inUse, helper.waiting]).toEqual([1, 2]);
  const releasing = setInterval(() => children[0]?.kill("SIGUSR2"), 5);
  expect((await Promise.all(held)).map(({ status }) => status)).toEqual([200, 200, 200]);
  clearInterval(releasing);
});

test("a client that leaves, before the answer or within it, ends its request to the helper", async () => {
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  for (const path of ["/views/endless", "/held"]) {
    const leaving = new AbortController();
    const response = fetch(`http://127.0.0.1:${port}${path}`, { signal: leaving.signal });
    if (path === "/held") await expect.poll(() => helper.inUse).toBe(1);
    else await (await response).body?.getReader().read();
    leaving.abort();
    await response.catch(() => {});
    await expect.poll(() => helper.inUse).toBe(0);
  }
  expect((await ask("/views/large")).body).toMatchObject({ pid: children[0]?.pid });
});

test("a client that leaves while its question waits holds up nobody, and gives up its place in the queue", async () => {
  await app.listen({ port: 0, host: "127.0.0.1" });
  const { port } = app.server.address() as AddressInfo;
  await ask("/views/large?by=");
  const first = ask("/held?1");
  await expect.poll(() => helper.inUse).toBe(1);
  const leaving = new AbortController();
  const left = fetch(`http://127.0.0.1:${port}/held?2`, { signal: leaving.signal });
  left.catch(() => undefined);
  await expect.poll(() => helper.waiting).toBe(1);
  const last = ask("/views/large");
  await expect.poll(() => helper.waiting).toBe(2);
  leaving.abort();
  await expect.poll(() => helper.waiting).toBe(1);
  children[0]?.kill("SIGUSR2");
  expect([(await first).status, (await last).status]).toEqual([200, 200]);
});

test("an idle helper is ended, and started again when it is needed", async () => {
  await app.close();
  open({ idleMs: 1 });
  await ask("/views/large");
  const [first] = children as [ChildProcess];
  if (first.exitCode === null) await once(first, "exit");
  expect((await ask("/views/large")).body).toMatchObject({ pid: children[1]?.pid });
});

test("closing the server ends the helper", async () => {
  await ask("/views/large");
  await app.close();
  await helper.close();
  expect(children[0]?.exitCode).toBe(0);
});
