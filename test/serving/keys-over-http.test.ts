import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { request as httpRequest, type IncomingMessage } from "node:http";
import fc from "fast-check";
import { pino } from "pino";
import { beforeAll, describe, expect, it } from "vitest";
import { type ApiKey, hashOf, parseToken, tokenOf } from "../../core/access/api-key.ts";
import { sql } from "../../core/contract/sql.ts";
import { generationOf } from "../../core/definition/generation.ts";
import { table } from "../../core/definition/table.ts";
import { count } from "../../core/measures/kinds/count.ts";
import { ApiKeys } from "../../store/api-keys/api-keys.ts";
import { sales, takings, WHOLE } from "../fixtures/events/takings.ts";
import { filledPlace, type Place, useServers } from "./place.ts";

useServers();

const lines: Record<string, unknown>[] = [];
/** Says nothing itself; the audit log comes anyway. */
const logger = pino({ level: "silent" }, { write: (line: string) => void lines.push(JSON.parse(line)) });
let at: Place;
let keys: ApiKeys;

beforeAll(async () => {
  ({ at } = await filledPlace());
  keys = new ApiKeys(at.data.root);
});

async function restarted(host: string, isRequired: boolean): Promise<void> {
  await at.close();
  await at.start({ host, logger, apiKeys: { home: at.data.root, isRequired } });
}

const buyers = table("buyers", { stream: sales, key: sql`buyer` });
const spent = table("spent", { stream: sales, key: sql`buyer`, measures: { sales: count() } });

/** Serves two tables beside a view, beyond loopback. */
async function restartedWithTables(isRequired: boolean): Promise<void> {
  await at.close();
  const views = new Map(
    [takings, buyers, spent].map((view) => [view.name, { view, generation: generationOf(view), file: "test" }]),
  );
  const definitions = { views, streams: new Map([[sales.name, sales]]) };
  await at.start({ host: "0.0.0.0", logger, definitions, apiKeys: { home: at.data.root, isRequired } });
}

async function made(name: string, more: Partial<ApiKey> = {}): Promise<{ key: ApiKey; authorization: string }> {
  const id = randomBytes(6).toString("hex");
  const token = tokenOf(id, randomBytes(32));
  const hash = hashOf(parseToken(token)?.secret ?? "");
  const times = { createdAtMs: Date.now(), expiresAtMs: null, revokedAtMs: null };
  const key: ApiKey = { id, name, hash, actions: ["read", "records"], only: null, ...times, ...more };
  await keys.add(key);
  return { key, authorization: `Bearer ${token}` };
}

async function open(
  path: string,
  headers: Record<string, string | string[]>,
  method = "GET",
): Promise<IncomingMessage> {
  const sent = httpRequest({ host: "127.0.0.1", port: at.serving?.port, path, method, headers, agent: false });
  const answered = once(sent, "response");
  sent.end();
  return (await answered)[0] as IncomingMessage;
}

async function ask(path: string, authorization?: string | string[], method = "GET") {
  const response = await open(path, authorization === undefined ? {} : { authorization }, method);
  let text = "";
  for await (const part of response) text += part;
  const body = (text === "" ? {} : JSON.parse(text)) as Record<string, unknown>;
  return { status: response.statusCode, code: body.code ?? null, body, headers: response.headers };
}

const statusesOf = (paths: readonly string[], authorization?: string) =>
  Promise.all(paths.map(async (path) => [path, (await ask(path, authorization)).status]));
const records = ["/streams/sales/records?limit=1", "/history/x?key=a", "/alerts", "/alerts/live", "/tables/x"];
const answers = ["/views", `/views/takings?${WHOLE}&limit=1`, "/tables", "/streams", "/dictionary"];
const always = ["/health", "/ready", "/metrics", "/openapi.json", "/docs"];

describe("a server that listens on loopback", () => {
  it("answers as before keys, whatever Authorization says", async () => {
    await restarted("127.0.0.1", false);
    for (const authorization of [undefined, "Basic eDp5", `Bearer tideline_${"0".repeat(12)}_${"A".repeat(43)}`])
      expect(await statusesOf(answers, authorization)).toEqual(answers.map((path) => [path, 200]));
    expect((await ask("/alerts")).status).toBe(200);
  });
});

