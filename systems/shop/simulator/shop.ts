import { mix, pick, randomNumbers, seedState } from "../../../core/numbers/random.ts";
import { customerOf, visitorsAt } from "./customers.ts";
import type { ShopEvent } from "./event.ts";
import { VISITS_PER_ORDER, visit } from "./visit.ts";

export interface ShopOptions {
  readonly seed: number;
  /** Orders a second, on average over a day. */
  readonly rate: number;
  /** When the first events happen, epoch ms. */
  readonly fromMs: number;
  /** Every five minutes ten times as many visitors for twenty seconds. */
  readonly bursts: boolean;
}

const tickMs = 1_000;
/** The shop was open before: visits and orders of this time reach into the run. Less of it at high rates. */
const warmUpMs = 900_000;
const warmUpOrders = 20_000;
const burst = { everyMs: 300_000, forMs: 20_000, factor: 10 };

/**
 * Everything that happens in a shop from `fromMs` on, without end, ordered by event time: a pure function of the
 * options. Ids hold the seed and the second of the visit, so that a run continues where another with the same seed
 * ended.
 */
export function* shopEvents({ seed, rate, fromMs, bursts }: ShopOptions): Generator<ShopEvent, never> {
  const state = seedState(seed);
  const run = seed.toString(36);
  const later = new Agenda();
  const warmUpTicks = Math.ceil(Math.min(warmUpMs, (warmUpOrders / rate) * 1_000) / tickMs);
  for (let tick = Math.floor(fromMs / tickMs) - warmUpTicks; ; tick++) {
    const startMs = tick * tickMs;
    const random = randomNumbers(mix(state) ^ mix(tick | 0), Math.floor(tick / 2 ** 32));
    const visitors = visitorsAt(startMs);
    const busy = visitors.reduce((sum, { share }) => sum + share, 0);
    const crowd = bursts && startMs % burst.everyMs < burst.forMs ? burst.factor : 1;
    const expected = rate * VISITS_PER_ORDER * busy * crowd;
    const visits = Math.floor(expected * (0.5 + random()) + random());
    for (let index = 0; index < visits; index++) {
      const { region } = pick(visitors, random());
      const name = `${run}-${tick.toString(36)}-${index.toString(36)}`;
      const customer = customerOf(region, random());
      later.add(visit(customer, startMs + Math.floor(tickMs * random()), { name, random }));
    }
    for (const event of later.take(tick)) if (event.timeMs >= fromMs) yield event;
  }
}

/** What is going to happen, by the tick in which it does. */
class Agenda {
  readonly #ticks = new Map<number, ShopEvent[]>();

  add(events: readonly ShopEvent[]): void {
    for (const event of events) {
      const tick = Math.floor(event.timeMs / tickMs);
      const planned = this.#ticks.get(tick);
      if (planned === undefined) this.#ticks.set(tick, [event]);
      else planned.push(event);
    }
  }

  /** A tick's events in their order; they are not asked for again. */
  take(tick: number): ShopEvent[] {
    const events = this.#ticks.get(tick) ?? [];
    this.#ticks.delete(tick);
    return events.sort((a, b) => a.timeMs - b.timeMs);
  }
}
