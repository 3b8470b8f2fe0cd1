import { execa } from "execa";
import fc from "fast-check";
import { expect, test } from "vitest";
import { loadConfig, maskOfSettings, settings, shownSetting } from "../../cli/setup/config.ts";
import { roleLogger } from "../../cli/setup/role.ts";
import { isTidelineError } from "../../core/errors.ts";
import { maskOf, separated } from "../../core/secrets.ts";
import { unwatched } from "../../stack/process/work.ts";
import { cacheFolder } from "../../stack/programs/cache.ts";
import { freePorts } from "../../stack/servers/ports.ts";
import { findRedis } from "../../stack/servers/redis.ts";
import { openRedis } from "../../store/redis/redis.ts";

/** Letters of the secrets below: where one of them can be read, a part of a secret can. */
const LEAK = /HEAD|BODY|TAIL/;
const hostile = fc.string({ unit: fc.constantFrom(..."@@::///##??%%  &=\\\"'<>[]{}$|;,\tä€😀"), maxLength: 5 });
/** Three words, and between them whatever a URL or a pattern could stumble over. */
const secret = fc.tuple(hostile, hostile).map(([a, b]) => `HEAD${a}BODY${b}TAIL`);
const user = fc.constantFrom("", "me", "me@example.org");
const encoded = fc.boolean();

const SCHEMES = {
  REDIS_URL: ["redis", "rediss", "http", ""],
  TIDELINE_SMTP_URL: ["smtp", "smtps", "http", ""],
  TIDELINE_SCHEMA_REGISTRY: ["http", "https", "redis", ""],
  TIDELINE_API_URL: ["http", "https", "ftp", ""],
  KAFKA_BROKERS: ["kafka", ""],
  TEMPORAL_ADDRESS: ["grpc", ""],
} as const;
const variable = fc.constantFrom(...(Object.keys(SCHEMES) as (keyof typeof SCHEMES)[]));
const setting = variable.chain((name) =>
  fc.record({ name: fc.constant(name), scheme: fc.constantFrom(...SCHEMES[name]), user, secret, encoded }),
);

const urlOf = (made: { scheme: string; user: string; secret: string; encoded: boolean }) => {
  const written = made.encoded ? encodeURIComponent : String;
  const scheme = made.scheme === "" ? "" : `${made.scheme}://`;
  return `${scheme}${written(made.user)}:${written(made.secret)}@host.example:2525/0`;
};

function isRight(env: Readonly<Record<string, string>>): boolean {
  try {
    loadConfig(env);
    return true;
  } catch {
    return false;
  }
}

test("a secret of a setting is never shown, whether the setting is right or wrong", () => {
  let right = 0;
  fc.assert(
    fc.property(setting, (made) => {
      const env = { [made.name]: urlOf(made) };
      try {
        const config = loadConfig(env);
        right += 1;
        for (const name of Object.keys(settings) as (keyof typeof settings)[])
          expect(shownSetting(name, config[name]) ?? "").not.toMatch(LEAK);
      } catch (error) {
        if (!isTidelineError(error, "CONFIG_INVALID")) throw error;
        expect(`${error.message} ${error.hint} ${error.stack}`).not.toMatch(LEAK);
        expect(error.message).toContain(made.name);
      }
    }),
    { numRuns: 300 },
  );
  expect(right).toBeGreaterThan(10);
});

test("a wrong URL without an @ may be a password from its second word on", () => {
  fc.assert(
    fc.property(setting, (made) => {
      fc.pre(made.name !== "KAFKA_BROKERS" && made.name !== "TEMPORAL_ADDRESS");
      expect(() => loadConfig({ [made.name]: `${made.scheme}://me:${made.secret.replaceAll("@", "")}` })).toThrow(
        expect.toSatisfy((error: Error) => isTidelineError(error, "CONFIG_INVALID") && !LEAK.test(error.message)),
      );
    }),
    { numRuns: 100 },
  );
});

test("what is shown of a setting still says where it points to", () => {
  expect(shownSetting("smtpUrl", "smtp://me:pa@ss@mail.example:25")).toBe("smtp://***@mail.example:25");
  expect(shownSetting("redisUrl", "redis://h:1/0?password=x#y")).toBe("redis://h:1/0?***");
  expect(shownSetting("reportTo", "a@example.org,b@example.org")).toBe("a@example.org,b@example.org");
});