describe("a server that listens beyond loopback", () => {
  it("shows records to holders of a key alone, and answers of views to everybody", async () => {
    await restarted("0.0.0.0", false);
    expect(await statusesOf(records)).toEqual(records.map((path) => [path, 401]));
    expect(await statusesOf(answers)).toEqual(answers.map((path) => [path, 200]));
    const { code, headers } = await ask("/alerts");
    expect([code, headers["www-authenticate"]]).toEqual(["UNAUTHENTICATED", 'Bearer realm="tideline"']);
    const { authorization } = await made("reader", { actions: ["read"] });
    expect((await ask("/alerts", authorization)).code).toBe("FORBIDDEN");
    const { authorization: whole } = await made("whole");
    expect((await ask("/alerts", whole)).status).toBe(200);
    expect((await ask("/alerts", [whole, whole])).code).toBe("UNAUTHENTICATED");
    expect((await ask("/alerts", whole, "HEAD")).status).toBe(200);
    expect((await ask("/alerts", undefined, "HEAD")).status).toBe(401);
    expect((await ask("//alerts")).status).toBe(404);
    expect((await ask("/alerts/")).status).toBe(401);
    expect((await ask("/%61lerts")).status).toBe(401);
  });

  it("shows no records where it knows no keys", async () => {
    const { authorization } = await made("unknown");
    await at.close();
    await at.start({ host: "0.0.0.0" });
    expect(await statusesOf(records, authorization)).toEqual(records.map((path) => [path, 401]));
  });
});

describe("proofs of tables", () => {
  const rowsOf = (name: string) =>
    ["", "?rows=1", "?rows=00", "?rows=0&rows=9", "?rows[]=0", "?rows=%30&deep=true&rows=1", "?Rows=0"].map(
      (query) => `/proof/${name}${query}`,
    );
  const shown = [...rowsOf("buyers"), ...rowsOf("spent"), "/proof/%62uyers", "/proof/buyers/", "/proof/not-served-yet"];
  const verdicts = ["/proof/buyers?rows=0", "/proof/spent?rows=%30&sample=1"];
  const accepted = async (paths: readonly string[], authorization?: string) =>
    (await statusesOf(paths, authorization)).filter(([, status]) => status !== 401 && status !== 403);

  it("show rows beyond loopback to holders of a key for records, and the verdict to everybody", async () => {
    await restartedWithTables(false);
    expect(await statusesOf(shown)).toEqual(shown.map((path) => [path, 401]));
    const [reader, whole] = [await made("verdicts", { actions: ["read"] }), await made("rows")];
    expect(await statusesOf(shown, reader.authorization)).toEqual(shown.map((path) => [path, 403]));
    expect(await accepted(shown, whole.authorization)).toHaveLength(shown.length);
    expect(await accepted([...verdicts, "/proof/takings?rows=9"])).toHaveLength(3);
  });

  it("show rows where keys are required to holders of one for records, and the verdict to others", async () => {
    await restartedWithTables(true);
    const reader = await made("verdicts-required", { actions: ["read"] });
    expect(await statusesOf(verdicts)).toEqual(verdicts.map((path) => [path, 401]));
    expect(await statusesOf(shown, reader.authorization)).toEqual(shown.map((path) => [path, 403]));
    expect(await accepted([...verdicts, "/proof/takings"], reader.authorization)).toHaveLength(3);
    const single = ["/tables/buyers", "/tables/buyers/a", "/history/buyers?key=a", "/replay/buyers?key=a"];
    expect(await statusesOf(single, reader.authorization)).toEqual(single.map((path) => [path, 403]));
  });
});

