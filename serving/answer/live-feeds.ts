import type { Logger } from "pino";
import { isTidelineError, TidelineError } from "../../core/errors.ts";
import { type Cut, cutReached, cutsEqual, type EpochMs } from "../../core/log/position.ts";
import type { Query } from "../../core/query/query.ts";
import { bucketOf } from "../../core/time.ts";
import { pause } from "../../store/pause.ts";
import type { Numbers } from "../common/numbers.ts";
import { askLess, tooManyStreams } from "../common/refusals.ts";
import { inTurns } from "../common/turns.ts";
import type { ViewStatus, ViewStatuses } from "../read/live/view-status.ts";
import type { Reader } from "../read/reader.ts";
import { queryKey } from "../read/validators.ts";
import type { DescribedView } from "../views/served-views.ts";
import { answerBody, answerJson, answerStatus, asOfToken } from "./answer.ts";

/**
 * One event of a live stream:
 *
 *   answer   the whole answer, with the token of its position as id
 *   behind   the newest known position is before the one that this subscriber has seen, so there are no rows; says what
 *            is missing
 *   problem  no answer can be given now; the stream continues
 */
export interface LiveEvent {
  readonly event: "answer" | "behind" | "problem";
  readonly id?: string;
  readonly data: string;
}

/** The newest result of a feed: an answer or an error. */
type Finding =
  | {
      readonly applied: Cut;
      readonly state: string;
      /**
       * For a window that moves with the clock, the current bucket when the answer was read; null for a fixed window.
       */
      readonly clock: EpochMs | null;
      /** The state, and the bounds of a window that moves. If it differs, the answer of the same position differs. */
      readonly shown: string;
      readonly answer: LiveEvent;
      readonly behind: LiveEvent;
    }
  | { readonly error: unknown; readonly told: ToldError; readonly event: LiveEvent };

/** An error in the form that subscribers are sent. */
export interface ToldError {
  readonly code: string;
  /** Whether the question itself is wrong, so that asking again changes nothing. */
  readonly isOfQuestion: boolean;
  /** JSON. */
  readonly data: string;
}

export interface LiveFeedsOptions {
  readonly reader: Reader;
  readonly statuses: ViewStatuses;
  readonly logger: Logger;
  readonly maxStreams: number;
  /** The most characters of one answer, and of the newest answers of all feeds together. */
  readonly maxAnswerSize: number;
  readonly maxHeldSize: number;
  /**
   * Whether a stream ends when its answer becomes too large for this process. The helper then answers the client that
   * comes back. Otherwise the stream sends a problem and continues.
   */
  readonly endLarge: boolean;
  readonly tell: (error: unknown) => ToldError;
}

export interface Subscription {
  readonly described: DescribedView;
  readonly query: Query;
  /** At most one answer in this time. */
  readonly intervalMs: number;
  readonly numbers: Numbers;
  /** The positions that the subscriber saw before it came back. */
  readonly seen: Cut | null;
  readonly onEvent: (event: LiveEvent) => void;
  /** Called when the server closes. */
  readonly onEnd: () => void;
}

/** The question of one feed. */
type Question = Pick<Subscription, "described" | "query" | "intervalMs" | "numbers">;

interface FeedOptions extends LiveFeedsOptions {
  readonly room: Room;
}

/** How long a feed waits after a problem before it reads again. */
const AFTER_PROBLEM_MS = 2_000;

/** The live streams of this server. All subscribers to the same question share a feed. */
export class LiveFeeds {
  readonly #options: FeedOptions;
  readonly #feeds = new Map<string, Feed>();
  #streams = 0;
  #closed = false;

  constructor(options: LiveFeedsOptions) {
    this.#options = { ...options, room: new Room(options.maxHeldSize) };
  }

  /** How many streams are open. */
  get streams(): number {
    return this.#streams;
  }

  /** How many different questions the streams ask. */
  get feeds(): number {
    return this.#feeds.size;
  }

