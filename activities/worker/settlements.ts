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
  /** Whether streams are settled by themselves; else only the requests of the speed layer are followed. */
  readonly automatic: boolean;
  /** A stream with something new is settled after so long, milliseconds (TIDELINE_SETTLE_EVERY). */
  readonly everyMs: number;
  readonly failures: Pick<FailureTracker, "watch">;
  readonly logger: Logger;
  readonly clocks?: Clocks;
}

/** Milliseconds. What happens in this process is timed by the first; when a version was made is on the second. */
interface Clocks {
  readonly steadyMs: () => number;
  readonly wallMs: () => number;
}

const CLOCKS: Clocks = { steadyMs: () => performance.now(), wallMs: () => Date.now() };

const LOOK_EVERY_MS = 1_000;
/** A stream is settled by itself so often at most. */
const LEAST_BETWEEN_MS = 15_000;
/** A stream with this many new records is settled at once. */
const MANY_RECORDS = 500_000n;
const ON_DEMAND = { kind: "schedule", name: "settlements on demand", views: [] } as const;

/** What this process knows of a stream. */
interface Known {
  /** When it last tried to start a settlement, on the steady clock; absent: not yet. */
  triedAtMs?: number;
  /**
   * Whether it has started one. Until then it tries: one that others began may know nothing of a changed definition.
   */
  begun: boolean;
  /** Since when it waits for its turn, on the same clock. */
  dueSinceMs: number | null;
  /** The settlement under way that this process started, and where the log ended before. */
  underWay: { readonly run: WorkflowHandle<typeof settleStream>; readonly end: Cut } | null;
  /** Where the log ended when the last settlement began that went well. */
  settledEnd: Cut | null;
  /**
   * The last settlement failed, or a changed definition is being adopted: there is something to do although the log has
   * not grown.
   */
  again: boolean;
}

/**
 * Starts settlements when there is something to settle: of every stream once at the beginning, then when its log has
 * gone on beyond a view's newest version for `everyMs`, or by very many records; and of a view when the speed layer
 * asks, because its live cells grow towards the limit. After the beginning two at once. A quiet stream costs a question
 * to Kafka. A paused schedule `settle-<stream>` stops all but the requests. Several workers do this side by side: a run
 * under way is joined.
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

  /** Starts no more; runs under way continue. */
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

  /** Servers may be away: it is looked at again, and a problem when that does not pass. */
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
      // Not waited for: the view asks again while it still grows, also where a run that is ending refuses.
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
    // One that runs already may have chosen its cuts before `end`: it is looked at again.
    const options = { ...settlementStart(namespace, stream.name), workflowIdConflictPolicy: "FAIL" } as const;
    const run = await client.workflow.start<typeof settleStream>("settleStream", options).catch(noneIfRunning);
    if (run === null) return;
    known.begun = true;
    known.underWay = { run, end };
  }

  /**
   * Whether a settlement under way has ended, whose outcome is then known. It is asked and not waited for: a question
   * that waits would outlive the worker that could answer it, and the connection.
   */
  async #hasEnded(stream: Stream, known: Known, { run, end }: NonNullable<Known["underWay"]>): Promise<boolean> {
    // A new Temporal database has no such run.
    const described = await run.describe().catch(nullIfUnknown);
    if (described?.status.name === "RUNNING") return false;
    known.underWay = null;
    try {
      known.again = (await run.result()).adopting;
      // What was there before the cuts were chosen is settled.
      known.settledEnd = end;
    } catch (error) {
      known.again = true;
      this.#options.logger.debug({ stream: stream.name, error: (error as Error).message }, "settlement failed");
    }
    return true;
  }

  /**
   * Whether a log that ends at `end` has gone so far beyond some view's newest version, or has done so for so long,
   * that it is settled.
   */
  async #isTime(
    stream: Stream,
    end: Cut,
    { sinceMs, known }: { readonly sinceMs: number; readonly known: Known },
  ): Promise<boolean> {
    const { generations, definitions, manifests, everyMs } = this.#options;
    // Not yet, whatever the versions say: they are read for every view.
    if (sinceMs < everyMs && known.settledEnd !== null && positionsBetween(known.settledEnd, end) < MANY_RECORDS)
      return false;
    const reading = await generations.reading(stream.name, definitions);
    const newest = await Promise.all(reading.map(({ generation }) => manifests.newest(generation)));
    const published = newest.filter((manifest) => manifest !== null);
    if (published.length === 0) return sinceMs >= everyMs;
    const settled = nearest(...published.map(({ cut }) => cut));
    if (positionsBetween(settled, end) >= MANY_RECORDS) return true;
    // Another worker may have settled it. A clock that was set is not believed.
    const agesMs = published
      .map(({ createdAtMs }) => this.#clocks.wallMs() - createdAtMs)
      .filter((ageMs) => ageMs >= 0);
    return Math.min(sinceMs, Math.max(...agesMs, 0)) >= everyMs;
  }

  /** Whether a stream that is due is settled now, or waits for others. */
  #isItsTurn(known: Known): boolean {
    known.dueSinceMs ??= this.#clocks.steadyMs();
    const underWay = [...this.#known.values()].filter((one) => one.underWay !== null).length;
    return isItsTurn({ underWay, waitedMs: this.#clocks.steadyMs() - known.dueSinceMs });
  }

  /** One connection for all of them, opened again when it failed. */
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
