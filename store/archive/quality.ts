import { z } from "zod";
import { count } from "../../core/json-parts.ts";
import type { EpochMs } from "../../core/log/position.ts";
import type { Budget } from "../../core/query/budget.ts";
import { parquetRows } from "../duckdb/parquet.ts";
import type { DataDirectory } from "../files/files.ts";
import type { Archive } from "./archive.ts";
import type { FileTimes, RunSql } from "./file-times.ts";

/** The quality of a stream's archived records. Duplicates are valid: they fit the contract. */
export const Quality = z.object({
  records: count,
  duplicates: count,
  rejects: count,
  score: z.number().nullable().describe("valid records of all, 0 to 1; null when there are none"),
});
export type Quality = z.infer<typeof Quality>;

/** The quality of the records that were written in `[from, from + every)`. */
export interface QualitySpan extends Quality {
  readonly from: EpochMs;
  /** The number of refusals for each reason, by the first word of the reason. */
  readonly reasons: Readonly<Record<string, number>>;
}

/** Returns the quality of all archived records of a topic. Throws as `Archive.entries` does. */
export async function qualityOf(archive: Archive, topic: string, topicId: string): Promise<Quality> {
  let [records, duplicates, rejects] = [0, 0, 0];
  for (const partition of await archive.partitions(topic)) {
    for (const entry of await archive.entries(topic, topicId, partition)) {
      records += entry.records;
      duplicates += entry.duplicates;
      rejects += entry.rejects;
    }
  }
  return quality(records, duplicates, rejects);
}

export interface QualityWindow {
  /** Record time: the time when Kafka got the record, whatever the time in its event. */
  readonly from: EpochMs;
  readonly to: EpochMs;
  readonly everyMs: number;
}

/** Returns the quality of a topic over time, oldest first, without spans that have no records. Throws OverBudget. */
export async function qualityHistory(
  { archive, data, rows, times, budget }: QualitySources,
  topic: string,
  topicId: string,
  window: QualityWindow,
): Promise<QualitySpan[]> {
  const files: string[] = [];
  for (const partition of await archive.partitions(topic)) {
    for (const { file } of await archive.entries(topic, topicId, partition))
      if (file !== null) files.push(data.path(file));
  }
  const read = await times.within(rows, files, { fromMs: window.from, toMs: window.to });
  budget.require("rows", read.rows);
  return read.paths.length === 0 ? [] : spansOf(await rows(historySql(read.paths, window)));
}

export interface QualitySources {
  readonly archive: Archive;
  readonly data: DataDirectory;
  readonly rows: RunSql;
  readonly times: FileTimes;
  /** The limit of archived records to read. */
  readonly budget: Budget;
}

/** SQL: (span, first word of the reason or NULL, records, duplicates), ordered by these. */
function historySql(paths: readonly string[], { from, to, everyMs }: QualityWindow): string {
  return `SELECT _timestamp // ${everyMs} * ${everyMs} AS span, split_part(_reject, ':', 1) AS reason,
      count(*), count(*) FILTER (_duplicate)
    FROM ${parquetRows(paths, { mayLackColumns: true })}
    WHERE _timestamp >= ${from} AND _timestamp < ${to} GROUP BY ALL ORDER BY ALL`;
}

function spansOf(rows: readonly (readonly unknown[])[]): QualitySpan[] {
  const spans = new Map<number, { records: number; duplicates: number; reasons: Record<string, number> }>();
  for (const [span, reason, count, duplicates] of rows) {
    const held = spans.get(Number(span)) ?? { records: 0, duplicates: 0, reasons: {} };
    held.records += Number(count);
    held.duplicates += Number(duplicates);
    if (reason !== null) held.reasons[String(reason)] = Number(count);
    spans.set(Number(span), held);
  }
  return [...spans].map(([from, { records, duplicates, reasons }]) => {
    const rejects = Object.values(reasons).reduce((sum, count) => sum + count, 0);
    return { from, ...quality(records, duplicates, rejects), reasons };
  });
}

function quality(records: number, duplicates: number, rejects: number): Quality {
  return { records, duplicates, rejects, score: records === 0 ? null : (records - rejects) / records };
}
