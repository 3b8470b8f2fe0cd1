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

/** The waiting times of a delivery, in milliseconds. */
export interface Pace {
  /**
   * The wait before the first of three retries. Each later wait is twice as long, and each is shortened at random by up
   * to a half.
   */
  readonly firstRetryMs: number;
  /** How long nothing is tried after half of ten calls have failed. */
  readonly breakMs: number;
}

export const PACE: Pace = { firstRetryMs: 1_000, breakMs: 30_000 };

const RETRIES = 3;
const CALLS = 10;
/** The number of failures among the last `CALLS` calls after which nothing is tried for a while. */
const MOST_FAILURES = CALLS / 2;
/** How often to check whether calls may be tried again. */
const LOOK_MS = 250;

/** Tries to hand alerts over. Tries each at most four times, and none while the receiver fails too often. */
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
      // The breaker opens above its threshold, a share of the calls, so half a call less than the number.
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

  /** Whether nothing is tried at present, because the receiver has failed too often. */
  get isBroken(): boolean {
    return this.#breaker.state === CircuitState.Open;
  }

  /**
   * Hands a message over. Returns null when the receiver took it, otherwise the reason why not. Calls `messageNow`
   * before each try, because an alert may be silenced while the receiver fails; if it returns null, nothing is sent.
   * While nothing may be tried, waits without limit, and calls `onBroken` once with the receiver's last reply. Throws
   * the signal's reason when the signal is aborted.
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

  /** Closes the connections that the sender keeps open. */
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

/** Returns the text of an error and of its cause: `fetch` says only that it failed. */
function reasonOf(error: unknown): string {
  const { message, cause } = error as Error;
  const code = (cause as { code?: unknown } | undefined)?.code;
  // A URL in the message may hold a password.
  return maskOf([])(typeof code === "string" ? `${message} (${code})` : message);
}
