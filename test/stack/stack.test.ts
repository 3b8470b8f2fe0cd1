import { once } from "node:events";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Admin } from "@platformatic/kafka";
import { Connection } from "@temporalio/client";
import { execa } from "execa";
import { Redis } from "ioredis";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { isTidelineError } from "../../core/errors.ts";
import { endLeftovers } from "../../stack/process/leftovers.ts";
import { LocalProcess } from "../../stack/process/local-process.ts";
import { commandLine } from "../../stack/process/processes.ts";
import { run } from "../../stack/process/run.ts";
import { stopInOrder } from "../../stack/process/shutdown.ts";
import { supervise } from "../../stack/process/supervise.ts";
import { unwatched } from "../../stack/process/work.ts";
import { cached, exists } from "../../stack/programs/cache.ts";
import { roleProcess } from "../../stack/role.ts";
import { freePorts, requireFreePorts } from "../../stack/servers/ports.ts";
import { createServers, type Servers, startServers } from "../../stack/servers/servers.ts";

/** The first use on a bare machine fetches and builds servers; later ones take seconds. */
const firstUseMs = 15 * 60_000;

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tideline-stack-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function withRedis<T>(url: string, use: (redis: Redis) => Promise<T>): Promise<T> {
  const redis = new Redis(url);
  try {
    return await use(redis);
  } finally {
    redis.disconnect();
  }
}

async function withAdmin<T>(broker: string, use: (admin: Admin) => Promise<T>): Promise<T> {
  const admin = new Admin({ clientId: "stack-test", bootstrapBrokers: [broker], retries: 2, retryDelay: 100 });
  try {
    return await use(admin);
  } finally {
    await admin.close();
  }
}

const pidsOf = (servers: Servers) => [servers.kafka.pid, servers.redis.pid, servers.temporal.pid];

/** A process that says its name and then only waits; `script` replaces what it does. */
const waiting = (name: string, script = "setInterval(() => {}, 1000)") =>
  roleProcess(
    { name, title: name, args: ["-e", `/* ${name} */ ${script}`] },
    { home: join(folder, "roles"), env: {}, tideline: [process.execPath] },
  );

describe("the three servers", () => {
  let servers: Servers;
  let home = "";

  beforeAll(async () => {
    home = join(folder, "home");
    servers = await startServers({ home, ports: await freePorts() });
  }, firstUseMs);
  afterAll(() => servers.stop());

  it("answer right after the start", async () => {
    const created = await withAdmin(servers.kafka.brokers, (admin) =>
      admin.createTopics({ topics: ["orders"], partitions: 2, replicas: 1 }),
    );
    expect(created.map(({ name }) => name)).toEqual(["orders"]);
    expect(await withRedis(servers.redis.url, (redis) => redis.ping())).toBe("PONG");
    const connection = await Connection.connect({ address: servers.temporal.address });
    const { namespaces } = await connection.workflowService.listNamespaces({});
    expect(namespaces.map(({ namespaceInfo }) => namespaceInfo?.name)).toContain("default");
    await connection.close();
    expect((await fetch(servers.temporal.uiUrl ?? "")).status).toBe(200);
  });

  it("refuse a topic that nobody created", async () => {
    await withAdmin(servers.kafka.brokers, async (admin) => {
      await admin.metadata({ topics: ["misspelt"], autocreateTopics: true }).catch(() => {});
      expect(await admin.listTopics()).not.toContain("misspelt");
    });
  });

  it("keep their data when killed and started again, repeatedly", async () => {
    for (const round of [1, 2]) {
      await withRedis(servers.redis.url, (redis) => redis.incr("rounds"));
      await servers.redis.kill("SIGKILL");
      expect(servers.redis.pid).toBeUndefined();
      await servers.redis.start();
      expect(await withRedis(servers.redis.url, (redis) => redis.get("rounds"))).toBe(String(round));
    }
    await servers.kafka.kill("SIGKILL");
    await servers.kafka.start();
    expect(await withAdmin(servers.kafka.brokers, (admin) => admin.listTopics())).toContain("orders");
  });

  it("leave no process and no note behind when stopped, and resume from disk on other ports", async () => {
    const before = pidsOf(servers);
    await servers.stop();
    for (const pid of before) {
      expect(pid).toBeTypeOf("number");
      expect(await commandLine(pid ?? 0)).toBeUndefined();
    }
    expect(await readdir(join(home, "run"))).toEqual([]);

    servers = await startServers({ home, ports: await freePorts() });
    expect(await withRedis(servers.redis.url, (redis) => redis.get("rounds"))).toBe("2");
    expect(await withAdmin(servers.kafka.brokers, (admin) => admin.listTopics())).toContain("orders");
  });

  it("stop the others when one cannot start", async () => {
    const ports = await freePorts();
    const blocker = createServer().listen(ports.kafka, "127.0.0.1");
    const other = join(folder, "other-home");
    await expect(startServers({ home: other, ports })).rejects.toMatchObject({ code: "PORT_TAKEN" });
    expect(await readdir(join(other, "run"))).toEqual([]);
    blocker.close();
  });
});

