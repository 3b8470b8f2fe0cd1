import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { execa } from "execa";
import { Redis } from "ioredis";
import { inject } from "vitest";
import { settled, wantedOf } from "../cli/runs/settle.ts";
import { loadConfig } from "../cli/setup/config.ts";
import { connectTemporal } from "../cli/setup/temporal.ts";
import type { ProcessHandle } from "../stack/process/local-process.ts";
import { roleProcess } from "../stack/role.ts";
import { freePorts, type Ports } from "../stack/servers/ports.ts";
import { type Definitions, loadDefinitions } from "../store/definitions/definitions.ts";
import { deadLetterTopic, ensureTopics, topicName } from "../store/kafka/cluster/topics.ts";

const repository = fileURLToPath(new URL("..", import.meta.url));
const programIn = (folder: string) => join(folder, "cli", "tideline.js");

export type RoleName = "speed" | "worker" | "serve";

/** One answer of `GET /views/:name`, as far as the tests look at it. */
export interface Answer {
  readonly rows: readonly Readonly<Record<string, string | number | boolean | null>>[];
  readonly asOf: string;
  readonly position: {
    readonly generation: string;
    readonly version: number;
    readonly cut: Readonly<Record<string, string>>;
    readonly applied: Readonly<Record<string, string>>;
  };
  readonly batchVersion: number;
  readonly freshnessMs: number;
  readonly complete: boolean;
  readonly missing?: { readonly code: string };
}

/**
 * A Tideline of its own on the shared servers: its namespace keeps topics, keys and workflows apart, and its roles are
 * the real commands as processes of their own, so that they can be killed.
 */
export class Installation {
  readonly home: string;
  readonly namespace: string;
  readonly env: Readonly<Record<string, string>>;
  readonly apiUrl: string;
  readonly #ports: Ports;
  readonly #processes = new Map<string, ProcessHandle>();
  #program = programIn(repository);

  readonly #definitions: Definitions;

  private constructor(
    { home, namespace }: { readonly home: string; readonly namespace: string },
    ports: Ports,
    env: Record<string, string>,
    definitions: Definitions,
  ) {
    this.#definitions = definitions;
    this.home = home;
    this.namespace = namespace;
    this.#ports = ports;
    this.apiUrl = `http://127.0.0.1:${ports.api}`;
    this.env = {
      KAFKA_BROKERS: inject("kafkaBrokers"),
      REDIS_URL: inject("redisUrl"),
      TEMPORAL_ADDRESS: inject("temporalAddress"),
      TIDELINE_HOME: home,
      TIDELINE_NAMESPACE: namespace,
      TIDELINE_API_PORT: String(ports.api),
      TIDELINE_API_URL: this.apiUrl,
      TIDELINE_SPEED_PORT: String(ports.speed),
      TIDELINE_WORKER_PORT: String(ports.worker),
      ...env,
    };
  }

  /** A fresh installation with its topics, and no role running. */
  static async open(name: string, env: Record<string, string> = {}): Promise<Installation> {
    const home = await mkdtemp(join(tmpdir(), `tideline-${name}-`));
    const namespace = `${name}-${Date.now().toString(36)}`;
    const definitions = await loadDefinitions(loadConfig(env));
    const topics = [...definitions.streams.values()].flatMap((stream) => {
      const name = topicName(namespace, stream.name);
      return [
        ...(stream.topic === null ? [{ name, partitions: stream.partitions }] : []),
        { name: deadLetterTopic(name), partitions: 1 },
      ];
    });
    await ensureTopics(inject("kafkaBrokers"), topics);
    return new Installation({ home, namespace }, await freePorts(), env, definitions);
  }

  /** From now on roles are started and commands run from the program in this folder: another release of it. */
  use(folder: string): void {
    this.#program = programIn(folder);
  }

  topic(stream: string): string {
    return topicName(this.namespace, stream);
  }

