import { at, type Cut, type Position, position } from "../log/position.ts";
import type { Alert } from "./alert-states.ts";

/** `<partition>:<next offset>,…` */
const POSITIONS = /^\d{1,9}:\d{1,19}(?:,\d{1,9}:\d{1,19})*$/;

/**
 * How far a client has been sent the alerts of each partition. Partitions are read side by side, so servers may take
 * the same alerts in different orders: the last alert that a client was sent does not tell which ones it misses.
 */
export class SentAlerts {
  /** Partition -> the first offset that was not sent. */
  readonly #next: Map<number, Position>;
  /** The last alert that was sent before the client came back, and when it was written. */
  readonly #last: { readonly id: string; readonly writtenAtMs: number } | null;

  private constructor(next: ReadonlyMap<number, Position>, last: { id: string; writtenAtMs: number } | null) {
    this.#next = new Map(next);
    this.#last = last;
  }

  /** Of a client that follows from now on, where the alerts have been read up to `read`. */
  static from(read: Cut): SentAlerts {
    return new SentAlerts(read, null);
  }

  /**
   * Of a client that comes back with the id of the last event that it was sent, as `idOf` returned it. For a partition
   * that the id does not name, alerts count as missed that were not written before its alert: an id of an earlier
   * release is the alert's alone. Returns null when the id tells nothing.
   */
  static resumed(lastEventId: string, alertOf: (id: string) => Alert | undefined): SentAlerts | null {
    const [id = "", positions = "", ...others] = lastEventId.split("@");
    const isWhole = others.length === 0 && POSITIONS.test(positions);
    const pairs = isWhole ? positions.split(",").map((pair) => pair.split(":")) : [];
    const alert = alertOf(id);
    if (alert === undefined && pairs.length === 0) return null;
    return new SentAlerts(
      new Map(pairs.map(([partition, next]) => [Number(partition), position(next ?? "0")])),
      alert === undefined ? null : { id, writtenAtMs: alert.writtenAtMs },
    );
  }

  /** Whether an alert that was there before the client came back is still to be sent. */
  isMissing({ id, place, writtenAtMs }: Alert): boolean {
    if (place !== undefined && this.#next.has(place.partition)) return place.offset >= at(this.#next, place.partition);
    return this.#last !== null && writtenAtMs >= this.#last.writtenAtMs && id !== this.#last.id;
  }

  /** Notes that an alert was sent. Alerts of one partition are sent in the order of their offsets. */
  note({ place }: Alert): void {
    if (place !== undefined) this.#next.set(place.partition, position(place.offset + 1n));
  }

  /** The id of the event that sends an alert, once that is noted. */
  idOf({ id }: Alert): string {
    const positions = [...this.#next].map(([partition, next]) => `${partition}:${next}`);
    return positions.length === 0 ? id : `${id}@${positions.join(",")}`;
  }
}
