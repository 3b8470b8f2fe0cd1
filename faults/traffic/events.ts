import { ODD_KEYS } from "../../test/fixtures/events/odd-keys.ts";
import { PLACES, type Tick } from "../model/view-models.ts";
import { Chance } from "./chance.ts";

export interface RawRecord {
  readonly key: string;
  readonly value: Buffer | null;
}

const MINUTE_MS = 60_000;
/** How far back a repeated event lies: less and more than the dedup window. */
const REPEAT_WITHIN = 400;
const THINGS = 300;
/** What a tombstone's key may not be: it is longer than the contract allows. */
const NO_THING = "much-too-long-for-a-thing";

/**
 * Events as careless producers and a bad network deliver them: some twice at once, some again a little later (within
 * the dedup window and beyond it), some late, some that are none, and tombstones. A few things have most events. The
 * same for the same seed.
 */
export class Events {
  readonly #chance: Chance;
  readonly #prefix: string;
  readonly #recent: RawRecord[] = [];
  #count = 0;

  constructor(seed: number) {
    this.#chance = new Chance(seed, 1);
    this.#prefix = `${(seed % 46_656).toString(36)}-`;
  }

  /** The next records: one event, mostly. */
  next(nowMs: number): RawRecord[] {
    const chance = this.#chance;
    const made = this.#event(nowMs);
    this.#recent.push(made);
    if (this.#recent.length > REPEAT_WITHIN) this.#recent.shift();
    const records = [made];
    if (chance.happens(0.02)) records.push(made);
    if (chance.happens(0.03)) records.push(this.#recent[chance.below(this.#recent.length)] ?? made);
    if (chance.happens(0.02)) records.push(this.#spoilt(made));
    if (chance.happens(0.03)) records.push({ key: thingOf(chance), value: null });
    return records;
  }

  #event(nowMs: number): RawRecord {
    const chance = this.#chance;
    const thing = thingOf(chance);
    const id = `${this.#prefix}${(this.#count++).toString(36)}`;
    const late = chance.happens(0.05) ? chance.below(120) * MINUTE_MS : 0;
    const tick: Tick = {
      id,
      thing,
      at: nowMs - late,
      place: chance.pick([null, ...PLACES]),
      good: chance.pick([true, false, null]),
      amount: chance.below(2_000) - 500,
      tip: chance.happens(0.3) ? null : chance.below(101),
      test: chance.happens(0.05),
      items: Array.from({ length: chance.below(4) }, () => ({
        sku: `s${chance.below(12)}`,
        quantity: 1 + chance.below(9),
      })),
    };
    // Some records are formatted and have an undeclared field.
    const text = chance.happens(0.02) ? JSON.stringify({ ...tick, note: "é" }, null, 2) : JSON.stringify(tick);
    return { key: thing, value: Buffer.from(text) };
  }

  #spoilt({ key, value }: RawRecord): RawRecord {
    const tick = JSON.parse(String(value)) as Tick;
    const values = [
      Buffer.from("{"),
      Buffer.from([0xff, 0x00, 0x01]),
      Buffer.from(String(value).slice(0, -2)),
      Buffer.from(JSON.stringify({ ...tick, amount: 1e9 })),
      Buffer.from(JSON.stringify({ ...tick, id: `${tick.id}-much-too-long-an-id` })),
      Buffer.from(JSON.stringify({ ...tick, test: "no" })),
    ];
    const spoilt = values.map((other): RawRecord => ({ key, value: other }));
    return this.#chance.pick([{ key: NO_THING, value: null }, ...spoilt]);
  }
}

/** One of some hundred things, of which a few come most. */
export function thingOf(chance: Chance): string {
  if (chance.happens(0.05)) return chance.pick(ODD_KEYS as [string, ...string[]]);
  return `t${Math.floor(THINGS * (chance.below(1_000) / 1_000) ** 3)}`;
}
