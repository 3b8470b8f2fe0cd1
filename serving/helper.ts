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
   * Starts the process, which lowers its own priority. It sends `{ port, secret }` when it answers those who bring that
   * secret, and ends in order on the message "close".
   */
  readonly start: () => ChildProcess;
  readonly logger: Logger;
  /** It is ended when nobody has needed it for this long. */
  readonly idleMs?: number;
  /** From when on a question takes long. */
  readonly longMs?: number;
}

/** A request as it came to the server. */
export interface ForwardedRequest {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingHttpHeaders;
  /** Empty when there is none. */
  readonly body: string;
  /** What it asks, if it waits while as many large answers as may be are computed; null if it waits for nobody. */
  readonly question: AskedRange | null;
}

/**
 * A question without its range, and how much time that has: dashboards ask the same over the last hours again and
 * again.
 */
export interface AskedRange {
  readonly name: string;
  readonly spanMs: number;
}

interface Running {
  readonly child: ChildProcess;
  readonly at: Promise<Started>;
}

/** A question that took longer than this takes long. */
const LONG_MS = 5_000;
/** Of each kind. */
const MAX_WAITING = 64;
const START_LIMIT_MS = 60_000;
const CLOSE_LIMIT_MS = 2_000;
const IDLE_MS = 10 * 60_000;

/** Over ranges of which length on questions have some property; those asked first are forgotten when there are many. */
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

  /** A range that was in it is not any more, nor are shorter ones. */
  forget({ name, spanMs }: AskedRange): void {
    if (spanMs >= (this.#fromMs.get(name) ?? Number.POSITIVE_INFINITY)) this.#fromMs.delete(name);
  }
}

const MAX_KNOWN = 1_000;

/** What a connection to a process that has ended, or accepts none, fails with. */
const GONE: ReadonlySet<string | undefined> = new Set(["ECONNREFUSED", "ECONNRESET", "EPIPE"]);

const Started = z.strictObject({ port: z.number(), secret: z.string() });
type Started = z.infer<typeof Started>;

/**
 * A second server process, which answers what is too large for the event loop of the first: it has a loop and a heap of
 * its own, so that neither long computations nor collecting their garbage delay a short request. It is started when it
 * is first needed or likely to be, again when it has ended, and ended when it is idle.
 */
export class Helper {
  readonly #options: HelperOptions;
  /**
   * One question that is known to take long is computed at a time, and beside it one of which that is not known: so it
   * need not wait for those. At their limits each takes some 200 MB.
   */
  readonly #longPlace = new Place(MAX_WAITING);
  readonly #otherPlace = new Place(MAX_WAITING);
  /** Questions that were too large for the server. */
  readonly #large = new KnownRanges();
  /** Questions that took long. */
  readonly #long = new KnownRanges();
  #running: Running | null = null;
  /** Also true when it is closed: then it is not to be started ahead. */
  #wasStarted = false;
  readonly #children = new Set<ChildProcess>();
  #inUse = 0;
  #idle: NodeJS.Timeout | null = null;

  constructor(options: HelperOptions) {
    this.#options = options;
  }

  /** Requests that it answers now. */
  get inUse(): number {
    return this.#inUse;
  }

  /** Requests that wait for others to end. */
  get waiting(): number {
    return this.#longPlace.waiting + this.#otherPlace.waiting;
  }

  /** Whether any question was too large. */
  get knowsLarge(): boolean {
    return !this.#large.isEmpty;
  }

  /** Whether a question was too large over this range or a shorter one: it need not be tried again in the server. */
  isKnownLarge(question: AskedRange): boolean {
    return this.#large.has(question);
  }

  rememberLarge(question: AskedRange): void {
    this.#large.add(question);
  }

  /** Starts it, if it never was: the first large question need not wait for that. */
  expect(): void {
    if (this.#wasStarted) return;
    const { at } = this.#start();
    at.then(
      () => this.#endWhenIdle(),
      () => undefined,
    );
  }

  /**
   * The helper's response, as it begins; the rest of it is read from it. Throws TOO_MANY_REQUESTS when too many wait,
   * NOT_READY when the helper cannot be started or ends.
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

  /** Lets the helper finish what is under way, and ends what it streams. Who asks from now on gets another one. */
  end(): void {
    if (this.#idle !== null) clearTimeout(this.#idle);
    if (this.#running?.child.connected === true) this.#running.child.send("close");
    this.#running = null;
  }

  /** Ends every helper; resolves when they are gone. */
  async close(): Promise<void> {
    this.#wasStarted = true;
    this.end();
    const late = setTimeout(() => this.#children.forEach((child) => void child.kill("SIGKILL")), CLOSE_LIMIT_MS);
    await Promise.all([...this.#children].map((child) => once(child, "exit")));
    clearTimeout(late);
  }

  /**
   * A question of which it is not known that it takes long gives its place up when it does: it continues in the place
   * of those that take long if that is free; or, while others wait, it waits among these and begins again.
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

  /** Resolves when the place is free again. Null: the question was given up, because it takes long and others wait. */
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

  /** How long a helper takes to start says nothing of a question. */
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
      // When the client leaves while it reads the response, the request fails, too.
      request.on("error", () => {});
      request.end(body);
      const [response] = (await once(request, "response")) as [IncomingMessage];
      response.once("close", use.end);
      return response;
    } catch (error) {
      use.end();
      // It is heard that a process has ended a moment after its connections have.
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

/** Waits so long, or until the signal: whether it was so long. */
async function isLate(ms: number, answered: AbortSignal): Promise<boolean> {
  await pause(ms, { signal: answered });
  return !answered.aborted;
}

/** Headers that an answer depends on. */
const ASKED = ["accept", "content-type", "if-none-match", "last-event-id"];

function asked(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(
    ASKED.flatMap((name) => {
      const value = headers[name];
      return typeof value === "string" ? [[name, value]] : [];
    }),
  );
}

/** Where a child that was just started listens. Rejects when it ends before it says so, or takes too long. */
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
