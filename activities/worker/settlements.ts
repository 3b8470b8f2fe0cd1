import { setTimeout as delay } from "node:timers/promises";
import {
  Client,
  Connection,
  WithStartWorkflowOperation,
  WorkflowExecutionAlreadyStartedError,
  type WorkflowHandle,
  WorkflowNotFoundError,
} from "@temporalio/client";
import type { Logger } from "pino";
import type { Stream } from "../../core/contract/stream.ts";
import { type Cut, cutsEqual, nearest, positionsBetween } from "../../core/log/position.ts";
import type { Manifests } from "../../store/archive/manifests.ts";
import { type Definitions, viewsOfStream } from "../../store/definitions/definitions.ts";
import type { Generations } from "../../store/definitions/generations.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { LogSource } from "../../store/kafka/read/log.ts";
import type { FailureTracker } from "../../store/redis/failure-tracker.ts";
import type { SettleRequests } from "../../store/redis/settle-requests.ts";
import { settle, type settleStream } from "../../workflows/settle-stream.ts";
import { scheduleId, settlementStart } from "../../workflows/shared/names.ts";
import { isItsTurn } from "./settlement-turn.ts";

export interface SettlementsOptions {
  readonly temporalAddress: string;
  readonly temporalNamespace: string;
  /** TIDELINE_NAMESPACE. */
  readonly namespace: string;
  readonly definitions: Definitions;
  readonly generations: Generations;
  readonly manifests: Manifests;
  readonly log: LogSource;
  readonly requests: SettleRequests;
  /** Whether streams are settled automatically; else only requests of the speed layer start settlements. */
  readonly automatic: boolean;
  /** How long after its last settlement a stream with new records is settled, milliseconds (TIDELINE_SETTLE_EVERY). */
  readonly everyMs: number;
  readonly failures: Pick<FailureTracker, "watch">;
  readonly logger: Logger;
  readonly clocks?: Clocks;
}

/**
 * Both in milliseconds. The first times what happens in this process; the second is the clock of a version's creation
 * time.
 */
interface Clocks {
  readonly steadyMs: () => number;
  readonly wallMs: () => number;
}

const CLOCKS: Clocks = { steadyMs: () => performance.now(), wallMs: () => Date.now() };

const LOOK_EVERY_MS = 1_000;
/** The least time between two automatic settlements of a stream. */
const LEAST_BETWEEN_MS = 15_000;
/** A stream with this many new records is settled at once. */
const MANY_RECORDS = 500_000n;
const ON_DEMAND = { kind: "schedule", name: "settlements on demand", views: [] } as const;

/** The state of a stream in this process. */
interface Known {
  /** When this process last tried to start a settlement, on the steady clock; absent: not yet. */
  triedAtMs?: number;
  /**
   * Whether this process has started a settlement. It tries until it has, because a settlement that others began may
   * not know a changed definition.
   */
  begun: boolean;
  /** Since when the stream has waited for its turn, on the steady clock; null: it does not wait. */
  dueSinceMs: number | null;
  /** The running settlement that this process started, and the end of the log before it. */
  underWay: { readonly run: WorkflowHandle<typeof settleStream>; readonly end: Cut } | null;
  /** The end of the log before the last successful settlement. */
  settledEnd: Cut | null;
  /**
   * The last settlement failed, or a changed definition is being adopted. So a settlement has work even if the log has
   * not grown.
   */
  again: boolean;
}

/**
 * Starts settlements when they have something to do. A stream is settled once at the beginning. Later it is settled
 * when its log has been longer than a view's newest version for `everyMs`, or is longer by very many records. A view is
 * also settled when the speed layer asks for it, because its live cells grow towards the limit. After the beginning at
 * most two settlements run at once. A quiet stream costs one request to Kafka. A paused schedule `settle-<stream>`
 * stops everything except the requests. Several workers can do this at the same time, because a running settlement is
 * not started twice.
 */
