import type { Rule } from "../core/definition/rule.ts";
import { isTidelineError, TidelineError } from "../core/errors.ts";
import { Membership } from "../store/kafka/group/membership.ts";
import { isFenced } from "../store/kafka/produce/transactional.ts";
import { pause } from "../store/pause.ts";
import type { Failing, FailureCounter } from "../store/redis/failure-tracker.ts";
import { RuleSession, type SessionDeps } from "./session.ts";

export interface StreamRulesDeps extends Omit<SessionDeps, "onRule" | "onStep"> {
  readonly failures: FailureCounter;
}

const RETRY_MS = { first: 200, last: 5_000 };
/**
 * A process that lost its partitions to another one waits this long, until the consumer group has assigned partitions
 * again.
 */
const FENCED_FOR_MS = 5_000;

/** The rules of one stream in this process: its share of the partitions, and a session on them. */
export class StreamRules {
  readonly #deps: StreamRulesDeps;
  readonly #membership: Membership;
  readonly #stopping = new AbortController();
  /** Ends the session when the partitions of this process change. */
  #changed = new AbortController();
  /** The error that keeps a rule from continuing, by rule. */
  readonly #errors = new Map<Rule, TidelineError>();
  #running: Promise<void> = Promise.resolve();

  constructor(deps: StreamRulesDeps) {
    this.#deps = deps;
    const { brokers, topic, logger, failures, stream } = deps;
    // Counted apart from the lane's failures: a heartbeat does not show that the rules make progress.
    const group = { kind: "reader", name: `${stream.name} (rules, group)`, views: [] } as const;
    this.#membership = new Membership({
      brokers,
      topic,
      groupId: `tideline-rules-${topic}`,
      clientId: "tideline-rules",
      logger,
      onChange: () => {
        this.#changed.abort();
        this.#changed = new AbortController();
      },
      onHeartbeat: (error) => (error === null ? failures.succeeded(group) : failures.failed(group, error)),
    });
  }

  get stream(): string {
    return this.#deps.stream.name;
  }

  get partitions(): readonly number[] {
    return this.#membership.partitions;
  }

  get rules(): readonly Rule[] {
    return this.#deps.rules;
  }

  errorOf(rule: Rule): TidelineError | null {
    return this.#errors.get(rule) ?? null;
  }

  /** Begins in the background, so that a Kafka that does not answer delays nobody else. */
  start(): void {
    this.#running = this.#run();
  }

  /** Finishes the micro-batches under way, then leaves the group. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#running;
    await this.#membership.leave();
  }

  async #run(): Promise<void> {
    const signal = this.#stopping.signal;
    let [hasJoined, failures] = [false, 0];
    while (!signal.aborted) {
      const changed = this.#changed.signal;
      try {
        if (!hasJoined) {
          await this.#deps.dedup.log.topic(this.#deps.topic);
          await this.#membership.join(this.#stopping.signal);
          hasJoined = true;
          continue;
        }
        if (this.partitions.length === 0) {
          this.#letGo();
          await this.#pause(RETRY_MS.last, changed);
        } else
          await RuleSession.run(
            this.#sessionDeps(() => (failures = 0)),
            this.partitions,
            AbortSignal.any([signal, changed]),
          );
      } catch (error) {
        if (signal.aborted || changed.aborted) continue;
        failures += 1;
        this.#failed(error, failures);
        await this.#pause(isFenced(error) ? FENCED_FOR_MS : backoffMs(failures), changed);
      }
    }
  }

  /** Clears the state of the rules. Other processes have all partitions now, and report the rules' lag and errors. */
  #letGo(): void {
    const { rules, metrics, failures } = this.#deps;
    const { onRule } = this.#sessionDeps(() => undefined);
    for (const rule of rules) {
      metrics.lag.remove({ rule: rule.name });
      onRule(rule, null);
    }
    failures.succeeded(this.#reader);
  }

  #sessionDeps(getsOn: () => void): SessionDeps {
    const { failures, metrics } = this.#deps;
    return {
      ...this.#deps,
      onStep: () => {
        getsOn();
        failures.succeeded(this.#reader);
      },
      onRule: (rule, error) => {
        const before = this.#errors.get(rule);
        if (before !== undefined) metrics.stopped.remove({ rule: rule.name, code: before.code });
        const failing = { kind: "rule", name: rule.name, views: [] } as const;
        if (error === null) {
          this.#errors.delete(rule);
          if (before !== undefined) failures.succeeded(failing);
          return;
        }
        this.#errors.set(rule, error);
        metrics.stopped.set({ rule: rule.name, code: error.code }, 1);
        failures.stopped(failing, error);
        this.#deps.logger.error({ rule: rule.name, code: error.code, error: error.message }, "rule stopped");
      },
    };
  }

  #failed(error: unknown, failures: number): void {
    const { topic, logger } = this.#deps;
    const named = isFenced(error)
      ? new TidelineError(
          "WRITE_REFUSED",
          `another process evaluates the rules of ${topic} on the same partitions`,
          "If this continues, see whether two installations share a namespace. Else it ends when the group has agreed.",
          { cause: error },
        )
      : error;
    const count = isTidelineError(named) && named.code === "TOPIC_MISSING" ? "stopped" : "failed";
    this.#deps.failures[count](this.#reader, named);
    logger.warn(
      { topic, failures, error: (named as Error).message },
      "rules interrupted; they begin at what is stored",
    );
  }

  get #reader(): Failing {
    return { kind: "reader", name: `${this.stream} (rules)`, views: [] };
  }

  async #pause(durationMs: number, changed: AbortSignal): Promise<void> {
    const signal = AbortSignal.any([this.#stopping.signal, changed]);
    await pause(durationMs, { signal });
  }
}

function backoffMs(failures: number): number {
  return Math.min(RETRY_MS.first * 2 ** failures, RETRY_MS.last);
}
