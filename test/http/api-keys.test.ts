import { randomBytes } from "node:crypto";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { pino } from "pino";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import {
  API_ACTIONS,
  type ApiKey,
  hashOf,
  isKeyName,
  keyStatus,
  parseToken,
  tokenOf,
} from "../../core/access/api-key.ts";
import { allowsAction, coversSubject, type Subject } from "../../core/access/permissions.ts";
import { KeyCheck, requirePermission } from "../../serving/access/key-check.ts";
import { needsKey, requestAccess, routeAccess } from "../../serving/access/route-access.ts";
import { openApiDocument } from "../../serving/openapi/openapi.ts";
import { ApiKeys } from "../../store/api-keys/api-keys.ts";

let home: string;
let keys: ApiKeys;
beforeAll(async () => {
  home = await mkdtemp(join(tmpdir(), "tideline-keys-"));
  keys = new ApiKeys(home);
});
afterAll(() => rm(home, { recursive: true }));

const logger = pino({ level: "silent" });

async function made(more: Partial<ApiKey> = {}): Promise<{ key: ApiKey; token: string }> {
  const id = randomBytes(6).toString("hex");
  const token = tokenOf(id, randomBytes(32));
  const key: ApiKey = {
    id,
    name: "one",
    hash: hashOf(parseToken(token)?.secret ?? ""),
    actions: ["read"],
    only: null,
    createdAtMs: Date.now(),
    expiresAtMs: null,
    revokedAtMs: null,
    ...more,
  };
  await keys.add(key);
  return { key, token };
}

/** The code that a call is refused with. */
const codeOf = (call: () => unknown): Promise<string> =>
  Promise.resolve()
    .then(call)
    .then(
      () => "accepted",
      (error: { code?: string }) => error.code ?? String(error),
    );

describe("a key's text", () => {
  test("is read back, and no other text is one", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 32, maxLength: 32 }),
        fc.uint8Array({ minLength: 6, maxLength: 6 }),
        (a, b) => {
          const id = Buffer.from(b).toString("hex");
          const token = tokenOf(id, a);
          expect(parseToken(token)).toEqual({ id, secret: Buffer.from(a).toString("base64url") });
          for (const other of [
            ` ${token}`,
            `${token}\n`,
            `${token}a`,
            token.slice(1),
            token.slice(0, -1),
            token.toUpperCase(),
          ])
            expect(parseToken(other), other).toBeNull();
        },
      ),
    );
    fc.assert(fc.property(fc.string(), (text) => parseToken(text) === null));
  });

  test("is not stored: only the hash of its secret is", async () => {
    const { token } = await made();
    const folder = join(home, "api-keys");
    const texts = await Promise.all((await readdir(folder)).map((name) => readFile(join(folder, name), "utf8")));
    expect(texts.length).toBeGreaterThan(0);
    expect(texts.join("\n")).not.toContain(parseToken(token)?.secret);
  });
});

test("a key's name is one word without control characters", () => {
  for (const name of ["grafana", "a", "team-1.prod_EU", "a".repeat(60)]) expect(isKeyName(name), name).toBe(true);
  for (const name of ["", " a", "a b", "../a", "a\u001b[31m", "ä", "a".repeat(61), "-a", "a\n"])
    expect(isKeyName(name), name).toBe(false);
});

