import { Listr, type ListrTask } from "listr2";
import { type FirstSteps, overview } from "./overview.ts";
import { listenForInterrupts } from "./process/interrupt.ts";
import { endLeftovers } from "./process/leftovers.ts";
import type { ProcessHandle } from "./process/local-process.ts";
import { stopInOrder } from "./process/shutdown.ts";
import { supervise } from "./process/supervise.ts";
import type { Work } from "./process/work.ts";
import { type Role, roleProcess } from "./role.ts";
import { type PortName, type Ports, requireFreePorts } from "./servers/ports.ts";
import { createServers, type Servers } from "./servers/servers.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** The values that steps get once the servers run. */
export interface UpContext {
  /** All settings, by variable: those of this process, replaced by those of `UpOptions`. */
  readonly env: Environment;
  readonly home: string;
  readonly ports: Ports;
  readonly kafkaBrokers: string;
  readonly redisUrl: string;
  readonly temporalAddress: string;
  /** Prints a line after everything has started. */
  readonly say: (line: string) => void;
}

/** A step between the start of the servers and that of the roles, such as creating topics. It must be idempotent. */
export interface UpStep {
  readonly title: string;
  run(context: UpContext, work: Work): Promise<void>;
}

export interface UpOptions {
  readonly home: string;
  /** Settings of the roles that replace those of this process, by variable. Servers that they name are not started. */
  readonly env: Readonly<Record<string, string>>;
  readonly ports: Ports;
  /** A command that makes events, run beside the roles; null for none. */
  readonly simulation: { readonly title: string; readonly args: readonly string[] } | null;
  /** Commands to suggest at the start, by the API's address; absent: `tideline views` and similar ones. */
  readonly firstSteps: FirstSteps | undefined;
}

interface Started {
  readonly processes: ProcessHandle[];
  /** Called with the reason when a role runs, but not all of it works. */
  readonly onUnready: (reason: string) => void;
  readonly onNote: (note: string) => void;
  readonly work: (report: (line: string) => void) => Work;
}

/** Returns all settings of a role. */
const roleEnvironment = ({ home, ports, ...servers }: UpContext): Record<string, string> => ({
  TIDELINE_HOME: home,
  KAFKA_BROKERS: servers.kafkaBrokers,
  REDIS_URL: servers.redisUrl,
  TEMPORAL_ADDRESS: servers.temporalAddress,
  TIDELINE_API_PORT: `${ports.api}`,
  TIDELINE_SPEED_PORT: `${ports.speed}`,
  TIDELINE_WORKER_PORT: `${ports.worker}`,
});

function rolesOf({ ports, simulation }: UpOptions): Role[] {
  const health = (port: number, path: string) => `http://127.0.0.1:${port}/${path}`;
  const roles: Role[] = [
    { name: "speed", title: "Speed layer", args: ["speed"], healthUrl: health(ports.speed, "health") },
    { name: "worker", title: "Temporal worker", args: ["worker"], healthUrl: health(ports.worker, "health") },
    { name: "serve", title: "Serving", args: ["serve"], healthUrl: health(ports.api, "ready") },
  ];
  return simulation === null ? roles : [...roles, { name: "simulate", ...simulation }];
}

/** Returns the ports that Tideline's own processes will listen on. Servers that are given by address need none. */
function neededPorts(servers: Servers): PortName[] {
  return [
    "api",
    "speed",
    "worker",
    ...(servers.redis.given ? [] : (["redis"] as const)),
    ...(servers.kafka.given ? [] : (["kafka", "kafkaController"] as const)),
    ...(servers.temporal.given ? [] : (["temporal", "temporalUi", "temporalMetrics"] as const)),
  ];
}

function startTask(title: string, handle: ProcessHandle, { processes, work }: Started): ListrTask {
  processes.push(handle);
  return {
    title,
    task: (_, task) =>
      handle.start(
        work((line) => {
          task.output = line;
        }),
      ),
  };
}

