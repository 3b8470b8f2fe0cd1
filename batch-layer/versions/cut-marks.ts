import { entriesWithin } from "../../core/log/archive-tiles.ts";
import type { ArchiveEntry } from "../../core/log/documents.ts";
import { at, type Cut, type Position, partitionsOf, ZERO } from "../../core/log/position.ts";
import { tailOf } from "../../store/archive/archive-tail.ts";
import { bytesOf } from "../../store/decode/originals.ts";
import { rowsOf } from "../../store/duckdb/duck.ts";
import { type Mark, markOfEpoch, markOfRecord, withoutTopic } from "../../store/kafka/read/marks.ts";
import { parquet, withDuck } from "../duck-run.ts";
import { type BatchStores, UNWATCHED } from "../stores.ts";
import type { MarkedCut } from "./publish.ts";

/**
 * Returns the marks of a cut that the archive has reached. A partition without a known mark is left out. Throws
 * ARCHIVE_DAMAGED.
 */
export async function cutMarks(
  stores: BatchStores,
  topic: string,
  topicId: string,
  cut: Cut,
): Promise<MarkedCut["marks"]> {
  const marks: MarkedCut["marks"] = {};
  for (const partition of partitionsOf(cut)) {
    const mark = await archivedMark(stores, { topic, topicId, partition }, at(cut, partition));
    if (mark !== null) marks[partition] = withoutTopic(mark);
  }
  return marks;
}

/**
 * Returns the mark of the last archived record below a position that the archive has reached. Below an accepted
 * continuation, returns the mark of the log's own record. Returns null if there is none, or if an earlier release
 * archived the record without its mark.
 */
export async function archivedMark(
  stores: BatchStores,
  { topic, topicId, partition }: { topic: string; topicId: string; partition: number },
  to: Position,
): Promise<Mark | null> {
  const entries = entriesWithin(await stores.archive.entries(topic, topicId, partition), ZERO, to);
  const accepted = await stores.archive.continuation(topic, topicId, partition);
  const continuation = accepted !== null && accepted.from <= to ? accepted : null;
  const last = entries.at(-1);
  if (last === undefined || last.to <= to) return tailOf(entries, continuation)?.mark ?? null;
  const within = await lastRecord(stores, last, to);
  const mark = withoutTopic(within ?? markOfEpoch(to, last.leaderEpoch, topicId));
  const cutOff = { ...last, to, records: within === null ? 0 : 1, mark };
  return tailOf([...entries.slice(0, -1), cutOff], continuation)?.mark ?? null;
}

/** Returns the mark of the last record below `to` in an entry's file. */
async function lastRecord(stores: BatchStores, entry: ArchiveEntry, to: Position): Promise<Mark | null> {
  const { file, leaderEpoch, topicId } = entry;
  if (file === null) return null;
  await stores.data.requireIntact([entry]);
  const source = parquet(stores, [file]);
  const sql =
    `SELECT _offset, _key, _value FROM ${source} WHERE _offset = (SELECT ` +
    `max(_offset) FROM ${source} WHERE _offset < ${to})`;
  const [row] = await withDuck(stores, UNWATCHED, (duck) => rowsOf(duck, sql));
  if (row === undefined) return null;
  const [offset, key, value] = row;
  return markOfRecord({ offset: offset as bigint, key: bytesOf(key), value: bytesOf(value) }, leaderEpoch, topicId);
}