export class Settlements {
  readonly #options: SettlementsOptions;
  readonly #clocks: Clocks;
  readonly #known = new Map<string, Known>();
  readonly #ending = new AbortController();
  #connection: Promise<Connection> | null = null;
  readonly #ended: Promise<void>;

  constructor(options: SettlementsOptions, everyMs = LOOK_EVERY_MS) {
    this.#options = options;
    this.#clocks = options.clocks ?? CLOCKS;
    this.#ended = this.#follow(everyMs).catch(() => {}); // ended
  }

  /** Starts no more settlements; running ones continue. */
  async close(): Promise<void> {
    this.#ending.abort();
    await this.#ended;
    await (await this.#connection?.catch(() => null))?.close();
  }

  async #follow(everyMs: number): Promise<void> {
    for (;;) {
      await delay(everyMs, undefined, { signal: this.#ending.signal, ref: false });
      await this.#watched(ON_DEMAND, () => this.#serveRequests());
      if (!this.#options.automatic) continue;
      for (const stream of this.#options.definitions.streams.values()) {
        const views = viewsOfStream(this.#options.definitions, stream.name);
        const thing = { kind: "schedule", name: `settlements of ${stream.name}`, views } as const;
        await this.#watched(thing, () => this.#startIfDue(stream));
      }
    }
  }

  /** Servers may be away. So a failure is retried, and becomes a problem if it does not pass. */
  async #watched(thing: Parameters<FailureTracker["watch"]>[0], work: () => Promise<void>): Promise<void> {
    await this.#options.failures.watch(thing, work).catch((error: unknown) => {
      this.#options.logger.debug({ name: thing.name, error: (error as Error).message }, "cannot look for work");
    });
  }

  async #serveRequests(): Promise<void> {
    const { requests, definitions, namespace, logger } = this.#options;
    const wanted = new Map<string, string[]>();
    for (const view of await requests.take()) {
      const stream = definitions.views.get(view.split(".")[0] ?? view)?.view.stream.name;
      if (stream !== undefined) wanted.set(stream, [...(wanted.get(stream) ?? []), view]);
    }
    for (const [stream, views] of wanted) {
      const client = await this.#client();
      const start = new WithStartWorkflowOperation<typeof settleStream>(
        "settleStream",
        settlementStart(namespace, stream, []),
      );
      // The result is not awaited: the view asks again while it still grows, also if a run refuses because it is
      // ending.
      await client.workflow.startUpdateWithStart(settle, {
        args: [{ views }],
        waitForStage: "ACCEPTED",
        startWorkflowOperation: start,
      });
      logger.info({ stream, views }, "asked for a settlement: live cells grow towards the limit");
    }
  }

