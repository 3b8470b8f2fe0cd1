import type { Duck, DuckPool } from "../../../store/duckdb/duck.ts";
import type { TidelineRedis } from "../../../store/redis/redis.ts";
import type { Schedule } from "./schedule.ts";

/** What a call fails with when that was planned: a broker that hangs up, a disk that does not answer. */
export class PlannedFailure extends Error {}

type Failing = "log" | "archive";

const NEVER = new Promise<never>(() => undefined);

/**
 * One of Tideline's processes in a simulation: it can be killed, and it can sleep and wake as a zombie. What it does
 * elsewhere goes through gates.
 */
export class Process {
  readonly name: string;
  readonly schedule: Schedule;
  #alive = true;
  #asleep = 0;
  #loseReplies = 0;
  /** Of each chain the last reseed that was refused. */
  readonly #refused = new Map<string, { readonly asked: string; readonly times: number }>();
  readonly #failures = new Map<Failing, { after: number; times: number }>();

  constructor(name: string, schedule: Schedule) {
    this.name = name;
    this.schedule = schedule;
  }

  get alive(): boolean {
    return this.#alive;
  }

  /** kill -9: whatever it waits for never comes. */
  kill(): void {
    this.#alive = false;
  }

  /** Does not continue before this many of its gates were opened in vain. */
  sleep(gates: number): void {
    this.#asleep = gates;
  }

  /** The next reply to `apply` is lost, and the client sends it again. */
  loseReply(): void {
    this.#loseReplies = 1;
  }

  /** After this many calls of a kind this many fail. */
  fail(what: Failing, after: number, times: number): void {
    this.#failures.set(what, { after, times });
  }

  /** Counts a call, and fails it when that was planned. */
  #tried(what: Failing): void {
    const planned = this.#failures.get(what);
    if (planned === undefined) return;
    if (planned.after > 0) planned.after -= 1;
    else {
      planned.times -= 1;
      if (planned.times <= 0) this.#failures.delete(what);
      this.schedule.note(`${this.name}: ${what} fails`);
      throw new PlannedFailure(what);
    }
  }

  /** The gate before requests to the log. */
  logGate = async (what: string): Promise<void> => {
    await this.gate(what);
    if (what === "fetch") this.#tried("log");
  };

  gate = async (what: string): Promise<void> => {
    const label = `${this.name}: ${what}`;
    await this.schedule.gate(label);
    for (; this.#alive && this.#asleep > 0; this.#asleep--) await this.schedule.gate(`${label} (asleep)`);
    if (!this.#alive) await NEVER;
    this.schedule.note(label);
  };

  /** Redis as this process reaches it. */
  redis(redis: TidelineRedis): TidelineRedis {
    return watched(redis, (name, call, args) => {
      if (name === "pipeline")
        return watched(call() as object, (inner, run) => (inner === "exec" ? this.#ask("pipeline", run) : run()));
      if (name === "tideline_apply" || name === "tideline_commit") return this.#apply(call);
      if (name === "tideline_reseed") return this.#reseed(call, args);
      if (name.startsWith("tideline_")) return this.#ask(name.slice("tideline_".length).replace("Buffer", ""), call);
      if (GATED.has(name)) return this.#ask(name, call);
      return this.during(call());
    });
  }

  /** DuckDB; `gated` says before which calls others may continue. */
  pool(pool: DuckPool, gated: GatedCall, opened: (duck: Duck) => void): DuckPool {
    return watched(pool, (name, call) => {
      if (name !== "connect") return call();
      return this.during(call() as Promise<Duck>).then((duck) => {
        opened(duck);
        return this.#duck(duck, gated);
      });
    });
  }

  /** Files: `createExclusively` and `remove` are what others see. */
  files<T extends object>(data: T): T {
    return watched(data, (name, call) => {
      if (name === "createExclusively" || name === "replace" || name === "remove") return this.#ask(name, call);
      return this.during(name === "requireIntact" ? this.#look(call) : call());
    });
  }

  during<T>(result: T): T {
    return result instanceof Promise ? (this.schedule.during(result) as T) : result;
  }

  #duck(duck: Duck, gated: GatedCall): Duck {
    return watched(duck, (name, call, [sql]) => {
      const answer = (what: string, run: Call) =>
        gated(what, String(sql)) ? this.#ask(what, run) : this.during(run());
      const result = answer(name, call);
      // What is done with a prepared statement or a stream later is done by the connection too.
      const further = name === "prepare" || name === "stream";
      return further ? (result as Promise<object>).then((inner) => watched(inner, answer)) : result;
    });
  }

  async #look(call: Call): Promise<unknown> {
    this.#tried("archive");
    return call();
  }

  async #ask<T>(what: string, call: () => T): Promise<Awaited<T>> {
    await this.gate(what);
    return this.schedule.during(Promise.resolve(call()));
  }

  /**
   * A reseed. Throws when the very same one was refused twice before: nothing has changed since, so that has no end.
   */
  async #reseed<T>(call: () => T, args: readonly unknown[]): Promise<Awaited<T>> {
    const reply = await this.#ask("reseed", call);
    const chain = String(args[0]);
    if (!UUID.test(String(args[FRESH_NONCE]))) throw new Error(`the fresh nonce is not argument ${FRESH_NONCE}`);
    const asked = JSON.stringify(args.toSpliced(FRESH_NONCE, 1));
    const before = this.#refused.get(chain);
    if (reply !== "CHANGED") this.#refused.delete(chain);
    else {
      const times = before?.asked === asked ? before.times + 1 : 1;
      if (times > 2) throw new Error(`reseeds ${chain} again and again: ${asked}`);
      this.#refused.set(chain, { asked, times });
    }
    return reply;
  }

  /** The request, and the reply: in between others may continue. */
  async #apply<T>(call: () => T): Promise<Awaited<T>> {
    let reply = await this.#ask("apply", call);
    for (; this.#loseReplies > 0; this.#loseReplies--) reply = await this.#ask("apply again", call);
    await this.gate("applied");
    return reply;
  }
}

/** The argument of a reseed that differs each time: it follows six keys, the cut, its version and the nonce seen. */
const FRESH_NONCE = 9;
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

const GATED = new Set(["zrange", "hgetallBuffer", "getBuffer", "hgetall"]);

type Call = () => unknown;

/** Of a connection's method, and the SQL that it is given. */
export type GatedCall = (method: string, sql: string) => boolean;

/** An object whose method calls go through `answer`. */
function watched<T extends object>(object: T, answer: (method: string, call: Call, args: unknown[]) => unknown): T {
  return new Proxy(object, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name, target);
      if (typeof value !== "function" || typeof name !== "string") return value;
      return (...args: unknown[]) => answer(name, () => value.apply(target, args), args);
    },
  });
}
