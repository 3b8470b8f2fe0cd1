import { at, type Position, position } from "../../core/log/position.ts";
import { type Duck, rowsOf } from "../duckdb/duck.ts";
import { parquetRows } from "../duckdb/parquet.ts";
import type { CheckSources, ReadSpan } from "./readings.ts";

/** The topic whose records are checked, and the start of its log. */
type CheckedTopic = Pick<ReadSpan, "topic" | "topicId" | "start">;

/**
 * Returns the positions from which on the newest `wanted` records that are archived and no longer in the log begin. The
 * same number is taken from each partition, if it has them. Partitions without such records are left out, and those
 * whose archive ends before the log begins. Throws ARCHIVE_DAMAGED.
 */
export async function archivedStart(
  { archive, data }: Pick<CheckSources, "archive" | "data">,
  duck: Duck,
  { topic, topicId, start }: CheckedTopic,
  wanted: number,
): Promise<Map<number, Position>> {
  const held: { partition: number; files: readonly string[]; records: number }[] = [];
  for (const partition of start.keys()) {
    const entries = await archive.entries(topic, topicId, partition);
    const [first, last] = [entries[0], entries.at(-1)];
    const end = at(start, partition);
    if (first === undefined || last === undefined || first.from >= end || last.to < end) continue;
    const covering = await archive.covering(topic, topicId, { partition, from: first.from, to: end });
    await data.requireIntact(covering);
    const files = covering.flatMap(({ file }) => (file === null ? [] : [data.path(file)]));
    const records = covering.reduce((sum, entry) => sum + entry.records, 0);
    if (files.length > 0) held.push({ partition, files, records });
  }
  const found = new Map<number, Position>();
  let left = wanted;
  const ascending = held.sort((a, b) => a.records - b.records);
  for (const [index, { partition, files, records }] of ascending.entries()) {
    const share = Math.min(records, Math.ceil(left / (ascending.length - index)));
    left -= share;
    const offsets = `SELECT _offset FROM ${parquetRows(files)} WHERE _offset < ${at(start, partition)}`;
    const newest = `SELECT min(_offset) FROM (${offsets} ORDER BY _offset DESC LIMIT ${share})`;
    const [[begin] = []] = await rowsOf(duck, newest);
    if (typeof begin === "bigint") found.set(partition, position(begin));
  }
  return found;
}
