import type { EventOf, Stream } from "../../../core/contract/stream.ts";

/** Something that happens in the shop. */
export interface ShopEvent {
  readonly stream: Stream;
  /** Which version of its event the producer writes. */
  readonly version: number;
  readonly timeMs: number;
  readonly key: string;
  readonly event: Readonly<Record<string, unknown>>;
}

/** An event in the newest version of its contract, unless `version` says otherwise. */
export function happened<S extends Stream>(stream: S, event: EventOf<S>, version: number = stream.version): ShopEvent {
  const columns = event as Readonly<Record<string, unknown>>;
  const { key, eventTime } = stream;
  return { stream, version, timeMs: Number(columns[eventTime]), key: String(columns[key]), event: columns };
}

/** What belongs to one visit: its random numbers, and a name that is part of all of its ids. */
export interface Run {
  readonly name: string;
  readonly random: () => number;
}
