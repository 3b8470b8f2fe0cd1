import type { Tick } from "../model/twins.ts";
import { Chance } from "./chance.ts";

export interface RawRecord {
  readonly key: string;
  readonly value: Buffer | null;
}

const MINUTE_MS = 60_000;
/** How far back a repeated event lies: less and more than the dedup window. */
const REPEAT_WITHIN = 400;

/**
 * Events as careless producers and a bad network deliver them: some twice at once, some again a little later (within
 * the dedup window and beyond it), some late, and some that are none. The same for the same seed.
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
    if (chance.happens(0.02)) records.push({ key: made.key, value: this.#spoilt(made) });
    return records;
  }

  #event(nowMs: number): RawRecord {
    const chance = this.#chance;
    const id = `${this.#prefix}${(this.#count++).toString(36)}`;
    const late = chance.happens(0.05) ? chance.below(120) * MINUTE_MS : 0;
    const tick: Tick = {
      id,
      at: nowMs - late,
      place: chance.pick([null, "quay", 'the "old" port', "pier 7"]),
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
    return { key: id, value: Buffer.from(text) };
  }

  #spoilt({ key, value }: RawRecord): Buffer | null {
    const tick = JSON.parse(String(value)) as Tick;
    const spoilt = [
      null,
      Buffer.from("{"),
      Buffer.from([0xff, 0x00, 0x01]),
      Buffer.from(String(value).slice(0, -2)),
      Buffer.from(JSON.stringify({ ...tick, amount: 1e9 })),
      Buffer.from(JSON.stringify({ ...tick, id: `${key}-much-too-long-an-id` })),
      Buffer.from(JSON.stringify({ ...tick, test: "no" })),
    ];
    return spoilt[this.#chance.below(spoilt.length)] ?? null;
  }
}
