import { createServer } from "node:net";
import getPort, { portNumbers } from "get-port";
import { z } from "zod";
import { isBlockedPort } from "../../core/blocked-ports.ts";
import { TidelineError } from "../../core/errors.ts";

export interface PortSpec {
  readonly default: number;
  readonly variable: string;
  readonly flag: string;
  /** The process that listens there, as the end of "the port of ...". */
  readonly owner: string;
  /** Whether Tideline uses `fetch` for this port, or people a browser: both refuse some ports. */
  readonly isFetched: boolean;
}

/** Every port that `tideline up` listens on, all of them on 127.0.0.1. */
export const portSpecs = {
  api: {
    default: 7070,
    variable: "TIDELINE_API_PORT",
    flag: "--api-port",
    owner: "the HTTP API",
    isFetched: true,
  },
  speed: {
    default: 7071,
    variable: "TIDELINE_SPEED_PORT",
    flag: "--speed-port",
    owner: "the speed layer's metrics",
    isFetched: true,
  },
  worker: {
    default: 7072,
    variable: "TIDELINE_WORKER_PORT",
    flag: "--worker-port",
    owner: "the worker's metrics",
    isFetched: true,
  },
  redis: {
    default: 7073,
    variable: "TIDELINE_REDIS_PORT",
    flag: "--redis-port",
    owner: "Redis",
    isFetched: false,
  },
  kafka: {
    default: 7074,
    variable: "TIDELINE_KAFKA_PORT",
    flag: "--kafka-port",
    owner: "Kafka",
    isFetched: false,
  },
  kafkaController: {
    default: 7075,
    variable: "TIDELINE_KAFKA_CONTROLLER_PORT",
    flag: "--kafka-controller-port",
    owner: "Kafka's controller",
    isFetched: false,
  },
  temporal: {
    default: 7076,
    variable: "TIDELINE_TEMPORAL_PORT",
    flag: "--temporal-port",
    owner: "Temporal",
    isFetched: false,
  },
  temporalUi: {
    default: 7077,
    variable: "TIDELINE_TEMPORAL_UI_PORT",
    flag: "--temporal-ui-port",
    owner: "Temporal's Web UI",
    isFetched: true,
  },
  temporalMetrics: {
    default: 7078,
    variable: "TIDELINE_TEMPORAL_METRICS_PORT",
    flag: "--temporal-metrics-port",
    owner: "Temporal's metrics",
    isFetched: false,
  },
} as const satisfies Record<string, PortSpec>;

export type PortName = keyof typeof portSpecs;
export type Ports = Readonly<Record<PortName, number>>;

const portShape = z.string().regex(/^\d+$/).transform(Number).pipe(z.number().min(1).max(65_535));

/** Parses the port in a setting or flag. If it is not one, returns what has to be there instead. */
export function parsePort(text: string, { isFetched }: Pick<PortSpec, "isFetched">): number | { wanted: string } {
  const { success, data } = portShape.safeParse(text);
  if (!success) return { wanted: "a port number, 1 to 65535" };
  return isFetched && isBlockedPort(data) ? { wanted: "a port that browsers and fetch do not refuse" } : data;
}

/** Returns a value for every port. */
export function eachPort(value: (name: PortName, spec: PortSpec) => number): Ports {
  return {
    api: value("api", portSpecs.api),
    speed: value("speed", portSpecs.speed),
    worker: value("worker", portSpecs.worker),
    redis: value("redis", portSpecs.redis),
    kafka: value("kafka", portSpecs.kafka),
    kafkaController: value("kafkaController", portSpecs.kafkaController),
    temporal: value("temporal", portSpecs.temporal),
    temporalUi: value("temporalUi", portSpecs.temporalUi),
    temporalMetrics: value("temporalMetrics", portSpecs.temporalMetrics),
  };
}

/**
 * Returns where a search for free ports begins. These ports are below the range that systems use for outgoing
 * connections: a port of that range may be taken in the seconds before a server binds it. They are above 10,080, the
 * last port that fetch and browsers refuse (`isBlockedPort`). The start is random, because test processes run at the
 * same time.
 */
export function firstPort(): number {
  return 11_000 + Math.floor(Math.random() * 19_000);
}

/** Returns free ports for tests. */
export async function freePorts(): Promise<Ports> {
  const names = Object.keys(portSpecs);
  const start = firstPort();
  const numbers: number[] = [];
  for (const _ of names) {
    numbers.push(await getPort({ port: portNumbers(start, start + 500), exclude: numbers, host: "127.0.0.1" }));
  }
  return eachPort((name) => numbers[names.indexOf(name)] ?? 0);
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (error) => {
      if ("code" in error && error.code === "EADDRINUSE") resolve(false);
      else reject(error);
    });
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => server.close(() => resolve(true)));
  });
}

/** Throws `PORT_TAKEN` for the first of `names` whose port is in use. */
export async function requireFreePorts(ports: Ports, names: readonly PortName[]): Promise<void> {
  for (const name of names) {
    const { owner, variable, flag } = portSpecs[name];
    const port = ports[name];
    if (await isFree(port)) continue;
    throw new TidelineError(
      "PORT_TAKEN",
      `Port ${port}, wanted by ${owner}, is taken by another program`,
      `Stop that program, or choose another port with ${flag} or ${variable}.`,
    );
  }
}