describe("a server that the environment names", () => {
  it("is neither started nor stopped", async () => {
    const env = {
      KAFKA_BROKERS: "kafka.example:9092",
      REDIS_URL: "redis://redis.example:6379",
      TEMPORAL_ADDRESS: "t:7233",
    };
    const servers = await startServers({ home: join(folder, "given"), env, ports: await freePorts() });
    expect([servers.kafka.brokers, servers.redis.url, servers.temporal.address]).toEqual(Object.values(env));
    expect(pidsOf(servers)).toEqual([undefined, undefined, undefined]);
    await servers.stop();
  });

  it("counts as not named when the variable is empty", async () => {
    const servers = createServers({ home: join(folder, "given"), env: { REDIS_URL: "" }, ports: await freePorts() });
    expect(servers.redis.given).toBe(false);
  });
});

describe("ports", () => {
  it("that are taken are named with who wants them and how to change them", async () => {
    const ports = await freePorts();
    const blocker = createServer().listen(ports.redis, "127.0.0.1");
    const error = await requireFreePorts(ports, ["kafka", "redis"]).catch((error: unknown) => error);
    blocker.close();
    expect(isTidelineError(error, "PORT_TAKEN")).toBe(true);
    expect(String(error)).toContain(`${ports.redis}, wanted by Redis`);
    expect(error).toMatchObject({ hint: expect.stringMatching(/--redis-port.*TIDELINE_REDIS_PORT/) });
  });

  it("for tests are all different", async () => {
    const ports = Object.values(await freePorts());
    expect(new Set(ports).size).toBe(ports.length);
  });
});

