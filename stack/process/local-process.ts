import { type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { TidelineError } from "../../core/errors.ts";
import { endLeftovers, removeRecord, writeRecord } from "./leftovers.ts";
import { logPath, logTail, openLog } from "./logfile.ts";
import { endGroup, ownIdentity, type ProcessIdentity, sendSignal } from "./processes.ts";
import { unwatched, type Work } from "./work.ts";

/** How a process ended. `expected`: whether `stop()` ended it. */
export interface Ending {
  readonly expected: boolean;
  /** A text for people: "exit code 1", "SIGKILL". */
  readonly how: string;
}

/** A process that can be started, ended and started again. */
export interface ProcessHandle {
  readonly name: string;
  /** The process id; `undefined` while it does not run. */
  readonly pid: number | undefined;
  readonly logFile: string;
  /**
   * Starts the process; resolves when it answers. Does nothing if it is already running. Throws `SERVER_NOT_READY`,
   * `PORT_TAKEN` ...
   */
  start(work?: Work): Promise<void>;
  /** Stops the process, or its current start, in order; resolves when it is gone. Does nothing if it is not running. */
  stop(): Promise<void>;
  /** Sends a signal from outside, as a crash would. If the signal ends the process, resolves when it is gone. */
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Resolves when the running process has ended; at once if none is running. */
  ended(): Promise<Ending>;
}

/** Thrown by a probe for a process that answers, but says that it cannot do all of its work yet. */
export class NotReadyYet extends Error {
  /** A sentence for each thing that fails again and again. Empty if the process only needs more time. */
  readonly failing: readonly string[];

  constructor(message: string, failing: readonly string[]) {
    super(message);
    this.failing = failing;
  }
}

export interface Launch {
  readonly command: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

export interface ProcessPlan {
  /** In lower case. It names the process's files. */
  readonly name: string;
  readonly title: string;
  readonly home: string;
  /** A part of its command line that no other program has. */
  readonly mark: string;
  /** Gets the program and returns how to run it. */
  prepare(work: Work): Promise<Launch>;
  /** Resolves when the process answers, rejects while it does not; `signal` limits one attempt. Throws NotReadyYet. */
  probe(signal: AbortSignal): Promise<void>;
  /**
   * Called when a process counts as started although it is not ready: it reports failures, or was not ready within the
   * limit. Other parts of it work, and waiting longer would not help.
   */
  onUnready?(reasons: readonly string[]): void;
  readonly readyLimitMs: number;
  /** How long it may give no answer at all; absent: `readyLimitMs`. */
  readonly answerLimitMs?: number;
  /** After this time the reason for a missing answer is shown; absent: 10 seconds. */
  readonly reasonAfterMs?: number;
  readonly graceMs: number;
}

interface Running {
  readonly pid: number;
  readonly logFrom: number;
  readonly ended: Promise<Ending>;
  ending: Ending | undefined;
}

/**
 * How long a server or role may take until it answers. After a crash Kafka reads its log again, and Redis its file.
 * That takes minutes if they are large or the machine is busy. A process that ends is noticed at once.
 */
export const SERVER_READY_LIMIT_MS = 600_000;

/** After this time without an answer, the reason is shown: the process may not be reachable at all. */
const REASON_AFTER_MS = 10_000;
const WAITING = "waiting until it answers";
const probeEveryMs = 100;
const probeLimitMs = 3000;
const notRunning: Ending = { expected: true, how: "not running" };
const leavesRunning: readonly NodeJS.Signals[] = ["SIGSTOP", "SIGCONT", "SIGHUP", "SIGUSR1", "SIGUSR2"];

/**
 * A detached process in a group of its own. Ctrl+C in a terminal reaches every process of the foreground group, but
 * these must be ended in order. If Tideline itself is killed they keep running; the record in `<home>/run` lets the
 * next start find and end them.
 */
export class LocalProcess implements ProcessHandle {
  readonly name: string;
  readonly logFile: string;
  readonly #plan: ProcessPlan;
  #starting: Promise<void> | undefined;
  #giveUp = new AbortController();
  #running: Running | undefined;
  #stopping = false;

  constructor(plan: ProcessPlan) {
    this.#plan = plan;
    this.name = plan.name;
    this.logFile = logPath(plan.home, plan.name);
  }

  get pid(): number | undefined {
    return this.#running?.pid;
  }

  start(work: Work = unwatched): Promise<void> {
    this.#starting ??= this.#start(work).finally(() => {
      this.#starting = undefined;
    });
    return this.#starting;
  }

  async stop(): Promise<void> {
    this.#giveUp.abort();
    await this.#starting?.catch(() => {});
    await this.#end();
  }

  async kill(signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    sendSignal(-running.pid, signal);
    if (!leavesRunning.includes(signal)) await running.ended;
  }

  async ended(): Promise<Ending> {
    return this.#running?.ended ?? notRunning;
  }

  async #start(work: Work): Promise<void> {
    if (this.#running !== undefined) return;
    this.#giveUp = new AbortController();
    const signal = AbortSignal.any([work.signal, this.#giveUp.signal]);
    signal.throwIfAborted();
    const { name, home } = this.#plan;
    await endLeftovers(home, name);
    const launch = await this.#plan.prepare({ report: work.report, signal });
    signal.throwIfAborted();
    this.#running = await this.#launch(launch);
    try {
      work.report(WAITING);
      await this.#untilReady(this.#running, { report: work.report, signal });
    } catch (error) {
      await this.#end();
      throw error;
    }
  }

  async #launch(launch: Launch): Promise<Running> {
    const owner = await ownIdentity();
    const log = await openLog(this.logFile);
    try {
      const { size } = await log.stat();
      return await this.#spawn(launch, log.fd, size, owner);
    } finally {
      await log.close();
    }
  }

  async #spawn({ command, args, env = {} }: Launch, logFd: number, logFrom: number, owner: ProcessIdentity) {
    const { name, home, mark, graceMs } = this.#plan;
    // Node's own spawn, because the log must be the child's own file, and not a pipe that breaks when Tideline dies.
    const stdio: StdioOptions = ["ignore", logFd, logFd];
    const child = spawn(command, args, { env: { ...process.env, ...env }, detached: true, stdio });
    const exited = once(child, "exit");
    const { pid } = child;
    if (pid !== undefined) writeRecord(home, name, { pid, mark, graceMs, startedAtMs: Date.now(), owner });
    else throw this.#notReady("could not be started", command, await exited.catch((cause: unknown) => cause));
    const ended = exited.then(async ([code, signal]: (number | string | null)[]) => {
      sendSignal(-pid, "SIGKILL"); // helpers that outlived it
      await removeRecord(home, name);
      running.ending = { expected: this.#stopping, how: signal === null ? `exit code ${code}` : `${signal}` };
      this.#running = undefined;
      return running.ending;
    });
    const running: Running = { pid, logFrom, ended, ending: undefined };
    return running;
  }

  async #untilReady(running: Running, { report, signal }: Work): Promise<void> {
    const { readyLimitMs, answerLimitMs = readyLimitMs, reasonAfterMs = REASON_AFTER_MS } = this.#plan;
    const beganMs = performance.now();
    let shown = WAITING;
    for (;;) {
      signal.throwIfAborted();
      if (running.ending !== undefined) {
        throw this.#notReady(`ended while starting (${running.ending.how})`, await this.#tail(running));
      }
      try {
        return await this.#plan.probe(AbortSignal.any([signal, AbortSignal.timeout(probeLimitMs)]));
      } catch (cause) {
        const tookMs = performance.now() - beganMs;
        const isLate = tookMs > readyLimitMs;
        if (cause instanceof NotReadyYet && (isLate || cause.failing.length > 0)) {
          this.#plan.onUnready?.(cause.failing.length > 0 ? cause.failing : [cause.message]);
          return;
        }
        if (tookMs > answerLimitMs) {
          const limit = `does not answer after ${answerLimitMs / 1000} s`;
          throw this.#notReady(limit, await this.#tail(running), cause);
        }
        const line = tookMs > reasonAfterMs ? `${WAITING}: ${reasonOf(cause)}` : shown;
        if (line !== shown) report(line);
        shown = line;
      }
      await Promise.race([sleep(probeEveryMs), running.ended]);
    }
  }

  async #end(): Promise<void> {
    const running = this.#running;
    if (running === undefined) return;
    this.#stopping = true;
    await endGroup(running.pid, this.#plan.graceMs, async () => running.ending !== undefined);
    this.#stopping = false;
  }

  async #tail(running: Running): Promise<string> {
    return `Its last lines:\n${await logTail(this.logFile, running.logFrom)}`;
  }

  #notReady(what: string, detail: string, cause?: unknown): TidelineError {
    return new TidelineError(
      "SERVER_NOT_READY",
      `${this.#plan.title} ${what}. ${detail}`,
      `Read ${this.logFile}; start again when the reason is gone.`,
      { cause },
    );
  }
}

/** Returns the reason that a probe gives. For a failed request it is the error of the connection. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message !== "" ? cause.message : message;
}
