import type { FetchedPartition, LogSource } from "./log.ts";
import type { ComparedLog } from "./log-check.ts";

/**
 * Returns a log for comparisons at about the same time (`requireReached`): a record that several comparisons need is
 * read once. Do not use it for later comparisons, because the log may have lost the record since.
 */
export function readOnce(log: ComparedLog["log"]): ComparedLog["log"] {
  const held = new Map<string, Promise<readonly FetchedPartition[]>>();
  const read: LogSource["read"] = async function* (topic, span, limits) {
    const name = `${topic} ${span.partition} ${span.from} ${span.to}`;
    const reading = held.get(name) ?? allOf(log.read(topic, span, limits));
    held.set(name, reading);
    yield* await reading;
  };
  return { read, bounds: (topic, partitions) => log.bounds(topic, partitions) };
}

async function allOf(parts: AsyncIterable<FetchedPartition>): Promise<readonly FetchedPartition[]> {
  const all: FetchedPartition[] = [];
  for await (const part of parts) all.push(part);
  return all;
}
