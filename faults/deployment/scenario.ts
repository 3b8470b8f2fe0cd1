import type { ServerName, Servers } from "../../stack/servers/servers.ts";
import type { Deployment, DeploymentOptions } from "./deployment.ts";

/**
 * One way to break things. `run` breaks and heals; then the harness waits until every view answers exactly beyond the
 * log's end and its cut has moved there too, and says how long that took. All the while events are produced, views
 * refreshed and asked, and every answer is compared.
 */
export interface Scenario {
  /** kebab-case: what `--scenario` takes. */
  readonly name: string;
  /** One sentence: what is broken, and what must hold. */
  readonly what: string;
  /** Servers that it stops or empties. It is skipped if they are shared with others. */
  readonly breaks?: readonly ServerName[];
  /** How long recovery may take before it counts as lost time. By default 45 s. */
  readonly recoveryLimitMs?: number;
  /** Throws when it cannot do what it is there for, which fails the run. */
  run(world: World): Promise<void>;
}

export interface FaultOptions {
  readonly deployment?: Deployment;
  /**
   * What has to come beyond the log's end: applied positions (by default), or the cut, where the batch layer was hit.
   */
  readonly by?: "applied" | "cut";
}

/** What a scenario has at hand. */
export interface World {
  /** The installation that is always under load; what a scenario stops it must start again. */
  readonly deployment: Deployment;
  readonly servers: Servers;
  /** Where the servers keep their state: `kafka`, `redis` and `temporal` are folders in it. */
  readonly serversHome: string;
  /** The folder of the program that the roles run: the repository, or a test build. */
  readonly program: string;
  /** A whole number from 0 below `below`, from the run's seed. */
  random(below: number): number;
  /** One of `choices`. */
  pick<T>(choices: readonly [T, ...T[]]): T;
  /**
   * Call it when something was just broken: counts the fault and begins to measure its recovery, up to the first
   * complete answer of every view beyond the log's end of this moment. `kind` is for people: "redis killed".
   */
  fault(kind: string, options?: FaultOptions): void;
  /** Something that must hold does not: counts like a wrong answer. */
  wrong(what: string): void;
  /** A line of progress. */
  say(line: string): void;
  sleep(durationMs: number): Promise<void>;
  /** Waits for a condition, asked every 100 ms; throws when it does not hold within the limit (30 s). */
  until(what: string, holds: () => boolean | Promise<boolean>, limitMs?: number): Promise<void>;
  /**
   * Waits until every view of `deployment` has answered completely beyond the log's end of this moment. False: not
   * within the limit. The harness does that after `run` anyway.
   */
  recovered(deployment?: Deployment, limitMs?: number): Promise<boolean>;
  /**
   * An installation of its own on the same servers, for what cannot be healed (a log that is gone): its answers are
   * checked like all others, and its recovery is not waited for. Closed at the end of the scenario.
   */
  aside(name: string, options?: Partial<DeploymentOptions>): Promise<Deployment>;
  /** Returns `thing`, which is closed at the end of the scenario, also when its work fails. */
  keep<T extends { close(): Promise<void> }>(thing: T): T;
}
