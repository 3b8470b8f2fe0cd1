import { join } from "node:path";
import { execa } from "execa";
import getPort, { portNumbers } from "get-port";
import type { LocalProcess } from "../../stack/process/local-process.ts";
import { roleProcess } from "../../stack/role.ts";
import { firstPort } from "../../stack/servers/ports.ts";
import { injectionEnv } from "./preloaded.ts";

export type RoleKind = "speed" | "worker" | "serve";

/** What a role is started with, beside what all have in common. */
export interface RoleChanges {
  readonly env?: Readonly<Record<string, string>>;
  /** The folder of another program: a test build. */
  readonly program?: string;
}

const KINDS = ["serve", "speed", "worker"] as const;
const PORT_SETTING = {
  speed: "TIDELINE_SPEED_PORT",
  worker: "TIDELINE_WORKER_PORT",
  serve: "TIDELINE_API_PORT",
} as const;

/** Flags of each role: readers ask more often than one address may, as a rule. */
const FLAGS: Readonly<Record<RoleKind, readonly string[]>> = { speed: [], worker: [], serve: ["--rate-limit", "0"] };

/** One of Tideline's roles as a real process, on a port of its own: `speed-1`, `worker-2`. */
export class FleetRole {
  readonly name: string;
  readonly kind: RoleKind;
  readonly port: number;
  readonly #settings: FleetSettings;
  #changes: RoleChanges = {};
  #process: LocalProcess;

  constructor(name: string, kind: RoleKind, port: number, settings: FleetSettings) {
    this.name = name;
    this.kind = kind;
    this.port = port;
    this.#settings = settings;
    this.#process = this.#make();
  }

  get url(): string {
    return `http://127.0.0.1:${this.port}`;
  }

  get pid(): number | undefined {
    return this.#process.pid;
  }

  get running(): boolean {
    return this.#process.pid !== undefined;
  }

  get logFile(): string {
    return this.#process.logFile;
  }

  /** Takes effect at the next start; replaces earlier changes, `{}` takes them back. Only while it does not run. */
  change(changes: RoleChanges): void {
    if (this.running) throw new Error(`${this.name} runs: stop it before it is changed`);
    this.#changes = changes;
    this.#process = this.#make();
  }

  /** Starts it unless it runs, and waits until it is healthy. */
  async start(): Promise<void> {
    await this.#process.start();
  }

  /** Ends it as a crash would (SIGKILL), or sends another signal: SIGSTOP and SIGCONT leave it running. */
  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    await this.#process.kill(signal);
  }

  /** Ends it in its own way. */
  async stop(): Promise<void> {
    await this.#process.stop();
  }

  /** Resolves when the current process has ended for any reason. */
  async ended(): Promise<void> {
    await this.#process.ended();
  }

  #make(): LocalProcess {
    const { home, env, program } = this.#settings;
    return roleProcess(
      {
        name: this.name,
        title: this.name,
        args: [this.kind, ...FLAGS[this.kind]],
        healthUrl: `${this.url}/health`,
      },
      {
        home,
        env: {
          ...env,
          ...this.#settings.extra[this.kind],
          ...injectionEnv(home, this.name),
          [PORT_SETTING[this.kind]]: String(this.port),
          ...this.#changes.env,
        },
        tideline: [process.execPath, join(this.#changes.program ?? program, "cli", "tideline.js")],
      },
    );
  }
}

export interface FleetSettings {
  readonly home: string;
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
  /** What only roles of a kind are given. */
  readonly extra: Readonly<Record<RoleKind, Readonly<Record<string, string>>>>;
}

export type FleetSize = Readonly<Record<RoleKind, number>>;

/** All roles of an installation. */
export class Fleet {
  readonly roles: readonly FleetRole[];

  readonly #settings: FleetSettings;

  private constructor(roles: readonly FleetRole[], settings: FleetSettings) {
    this.roles = roles;
    this.#settings = settings;
  }

  static async create(size: FleetSize, settings: FleetSettings): Promise<Fleet> {
    const roles: FleetRole[] = [];
    const taken: number[] = [];
    const start = firstPort();
    for (const kind of KINDS) {
      for (let number = 1; number <= size[kind]; number++) {
        const port = await getPort({ port: portNumbers(start, start + 500), exclude: taken, host: "127.0.0.1" });
        taken.push(port);
        roles.push(new FleetRole(`${kind}-${number}`, kind, port, settings));
      }
    }
    return new Fleet(roles, settings);
  }

  /** A role by its name; throws when there is none. */
  role(name: string): FleetRole {
    const found = this.roles.find((role) => role.name === name);
    if (found === undefined) throw new Error(`there is no role ${name}`);
    return found;
  }

  of(kind: RoleKind): readonly FleetRole[] {
    return this.roles.filter((role) => role.kind === kind);
  }

  /** Starts those that do not run; one kind after the other, because a start is all computing. */
  async start(): Promise<void> {
    for (const kind of KINDS) await Promise.all(this.of(kind).map((role) => role.start()));
  }

  /** Runs a command of the program, as an operator does. Throws when it fails. */
  async command(...args: readonly string[]): Promise<void> {
    const { home, env, program } = this.#settings;
    await execa(process.execPath, [join(program, "cli", "tideline.js"), ...args], { cwd: home, env });
  }

  /** Ends all of them; those that are stopped by a signal go on first, or they could not end. */
  async stop(): Promise<void> {
    for (const role of this.roles) await role.kill("SIGCONT");
    await Promise.all(this.roles.map((role) => role.stop()));
  }
}