describe("a process", () => {
  it("that fails while starting is reported with its last lines", async () => {
    const home = join(folder, "failing");
    const process_ = new LocalProcess({
      name: "failing",
      title: "The failing one",
      home,
      mark: "the disk is full",
      prepare: async () => ({
        command: process.execPath,
        args: ["-e", "console.error('the disk is full'); process.exit(3)"],
      }),
      probe: () => Promise.reject(new Error("no answer")),
      readyLimitMs: 10_000,
      graceMs: 1000,
    });
    await expect(process_.start()).rejects.toMatchObject({
      code: "SERVER_NOT_READY",
      message: expect.stringMatching(/The failing one ended while starting \(exit code 3\)[\s\S]*the disk is full/),
    });
    expect(await readdir(join(home, "run"))).toEqual([]);
  });

  it("that gives no answer is shown with the reason, once for each", async () => {
    let tries = 0;
    const refused = Object.assign(new Error("fetch failed"), { cause: new Error("connect ECONNREFUSED") });
    const process_ = new LocalProcess({
      name: "late",
      title: "The late one",
      home: join(folder, "late"),
      mark: "/* late */",
      prepare: async () => ({ command: process.execPath, args: ["-e", "/* late */ setInterval(() => {}, 1000)"] }),
      probe: async () => {
        tries += 1;
        if (tries < 3) throw refused;
        if (tries < 5) throw new Error("loading");
      },
      readyLimitMs: 60_000,
      reasonAfterMs: 0,
      graceMs: 1000,
    });
    const lines: string[] = [];
    await process_.start({ ...unwatched, report: (line) => lines.push(line) });
    await process_.stop();
    expect(lines).toEqual([
      "waiting until it answers",
      "waiting until it answers: connect ECONNREFUSED",
      "waiting until it answers: loading",
    ]);
  });

  it.each([503, 200])("that answers %i and names what fails counts as started", async (status) => {
    const port = (await freePorts()).api;
    const body = {
      ready: false,
      problems: [{ name: "ticks", code: "TOPIC_MISSING", message: "no topic", hint: "Make it." }],
      views: [
        { view: "fine", code: null },
        { view: "lost", code: "LOG_LOST", message: "it is gone" },
      ],
    };
    const script =
      `require("node:http").createServer((_, r) => { r.statusCode = ${status}; r.end(` +
      `${JSON.stringify(JSON.stringify(body))}); }).listen(${port}, "127.0.0.1")`;
    const unready: string[] = [];
    const handle = roleProcess(
      {
        name: "lame",
        title: "Lame",
        args: ["-e", `/* lame */ ${script}`],
        healthUrl: `http://127.0.0.1:${port}/health`,
      },
      {
        home: join(folder, "roles"),
        env: {},
        tideline: [process.execPath],
        onUnready: (reasons) => unready.push(...reasons),
      },
    );
    await handle.start();
    expect(unready).toEqual(["ticks: TOPIC_MISSING: no topic. Make it.", "lost: LOG_LOST: it is gone"]);
    expect(handle.pid).toBeDefined();
    await handle.stop();
  });

  it("whose program is missing is an error, not a crash", async () => {
    const role = roleProcess(
      { name: "gone", title: "Gone", args: [] },
      { home: folder, env: {}, tideline: ["/no/such"] },
    );
    await expect(role.start()).rejects.toMatchObject({ code: "SERVER_NOT_READY" });
  });

  it("that is being started gives up when it is stopped", async () => {
    const stubborn = roleProcess(
      {
        name: "stubborn",
        title: "Stubborn",
        args: ["-e", "setInterval(() => {}, 1000)"],
        healthUrl: "http://127.0.0.1:1/",
      },
      { home: join(folder, "stubborn"), env: {}, tideline: [process.execPath] },
    );
    const started = stubborn.start().catch((error: unknown) => error);
    await vi.waitUntil(() => stubborn.pid !== undefined);
    await stubborn.stop();
    expect(await started).toMatchObject({ name: "AbortError" });
    expect(stubborn.pid).toBeUndefined();
  });

  it("that ends unexpectedly is started again, until it is stopped", async () => {
    const role = waiting("restarted");
    const said: string[] = [];
    const stop = new AbortController();
    await role.start();
    const supervising = supervise(role, { say: (line) => said.push(line), signal: stop.signal, firstDelayMs: 20 });
    const first = role.pid;
    await role.kill("SIGKILL");
    await vi.waitUntil(() => role.pid !== undefined && role.pid !== first, { timeout: 120_000 });
    expect(said[0]).toMatch(/^restarted: ended unexpectedly \(SIGKILL\); starting it again in .* s; its log: /);
    stop.abort();
    await role.stop();
    await supervising;
    expect(role.pid).toBeUndefined();
  });

  it("is stopped after those that were started later", async () => {
    const ended: string[] = [];
    const roles = ["first", "second", "third"].map((name) => waiting(name));
    for (const role of roles) {
      await role.start();
      void role.ended().then(({ expected }) => ended.push(`${role.name} ${expected}`));
    }
    const said: string[] = [];
    await stopInOrder(roles, (line) => said.push(line), unwatched.signal);
    expect(said).toEqual(["stopping third", "stopping second", "stopping first"]);
    expect(ended).toEqual(["third true", "second true", "first true"]);
  });

  it("that ignores the polite request is ended at once when forced", async () => {
    const role = waiting(
      "deaf",
      "process.on('SIGTERM', () => {}); console.log('listening'); setInterval(() => {}, 1000)",
    );
    await role.start();
    await vi.waitUntil(async () => (await readFile(role.logFile, "utf8")).includes("listening"), { timeout: 120_000 });
    const force = new AbortController();
    const stopping = stopInOrder([role], () => {}, force.signal);
    force.abort();
    await stopping;
    expect(role.pid).toBeUndefined();
  });
});

