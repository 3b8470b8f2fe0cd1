import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { AggregatorRegistry, type Registry } from "prom-client";
import { z } from "zod";
import { pause } from "../../store/pause.ts";
import type { FailureCounter } from "../../store/redis/failure-tracker.ts";

export interface BackgroundProcessOptions {
  /**
   * Starts the process, which lowers its own priority. The process sends "ready" when it takes work. It answers `{
   * metrics: id }` with `{ metrics: id, families }`. It ends in order on the message "close", and at once when this
   * process is gone.
   */
  readonly start: () => ChildProcess;
  readonly failures: FailureCounter;
  readonly logger: Logger;
  /** The delay before it is started again; each further time in a row the delay doubles. */
  readonly firstWaitMs?: number;
  /** It is killed if it is not ready within this time. */
  readonly startLimitMs?: number;
}

/** The messages of the process. `families` is prom-client's form of a registry (`getMetricsAsJSON`). */
const Families = z.array(
  z.looseObject({
    name: z.string(),
    values: z.array(z.looseObject({ labels: z.record(z.string(), z.union([z.string(), z.number()])) })),
  }),
);
type Families = z.infer<typeof Families>;
const Message = z.union([z.literal("ready"), z.strictObject({ metrics: z.number(), families: Families })]);

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
/** The process has a low priority, so it may take long to start on a busy machine. */
const START_LIMIT_MS = 180_000;
/** A process that has run for this long works again, and earlier failures no longer count. */
const STABLE_MS = 60_000;
/** Activities are given up after 25 seconds. */
const CLOSE_LIMIT_MS = 28_000;
const METRICS_LIMIT_MS = 2_000;
const THING = {
  kind: "workflow",
  name: "background process",
  views: [],
  hint: "Its lines in the worker's log say why. Until it runs, compaction, backfills, proofs and reports wait.",
} as const;

/**
 * The background process of a worker. It does the long work (`startBackgroundWorker`) at low priority, so that
 * settlements and answers do not wait for it. It is started again if it ends by itself.
 */
export class BackgroundProcess {
  readonly #options: BackgroundProcessOptions;
  readonly #closing = new AbortController();
  readonly #asked = new Map<number, (families: Families) => void>();
  readonly #ended: Promise<void>;
  #closed: Promise<void> | null = null;
  #child: ChildProcess | null = null;
  #waitMs: number;
  #questions = 0;

  constructor(options: BackgroundProcessOptions) {
    this.#options = options;
    this.#waitMs = this.#firstWaitMs;
    this.#ended = this.#keepRunning();
  }

  /**
   * Returns as one text the metrics of this process, and those of the background process with the label
   * `process="background"`. The latter are missing if the process does not answer in time.
   */
  async metrics(own: Registry): Promise<string> {
    const families = await this.#families();
    if (families === null) return own.metrics();
    const marked = families.map((family) => ({
      ...family,
      values: family.values.map((value) => ({ ...value, labels: { ...value.labels, process: "background" } })),
    }));
    // The label keeps all values apart, so nothing is added up.
    const each = (list: readonly object[]) => list.map((family) => ({ ...family, aggregator: "first" }));
    return AggregatorRegistry.aggregate([each(await own.getMetricsAsJSON()), each(marked)]).metrics();
  }

  /** Lets its activities finish for a while. Resolves when the process is gone. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  get #firstWaitMs(): number {
    return this.#options.firstWaitMs ?? FIRST_WAIT_MS;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    const child = this.#child;
    if (child?.connected === true) child.send("close", () => {}); // one that has just ended is gone already
    const late = setTimeout(() => child?.kill("SIGKILL"), CLOSE_LIMIT_MS);
    await this.#ended;
    clearTimeout(late);
  }

  async #keepRunning(): Promise<void> {
    const { failures, logger } = this.#options;
    const { signal } = this.#closing;
    while (!signal.aborted) {
      const how = await this.#run();
      if (signal.aborted) return;
      failures.failed(THING, new Error(`it ended: ${how}`));
      logger.warn({ how, waitMs: this.#waitMs }, "the background process ended, and is started again");
      await pause(this.#waitMs, { signal, ref: false }); // closing
      this.#waitMs = Math.min(2 * this.#waitMs, LONGEST_WAIT_MS);
    }
  }

  /** Runs the process once; returns how it ended, for people. */
  async #run(): Promise<string> {
    const { start, failures, startLimitMs = START_LIMIT_MS } = this.#options;
    let child: ChildProcess;
    try {
      child = start();
    } catch (error) {
      return (error as Error).message;
    }
    this.#child = child;
    const late = setTimeout(() => child.kill("SIGKILL"), startLimitMs).unref();
    let stable: NodeJS.Timeout | undefined;
    child.on("message", (message) => {
      const { data: said } = Message.safeParse(message);
      if (said === "ready") {
        clearTimeout(late);
        stable = setTimeout(() => {
          this.#waitMs = this.#firstWaitMs;
          failures.succeeded(THING);
        }, STABLE_MS).unref();
      } else if (said !== undefined) this.#asked.get(said.metrics)?.(said.families);
    });
    const how = await endOf(child);
    clearTimeout(late);
    clearTimeout(stable);
    this.#child = null;
    return how;
  }

  /** Returns the metrics of the background process; null if it is not running or does not answer in time. */
  async #families(): Promise<Families | null> {
    const child = this.#child;
    if (child?.connected !== true) return null;
    this.#questions += 1;
    const question = this.#questions;
    const answered = new AbortController();
    const answer = new Promise<Families>((resolve) => this.#asked.set(question, resolve));
    child.send({ metrics: question }, () => {}); // one that has just ended does not answer
    const late = delay(METRICS_LIMIT_MS, null, { signal: answered.signal, ref: false }).catch(() => null);
    const families = await Promise.race([answer, late]);
    answered.abort();
    this.#asked.delete(question);
    return families;
  }
}

/** Returns how a process ended, for people. This may also be a process that could not be started. */
async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    return signal ?? `exit code ${code}`;
  } catch (error) {
    return (error as Error).message;
  }
}
