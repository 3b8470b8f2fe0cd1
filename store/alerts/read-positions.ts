import { setTimeout as delay } from "node:timers/promises";
import { positionsFrom, positionsKey, type RulePositions } from "../../core/alerts/rule-positions.ts";
import { at, type Cut } from "../../core/log/position.ts";
import type { LogReader } from "../kafka/read/log.ts";
import type { Records } from "../kafka/read/records.ts";

const FETCH_BYTES = 4 * 1024 * 1024;
const LOOK_EVERY_MS = 50;

/**
 * Returns the last committed positions of every partition of every stream that has rules, by `positionsKey`. Waits for
 * transactions that are open now: their records count, and later records cannot be read before they end. Throws
 * TOPIC_MISSING, and the signal's reason when it is aborted.
 */
export async function readRulePositions(
  log: LogReader,
  topic: string,
  signal: AbortSignal,
): Promise<Map<string, RulePositions>> {
  const found = new Map<string, RulePositions>();
  for await (const { values } of positionRecords(log, topic, signal)) {
    for (const value of values) {
      const positions = positionsFrom(value);
      if (positions !== null) found.set(positionsKey(positions), positions);
    }
  }
  return found;
}

/**
 * Returns the last committed record of a key in the topic of positions. Null if there is none. Waits and throws as
 * `readRulePositions`.
 */
export async function readPositionRecord(
  log: LogReader,
  topic: string,
  wanted: string,
  signal: AbortSignal,
): Promise<Buffer | null> {
  let found: Buffer | null = null;
  for await (const { keys, values } of positionRecords(log, topic, signal))
    for (const [index, key] of keys.entries()) if (String(key) === wanted) found = values[index] ?? null;
  return found;
}

async function* positionRecords(log: LogReader, topic: string, signal: AbortSignal): AsyncGenerator<Records> {
  const ends = await log.ends(topic);
  const start = await startOnceStable(log, topic, ends, signal);
  for (const [partition, end] of ends) {
    const span = { partition, from: at(start, partition), to: end };
    for await (const { records } of log.read(topic, span, { maxBytes: FETCH_BYTES, signal })) yield records;
  }
}

/** Returns the start of the topic, once everything below `ends` is committed or aborted. */
async function startOnceStable(log: LogReader, topic: string, ends: Cut, signal: AbortSignal): Promise<Cut> {
  while (true) {
    const { start, stable } = await log.bounds(topic);
    if ([...ends].every(([partition, end]) => at(stable, partition) >= end)) return start;
    await delay(LOOK_EVERY_MS, undefined, { signal });
  }
}
