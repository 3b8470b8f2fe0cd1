import { alertEventFrom } from "../../core/alerts/alert.ts";
import { type Alert, AlertStates, type WrittenAlertEvent } from "../../core/alerts/alert-states.ts";
import { alerts } from "../../core/contract/alerts.ts";
import { at, type Cut, type Position, position } from "../../core/log/position.ts";
import { topicName } from "../kafka/cluster/topics.ts";
import type { FetchedPartition, LogReader } from "../kafka/read/log.ts";
import { readSilences } from "./silences.ts";

/** The number of newest events of each partition that are read at first, and the number of alerts remembered. */
const NEWEST_EVENTS = 20_000;
const FETCH_BYTES = 4 * 1024 * 1024;

export interface AlertFeedOptions {
  /** The number of newest events of each partition that are read at first, and the number of alerts remembered. */
  readonly newest?: number;
  /** Acknowledgements are read from these positions on, however many events follow them. */
  readonly from?: Cut;
}

/** The newest alerts in the log, and the alerts that are written later. */
export class AlertFeed {
  readonly states: AlertStates;
  readonly #positions = new Map<number, Position>();
  readonly #newest: number;
  readonly #log: LogReader;
  readonly #topic: string;

  private constructor(log: LogReader, topic: string, newest: number) {
    this.states = new AlertStates(newest);
    this.#newest = newest;
    this.#log = log;
    this.#topic = topic;
  }

  /**
   * Reads the silences, and the newest events of each partition. `log` must be the feed's own, because its fetches
   * wait. Throws TOPIC_MISSING when there are no rules yet.
   */
  static async open(
    log: LogReader,
    namespace: string,
    { newest = NEWEST_EVENTS, from = new Map() }: AlertFeedOptions = {},
  ): Promise<AlertFeed> {
    const feed = new AlertFeed(log, topicName(namespace, alerts.name), newest);
    // Check the topic first: without it there are no silences either, and looking for them takes some hundred
    // milliseconds.
    await log.topic(topicName(namespace, alerts.name));
    // Read silences before the events: the newest events may change a silence.
    for (const { rule, untilMs } of await readSilences(log, namespace)) feed.states.silence(rule, untilMs);
    await feed.#readNewest(from);
    return feed;
  }

  /**
   * Does one fetch. Returns the alerts that were opened or acknowledged in it. Waits at most `waitMs`. It may be called
   * again after an error.
   */
  async next(waitMs: number): Promise<Alert[]> {
    const fetched = await this.#log.fetch(this.#topic, this.#positions, { maxWaitMs: waitMs, maxBytes: FETCH_BYTES });
    for (const { partition, to } of fetched) this.#positions.set(partition, to);
    return this.#take(fetched.flatMap(eventsOf));
  }

  /** The positions up to which the partitions have been read. */
  get read(): Cut {
    return this.#positions;
  }

  /** Whether `states` has all events below a position of a partition. */
  hasReached(partition: number, to: Position): boolean {
    return at(this.#positions, partition) >= to;
  }

  async #readNewest(acknowledgedFrom: Cut): Promise<void> {
    const { start, stable } = await this.#log.bounds(this.#topic);
    const found: FoundEvent[] = [];
    for (const [partition, end] of stable) {
      const first = at(start, partition);
      const newest = position(end > this.#newest ? end - BigInt(this.#newest) : 0n);
      const least = [newest, acknowledgedFrom.get(partition) ?? newest].reduce((a, b) => (a < b ? a : b));
      const from = least > first ? least : first;
      for await (const fetched of this.#log.read(this.#topic, { partition, from, to: end }, { maxBytes: FETCH_BYTES }))
        for (const one of eventsOf(fetched))
          if (one.place.offset >= newest || one.event.kind === "acknowledged") found.push(one);
      this.#positions.set(partition, end);
    }
    this.#take(found);
  }

  #take(events: readonly FoundEvent[]): Alert[] {
    return inOrder(events)
      .map((event) => this.states.take(event))
      .filter((alert) => alert !== null);
  }
}

/** An event, with its place in the log. */
type FoundEvent = WrittenAlertEvent & Required<Pick<WrittenAlertEvent, "place">>;

/**
 * Sorts events by the time when they were written, as far as clocks agree, because partitions were read one after the
 * other. Events of one partition keep the order of their offsets, whatever its clocks say.
 */
function inOrder(events: readonly FoundEvent[]): FoundEvent[] {
  const newestMs = new Map<number, number>();
  const timed = events.map((event) => {
    const { partition } = event.place;
    const atMs = Math.max(event.writtenAtMs, newestMs.get(partition) ?? event.writtenAtMs);
    newestMs.set(partition, atMs);
    return { event, atMs };
  });
  return timed.sort((a, b) => a.atMs - b.atMs).map(({ event }) => event);
}

function eventsOf({ partition, records }: FetchedPartition): FoundEvent[] {
  return Array.from(records.offsets, (offset, index) => {
    const event = alertEventFrom(records.value(index));
    const place = { partition, offset };
    return event === null ? [] : [{ event, writtenAtMs: records.timestampMs(index), place }];
  }).flat();
}