  /**
   * Begins to follow a question; returns a function that ends that. Throws TOO_MANY_STREAMS, and any error in the
   * question itself.
   */
  async subscribe(subscription: Subscription): Promise<() => void> {
    const { maxStreams } = this.#options;
    if (this.#closed || this.#streams >= maxStreams) throw tooManyStreams(maxStreams, "live streams");
    const { described, query, intervalMs, numbers } = subscription;
    const key = JSON.stringify([described.definition.generation, intervalMs, numbers, queryKey(query)]);
    const feed = this.#feeds.get(key) ?? new Feed(this.#options, subscription);
    this.#feeds.set(key, feed);
    this.#streams += 1;
    const listener = new Listener(subscription);
    const leave = () => {
      this.#streams -= 1;
      if (feed.leave(listener) === 0 && this.#feeds.get(key) === feed) this.#feeds.delete(key);
    };
    const first = await feed.join();
    // A problem that may pass is sent as an event of the stream. A server that is full refuses the stream.
    if ("told" in first && (first.told.isOfQuestion || isTidelineError(first.error, "TOO_MANY_STREAMS"))) {
      leave();
      throw first.error;
    }
    feed.listen(listener);
    return leave;
  }

  /** Ends every stream, and lets no new one in. */
  close(): void {
    this.#closed = true;
    for (const feed of [...this.#feeds.values()]) feed.end();
  }
}

/** A question that is read again whenever the view's position has moved, as long as it has a subscriber. */
class Feed {
  readonly #options: FeedOptions;
  readonly #described: DescribedView;
  readonly #query: Query;
  readonly #intervalMs: number;
  readonly #numbers: Numbers;
  readonly #listeners = new Set<Listener>();
  readonly #stop = new AbortController();
  /** The number of listeners, and of subscribers that still wait for the first result. */
  #members = 0;
  #first: Promise<Finding> | null = null;
  #latest: Finding | null = null;
  /** The size of the newest answer, in characters. */
  #size = 0;

  constructor(options: FeedOptions, { described, query, intervalMs, numbers }: Question) {
    this.#options = options;
    this.#described = described;
    this.#query = query;
    this.#intervalMs = intervalMs;
    this.#numbers = numbers;
  }

  /** Adds a member; returns the newest result, or waits for the first one. */
  async join(): Promise<Finding> {
    this.#members += 1;
    this.#first ??= this.#begin();
    return this.#latest ?? this.#first;
  }

  listen(listener: Listener): void {
    this.#listeners.add(listener);
    if (this.#latest !== null) listener.tell(this.#latest);
  }

  /** Removes a member, and stops if it was the last. Returns how many members are left. */
  leave(listener: Listener): number {
    this.#listeners.delete(listener);
    this.#members -= 1;
    if (this.#members === 0) {
      this.#stop.abort();
      this.#hold(0);
    }
    return this.#members;
  }

  end(): void {
    for (const listener of [...this.#listeners]) listener.end();
    this.#stop.abort();
  }

  async #begin(): Promise<Finding> {
    const first = await this.#read(null);
    this.#latest = first;
    void this.#run(first);
    return first;
  }

  async #run(first: Finding): Promise<void> {
    const { signal } = this.#stop;
    let latest = first;
    for (;;) {
      await pause("told" in latest ? AFTER_PROBLEM_MS : this.#intervalMs, { signal });
      if (signal.aborted) return;
      const found = await this.#read(latest);
      if (found === latest) continue;
      if (this.#options.endLarge && "told" in found && isTidelineError(found.error, "TOO_LARGE")) {
        this.#latest = found;
        return this.end();
      }
      latest = found;
      this.#latest = found;
      for (const listener of [...this.#listeners]) listener.tell(found);
    }
  }

  /** Counts the size of the newest answer in place of the one before. Throws TOO_LARGE and TOO_MANY_STREAMS. */
  #hold(size: number): void {
    const { room, maxAnswerSize } = this.#options;
    room.give(this.#size);
    this.#size = 0;
    if (this.#stop.signal.aborted) return;
    if (size > maxAnswerSize) throw tooLargeForLive(size, maxAnswerSize);
    if (!room.take(size)) throw tooManyLargeStreams();
    this.#size = size;
  }

  /** Reads the newest result; returns `latest` itself if nothing has changed. Never throws. */
  async #read(latest: Finding | null): Promise<Finding> {
    const { statuses, reader, logger, tell } = this.#options;
    const { definition } = this.#described;
    try {
      const clock = bucketOf(statuses.now(), definition.view.grainMs);
      if (latest !== null && !moved(latest, await statuses.find(definition), clock)) return latest;
      const answer = await reader.answer(definition, this.#query);
      const numbers = this.#numbers;
      const body = answerBody(this.#described, this.#query, answer, { at: null, numbers });
      const data = await inTurns(answerJson(body, numbers), null);
      this.#hold(data.length);
      return {
        applied: answer.applied,
        state: stateOf(answer),
        clock: answer.movesWithClock ? clock : null,
        shown: answer.movesWithClock ? `${stateOf(answer)} ${answer.fromMs} ${answer.toMs}` : stateOf(answer),
        answer: { event: "answer", id: asOfToken(definition, answer), data },
        behind: { event: "behind", data: JSON.stringify(answerStatus(definition, answer, null)) },
      };
    } catch (error) {
      this.#hold(0);
      const told = tell(error);
      if (told.code === "INTERNAL") logger.error({ err: error, view: definition.view.name }, "live answer failed");
      return { error, told, event: { event: "problem", data: told.data } };
    }
  }
}

/** The space for the newest answers of all feeds, in characters. */
class Room {
  #left: number;

  constructor(characters: number) {
    this.#left = characters;
  }

  /** Takes space; returns whether there was enough. */
  take(characters: number): boolean {
    if (characters > this.#left) return false;
    this.#left -= characters;
    return true;
  }

  give(characters: number): void {
    this.#left += characters;
  }
}

function moved(latest: Finding, status: ViewStatus, clock: EpochMs): boolean {
  if ("told" in latest) return true;
  if (latest.clock !== null && latest.clock !== clock) return true;
  return !cutsEqual(status.applied, latest.applied) || stateOf(status) !== latest.state;
}

/** Returns what is missing and what is wrong as one text; "" if nothing is. */
function stateOf({ missing, problems }: Pick<ViewStatus, "missing" | "problems">): string {
  return [missing?.code ?? "", ...problems.map(({ kind, name, code }) => `${kind}/${name} ${code}`)].join("\n");
}

/** One subscriber. It is never sent the same answer twice, and never an earlier position than it has seen. */
class Listener {
  readonly #subscription: Subscription;
  #seen: Cut | null;
  /** What was missing or wrong, and the bounds of the window, in the last result that was sent. */
  #shown = "";
  #problem: string | null = null;
  #behind = false;

  constructor(subscription: Subscription) {
    this.#subscription = subscription;
    this.#seen = subscription.seen;
  }

  tell(finding: Finding): void {
    const { onEvent } = this.#subscription;
    if ("told" in finding) {
      const { code } = finding.told;
      if (code !== this.#problem) onEvent(finding.event);
      this.#problem = code;
      return;
    }
    const { applied, shown, answer, behind } = finding;
    const seen = this.#seen;
    const same = shown === this.#shown && this.#problem === null;
    if (seen !== null && !cutReached(applied, seen)) {
      if (!this.#behind || !same) onEvent(behind);
      this.#behind = true;
    } else {
      if (seen === null || this.#behind || !same || !cutsEqual(applied, seen)) onEvent(answer);
      this.#behind = false;
      this.#seen = applied;
    }
    this.#shown = shown;
    this.#problem = null;
  }

  end(): void {
    this.#subscription.onEnd();
  }
}

/**
 * A live answer is sent whole with every change, so its limit is lower than that of an answer that is asked for once.
 */
function tooLargeForLive(size: number, most: number): TidelineError {
  const shown = (characters: number) => `${(characters / 1e6).toFixed(1)} MB`;
  const problem = `a live answer may have ${shown(most)}, and this one has ${shown(size)}`;
  const allowed =
    "a smaller limit, a narrower from and to, a coarser every, fewer dimensions or measures; or GET /views/:name";
  return askLess({ parameter: "limit", problem, allowed });
}

function tooManyLargeStreams(): TidelineError {
  const message = "the live streams of this server hold as much as they may; ask for a smaller answer, or again later";
  return new TidelineError("TOO_MANY_STREAMS", message, "");
}
