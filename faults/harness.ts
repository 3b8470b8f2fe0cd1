import { setTimeout as delay } from "node:timers/promises";
import { Redis } from "ioredis";
import type { Servers } from "../stack/servers/servers.ts";
import { audit } from "./deployment/audit.ts";
import { Deployment, type DeploymentOptions } from "./deployment/deployment.ts";
import { Opened } from "./deployment/opened.ts";
import { Recoveries } from "./deployment/recoveries.ts";
import type { Scenario, World } from "./deployment/scenario.ts";
import { type Findings, type Report, reportOf } from "./report.ts";
import { Chance } from "./traffic/chance.ts";

export interface HarnessOptions {
  readonly seed: number;
  /** They are running. The caller started them and stops them. */
  readonly servers: Servers;
  readonly serversHome: string;
  /** A Redis of the oracle's own. */
  readonly sketchesUrl: string;
  /** For the homes of installations. */
  readonly folder: string;
  /** The folder of the program that the roles run. */
  readonly program: string;
  readonly scenarios: readonly Scenario[];
  /** How long to repeat the scenarios in turn, milliseconds; 0: each once. */
  readonly durationMs: number;
  /** Ends as soon as something is wrong: to see how soon a mutant is caught. */
  readonly stopAtFirst: boolean;
  readonly load: Pick<DeploymentOptions, "size" | "rate" | "readers" | "refreshEveryMs">;
  readonly signal: AbortSignal;
  readonly say: (line: string) => void;
}

export const USUAL_LOAD: HarnessOptions["load"] = {
  size: { speed: 2, worker: 2, serve: 2 },
  rate: 250,
  readers: 3,
  refreshEveryMs: 2_000,
};

const RECOVERY_LIMIT_MS = 45_000;
/** A version takes longer: a worker that was killed is missed after ten seconds. */
const CUT_LIMIT_MS = 75_000;
/** Until the first version of every view, from nothing. */
const FIRST_LIMIT_MS = 180_000;
/** A machine that takes longer than this to start is busy or slow: every limit grows alike. */
const USUAL_START_MS = 25_000;
/** Between two scenarios everything runs undisturbed for a moment. */
const CALM_MS = 500;

/** Runs scenarios one after the other on an installation under load, and says what came of it. */
export async function runHarness(options: HarnessOptions): Promise<Report> {
  return new Harness(options).run();
}

class Harness {
  readonly #options: HarnessOptions;
  readonly #recoveries = new Recoveries();
  readonly #chance: Chance;
  readonly #sketches: Redis;
  readonly #findings: Findings = { wrong: [], lostTime: [], firstAtMs: null };
  readonly #deployments: Deployment[] = [];
  readonly #opened = new Opened();
  readonly #runs: { readonly name: string; readonly seconds: number }[] = [];
  #during = "start";
  #startedMs = performance.now();
  #asides = 0;
  #patience = 1;

  constructor(options: HarnessOptions) {
    this.#options = options;
    this.#chance = new Chance(options.seed, 4);
    this.#sketches = new Redis(options.sketchesUrl);
  }

