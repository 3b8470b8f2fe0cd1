import type { ChildProcess } from "node:child_process";
import { once } from "node:events";
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from "node:http";
import type { Logger } from "pino";
import { z } from "zod";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import { pause } from "../store/pause.ts";
import { Place } from "./common/place.ts";

export interface HelperOptions {
  /**
   * Starts the helper process, which lowers its own priority. The process sends `{ port, secret }` when it is ready,
   * and answers only requests with that secret. It ends in order on the message "close".
   */
  readonly start: () => ChildProcess;
  readonly logger: Logger;
  /** The helper is ended when it has not been used for this long. */
  readonly idleMs?: number;
  /** A question takes long if it takes more than this. */
  readonly longMs?: number;
}

/** A request as it came to the server. */
export interface ForwardedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Empty when there is none. */
  readonly body: string;
  /**
   * The question, for an answer that waits while other large answers are computed; null for an answer that does not
   * wait.
   */
  readonly question: AskedRange | null;
}

/**
 * A question without its range, and the length of the range. Dashboards ask the same question about the last hours
 * again and again.
 */
export interface AskedRange {
  readonly name: string;
  readonly spanMs: number;
}

interface Running {
  readonly child: ChildProcess;
  readonly at: Promise<Started>;
}

/** The default of `longMs`. */
const LONG_MS = 5_000;
/** In each of the two queues. */
const MAX_WAITING = 64;
const START_LIMIT_MS = 60_000;
const CLOSE_LIMIT_MS = 2_000;
const IDLE_MS = 10 * 60_000;

/**
 * For each question, the shortest range that has some property (such as "takes long"). Longer ranges have it too. When
 * there are too many questions all are forgotten.
 */
class KnownRanges {
  readonly #fromMs = new Map<string, number>();

  get isEmpty(): boolean {
    return this.#fromMs.size === 0;
  }

