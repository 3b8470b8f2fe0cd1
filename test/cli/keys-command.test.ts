import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { pino } from "pino";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadConfig } from "../../cli/setup/config.ts";
import { apiRefusal } from "../../cli/status/servers.ts";
import { parseToken } from "../../core/access/api-key.ts";
import { KeyCheck } from "../../serving/access/key-check.ts";
import { ApiKeys } from "../../store/api-keys/api-keys.ts";
import { Installation } from "../fixtures/servers/installation.ts";

/** `tideline keys`, and a server that wants what it has made. */

let tideline: Installation;
beforeAll(async () => {
  tideline = await Installation.open("keys", { TIDELINE_API_KEYS: "required" });
});
afterAll(() => tideline?.close());

interface Listed {
  readonly name: string;
  readonly status: string;
  readonly only: unknown;
}

const listed = async () => JSON.parse((await tideline.run("keys", "list", "--json")).stdout) as Listed[];

test("a key is printed once, and names, streams and views are checked before it is made", async () => {
  const made = await tideline.run("keys", "create", "desk", "--allow", "read,records", "--view", "revenue");
  expect(parseToken(made.stdout)).not.toBeNull();
  expect(made.stderr).toContain("desk may read and records view revenue");
  const wrong = await Promise.all([
    tideline.begin("keys", "create", "desk", "--allow", "read"),
    tideline.begin("keys", "create", "other", "--allow", "read", "--view", "there-is-none"),
    tideline.begin("keys", "create", "../x", "--allow", "read"),
    tideline.begin("keys", "create", "other", "--allow", "everything"),
    tideline.begin("keys", "revoke", "other"),
  ]);
  expect(wrong.map(({ exitCode }) => exitCode)).toEqual([1, 1, 2, 2, 1]);
  const codes = ["API_KEY_EXISTS", "VIEW_UNKNOWN", "letter or digit", "read, records", "API_KEY_UNKNOWN"];
  for (const [index, code] of codes.entries()) expect(wrong[index]?.stderr).toContain(code);
  const keys = await listed();
  expect(keys).toMatchObject([{ name: "desk", status: "active", only: { streams: [], views: ["revenue"] } }]);
  expect(JSON.stringify(keys)).not.toContain(parseToken(made.stdout)?.secret);
});

test("a key stays what it is when the data directory is replaced", async () => {
  const { stdout } = await tideline.run("keys", "create", "kept", "--allow", "read", "--expires", "1d");
  await rm(join(tideline.home, "data"), { recursive: true, force: true });
  const check = new KeyCheck(new ApiKeys(tideline.home), pino({ level: "silent" }));
  expect((await check.identify([`Bearer ${stdout}`])).name).toBe("kept");
  expect(await readdir(join(tideline.home, "api-keys"))).toHaveLength(2);
});

test("commands send TIDELINE_API_KEY, also for what the helper process answers, until the key is revoked", async () => {
  const { stdout: key } = await tideline.run("keys", "create", "worker", "--allow", "read");
  await tideline.start("serve");
  const status = async (path: string, authorization: string) =>
    (await fetch(`${tideline.apiUrl}${path}`, { headers: { authorization } })).status;
  expect([await status("/views", ""), await status("/views", `Bearer ${key}`)]).toEqual([401, 200]);
  expect([401, 403]).not.toContain(await status("/proof/revenue", `Bearer ${key}`));
  const [without, withKey] = await Promise.all([
    tideline.begin("query", "revenue"),
    tideline.beginWith({ TIDELINE_API_KEY: key }, "query", "revenue"),
  ]);
  expect(without.stderr).toContain("error UNAUTHENTICATED");
  expect(without.stderr).toContain("TIDELINE_API_KEY");
  // `tideline doctor` says this.
  expect(await apiRefusal(loadConfig(tideline.env))).toContain("this needs an API key");
  expect(await apiRefusal(loadConfig({ ...tideline.env, TIDELINE_API_KEY: key }))).toBeNull();
  // Nothing is published here.
  expect(withKey.stderr).toContain("error NOT_READY");
  const wrong = await tideline.beginWith({ TIDELINE_API_KEY: "secret-word" }, "query", "revenue");
  expect(wrong.stderr).toContain("CONFIG_INVALID");
  expect(wrong.stderr).not.toContain("secret-word");
  await tideline.run("keys", "revoke", "worker");
  await expect.poll(() => status("/views", `Bearer ${key}`), { timeout: 60_000 }).toBe(401);
  expect((await listed()).map(({ name, status: now }) => [name, now])).toContainEqual(["worker", "revoked"]);
});
