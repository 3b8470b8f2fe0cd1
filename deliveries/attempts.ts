import { setTimeout as delay } from "node:timers/promises";
import {
  BrokenCircuitError,
  CircuitState,
  CountBreaker,
  circuitBreaker,
  ExponentialBackoff,
  halfJitterGenerator,
  handleWhen,
  retry,
  wrap,
} from "cockatiel";
import { maskOf } from "../core/secrets.ts";
import { Refused, type Sender, type Sent } from "./sender.ts";

/** How a delivery paces itself, in milliseconds. */
export interface Pace {
  /** Until the first of three retries. Each later one waits twice as long; chance shortens each by up to a half. */
  readonly firstRetryMs: number;
  /** How long nothing is tried when half of ten calls failed. */
  readonly breakMs: number;
}

export const PACE: Pace = { firstRetryMs: 1_000, breakMs: 30_000 };

const RETRIES = 3;
const CALLS = 10;
/** With this many failures among them nothing is tried for a while. */
const MOST_FAILURES = CALLS / 2;
/** How often it is looked whether calls may be tried again. */
const LOOK_MS = 250;

/** Tries to hand alerts over: each four times at most, and nothing while the receiver fails too often. */
export class Attempts {
  readonly #send: Sender;
  readonly #breaker;
  readonly #policy;
  #lastReason = "nothing was tried yet";

  constructor(send: Sender, { firstRetryMs, breakMs }: Pace) {
    this.#send = send;
    const mayPass = handleWhen((error) => !(error instanceof Refused));
    this.#breaker = circuitBreaker(mayPass, {
      halfOpenAfter: breakMs,
      // It breaks above its threshold, which is a share of the calls.
      breaker: new CountBreaker({ threshold: (MOST_FAILURES - 0.5) / CALLS, size: CALLS }),
    });
    const again = retry(
      handleWhen((error) => !(error instanceof Refused) && !(error instanceof BrokenCircuitError)),
      {
        maxAttempts: RETRIES,
        backoff: new ExponentialBackoff({
          initialDelay: firstRetryMs,
          maxDelay: 4 * firstRetryMs,
          generator: halfJitterGenerator,
        }),
      },
    );
    this.#policy = wrap(again, this.#breaker);
  }

  /** Whether nothing is tried now, because the receiver has failed too often. */
  get isBroken(): boolean {
    return this.#breaker.state === CircuitState.Open;
  }

  /**
   * Resolves with null when the message was taken, else with why it was not. `messageNow` is called before each try,
   * because an alert may be silenced while the receiver fails; null: there is nothing to send any more. Waits while
   * nothing is tried, for ever if need be: `onBroken` is told so once, with what the receiver said last. Throws the
   * signal's reason when it is aborted.
   */
  async deliver(
    messageNow: () => Sent | null,
    signal: AbortSignal,
    onBroken: (reason: string) => void = () => undefined,
  ): Promise<string | null> {
    for (let isTold = false; ; isTold = true) {
      try {
        await this.#policy.execute((context) => this.#attempt(messageNow(), context.signal), signal);
        return null;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof BrokenCircuitError)) return reasonOf(error);
        if (!isTold) onBroken(this.#lastReason);
        await delay(LOOK_MS, undefined, { signal });
      }
    }
  }

  /** Closes what the sender keeps open. */
  async close(): Promise<void> {
    await this.#send.close?.();
  }

  async #attempt(sent: Sent | null, signal: AbortSignal): Promise<void> {
    if (sent === null) return;
    try {
      await this.#send(sent, signal);
    } catch (error) {
      this.#lastReason = reasonOf(error);
      throw error;
    }
  }
}

/** What an error says, and what is behind it: `fetch` says only that it failed. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  // A URL in the message may hold a password.
  return maskOf([])(typeof code === "string" ? `${message} (${code})` : message);
}