  has({ name, spanMs }: AskedRange): boolean {
    return spanMs >= (this.#fromMs.get(name) ?? Number.POSITIVE_INFINITY);
  }

  add({ name, spanMs }: AskedRange): void {
    if (this.#fromMs.size >= MAX_KNOWN) this.#fromMs.clear();
    this.#fromMs.set(name, Math.min(spanMs, this.#fromMs.get(name) ?? spanMs));
  }

  /**
   * Forgets the question if the range is not shorter than the known one: this range does not have the property any
   * more.
   */
  forget({ name, spanMs }: AskedRange): void {
    if (spanMs >= (this.#fromMs.get(name) ?? Number.POSITIVE_INFINITY)) this.#fromMs.delete(name);
  }
}

const MAX_KNOWN = 1_000;

/** Errors of a connection to a process that has ended or does not accept connections. */
const GONE: ReadonlySet<string | undefined> = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE"]);

const Started = z.strictObject({ port: z.number(), secret: z.string() });
type Started = z.infer<typeof Started>;

/**
 * A second server process, which computes answers that are too large for the first one's event loop. It has an event
 * loop and a heap of its own, so neither long computations nor their garbage collection delay a short request. It is
 * started when it is first needed or likely to be needed, started again after it has ended, and ended when it is idle.
 */
export class Helper {
  readonly #options: HelperOptions;
  /**
   * The place for a question that is known to take long. A second place is for all other questions, so that they need
   * not wait for long ones. At its limits each computation takes about 200 MB.
   */
  readonly #longPlace = new Place(MAX_WAITING);
  readonly #otherPlace = new Place(MAX_WAITING);
  /** Questions that were too large for the server process. */
  readonly #large = new KnownRanges();
  /** Questions that took longer than `longMs`. */
  readonly #long = new KnownRanges();
  #running: Running | null = null;
  /** Also true once this is closed, so that `expect` starts nothing. */
  #wasStarted = false;
  readonly #children = new Set<ChildProcess>();
  #inUse = 0;
  #idle: NodeJS.Timeout | null = null;

  constructor(options: HelperOptions) {
    this.#options = options;
  }

  /** How many requests the helper is answering. */
  get inUse(): number {
    return this.#inUse;
  }

  /** How many requests wait for a place. */
  get waiting(): number {
    return this.#longPlace.waiting + this.#otherPlace.waiting;
  }

  /** Whether any question was too large for the server process. */
  get knowsLarge(): boolean {
    return !this.#large.isEmpty;
  }

  /** Whether this question was too large over this range or a shorter one, so that the server need not try it again. */
  isKnownLarge(question: AskedRange): boolean {
    return this.#large.has(question);
  }

  rememberLarge(question: AskedRange): void {
    this.#large.add(question);
  }

  /** Starts the helper if it never was, so that the first large question need not wait for the start. */
  expect(): void {
    if (this.#wasStarted) return;
    const { at } = this.#start();
    at.then(
      () => this.#endWhenIdle(),
      () => undefined,
    );
  }

  /**
   * Returns the helper's response when it begins; the caller reads the rest from it. Throws TOO_MANY_REQUESTS when too
   * many wait, NOT_READY when the helper cannot be started or ends.
   */
  async answer(request: ForwardedRequest, signal: AbortSignal): Promise<IncomingMessage> {
    try {
      return await this.#inTurn(request, signal);
    } catch (error) {
      if (signal.aborted) throw error;
      if (isTidelineError(error)) throw error;
      this.#options.logger.warn({ err: error }, "the helper did not answer");
      throw unavailable();
    }
  }

  /** Lets the helper finish its work, and ends its streams. Later requests get another helper. */
  end(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    if (this.#running?.child.connected === true) this.#running.child.send("close");
    this.#running = null;
  }

  /** Ends every helper; resolves when the processes are gone. */
  async close(): Promise<void> {
    this.#wasStarted = true;
    this.end();
    const late = setTimeout(() => this.#children.forEach((child) => void child.kill("SIGKILL")), CLOSE_LIMIT_MS);
    await Promise.all([...this.#children].map((child) => once(child, "exit")));
    clearTimeout(late);
  }

  /**
   * A question that is not known to take long may lose its place when it does. If the place for long questions is free,
   * the question moves there and continues. If it is taken and others wait for this place, the question is given up; it
   * waits for the long place and begins again.
   */
  async #inTurn(request: ForwardedRequest, signal: AbortSignal): Promise<IncomingMessage> {
    const { question } = request;
    if (question === null) return this.#ask(request, signal);
    if (!this.#long.has(question)) {
      const begun = await this.#otherPlace.run(() => this.#begin(request, question, signal), signal);
      if (begun !== null) return begun.response;
    }
    return this.#longPlace.run(() => this.#askLong(request, question, signal), signal);
  }

  /**
   * Resolves when the place may be given to the next question. Null: the question was given up because it takes long
   * and others wait.
   */
  async #begin(
    request: ForwardedRequest,
    question: AskedRange,
    signal: AbortSignal,
  ): Promise<{ readonly response: Promise<IncomingMessage> } | null> {
    await this.#ready();
    const giving = new AbortController();
    const response = this.#ask(request, AbortSignal.any([signal, giving.signal]));
    const answered = new AbortController();
    const ended = response.finally(() => answered.abort()).catch(() => undefined);
    const longMs = this.#options.longMs ?? LONG_MS;
    while (await isLate(longMs, answered.signal)) {
      this.#long.add(question);
      if (this.#longPlace.isFree) return { response: this.#longPlace.run(() => response, signal) };
      if (this.#otherPlace.waiting === 0 || this.#longPlace.isFull) continue;
      giving.abort();
      return null;
    }
    await ended;
    return { response };
  }

  async #askLong(request: ForwardedRequest, question: AskedRange, signal: AbortSignal): Promise<IncomingMessage> {
    await this.#ready();
    const startedMs = performance.now();
    const response = await this.#ask(request, signal);
    if (performance.now() - startedMs < (this.#options.longMs ?? LONG_MS)) this.#long.forget(question);
    return response;
  }

  /** Waits for the helper's start, so that this time does not count as the question's. */
  async #ready(): Promise<void> {
    await (this.#running ?? this.#start()).at;
  }

  async #ask({ method, url, headers, body }: ForwardedRequest, signal: AbortSignal): Promise<IncomingMessage> {
    signal.throwIfAborted();
    const running = this.#running ?? this.#start();
    const use = this.#use();
    try {
      const { port, secret } = await running.at;
      const own = { ...asked(headers), authorization: `Bearer ${secret}` };
      const path = url;
      const request = httpRequest(`http://127.0.0.1:${port}`, { method, path, headers: own, agent: false, signal });
      // If the client leaves while the response is read, the request fails too.
      request.on("error", () => {});
      request.end(body);
      const [response] = (await once(request, "response")) as [IncomingMessage];
      response.once("close", use.end);
      return response;
    } catch (error) {
      use.end();
      // The "exit" event of a process comes a moment after its connections fail.
      if (GONE.has((error as NodeJS.ErrnoException).code)) this.#drop(running);
      throw error;
    }
  }

  #use(): { end: () => void } {
    this.#inUse += 1;
    if (this.#idle !== null) clearTimeout(this.#idle);
    const end = () => {
      this.#inUse -= 1;
      this.#endWhenIdle();
    };
    return { end };
  }

  #endWhenIdle(): void {
    if (this.#inUse > 0) return;
    if (this.#idle !== null) clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.end(), this.#options.idleMs ?? IDLE_MS).unref();
  }

  #drop(running: Running): void {
    if (this.#running === running) this.#running = null;
    running.child.kill("SIGKILL");
  }

  #start(): Running {
    this.#wasStarted = true;
    const { start, logger } = this.#options;
    const child = start();
    const running = { child, at: whereOf(child) };
    this.#running = running;
    this.#children.add(child);
    const gone = (how: object) => {
      if (!this.#children.delete(child)) return;
      if (this.#running === running) this.#running = null;
      logger.info(how, "the helper ended");
    };
    child.once("exit", (code, signal) => gone({ code, signal }));
    child.on("error", (error) => {
      if (child.pid === undefined) gone({ err: error });
    });
    running.at.catch(() => child.kill("SIGKILL"));
    return running;
  }
}

/** Waits until the time is over or the signal is aborted. Returns whether the time was over. */
async function isLate(ms: number, answered: AbortSignal): Promise<boolean> {
  await pause(ms, { signal: answered });
  return !answered.aborted;
}

/** The headers that an answer depends on. */
const ASKED = ["accept", "content-type", "if-none-match", "last-event-id"];

function asked(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    ASKED.flatMap((name) => {
      const value = headers[name];
      return typeof value === "string" ? [[name, value]] : [];
    }),
  );
}

/**
 * Returns the port and secret of a child that was just started. Rejects when the child ends first or takes too long.
 */
async function whereOf(child: ChildProcess): Promise<Started> {
  const given = new AbortController();
  const signal = AbortSignal.any([given.signal, AbortSignal.timeout(START_LIMIT_MS)]);
  const ended = once(child, "exit", { signal }).then(() => {
    throw new Error("the helper ended while it was starting");
  });
  try {
    const [message] = await Promise.race([once(child, "message", { signal }), ended]);
    return Started.parse(message);
  } finally {
    given.abort();
    ended.catch(() => {});
  }
}

function unavailable(): TidelineError {
  return new TidelineError(
    "NOT_READY",
    "the process that computes large answers has ended, or cannot be started; ask again, or for less",
    "",
    { retryAfterSeconds: 5 },
  );
}