function serverTasks({ kafka, redis, temporal }: Servers, started: Started): ListrTask[] {
  const named = [
    ["Kafka", kafka],
    ["Redis", redis],
    ["Temporal", temporal],
  ] as const;
  // The address is not shown, because it may contain a password.
  return named.map(([name, server]) =>
    server.given ? { title: `${name}: one that runs already`, task: () => {} } : startTask(name, server, started),
  );
}

function upTasks(options: UpOptions, servers: Servers, steps: readonly UpStep[], started: Started): Listr {
  const { home, ports } = options;
  const context: UpContext = {
    env: { ...process.env, ...options.env },
    home,
    ports,
    kafkaBrokers: servers.kafka.brokers,
    redisUrl: servers.redis.url,
    temporalAddress: servers.temporal.address,
    say: started.onNote,
  };
  const env = { ...options.env, ...roleEnvironment(context) };
  const prepare = steps.map(
    (step): ListrTask => ({
      title: step.title,
      task: (_, task) =>
        step.run(
          context,
          started.work((line) => {
            task.output = line;
          }),
        ),
    }),
  );
  const serversFirst = serverTasks(servers, started);
  const roles = rolesOf(options).map((role) => {
    const onUnready = (reasons: readonly string[]) => {
      for (const reason of reasons) started.onUnready(`${role.title}: ${reason}`);
    };
    return startTask(role.title, roleProcess(role, { home, env, onUnready }), started);
  });
  return new Listr(
    [
      { title: "Servers", task: (_, task) => task.newListr(serversFirst, { concurrent: true }) },
      ...prepare,
      { title: "Tideline", task: (_, task) => task.newListr(roles, { concurrent: true }) },
    ],
    { registerSignalListeners: false, rendererOptions: { collapseSubtasks: false } },
  );
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((done) => {
    if (signal.aborted) done();
    else signal.addEventListener("abort", () => done(), { once: true });
  });
}

/** Starts everything, waits for Ctrl+C, and stops everything that was started, even if the start fails. */
export async function bringUp(options: UpOptions, steps: readonly UpStep[]): Promise<void> {
  const say = (line: string) => console.log(line);
  const interrupts = listenForInterrupts();
  const failed = new AbortController();
  const signal = AbortSignal.any([interrupts.stop, failed.signal]);
  let unready: string[] | null = [];
  const notes: string[] = [];
  const started: Started = {
    processes: [],
    work: (report) => ({ report, signal }),
    // Notes are kept, so that they do not appear between the lines of the start.
    onNote: (note) => void notes.push(note),
    onUnready: (reason) => (unready === null ? say(reason) : void unready.push(reason)),
  };
  try {
    const { home, ports } = options;
    for (const name of await endLeftovers(home)) say(`ended ${name}, left over from a Tideline that was killed`);
    const servers = createServers({ home, ports, env: { ...process.env, ...options.env } });
    await requireFreePorts(ports, neededPorts(servers));
    // A step that does not check its signal must not delay Ctrl+C.
    await Promise.race([upTasks(options, servers, steps, started).run(), aborted(interrupts.stop)]);
    interrupts.stop.throwIfAborted();
    for (const handle of started.processes) void supervise(handle, { say, signal });
    // First the notes, because the commands in the overview may need them.
    if (notes.length > 0) say(`${notes.join("\n")}\n`);
    say(overview(servers, ports, home, options.firstSteps));
    if (unready.length > 0) say(`\nNot everything works; \`npx tideline status\` shows it:\n  ${unready.join("\n  ")}`);
    unready = null;
    await aborted(interrupts.stop);
  } catch (error) {
    if (!interrupts.stop.aborted) throw error;
    process.exitCode = 130;
  } finally {
    failed.abort();
    await stopInOrder(started.processes, say, interrupts.force);
    interrupts.close();
  }
}
