import { resolve } from "node:path";
import type { ProcessHandle } from "../process/local-process.ts";
import { logPath } from "../process/logfile.ts";
import { unwatched, type Work } from "../process/work.ts";
import { cacheFolder } from "../programs/cache.ts";
import { kafkaProcess } from "./kafka.ts";
import type { Ports } from "./ports.ts";
import { redisProcess } from "./redis.ts";
import { temporalProcess } from "./temporal.ts";

export type ServerName = "kafka" | "redis" | "temporal";

/** A server. If it was given by address (`given`), Tideline did not start it, and every method does nothing. */
export interface ServerHandle extends ProcessHandle {
  readonly name: ServerName;
  /** host:port; for a given Kafka, several separated by commas; for a given Redis, its URL. */
  readonly address: string;
  readonly given: boolean;
}

export interface Servers {
  readonly kafka: ServerHandle & { readonly brokers: string };
  readonly redis: ServerHandle & { readonly url: string };
  /** `uiUrl` is unknown when Temporal was given by its address. */
  readonly temporal: ServerHandle & { readonly uiUrl: string | undefined };
  /** Ends Temporal, Redis and Kafka, in this order. */
  stop(): Promise<void>;
}

export interface ServerOptions {
  /** The folder with all state; created if it is missing. */
  readonly home: string;
  /** Addresses of running servers; an empty one counts as not set. */
  readonly env?: { readonly [name in "KAFKA_BROKERS" | "REDIS_URL" | "TEMPORAL_ADDRESS"]?: string | undefined };
  readonly ports: Ports;
  /** The folder of fetched servers; absent: `TIDELINE_CACHE`, else the user's cache folder. */
  readonly cacheDir?: string;
}

const given = <T extends object>(name: ServerName, address: string, home: string, extra: T): ServerHandle & T => ({
  name,
  address,
  given: true,
  pid: undefined,
  logFile: logPath(home, name),
  start: async () => {},
  stop: async () => {},
  kill: async () => {},
  ended: async () => ({ expected: true, how: "not ours" }),
  ...extra,
});

const local = <T extends object>(
  name: ServerName,
  port: number,
  process: ProcessHandle,
  extra: T,
): ServerHandle & T => ({
  name,
  address: `127.0.0.1:${port}`,
  given: false,
  get pid() {
    return process.pid;
  },
  logFile: process.logFile,
  start: (work) => process.start(work),
  stop: () => process.stop(),
  kill: (signal) => process.kill(signal),
  ended: () => process.ended(),
  ...extra,
});

/** Returns the three servers, not started: start them one by one, or use `startServers`. */
export function createServers({ home: folder, env = {}, ports, cacheDir = cacheFolder() }: ServerOptions): Servers {
  const home = resolve(folder);
  const { KAFKA_BROKERS: brokers, REDIS_URL: url, TEMPORAL_ADDRESS: address } = env;
  const kafka = brokers
    ? given("kafka", brokers, home, { brokers })
    : local("kafka", ports.kafka, kafkaProcess(home, cacheDir, ports), { brokers: `127.0.0.1:${ports.kafka}` });
  const redis = url
    ? given("redis", url, home, { url })
    : local("redis", ports.redis, redisProcess(home, cacheDir, ports), { url: `redis://127.0.0.1:${ports.redis}` });
  const temporal = address
    ? given("temporal", address, home, { uiUrl: undefined })
    : local("temporal", ports.temporal, temporalProcess(home, cacheDir, ports), {
        uiUrl: `http://127.0.0.1:${ports.temporalUi}`,
      });
  return {
    kafka,
    redis,
    temporal,
    async stop() {
      for (const server of [temporal, redis, kafka]) await server.stop();
    },
  };
}

export interface StartOptions extends ServerOptions {
  report?(server: ServerName, line: string): void;
  readonly signal?: AbortSignal;
}

/**
 * Gets and starts all three servers in parallel, and waits for them. If one fails, the others are stopped before this
 * rejects. Throws `SERVER_MISSING`, `SERVER_NOT_READY`, `PORT_TAKEN`.
 */
export async function startServers(options: StartOptions): Promise<Servers> {
  const servers = createServers(options);
  const signal = options.signal ?? unwatched.signal;
  const work = (name: ServerName): Work => ({ report: (line) => options.report?.(name, line), signal });
  try {
    await Promise.all(
      [servers.kafka, servers.redis, servers.temporal].map((server) => server.start(work(server.name))),
    );
  } catch (error) {
    // All are stopped at the same time: a server that is starting must give up even while another one is being stopped.
    await Promise.all([servers.kafka, servers.redis, servers.temporal].map((server) => server.stop()));
    throw error;
  }
  return servers;
}
