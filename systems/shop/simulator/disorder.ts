import type { Stream } from "../../../core/contract/stream.ts";
import { mix, randomNumbers, seedState } from "../../../core/numbers/random.ts";
import type { ShopEvent } from "./event.ts";

/** How careless producers and a bad network are: each a share from 0 to 1. */
export interface Disorder {
  /** Delivered twice: the same bytes, at once or some hundred records later. */
  readonly duplicates: number;
  /** Delivered ten seconds to an hour after they happened. */
  readonly late: number;
  /** A record that no contract accepts, beside a good one. */
  readonly malformed: number;
  /** Written as Avro; the others as JSON. */
  readonly avro: number;
}

/** A record as it is delivered. */
export interface Delivery {
  /** When it is delivered, epoch ms. */
  readonly timeMs: number;
  readonly stream: Stream;
  readonly key: string;
  readonly value: Buffer | null;
}

/** Writes an event as Avro with the schema id of its version. */
export type AvroWriter = (event: ShopEvent) => Buffer;

const latest = { fromMs: 10_000, toMs: 3_600_000 };
/** The most late records that wait in memory. Beyond that, records come on time. */
const waitingLimit = 200_000;
const duplicateAfter = { from: 200, spread: 600 };

/**
 * The records of `events` as they reach the log, ordered by delivery: a function of the events, the seed and the
 * disorder. All of them are JSON where there is no `avro` to write with.
 */
export function* delivered(
  events: Iterable<ShopEvent>,
  seed: number,
  disorder: Disorder,
  avro?: AvroWriter,
): Generator<Delivery> {
  const random = randomNumbers(mix(seedState(seed) + 1), 0);
  const repeats = new Map<number, Delivery>();
  const late = new LateRecords();
  let count = 0;
  for (const event of events) {
    const { stream, key, timeMs } = event;
    for (const record of late.due(timeMs)) yield { ...record, timeMs };
    const value =
      random() < disorder.avro && avro !== undefined ? avro(event) : Buffer.from(JSON.stringify(event.event));
    const record = { timeMs, stream, key, value };
    if (random() < disorder.late && late.hold(record, random())) continue;
    yield record;
    if (random() < disorder.malformed) yield { ...record, value: malformed(event, random()) };
    if (random() < disorder.duplicates) {
      if (random() < 0.5) yield record;
      else repeats.set(count + duplicateAfter.from + Math.floor(duplicateAfter.spread * random()), record);
    }
    count += 1;
    const repeat = repeats.get(count);
    if (repeat === undefined) continue;
    repeats.delete(count);
    yield { ...repeat, timeMs };
  }
  yield* late.rest();
}

/** Records that are on their way for longer, by the second in which they arrive. */
class LateRecords {
  readonly #seconds = new Map<number, Delivery[]>();
  #waiting = 0;
  #next = 0;

  /** False when too many wait already: this one comes in time. */
  hold(record: Delivery, chance: number): boolean {
    if (this.#waiting >= waitingLimit) return false;
    this.#waiting += 1;
    const delayMs = latest.fromMs * (latest.toMs / latest.fromMs) ** chance;
    const second = Math.ceil((record.timeMs + delayMs) / 1_000);
    const others = this.#seconds.get(second);
    if (others === undefined) this.#seconds.set(second, [record]);
    else others.push(record);
    return true;
  }

  /** What arrives until `timeMs`; not asked for again. */
  due(timeMs: number): Delivery[] {
    const second = Math.floor(timeMs / 1_000);
    if (this.#waiting === 0) this.#next = second;
    const arrived: Delivery[] = [];
    for (; this.#next <= second; this.#next++) {
      arrived.push(...(this.#seconds.get(this.#next) ?? []));
      this.#seconds.delete(this.#next);
    }
    this.#waiting -= arrived.length;
    return arrived;
  }

  /** Everything that still waits, when nothing more happens: it comes at once. */
  rest(): Delivery[] {
    return [...this.#seconds.values()].flat().sort((a, b) => a.timeMs - b.timeMs);
  }
}

/** A schema id that no registry gives. */
const unknownSchemaId = 2_147_483_647;

/** What became of an event on its way. */
function malformed({ event, stream }: ShopEvent, chance: number): Buffer | null {
  const text = JSON.stringify(event);
  const kinds: (() => Buffer | null)[] = [
    () => null,
    () => Buffer.alloc(0),
    () => Buffer.from(text.slice(0, Math.ceil(text.length / 2))),
    () => Buffer.concat([Buffer.from(text.slice(0, -1)), Buffer.of(0xc3, 0x28), Buffer.from("}")]),
    () => Buffer.from(JSON.stringify({ ...event, [stream.eventTime]: String(event[stream.eventTime]) })),
    () => {
      const header = Buffer.alloc(5);
      header.writeUInt32BE(unknownSchemaId, 1);
      return Buffer.concat([header, Buffer.from("unknown")]);
    },
  ];
  return kinds[Math.floor(chance * kinds.length)]?.() ?? null;
}
