import { at, type Cut, type Position, position } from "../log/position.ts";
import type { Alert } from "./alert-states.ts";

/** `<partition>:<next offset>,…` */
const POSITIONS = /^\d{1,9}:\d{1,19}(?:,\d{1,9}:\d{1,19})*$/;

/** The alerts that a server remembers, and the positions that it has read. */
export interface ReadAlerts {
  readonly all: readonly Alert[];
  readonly read: Cut;
}

/**
 * The positions up to which a client has been sent the alerts. Partitions are read at the same time, so servers may
 * take the same alerts in different orders. So the last alert that a client was sent does not show which ones it
 * misses.
 */
export class SentAlerts {
  /** The first offset that was not sent, by partition. An absent partition counts as 0. */
  readonly #next: Map<number, Position>;

  private constructor(next: ReadonlyMap<number, Position>) {
    this.#next = new Map(next);
  }

  /**
   * Returns the state of a client that follows from now on. `read`: the positions up to which the alerts have been
   * read.
   */
  static from(read: Cut): SentAlerts {
    return new SentAlerts(read);
  }

  /**
   * Returns the state of a client that reconnects with the id of the last event that it was sent, as `idOf` returned
   * it. An id of an earlier release is the alert's id alone: then only the alerts up to that one count as sent. Returns
   * null for an unknown id.
   */
  static resumed(lastEventId: string, { all, read }: ReadAlerts): SentAlerts | null {
    const [id = "", positions = "", ...others] = lastEventId.split("@");
    if (others.length === 0 && POSITIONS.test(positions)) {
      const pairs = positions.split(",").map((pair) => pair.split(":"));
      return new SentAlerts(new Map(pairs.map(([partition, next]) => [Number(partition), position(next ?? "0")])));
    }
    const last = all.find((alert) => alert.id === id);
    if (last === undefined) return null;
    const next = new Map(read);
    for (const { id: other, place, writtenAtMs } of all) {
      if (place === undefined || other === id || writtenAtMs < last.writtenAtMs) continue;
      if (place.offset < at(next, place.partition)) next.set(place.partition, position(place.offset));
    }
    return new SentAlerts(next);
  }

  /** Whether an alert from before the client reconnected is still to be sent. */
  isMissing({ place }: Alert): boolean {
    return place !== undefined && place.offset >= at(this.#next, place.partition);
  }

  /** Notes that an alert was sent. Alerts of one partition are sent in the order of their offsets. */
  note({ place }: Alert): void {
    if (place !== undefined) this.#next.set(place.partition, position(place.offset + 1n));
  }

  /** Returns the id of the event that sends an alert, after `note`. */
  idOf({ id }: Alert): string {
    const positions = [...this.#next].map(([partition, next]) => `${partition}:${next}`);
    return positions.length === 0 ? id : `${id}@${positions.join(",")}`;
  }
}
