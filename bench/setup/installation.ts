import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Config, loadConfig } from "../../cli/setup/config.ts";
import { createStreamTopics } from "../../cli/setup/create-topics.ts";
import type { ProcessHandle } from "../../stack/process/local-process.ts";
import { unwatched } from "../../stack/process/work.ts";
import { roleProcess } from "../../stack/role.ts";
import { freePorts, type Ports } from "../../stack/servers/ports.ts";
import { createServers, type Servers } from "../../stack/servers/servers.ts";
import { openRedis, type TidelineRedis } from "../../store/redis/redis.ts";

export type RoleName = "speed" | "serve" | "worker";

const program = fileURLToPath(new URL("../../cli/tideline.js", import.meta.url));

/** What has to end when the person at the terminal gives up. */
const open = new Set<Installation>();

export async function closeInstallations(): Promise<void> {
  await Promise.allSettled([...open].map((installation) => installation.close()));
}

/**
 * Kafka, Redis and, if wanted, Temporal for one benchmark, with everything they write in a folder that goes away with
 * them.
 */
export class Installation {
  readonly home: string;
  readonly env: Readonly<Record<string, string>>;
  readonly brokers: string;
  readonly redis: TidelineRedis;
  readonly ports: Ports;
  readonly #servers: Servers;
  readonly #started: { close(): Promise<void> }[] = [];
  #closing: Promise<void> | null = null;

  private constructor(home: string, ports: Ports, servers: Servers, env: Readonly<Record<string, string>>) {
    this.home = home;
    this.ports = ports;
    this.brokers = servers.kafka.brokers;
    this.redis = openRedis(servers.redis.url, () => undefined);
    this.#servers = servers;
    this.env = {
      KAFKA_BROKERS: servers.kafka.brokers,
      REDIS_URL: servers.redis.url,
      TEMPORAL_ADDRESS: servers.temporal.address,
      TIDELINE_HOME: home,
      TIDELINE_API_PORT: String(ports.api),
      TIDELINE_SPEED_PORT: String(ports.speed),
      TIDELINE_WORKER_PORT: String(ports.worker),
      TIDELINE_LOG_LEVEL: "warn",
      ...env,
    };
  }

  /** Starts the servers and creates the topics of every stream. `env`: further settings of the roles. */
  static async start(
    options: { temporal?: boolean; env?: Readonly<Record<string, string>> } = {},
  ): Promise<Installation> {
    const home = await mkdtemp(join(tmpdir(), "tideline-bench-"));
    const ports = await freePorts();
    const servers = createServers({ home, ports });
    const installation = new Installation(home, ports, servers, options.env ?? {});
    open.add(installation);
    try {
      const wanted = [servers.kafka, servers.redis, ...(options.temporal === true ? [servers.temporal] : [])];
      await Promise.all(wanted.map((server) => server.start(unwatched)));
      await createStreamTopics(installation.config, () => undefined);
      return installation;
    } catch (error) {
      await installation.close();
      throw error;
    }
  }

  /** What its roles are configured with. */
  get config(): Config {
    return loadConfig(this.env);
  }

  /** A role as a process of its own, not started yet: the command that users run. */
  role(name: RoleName, ...args: readonly string[]): ProcessHandle {
    const port = { speed: this.ports.speed, serve: this.ports.api, worker: this.ports.worker }[name];
    return this.#role(name, [name, ...args], port, this.env);
  }

  /** The speed layer with further settings, not started yet. */
  speedWith(env: Readonly<Record<string, string>>): ProcessHandle {
    return this.#role("speed", ["speed"], this.ports.speed, { ...this.env, ...env });
  }

  /** A second process of the speed layer, under another name and port. */
  async secondSpeed(): Promise<ProcessHandle> {
    const { speed } = await freePorts();
    return this.#role("speed-2", ["speed"], speed, { ...this.env, TIDELINE_SPEED_PORT: String(speed) });
  }

  /**
   * A speed layer with a namespace of its own on the same servers: its topics, its data directory and the process, not
   * started yet.
   */
  async neighbour(namespace: string): Promise<{ readonly home: string; readonly speed: ProcessHandle }> {
    const { speed } = await freePorts();
    const home = join(this.home, namespace);
    const own = { TIDELINE_NAMESPACE: namespace, TIDELINE_HOME: home, TIDELINE_SPEED_PORT: String(speed) };
    const env = { ...this.env, ...own };
    await createStreamTopics(loadConfig(env), () => undefined);
    return { home, speed: this.#role(`speed-${namespace}`, ["speed"], speed, env) };
  }

  #role(name: string, args: readonly string[], port: number, env: Readonly<Record<string, string>>): ProcessHandle {
    const handle = roleProcess(
      { name, title: name, args, healthUrl: `http://127.0.0.1:${port}/health` },
      { home: this.home, env, tideline: [process.execPath, program] },
    );
    this.#started.push({ close: () => handle.stop() });
    return handle;
  }

  /**
   * Starts a program of this folder in a process of its own, so that load does not share a thread with what is
   * measured.
   */
  fork<Options>(file: string, options: Options): ChildProcess {
    const child = fork(fileURLToPath(new URL(file, import.meta.url)), [JSON.stringify(options)], {
      execArgv: ["--import", "tsx"],
    });
    this.#started.push({ close: () => endChild(child) });
    return child;
  }

  /**
   * Ends everything, in the reverse order of starting, and removes the folder. A second call waits for the first.
   */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    for (const { close } of this.#started.reverse()) await close();
    this.redis.disconnect();
    await this.#servers.stop();
    await rm(this.home, { recursive: true, force: true });
    open.delete(this);
  }
}

/** Ends a forked program: it stops when its parent hangs up. */
export async function endChild(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, "exit");
  child.kill("SIGTERM");
  await exited;
}

/** Runs `work` with an installation that is gone afterwards, whatever happens. */
export async function withInstallation<T>(
  options: Parameters<typeof Installation.start>[0],
  work: (installation: Installation) => Promise<T>,
): Promise<T> {
  const installation = await Installation.start(options);
  try {
    return await work(installation);
  } finally {
    await installation.close();
  }
}
