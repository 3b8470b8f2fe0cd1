import { type AlertEvent, alertEventFrom } from "../../core/alerts/alert.ts";
import { UNDELIVERED } from "../../core/alerts/undelivered.ts";
import { at } from "../../core/log/position.ts";
import type { LogReader } from "../kafka/read/log.ts";

/** An alert that a delivery could not hand over. */
export interface UndeliveredAlert {
  readonly delivery: string;
  readonly event: AlertEvent;
  readonly reason: string;
  /** The time of the failure, in epoch milliseconds. */
  readonly failedAtMs: number;
  /** Whether the alert was handed over after that. */
  readonly isReplayed: boolean;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/** Returns every alert that was not delivered, by `undeliveredKey`, the oldest first. Throws TOPIC_MISSING. */
export async function readUndelivered(log: LogReader, topic: string): Promise<Map<string, UndeliveredAlert>> {
  const { start, stable } = await log.bounds(topic);
  const found = new Map<string, UndeliveredAlert>();
  for (const [partition, end] of stable) {
    const span = { partition, from: at(start, partition), to: end };
    for await (const { records } of log.read(topic, span, { maxBytes: FETCH_BYTES })) {
      for (const [index, key] of records.keys.entries()) {
        const name = String(key);
        const held = found.get(name);
        if (String(records.header(index, UNDELIVERED.kind)) === "replayed") {
          if (held !== undefined) found.set(name, { ...held, isReplayed: true });
          continue;
        }
        const event = alertEventFrom(records.value(index));
        if (event === null) continue;
        found.set(name, {
          delivery: name.slice(0, name.indexOf("/")),
          event,
          reason: String(records.header(index, UNDELIVERED.reason) ?? ""),
          failedAtMs: records.timestampMs(index),
          isReplayed: false,
        });
      }
    }
  }
  return found;
}