  /** Starts a role and waits until it is healthy. A second one of the same role gets a name of its own. */
  async start(
    role: RoleName,
    options: { as?: string; port?: number; args?: readonly string[] } = {},
  ): Promise<ProcessHandle> {
    const { as = role, args = [] } = options;
    const port = options.port ?? { speed: this.#ports.speed, worker: this.#ports.worker, serve: this.#ports.api }[role];
    const variable = { speed: "TIDELINE_SPEED_PORT", worker: "TIDELINE_WORKER_PORT", serve: "TIDELINE_API_PORT" }[role];
    const healthUrl = `http://127.0.0.1:${port}/health`;
    const env = { ...this.env, [variable]: String(port) };
    const handle = roleProcess(
      { name: as, title: as, args: [role, ...args], healthUrl },
      { home: this.home, env, tideline: [process.execPath, this.#program] },
    );
    this.#processes.set(as, handle);
    await handle.start();
    return handle;
  }

  /** Ends a role as a crash would. */
  async kill(name: string): Promise<void> {
    await this.#processes.get(name)?.kill("SIGKILL");
  }

  /** Ends roles in their own way, at the same time. */
  async stop(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#processes.get(name)?.stop()));
  }

  /** Starts roles again that were ended, at the same time. */
  async restart(...names: readonly string[]): Promise<void> {
    await Promise.all(names.map((name) => this.#processes.get(name)?.start()));
  }

  /** Runs a command to its end; throws when it fails. */
  async run(...args: string[]): Promise<{ readonly stdout: string; readonly stderr: string }> {
    return execa(process.execPath, [this.#program, ...args], { env: this.env });
  }

  /** Runs a command and does not wait. */
  begin(...args: string[]) {
    return execa(process.execPath, [this.#program, ...args], { env: this.env, reject: false });
  }

  /** As `begin`, with other variables beside the installation's own. */
  beginWith(env: Readonly<Record<string, string>>, ...args: string[]) {
    return execa(process.execPath, [this.#program, ...args], { env: { ...this.env, ...env }, reject: false });
  }

  /** The speed layer's health. */
  get speedUrl(): string {
    return `http://127.0.0.1:${this.#ports.speed}/health`;
  }

  async ask(view: string, parameters: Readonly<Record<string, string>> = {}): Promise<Answer> {
    const response = await fetch(`${this.apiUrl}/views/${view}?${new URLSearchParams(parameters)}`);
    if (!response.ok) throw new Error(`${view}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  }

  /**
   * Has the next versions of views published, each stream in one round, and waits for them: as `tideline settle`, which
   * takes seconds to start. Throws RUN_FAILED.
   */
  async refresh(...views: readonly string[]): Promise<void> {
    const client = await connectTemporal({ temporalAddress: inject("temporalAddress"), temporalNamespace: "default" });
    try {
      const wanted = wantedOf(views, this.#definitions);
      await Promise.all([...wanted].map(([stream, some]) => settled(client, this.namespace, stream, some)));
    } finally {
      await client.connection.close();
    }
  }

  /** Everything that this installation has in Redis, gone in one step, as when Redis loses its disk. */
  async emptyRedis(): Promise<void> {
    const redis = new Redis(inject("redisUrl"));
    const keys = await redis.keys(`tl:{${this.namespace}/*`);
    if (keys.length > 0) await redis.unlink(...keys);
    redis.disconnect();
  }

  /** Ends every role and removes what it wrote. */
  async close(): Promise<void> {
    await this.stop(...this.#processes.keys());
    await rm(this.home, { recursive: true, force: true });
  }
}

/** Asks again until `done` says yes; throws with the last answer when it takes too long. */
export async function until<T>(
  what: string,
  ask: () => Promise<T>,
  done: (value: T) => boolean,
  limitMs = 180_000,
): Promise<T> {
  const deadlineMs = performance.now() + limitMs;
  for (;;) {
    const value = await ask();
    if (done(value)) return value;
    if (performance.now() > deadlineMs)
      throw new Error(`${what}: not within ${limitMs / 1_000} s, last: ${JSON.stringify(value).slice(0, 500)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
