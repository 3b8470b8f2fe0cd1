import { basename, join } from "node:path";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import type { StateFile } from "../../core/log/documents.ts";
import { type Cut, cutText } from "../../core/log/position.ts";
import { spanRecords } from "../../store/decode/raw-events.ts";
import { type RecomputeSources, recomputeStates } from "../../store/decode/recompute.ts";
import type { Definition } from "../../store/definitions/definitions.ts";
import { namedDuckError } from "../../store/duckdb/duck-errors.ts";
import { ScratchFolder } from "../../store/files/scratch-folder.ts";
import { topicOf, unreachable } from "../../store/kafka/cluster/topics.ts";
import { askLess, overloaded, tooLarge } from "../common/refusals.ts";
import { Waiters } from "./cells/waiters.ts";

export interface RecomputationsOptions {
  readonly sources: RecomputeSources;
  readonly brokers: string;
  readonly namespace: string;
  /** A recomputation that takes longer is given up. */
  readonly timeoutMs: number;
  /** The most records between a position and the state that it is recomputed from. */
  readonly maxRecords?: number;
}

/**
 * A directory below the data directory, with a folder for each process. Nothing in it is durable: a file is deleted
 * when its recomputation is no longer cached.
 */
const PARENT = "recomputed";
const KEPT_FILES = 32;
const MAX_WAITING = 16;
const MAX_RECORDS = 20_000_000;
/** This much is decoded at once: some milliseconds of the event loop. */
export const PIECE_BYTES = 512 * 1024;

interface Span {
  readonly topicId: string;
  readonly from: Cut;
  readonly to: Cut;
}

/** A recomputation that is cached or running. */
interface Kept {
  readonly made: Promise<StateFile | null>;
  readonly waiters: Waiters;
}

/**
 * Recomputes the states of spans that no layer has any more, one at a time, and caches the last ones. A recomputation
 * is given up when no caller waits for it any more.
 */
export class Recomputations {
  readonly #options: RecomputationsOptions;
  readonly #kept = new Map<string, Kept>();
  readonly #stopped = new AbortController();
  readonly #scratch: ScratchFolder;
  #last: Promise<unknown> = Promise.resolve();
  /** For each running recomputation, the signal that all of its callers have left. */
  readonly #unfinished = new Set<AbortSignal>();

  constructor(options: RecomputationsOptions) {
    this.#options = options;
    this.#scratch = new ScratchFolder(options.sources.data.path(PARENT));
  }

  /**
   * Returns the states of `[from, to)`; null if there are none. Throws TOO_SLOW, POSITION_GONE, TOO_LARGE and, when too
   * many wait, TOO_MANY_REQUESTS. `asker` is aborted when the client has left; null: the states are always wanted.
   */
  states(definition: Definition, span: Span, asker: AbortSignal | null): Promise<StateFile | null> {
    if (asker?.aborted === true) return Promise.reject(asker.reason);
    const key = `${definition.generation} ${cutText(span.from)} ${cutText(span.to)}`;
    const kept = this.#kept.get(key) ?? this.#queued(definition, span);
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    const forget = () => {
      if (this.#kept.get(key) === kept) this.#kept.delete(key);
    };
    kept.waiters.add(asker, kept.made, forget);
    kept.made.catch(forget);
    this.#forgetOldest();
    return kept.made;
  }

  /** Ends the running work and deletes the files. */
  async close(): Promise<void> {
    this.#stopped.abort();
    const kept = [...this.#kept.values()];
    this.#kept.clear();
    await Promise.all([this.#last, ...kept.map(({ made }) => this.#remove(made))]);
    this.#scratch.release();
    await this.#options.sources.data.removeFolder(this.#folder);
  }

  get #folder(): string {
    return join(PARENT, basename(this.#scratch.path));
  }

  #queued(definition: Definition, span: Span): Kept {
    const waiters = new Waiters();
    const { left } = waiters;
    if ([...this.#unfinished].filter((one) => !one.aborted).length >= MAX_WAITING) {
      const refused = overloaded("too many questions about earlier positions are waiting to be recomputed");
      return { made: Promise.reject(refused), waiters };
    }
    this.#unfinished.add(left);
    const made = this.#last
      .then(() => this.#recompute(definition, span, left))
      .finally(() => this.#unfinished.delete(left));
    this.#last = made.catch(() => {});
    return { made, waiters };
  }

  async #recompute({ view }: Definition, span: Span, left: AbortSignal): Promise<StateFile | null> {
    left.throwIfAborted();
    const { sources, namespace, timeoutMs, maxRecords = MAX_RECORDS } = this.#options;
    const topic = topicOf(namespace, view.stream);
    const late = AbortSignal.timeout(timeoutMs);
    const signal = AbortSignal.any([late, this.#stopped.signal, left]);
    try {
      const records = await spanRecords(sources, { topic, topicId: span.topicId }, span.from, span.to);
      if (records > maxRecords) throw tooManyRecords(records, maxRecords);
      const file = await recomputeStates(sources, { view, topic, ...span }, this.#folder, {
        signal,
        pieceBytes: PIECE_BYTES,
      });
      // All callers left at the last moment, so nothing refers to the file.
      if (left.aborted && file !== null) await sources.data.remove(file.file);
      left.throwIfAborted();
      return file;
    } catch (error) {
      if (late.aborted) throw tooSlow(timeoutMs);
      left.throwIfAborted();
      throw recomputingRefused(error, this.#options.brokers);
    }
  }

  /** Drops the oldest recomputation. A reader that has just begun with its file finds the file gone, and asks again. */
  #forgetOldest(): void {
    for (const [key, { made }] of this.#kept) {
      if (this.#kept.size <= KEPT_FILES) return;
      this.#kept.delete(key);
      void this.#remove(made);
    }
  }

  async #remove(made: Promise<StateFile | null>): Promise<void> {
    const file = await made.catch(() => null);
    if (file !== null) await this.#options.sources.data.remove(file.file);
  }
}

/** Returns an error of recomputing a position in the form that clients are sent. */
export function recomputingRefused(error: unknown, brokers: string): unknown {
  if (isTidelineError(error, "LOG_LOST", "LOG_TRUNCATED", "TOPIC_MISSING", "TOPIC_RECREATED", "DEFINITION_INVALID"))
    return positionGone(`this position cannot be recomputed: ${error.code}: ${error.message}`, NEWER);
  if (error instanceof Error && error.message.startsWith("Out of Memory Error"))
    return tooLarge("recomputing this position would take more memory than this server may use");
  const fromKafka = String((error as { code?: unknown }).code).startsWith("PLT_KFK");
  return fromKafka ? unreachable(brokers, error) : namedDuckError(error);
}

function tooManyRecords(records: number, maxRecords: number): TidelineError {
  const [needed, most] = [records, maxRecords].map((count) => count.toLocaleString("en-US"));
  const problem = `recomputing this position would read ${needed} records; at most ${most} are read for one question`;
  return askLess({ parameter: "at", problem, allowed: "a newer position, or no at" });
}

function tooSlow(timeoutMs: number): TidelineError {
  const message =
    "recomputing this position from archive and log took longer than " +
    `${timeoutMs / 1_000} s; ask without at, or for a newer position`;
  return new TidelineError("TOO_SLOW", message, "");
}

/** The hint when a position is gone. */
export const NEWER = "ask for a newer position, or without at";

/** Returns the error for a position that cannot be recomputed: neither archive nor log has the records before it. */
export function positionGone(message: string, hint = ""): TidelineError {
  return new TidelineError("POSITION_GONE", message, hint);
}