describe("a server that requires keys", () => {
  beforeAll(() => restarted("127.0.0.1", true));

  it("answers without one only what has no data", async () => {
    expect(await statusesOf([...records, ...answers])).toEqual([...records, ...answers].map((path) => [path, 401]));
    const openStatuses = await Promise.all(
      always.map(async (path) => {
        const response = await open(path, {});
        response.resume();
        return response.statusCode;
      }),
    );
    expect(openStatuses.filter((status) => status === 401 || status === 403)).toEqual([]);
    const { authorization } = await made("everything");
    expect(await statusesOf(answers, authorization)).toEqual(answers.map((path) => [path, 200]));
  });

  it("takes no other text for a key", async () => {
    const { authorization } = await made("hostile");
    const visible = fc.string({ unit: fc.integer({ min: 0x20, max: 0x7e }).map((code) => String.fromCharCode(code)) });
    const near = fc.tuple(
      fc.constantFrom("Bearer ", "bearer ", "Basic ", ""),
      fc.nat(authorization.length - 8),
      visible,
    );
    const changed = near.map(([scheme, kept, rest]) => `${scheme}${authorization.slice(7, 7 + kept)}${rest}`.trim());
    const headers = fc.oneof(
      visible,
      changed,
      fc.integer({ min: 100, max: 15_000 }).map((size) => `Bearer ${"a".repeat(size)}`),
    );
    await fc.assert(
      fc.asyncProperty(headers, fc.constantFrom(...answers, ...records), async (header, path) => {
        fc.pre(header.replace(/^bearer +/i, "") !== authorization.slice(7));
        expect([header, path, (await ask(path, header)).status]).toEqual([header, path, 401]);
      }),
    );
  });

  it("limits a key to its streams and views, and does not say which others there are", async () => {
    const own = await made("own", { only: { streams: [], views: ["takings"] } });
    const gone = await made("gone", { only: { streams: ["nothing"], views: ["removed", "constructor"] } });
    const ofStream = await made("of-stream", { only: { streams: [sales.name], views: [] } });
    const namesOf = async (authorization: string) =>
      ((await ask("/views", authorization)).body.views as { name: string }[]).map(({ name }) => name).sort();
    const takings = `/views/takings?${WHOLE}&limit=1`;
    expect([await namesOf(own.authorization), await namesOf(gone.authorization)]).toEqual([["takings"], []]);
    expect(await namesOf(ofStream.authorization)).toEqual(["takings", "unborn"]);
    expect((await ask(takings, own.authorization)).status).toBe(200);
    expect((await ask(`/views/${at.generation}?${WHOLE}`, own.authorization)).status).toBe(200);
    expect((await ask(takings, ofStream.authorization)).status).toBe(200);
    const refused = [takings, "/views/removed", "/views/constructor", "/proof/takings"];
    expect(await statusesOf(refused, gone.authorization)).toEqual(refused.map((path) => [path, 403]));
    const beyond = ["/views/unborn", "/views/there-is-none", "/streams/sales/quality", "/streams/sales/records"];
    expect(await statusesOf(beyond, own.authorization)).toEqual(beyond.map((path) => [path, 403]));
    expect((await ask("/streams", own.authorization)).body.streams).toEqual([]);
  });

  it("lets no shared cache keep what needed a key", async () => {
    const { authorization } = await made("cached");
    const takings = `/views/takings?${WHOLE}&limit=1`;
    const newest = await ask(takings, authorization);
    const cachingOf = async (path: string) => (await ask(path, authorization)).headers["cache-control"];
    expect(newest.headers["cache-control"]).toBe("private, no-cache");
    expect(await cachingOf(`${takings}&at=${String(newest.body.asOf)}`)).toBe("private, max-age=31536000, immutable");
    expect(await cachingOf("/streams")).toBe("private");
    expect(await cachingOf("/streams/sales/records?limit=1")).toMatch(/^(private|no-store)$/);
    expect((await ask("/views")).headers["cache-control"]).toBe("private");
    expect((await ask("/health")).headers["cache-control"] ?? "").not.toContain("private");
  });

  it("refuses a key within seconds of its revocation, and ends its live streams", async () => {
    const { key, authorization } = await made("live");
    const other = await made("other");
    const streams = await Promise.all(
      [authorization, other.authorization].map((one) =>
        open(`/views/takings/live?${WHOLE}&limit=1`, { authorization: one }),
      ),
    );
    expect(streams.map(({ statusCode }) => statusCode)).toEqual([200, 200]);
    const [mine, others] = streams as [IncomingMessage, IncomingMessage];
    const ended = new Promise((resolve) => mine.resume().on("close", resolve));
    for (const stream of [mine, others]) stream.resume().on("error", () => {});
    await keys.revoke(key, Date.now());
    await ended;
    await expect.poll(async () => (await ask("/views", authorization)).status).toBe(401);
    const { code, body } = await ask("/views", authorization);
    expect([code, body.detail]).toEqual(["UNAUTHENTICATED", expect.stringContaining("live was revoked")]);
    expect(others.closed).toBe(false);
    others.destroy();
    const late = await made("late", { expiresAtMs: Date.now() - 1 });
    expect((await ask("/views", late.authorization)).body.detail).toContain("late has expired");
  });

  it("notes who was shown records and who was refused, without secrets and without the keys of rows", async () => {
    const { key, authorization } = await made("auditor");
    // Requests without a known key were many before: the log has a line for the first of a minute alone.
    await restarted("127.0.0.1", true);
    lines.length = 0;
    await ask("/alerts?key=patient-4711", authorization);
    await ask("/tables/takings/patient-4711", authorization);
    await ask("/views", authorization);
    await ask("/views/takings?where[shop]=patient-4711", "Bearer nonsense");
    const noted = () => lines.filter(({ underWay }) => underWay !== true);
    await expect.poll(() => noted().length).toBe(3);
    const who = { audit: true, method: "GET" };
    expect(noted()).toMatchObject([
      { ...who, key: "auditor", keyId: key.id, action: "records", path: "/alerts", status: 200 },
      { ...who, key: "auditor", keyId: key.id, action: "records", path: "/tables/takings/*", status: 404 },
      { ...who, key: null, keyId: null, action: "read", path: "/views/takings", status: 401 },
    ]);
    const text = JSON.stringify(lines);
    for (const secret of ["patient-4711", "nonsense", authorization.slice(-40)]) expect(text).not.toContain(secret);
  });
});