  async #startIfDue(stream: Stream): Promise<void> {
    const { namespace, log } = this.#options;
    const known: Known = this.#known.get(stream.name) ?? {
      begun: false,
      dueSinceMs: null,
      underWay: null,
      settledEnd: null,
      again: false,
    };
    this.#known.set(stream.name, known);
    if (known.underWay !== null && !(await this.#hasEnded(stream, known, known.underWay))) return;
    const sinceMs =
      known.triedAtMs === undefined ? Number.POSITIVE_INFINITY : this.#clocks.steadyMs() - known.triedAtMs;
    if (sinceMs < LEAST_BETWEEN_MS) return;
    const isFirst = !known.begun;
    const { stable: end } = await log.readableBounds(topicOf(namespace, stream));
    const isSettled = !known.again && known.settledEnd !== null && cutsEqual(end, known.settledEnd);
    if (isSettled || (!isFirst && !(await this.#isTime(stream, end, { sinceMs, known })))) return;
    if (!isFirst && !this.#isItsTurn(known)) return;
    known.dueSinceMs = null;
    known.triedAtMs = this.#clocks.steadyMs();
    const client = await this.#client();
    if (!isFirst && (await isPaused(client, scheduleId(namespace, "settle", stream.name)))) return;
    // A run that is already running may have chosen its cuts before `end`, so it does not count as this settlement.
    const options = { ...settlementStart(namespace, stream.name), workflowIdConflictPolicy: "FAIL" } as const;
    const run = await client.workflow.start<typeof settleStream>("settleStream", options).catch(noneIfRunning);
    if (run === null) return;
    known.begun = true;
    known.underWay = { run, end };
  }

  /**
   * Whether a running settlement has ended; if so, records its outcome. This asks for the status instead of awaiting
   * the result: such a wait would outlive the connection, and the worker that could end it.
   */
  async #hasEnded(stream: Stream, known: Known, { run, end }: NonNullable<Known["underWay"]>): Promise<boolean> {
    // After Temporal has lost its database, the run is unknown.
    const described = await run.describe().catch(nullIfUnknown);
    if (described?.status.name === "RUNNING") return false;
    known.underWay = null;
    try {
      known.again = (await run.result()).adopting;
      // Everything before the run's cuts is settled.
      known.settledEnd = end;
    } catch (error) {
      known.again = true;
      this.#options.logger.debug({ stream: stream.name, error: (error as Error).message }, "settlement failed");
    }
    return true;
  }

  /**
   * Whether a stream is due: its log, which ends at `end`, has grown beyond some view's newest version by many records,
   * or for long enough.
   */
  async #isTime(
    stream: Stream,
    end: Cut,
    { sinceMs, known }: { readonly sinceMs: number; readonly known: Known },
  ): Promise<boolean> {
    const { generations, definitions, manifests, everyMs } = this.#options;
    // Then it cannot be due. This is checked first, because the next check reads a document of every view.
    if (sinceMs < everyMs && known.settledEnd !== null && positionsBetween(known.settledEnd, end) < MANY_RECORDS)
      return false;
    const reading = await generations.reading(stream.name, definitions);
    const newest = await Promise.all(reading.map(({ generation }) => manifests.newest(generation)));
    const published = newest.filter((manifest) => manifest !== null);
    if (published.length === 0) return sinceMs >= everyMs;
    const settled = nearest(...published.map(({ cut }) => cut));
    if (positionsBetween(settled, end) >= MANY_RECORDS) return true;
    // Another worker may have settled the stream. An age below zero means that a clock was set, and does not count.
    const agesMs = published
      .map(({ createdAtMs }) => this.#clocks.wallMs() - createdAtMs)
      .filter((ageMs) => ageMs >= 0);
    return Math.min(sinceMs, Math.max(...agesMs, 0)) >= everyMs;
  }

  /** Whether a stream that is due is settled now or waits for others. */
  #isItsTurn(known: Known): boolean {
    known.dueSinceMs ??= this.#clocks.steadyMs();
    const underWay = [...this.#known.values()].filter((one) => one.underWay !== null).length;
    return isItsTurn({ underWay, waitedMs: this.#clocks.steadyMs() - known.dueSinceMs });
  }

  /** One connection for all requests, opened again after it failed. */
  async #client(): Promise<Client> {
    const { temporalAddress: address, temporalNamespace: namespace } = this.#options;
    this.#connection ??= Connection.connect({ address }).catch((error: unknown) => {
      this.#connection = null;
      throw error;
    });
    return new Client({ connection: await this.#connection, namespace });
  }
}

function noneIfRunning(error: unknown): null {
  if (error instanceof WorkflowExecutionAlreadyStartedError) return null;
  throw error;
}

function nullIfUnknown(error: unknown): null {
  if (error instanceof WorkflowNotFoundError) return null;
  throw error;
}

async function isPaused({ schedule }: Client, id: string): Promise<boolean> {
  const described = await schedule
    .getHandle(id)
    .describe()
    .catch(() => null);
  return described?.state.paused ?? false;
}
