import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { setTimeout as delay } from "node:timers/promises";
import type { Logger } from "pino";
import { AggregatorRegistry, type Registry } from "prom-client";
import { z } from "zod";
import type { FailureCounter } from "../../store/redis/failure-tracker.ts";

export interface BackgroundProcessOptions {
  /**
   * Starts the process, which lowers its own priority. It sends "ready" when it takes work, answers `{ metrics: id }` with `{ metrics: id, families }`,
   * and ends in order on the message "close" and at once when this process is gone.
   */
  readonly start: () => ChildProcess;
  readonly failures: FailureCounter;
  readonly logger: Logger;
}

/** What its process says. `families` is what prom-client makes of a registry (`getMetricsAsJSON`). */
const Message = z.union([
  z.literal("ready"),
  z.strictObject({ metrics: z.number(), families: z.array(z.looseObject({ name: z.string() })) }),
]);
type Families = Extract<z.infer<typeof Message>, object>["families"];

const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 30_000;
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
 * The process of a worker that does the long work (`startBackgroundWorker`) at low priority, so that settlements and
 * answers do not wait for it. It is started again when it ends by itself.
 */
export class BackgroundProcess {
  readonly #options: BackgroundProcessOptions;
  readonly #closing = new AbortController();
  readonly #asked = new Map<number, (families: Families) => void>();
  readonly #ended: Promise<void>;
  #closed: Promise<void> | null = null;
  #child: ChildProcess | null = null;
  #questions = 0;

  /** `firstWaitMs`: after how long it is started again; each further time in a row takes twice as long. */
  constructor(options: BackgroundProcessOptions, firstWaitMs = FIRST_WAIT_MS) {
    this.#options = options;
    this.#ended = this.#keepRunning(firstWaitMs);
  }

  /** The metrics of this process and of the background process as one text; of this one alone when the other is silent. */
  async metrics(own: Registry): Promise<string> {
    const families = await this.#families();
    if (families === null) return own.metrics();
    return AggregatorRegistry.aggregate([await own.getMetricsAsJSON(), families]).metrics();
  }

  /** Lets its activities finish for a while; resolves when the process is gone. */
  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    this.#closing.abort();
    const child = this.#child;
    if (child?.connected === true) child.send("close");
    const late = setTimeout(() => child?.kill("SIGKILL"), CLOSE_LIMIT_MS);
    await this.#ended;
    clearTimeout(late);
  }

  async #keepRunning(firstWaitMs: number): Promise<void> {
    const { start, failures, logger } = this.#options;
    const { signal } = this.#closing;
    for (let waitMs = firstWaitMs; !signal.aborted; waitMs = Math.min(2 * waitMs, LONGEST_WAIT_MS)) {
      const child = start();
      this.#child = child;
      child.on("message", (message) => {
        const { data: said } = Message.safeParse(message);
        if (said === "ready") {
          waitMs = firstWaitMs;
          failures.succeeded(THING);
        } else if (said !== undefined) this.#asked.get(said.metrics)?.(said.families);
      });
      const how = await endOf(child);
      this.#child = null;
      if (signal.aborted) return;
      failures.failed(THING, new Error(`it ended: ${how}`));
      logger.warn({ how, waitMs }, "the background process ended, and is started again");
      await delay(waitMs, undefined, { signal, ref: false }).catch(() => {}); // closing
    }
  }

  /** Null when there is no process that answers in time. */
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

/** How a process ended, for people; also of one that could not be started. */
async function endOf(child: ChildProcess): Promise<string> {
  try {
    const [code, signal] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    return signal ?? `exit code ${code}`;
  } catch (error) {
    return (error as Error).message;
  }
}
