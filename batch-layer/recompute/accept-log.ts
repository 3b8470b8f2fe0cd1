import { at, type Position, position } from "../../core/log/position.ts";
import type { ArchiveTail } from "../../store/archive/archive-tail.ts";
import { logTruncated } from "../../store/kafka/cluster/log-errors.ts";
import { type ComparedLog, lostOffset } from "../../store/kafka/read/log-check.ts";
import { type Mark, markAfter, withoutTopic } from "../../store/kafka/read/marks.ts";
import type { Chain } from "../../store/redis/chain.ts";
import type { BatchStores } from "../stores.ts";
import { archivedMark } from "../versions/cut-marks.ts";

/**
 * Continuing after LOG_TRUNCATED: find what the log lost, and accept the log as it is now as the continuation of the
 * archive.
 */

/** The difference between the log of a partition and what was read of it before. */
export interface LogDifference {
  readonly partition: number;
  /** The end of the archive. */
  readonly archivedTo: Position;
  readonly logEnd: Position;
  /**
   * The first archived record that the log does not have. It is the end of the archive if the log only lost records
   * that an earlier acceptance skipped. Null if the log has everything that can be compared.
   */
  readonly differsAt: Position | null;
  /**
   * How many records the log has between `differsAt` and the end of the archive. They are not counted when the log is
   * accepted.
   */
  readonly passedOver: number;
  /** The log's last record below the end of the archive; null if there is none. */
  readonly mark: Mark | null;
}

/**
 * Compares the log of every archived partition with the archive. Throws TOPIC_MISSING, TOPIC_RECREATED,
 * ARCHIVE_DAMAGED.
 */
export async function findDifferences(stores: BatchStores, topic: string): Promise<LogDifference[]> {
  const { log, archive } = stores;
  const { id } = await log.topic(topic);
  const tails = await archive.tails(topic, id);
  const compared: ComparedLog = { log, topic, topicId: id, bounds: await log.bounds(topic) };
  const differences: LogDifference[] = [];
  for (const [partition, tail] of tails) differences.push(await differenceOf(stores, compared, partition, tail));
  return differences;
}

async function differenceOf(
  stores: BatchStores,
  compared: ComparedLog,
  partition: number,
  tail: ArchiveTail,
): Promise<LogDifference> {
  const { topic, topicId, bounds } = compared;
  const [start, end] = [at(bounds.start, partition), at(bounds.stable, partition)];
  const { position: to, mark, continuation } = tail;
  const found = { partition, archivedTo: to, logEnd: end, differsAt: null, passedOver: 0, mark };
  if ((await lostOffset(compared, partition, tail)) === null) return found;
  // Records below an earlier continuation are known to differ.
  const lowest = continuation !== null && continuation.from > start ? continuation.from : start;
  const place = { topic, topicId, partition };
  const differsAt = await firstDifference(lowest, to, async (below) => {
    const archived = await archivedMark(stores, place, below);
    if (archived === null || archived.offset < lowest) return null;
    return lostOffset(compared, partition, { position: below, mark: archived });
  });
  const until = to < end ? to : end;
  let passedOver = 0;
  if (differsAt < until)
    for await (const { records } of compared.log.read(
      topic,
      { partition, from: differsAt, to: until },
      { maxBytes: FETCH_BYTES },
    ))
      passedOver += records.length;
  return { ...found, differsAt, passedOver, mark: await lastMark(compared, partition, until) };
}

/**
 * Returns the mark of the log's last record below a position. Offsets are not dense, so this reads backwards in growing
 * steps.
 */
async function lastMark({ log, topic, topicId, bounds }: ComparedLog, partition: number, below: Position) {
  const start = at(bounds.start, partition);
  for (let [to, step] = [below, 8n]; to > start; step *= 8n) {
    const from = position(to - step > start ? to - step : start);
    let last: Mark | null = null;
    for await (const fetched of log.read(topic, { partition, from, to }, { maxBytes: FETCH_BYTES }))
      last = markAfter(fetched, topicId, last);
    if (last !== null) return last;
    to = from;
  }
  return null;
}

const FETCH_BYTES = 4 * 1024 * 1024;

/**
 * Returns the first offset of `[lowest, to)` at which the log differs, by bisection: all later offsets differ too.
 * `differsBelow` returns an offset below a position at which the log differs, or null if everything below is the same.
 */
async function firstDifference(
  lowest: Position,
  to: Position,
  differsBelow: (below: Position) => Promise<Position | null>,
): Promise<Position> {
  let [same, differs] = [lowest, to];
  while (same < differs) {
    const middle = position((same + differs) / 2n);
    const found = await differsBelow(position(middle + 1n));
    if (found === null) same = position(middle + 1n);
    else differs = found;
  }
  return differs;
}

/**
 * Accepts the log as it is now as the continuation of the archive, from the archive's end. Archived records stay
 * counted, and records of this log below that end are not read. Drops the live state of the stream's views, so that
 * they continue from their cuts. If the archive does not differ, drops only the live state of views that counted
 * records that the log lost. May be repeated. Returns the differences.
 *
 * Throws LOG_TRUNCATED when a log ends below its archive: records that are written there later could not be told from
 * the lost ones.
 */
export async function acceptLog(
  stores: BatchStores,
  topic: string,
  chains: readonly Chain[],
  options: { readonly by: string; readonly partition?: number | undefined },
): Promise<LogDifference[]> {
  const { log, archive } = stores;
  const { id } = await log.topic(topic);
  const compared: ComparedLog = { log, topic, topicId: id, bounds: await log.bounds(topic) };
  const all = await findDifferences(stores, topic);
  const wanted = all.filter(({ partition }) => (options.partition ?? partition) === partition);
  const differing = wanted.filter(({ differsAt }) => differsAt !== null);
  for (const { partition, archivedTo, logEnd } of differing)
    if (logEnd < archivedTo) throw logTruncated(topic, partition, archivedTo, logEnd);
  for (const difference of differing) await accept(archive, compared, difference, options.by);
  for (const chain of chains)
    if (differing.length > 0 || (await chainDifferences(compared, chain)).size > 0) await chain.drop();
  return differing;
}

async function accept(
  archive: BatchStores["archive"],
  { topic, topicId }: Pick<ComparedLog, "topic" | "topicId">,
  { partition, archivedTo, differsAt, mark }: LogDifference,
  by: string,
): Promise<void> {
  const newest = await archive.continuation(topic, topicId, partition);
  await archive.accept(topic, partition, {
    number: (newest?.number ?? 0) + 1,
    topicId,
    from: archivedTo,
    differsAt: differsAt ?? archivedTo,
    mark: mark === null ? null : withoutTopic(mark),
    by,
    atMs: Date.now(),
  });
}

/**
 * Returns the partitions in which a chain was built from records that the log no longer has, with the applied
 * positions.
 */
export async function chainDifferences(compared: ComparedLog, chain: Chain): Promise<Map<number, Position>> {
  const differences = new Map<number, Position>();
  for (const [partition, reached] of await chain.reached())
    if ((await lostOffset(compared, partition, reached)) !== null) differences.set(partition, reached.position);
  return differences;
}