describe("a request's key", () => {
  const hostile = (token: string): string[][] => [
    [],
    [""],
    ["Bearer"],
    ["Bearer "],
    [token],
    [`Basic ${Buffer.from(`a:${token}`).toString("base64")}`],
    [`Digest ${token}`],
    [`Bearer ${token} x`],
    [`Bearer ${token}, Bearer ${token}`],
    [`Bearer  ${" ".repeat(500)}${token}`],
    [`Bearer ${"a".repeat(100_000)}`],
    [`Bearer tideline_${"0".repeat(12)}_${"A".repeat(43)}`],
    [`Bearer tideline_../../../etc_${"A".repeat(43)}`],
    ["Bearer \u0000"],
    [`Bearer ${token}`, `Bearer ${token}`],
    ["Basic eA==", `Bearer ${token}`],
  ];

  test("is found in one Bearer header, of any case, and nowhere else", async () => {
    const { key, token } = await made();
    const check = new KeyCheck(keys, logger);
    for (const scheme of ["Bearer", "bearer", "BEARER", "Bearer  "])
      expect((await check.identify([`${scheme} ${token}`])).id).toBe(key.id);
    for (const headers of hostile(token))
      expect([headers, await codeOf(() => check.identify(headers))]).toEqual([headers, "UNAUTHENTICATED"]);
  });

  test("has the secret that was given out, in every character", async () => {
    const { key, token } = await made();
    const other = await made();
    const check = new KeyCheck(keys, logger);
    const secret = parseToken(token)?.secret ?? "";
    // The last character has four bits of the secret.
    for (let at = 0; at < secret.length; at += 1) {
      const changed = `${secret.slice(0, at)}${secret[at] === "A" ? "Q" : "A"}${secret.slice(at + 1)}`;
      const sent = `Bearer tideline_${key.id}_${changed}`;
      expect([at, await codeOf(() => check.identify([sent]))]).toEqual([at, "UNAUTHENTICATED"]);
    }
    const mixed = `Bearer tideline_${key.id}_${parseToken(other.token)?.secret}`;
    expect(await codeOf(() => check.identify([mixed]))).toBe("UNAUTHENTICATED");
    const notHashed = `Bearer tideline_${key.id}_${key.hash.slice(0, 43)}`;
    expect(await codeOf(() => check.identify([notHashed]))).toBe("UNAUTHENTICATED");
  });

  test("is not accepted where no keys are known, nor where they cannot be read", async () => {
    const { key, token } = await made();
    expect(await codeOf(() => new KeyCheck(null, logger).identify([`Bearer ${token}`]))).toBe("UNAUTHENTICATED");
    await writeFile(join(home, "api-keys", `${key.id}.json`), "{");
    expect(await codeOf(() => new KeyCheck(keys, logger).identify([`Bearer ${token}`]))).toBe("NOT_READY");
    await writeFile(join(home, "api-keys", `${key.id}.json`), JSON.stringify({ ...key, more: 1 }));
    expect(await codeOf(() => new KeyCheck(keys, logger).identify([`Bearer ${token}`]))).toBe("NOT_READY");
    await rm(join(home, "api-keys", `${key.id}.json`));
  });

  test("is accepted before it expires and until it is revoked", async () => {
    const nowMs = Date.now();
    const { key } = await made({ expiresAtMs: nowMs + 1_000 });
    expect([nowMs + 999, nowMs + 1_000].map((at) => keyStatus(key, at))).toEqual(["active", "expired"]);
    expect(keyStatus({ ...key, revokedAtMs: nowMs }, nowMs)).toBe("revoked");
    const late = { ...key, expiresAtMs: nowMs - 1 };
    expect(await codeOf(() => requirePermission(late, "read", null))).toBe("UNAUTHENTICATED");
    await keys.revoke(key, nowMs);
    const revoked = (await keys.find(key.id)) as ApiKey;
    expect(await codeOf(() => requirePermission(revoked, "read", null))).toBe("UNAUTHENTICATED");
    expect((await keys.all()).map(({ id }) => id)).toContain(key.id);
  });
});

test("a server sees that a key is revoked although it has read it before", async () => {
  const { key, token } = await made();
  const check = new KeyCheck(keys, logger);
  const status = async () => keyStatus(await check.identify([`Bearer ${token}`]), Date.now());
  expect(await status()).toBe("active");
  await keys.revoke(key, Date.now());
  await expect.poll(status, { timeout: 20_000 }).toBe("revoked");
});