  async run(): Promise<Report> {
    const { say, seed, scenarios, servers } = this.#options;
    say(`seed ${seed}: starting`);
    const watch = setInterval(() => this.#noteFirst(), 100);
    try {
      const openedMs = performance.now();
      const main = this.#opened.keep(await this.#open("fire", {}));
      this.#startedMs = performance.now();
      await this.#recovery(main, "start", FIRST_LIMIT_MS);
      this.#patience = Math.max(1, (performance.now() - openedMs) / USUAL_START_MS);
      await this.#rounds(
        main,
        scenarios.filter(({ breaks = [] }) => breaks.every((name) => !servers[name].given)),
      );
      if (!this.#over()) await this.#audit(main);
    } catch (error) {
      if (!this.#options.signal.aborted) throw error;
      say("interrupted");
    } finally {
      try {
        await this.#opened.close();
      } finally {
        clearInterval(watch);
        this.#noteFirst();
        this.#sketches.disconnect();
      }
    }
    return reportOf({
      seed,
      durationMs: performance.now() - this.#startedMs,
      deployments: this.#deployments,
      recoveries: this.#recoveries.all,
      runs: this.#runs,
      findings: this.#findings,
    });
  }

  async #rounds(main: Deployment, scenarios: readonly Scenario[]): Promise<void> {
    const { durationMs } = this.#options;
    const endMs = performance.now() + durationMs;
    do {
      for (const scenario of this.#chance.shuffled(scenarios)) {
        if (this.#over() || (durationMs > 0 && performance.now() > endMs)) return;
        await this.#scenario(main, scenario);
        await delay(CALM_MS, undefined, { signal: this.#options.signal });
      }
    } while (durationMs > 0);
  }

  #over(): boolean {
    return this.#options.signal.aborted || (this.#options.stopAtFirst && this.#findings.firstAtMs !== null);
  }

  async #scenario(main: Deployment, scenario: Scenario): Promise<void> {
    const { say, signal } = this.#options;
    const startedMs = performance.now();
    this.#during = scenario.name;
    const opened = new Opened();
    const checked = main.readers.counts.checked;
    try {
      await scenario.run(this.#world(main, scenario, opened));
      await main.fleet.start();
      await this.#recovery(main, scenario.name, scenario.recoveryLimitMs ?? RECOVERY_LIMIT_MS);
    } catch (error) {
      if (signal.aborted) throw error;
      this.#wrong(`${scenario.name} could not do its work: ${(error as Error).stack}`);
      main.source.resume();
      main.refresher.resume();
      await main.fleet.start();
    } finally {
      await opened.close();
    }
    const seconds = Math.round((performance.now() - startedMs) / 100) / 10;
    this.#runs.push({ name: scenario.name, seconds });
    const wrong = this.#wrongSoFar();
    say(
      `${scenario.name}: ${seconds} s, ${main.readers.counts.checked - checked} answers ` +
        `checked${wrong === 0 ? "" : `, ${wrong} WRONG so far`}`,
    );
    this.#during = "calm";
  }

  /** Applied beyond the log's end of now, and then a cut beyond that. */
  async #recovery(main: Deployment, name: string, limitMs: number): Promise<void> {
    for (const [by, limit] of [
      ["applied", limitMs],
      ["cut", CUT_LIMIT_MS],
    ] as const) {
      const stuck = await this.#recoveries.beyond(main, by, limit * this.#patience, this.#options.signal);
      if (stuck.length === 0) continue;
      const seen = stuck.map((view) => `${view} ${JSON.stringify(main.latest(view)?.position ?? null)}`).join(", ");
      this.#late(
        `after ${name}: ${by} not beyond the log's end within ` +
          `${Math.round((limit * this.#patience) / 1_000)} s: ${seen}`,
      );
      return;
    }
  }

  async #audit(main: Deployment): Promise<void> {
    const { say, servers, signal } = this.#options;
    this.#during = "audit";
    main.source.pause();
    await main.refresher.pause();
    await delay(500, undefined, { signal });
    const stuck = await this.#recoveries.beyond(main, "applied", RECOVERY_LIMIT_MS * this.#patience, signal);
    if (stuck.length > 0) this.#late(`at the end: not everything applied of ${stuck.join(", ")}`);
    else
      for (const one of await main.readers.again(main.oracle.ends)) this.#wrong(`an old answer, given again: ${one}`);
    const problems = await audit(main, servers.redis.url);
    for (const problem of problems) this.#wrong(problem);
    say(
      `ledgers and dead letters: ${problems.length === 0 ? "equal to the oracle's" : `${problems.length} differences`}`,
    );
  }

  async #open(name: string, changes: Partial<DeploymentOptions>): Promise<Deployment> {
    const { servers, folder, program, seed, load } = this.#options;
    const deployment = await Deployment.open({
      servers,
      folder,
      program,
      seed,
      ...load,
      sketches: this.#sketches,
      namespace: `${name}-${Date.now().toString(36)}`,
      during: () => this.#during,
      say: this.#options.say,
      onAnswer: (from, view, answer) => this.#recoveries.onAnswer(from, view, answer),
      ...changes,
    });
    this.#deployments.push(deployment);
    return deployment;
  }

  #world(main: Deployment, scenario: Scenario, opened: Opened): World {
    const { servers, serversHome, program, signal, say, seed } = this.#options;
    const chance = new Chance(seed, 100 + this.#runs.length);
    const sleep = async (durationMs: number) => {
      await delay(durationMs, undefined, { signal });
    };
    return {
      deployment: main,
      servers,
      serversHome,
      program,
      random: (below) => chance.below(below),
      pick: (choices) => chance.pick(choices),
      fault: (kind, { deployment = main, by = "applied" } = {}) =>
        this.#recoveries.fault(scenario.name, kind, deployment, by),
      wrong: (what) => this.#wrong(`${scenario.name}: ${what}`),
      say: (line) => say(`${scenario.name}: ${line}`),
      sleep,
      until: async (what, holds, limitMs = 30_000) => {
        const deadlineMs = performance.now() + limitMs * this.#patience;
        while (!(await holds())) {
          if (performance.now() > deadlineMs) throw new Error(`${what}: not within ${limitMs / 1_000} s`);
          await sleep(100);
        }
      },
      recovered: async (deployment = main, limitMs = RECOVERY_LIMIT_MS) =>
        (await this.#recoveries.beyond(deployment, "applied", limitMs * this.#patience, signal)).length === 0,
      aside: async (name, changes = {}) => {
        const size = { speed: 1, worker: 1, serve: 1 };
        return opened.keep(await this.#open(`${name}-${++this.#asides}`, { size, readers: 1, rate: 100, ...changes }));
      },
      keep: (thing) => opened.keep(thing),
    };
  }

  #wrong(what: string): void {
    this.#findings.wrong.push(what);
    this.#options.say(`WRONG ${what}`);
  }

  #late(what: string): void {
    this.#findings.lostTime.push(what);
    this.#options.say(`LOST TIME ${what}`);
  }

  #wrongSoFar(): number {
    const mismatches = this.#deployments.reduce((sum, { readers }) => sum + readers.mismatches.length, 0);
    return mismatches + this.#findings.wrong.length;
  }

  #noteFirst(): void {
    const found = this.#wrongSoFar() + this.#findings.lostTime.length;
    if (found > 0) this.#findings.firstAtMs ??= performance.now() - this.#startedMs;
  }
}