describe("a Tideline that was killed", () => {
  let home = "";
  /** Another process that starts a detached one under `home` and says its number. */
  const other = () =>
    execa(
      process.execPath,
      [
        "--import",
        "tsx",
        "--input-type=module",
        "-e",
        `
      import { roleProcess } from "./stack/role.ts";
      const role = roleProcess(
        { name: "orphan", title: "Orphan", args: ["-e", "setInterval(() => {}, 1000)"] },
        { home: ${JSON.stringify(home)}, env: {}, tideline: [process.execPath] },
      );
      await role.start();
      console.log(role.pid);
      setInterval(() => {}, 1000);`,
      ],
      { reject: false },
    );

  beforeAll(() => {
    home = join(folder, "orphans");
  });
  afterEach(() => endLeftovers(home));

  it("leaves processes that the next start ends; while it lives its folder is refused", async () => {
    const tideline = other();
    const [line] = await once(tideline.stdout, "data");
    const pid = Number(line);
    await expect(endLeftovers(home)).rejects.toMatchObject({ code: "CONFIG_INVALID" });
    expect(await commandLine(pid)).toContain("setInterval");
    tideline.kill("SIGKILL");
    await tideline;
    expect(await commandLine(pid)).toContain("setInterval");
    expect(await endLeftovers(home)).toEqual(["orphan"]);
    expect(await commandLine(pid)).toBeUndefined();
  });
});

describe("the cache", () => {
  it("shows an entry only when it is complete, and makes it once", async () => {
    const cacheDir = join(folder, "cache");
    let made = 0;
    const make = async (target: string) => {
      made++;
      expect(await exists(join(cacheDir, "server-1"))).toBe(false);
      expect(await exists(target)).toBe(true);
    };
    const both = await Promise.all([1, 2].map(() => cached(cacheDir, "server-1", unwatched, make)));
    expect(both).toEqual([join(cacheDir, "server-1"), join(cacheDir, "server-1")]);
    expect(made).toBe(1);
  });

  it("keeps nothing of an entry whose making failed", async () => {
    const cacheDir = join(folder, "failing-cache");
    await expect(
      cached(cacheDir, "server-1", unwatched, () => Promise.reject(new Error("no network"))),
    ).rejects.toThrow("no network");
    expect(await readdir(cacheDir)).toEqual([]);
  });
});

describe("a program that gets a server", () => {
  it("is ended with its helpers when the work is given up", async () => {
    const giveUp = new AbortController();
    let helper = 0;
    const running = run(
      "sh",
      ["-c", "sleep 300 & echo $!; wait"],
      { report: () => {}, signal: giveUp.signal },
      {
        onLine: (line) => {
          helper = Number(line);
          giveUp.abort();
        },
      },
    );
    await expect(running).rejects.toMatchObject({ name: "AbortError" });
    await vi.waitUntil(async () => (await commandLine(helper)) === undefined);
  });

  it("fails with its last lines", async () => {
    await expect(run("sh", ["-c", "echo no space left; exit 2"], unwatched)).rejects.toThrow(
      /exit code 2[\s\S]*no space left/,
    );
  });
});