describe("what a key is for", () => {
  const name = fc.constantFrom("a", "b", "constructor", "toString", "__proto__", "");
  const names = fc.uniqueArray(name, { maxLength: 3 });
  const only = fc.option(fc.record({ streams: names, views: names }));
  const subject: fc.Arbitrary<Exclude<Subject, { kind: "joined" }>> = fc.oneof(
    fc.record({ kind: fc.constant("view" as const), view: name, stream: name }),
    fc.record({ kind: fc.constant("stream" as const), stream: name }),
    fc.constant({ kind: "all" as const }),
  );

  test("is each action that it was given, of each subject that one of its names covers", () => {
    const given = fc.uniqueArray(fc.constantFrom(...API_ACTIONS), { minLength: 1 });
    fc.assert(
      fc.property(only, subject, given, fc.constantFrom(...API_ACTIONS), (limits, about, actions, action) => {
        // Every pair that the key names, one by one.
        const pairs = new Set([
          ...(limits?.streams ?? []).map((one) => `stream ${one}`),
          ...(limits?.views ?? []).map((one) => `view ${one}`),
        ]);
        const wanted =
          about.kind === "all"
            ? []
            : [`stream ${about.stream}`, ...(about.kind === "view" ? [`view ${about.view}`] : [])];
        expect(coversSubject({ only: limits }, about)).toBe(limits === null || wanted.some((one) => pairs.has(one)));
        expect(allowsAction({ actions }, action)).toBe(actions.some((one) => one === action));
      }),
    );
  });

  test("is refused with FORBIDDEN where it ends", async () => {
    const { key } = await made({ only: { streams: [], views: ["mine"] } });
    const mine: Subject = { kind: "view", view: "mine", stream: "s" };
    expect(await codeOf(() => requirePermission(key, "read", mine))).toBe("accepted");
    const refused: Subject[] = [{ ...mine, view: "yours" }, { kind: "stream", stream: "s" }, { kind: "all" }];
    for (const one of refused) expect(await codeOf(() => requirePermission(key, "read", one))).toBe("FORBIDDEN");
    expect(await codeOf(() => requirePermission(key, "records", mine))).toBe("FORBIDDEN");
  });
});

describe("a route", () => {
  const shows = (path: string) => routeAccess(path)?.action;

  test("that shows records needs a key beyond loopback, and every answer where keys are required", () => {
    const paths = [
      "/streams/s/records",
      "/tables/t",
      "/tables/t/a/b",
      "/history/t",
      "/replay/t",
      "/alerts",
      "/alerts/live",
    ];
    for (const path of paths) expect([path, shows(path)]).toEqual([path, "records"]);
    for (const path of ["/views", "/views/v", "/views/v/live", "/views/v/keys", "/proof/v", "/streams", "/dictionary"])
      expect([path, shows(path)]).toEqual([path, "read"]);
    const isNeeded = (path: string, isLocal: boolean, isRequired: boolean) =>
      needsKey(routeAccess(path) ?? { action: null }, { isLocal, isRequired });
    for (const path of ["/health", "/ready", "/metrics", "/", "/assets/page.js", "/docs/static/index.html"])
      expect([path, isNeeded(path, false, true)]).toEqual([path, false]);
    expect([isNeeded("/alerts", true, false), isNeeded("/alerts", false, false)]).toEqual([false, true]);
    expect([isNeeded("/views/v", false, false), isNeeded("/views/v", true, true)]).toEqual([false, true]);
    expect(routeAccess("/nothing")).toBeNull();
  });

  test("to a proof needs records where it may show rows of a table", () => {
    const proof = routeAccess("/proof/v") ?? { action: null };
    const needs = (isView: boolean, rows: unknown) => requestAccess(proof, isView, rows).action;
    for (const rows of [undefined, "1", "00", "", "0 ", 0, ["0"], ["0", "9"]])
      expect([rows, needs(false, rows), needs(true, rows)]).toEqual([rows, "records", "read"]);
    expect([needs(false, "0"), needs(true, "0")]).toEqual(["read", "read"]);
    expect(requestAccess(routeAccess("/views/v") ?? { action: null }, false, "1").action).toBe("read");
    expect(requestAccess(routeAccess("/tables/v") ?? { action: null }, true, "0").action).toBe("records");
  });

  test("is documented with the key that it needs", () => {
    const document = (isLocal: boolean, isRequired: boolean) => {
      const { paths } = openApiDocument([], { version: "0", policy: { isLocal, isRequired } });
      return Object.entries(paths as Record<string, { get: { security?: unknown; responses: object } }>)
        .filter(([, { get }]) => get.security !== undefined && "401" in get.responses && "403" in get.responses)
        .map(([path]) => path);
    };
    expect(document(true, false)).toEqual([]);
    expect(document(false, false).sort()).toEqual([
      "/alerts",
      "/alerts/live",
      "/proof/{view}",
      "/streams/{name}/records",
    ]);
    expect(document(true, true)).toEqual(expect.arrayContaining(["/views", "/proof/{view}", "/dictionary"]));
    expect(document(true, true)).not.toContain("/health");
  });
});