test("a mask finds a secret in any text, as it was set, decoded, encoded and in a header", () => {
  const text = fc.tuple(fc.string({ maxLength: 20 }), fc.string({ maxLength: 20 }));
  fc.assert(
    fc.property(setting, text, (made, [before, after]) => {
      const url = urlOf(made);
      const forms = [made.secret, encodeURIComponent(made.secret), url];
      if (isRight({ [made.name]: url }) && URL.canParse(url)) forms.push(new URL(url).href);
      const mask = maskOf([url]);
      for (const form of forms) expect(mask(`${before}${form}${after}`)).not.toMatch(LEAK);
    }),
    { numRuns: 300 },
  );
  const { url, headers } = separated("http://me:p%40ss@h:8080/below?x=1");
  expect(url.href).toBe("http://h:8080/below?x=1");
  const { authorization = "" } = headers;
  expect(authorization).toBe(`Basic ${Buffer.from("me:p@ss").toString("base64")}`);
  expect(maskOf(["http://me:p%40ss@h:8080/below"])(authorization)).toBe("Basic ***");
  expect(maskOf(["https://me@h?token=sesame"])("the token is sesame")).toBe("the token is ***");
});

test("a mask leaves other texts alone", () => {
  const mask = maskOfSettings({ REDIS_URL: "redis://:ab@h:1", TIDELINE_SMTP_URL: "smtp://mail.example:25?pool=true" });
  for (const text of ["about a table", "it is true", "http://h:1/views?by=a", "to a@example.org"])
    expect(mask(text)).toBe(text);
});

test("whatever a role logs has no secret in it", () => {
  const password = 'HEAD@"BODY/ TAIL';
  process.env.REDIS_URL = `redis://me:${encodeURIComponent(password)}@h:1`;
  const lines: string[] = [];
  try {
    const logger = roleLogger("test", { logLevel: "info" }, { write: (line) => lines.push(line) });
    // As clients make them: with the command that failed, and with the URL that they were given.
    const refused = Object.assign(new Error(`unknown command 'AUTH', beginning with: '${password}'`), {
      command: { name: "auth", args: ["me", password] },
    });
    const invalid = Object.assign(new TypeError("Invalid URL"), {
      code: "ERR_INVALID_URL",
      input: `a b://x:${password}@h`,
    });
    logger.warn({ err: refused }, "Redis is away");
    logger.child({ stream: "s" }).error({ err: invalid, deep: [{ text: `x ${password} y` }] }, `at ${password}`);
    logger.info(`connecting to redis://me:${encodeURIComponent(password)}@h:1`);
    logger.info({ err: new Error("outside", { cause: refused }), count: 3n.toString() }, "%s fails", password);
  } finally {
    delete process.env.REDIS_URL;
  }
  expect(lines.length).toBe(4);
  expect(lines.join("")).not.toMatch(LEAK);
  expect(JSON.parse(lines[1] ?? "")).toMatchObject({
    stream: "s",
    err: { type: "TypeError", code: "ERR_INVALID_URL" },
  });
});

test("an error of Redis that repeats the password is passed on without it", async () => {
  const { redis: port } = await freePorts();
  const args = [
    "--port",
    `${port}`,
    "--bind",
    "127.0.0.1",
    "--save",
    "",
    "--rename-command",
    "AUTH",
    "",
    "--rename-command",
    "HELLO",
    "",
  ];
  const server = execa(await findRedis(cacheFolder(), unwatched), args, { reject: false });
  try {
    const message = await new Promise<string>((resolve) => {
      const redis = openRedis(`redis://:HEAD%40BODYTAIL@127.0.0.1:${port}`, (error) => {
        if (error.message.includes("ECONNREFUSED")) return; // it is starting
        redis.disconnect();
        resolve(`${error.message} ${error.stack} ${JSON.stringify(error)}`);
      });
    });
    expect(message).toContain("unknown command");
    expect(message).not.toMatch(LEAK);
  } finally {
    server.kill();
    await server;
  }
});
