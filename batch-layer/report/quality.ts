import type { TimeRange } from "../../core/interval.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";

/** The counts of a stream's records that Kafka got during the day, by what became of them. */
export interface StreamQuality {
  readonly records: number;
  readonly duplicates: number;
  readonly rejects: number;
  /** The share of valid records; null if there are no records. A duplicate is valid: it fits the contract. */
  readonly score: number | null;
  /** How often each reason for a reject occurred. */
  readonly reasons: Readonly<Record<string, number>>;
}

export const NO_RECORDS: StreamQuality = { records: 0, duplicates: 0, rejects: 0, score: null, reasons: {} };

/** Counts the archived records of a relation whose record time lies in the day. */
export async function qualityOf(duck: Duck, records: string, { fromMs, toMs }: TimeRange): Promise<StreamQuality> {
  const rows = await rowsOf(
    duck,
    `SELECT split_part(_reject, ':', 1) AS reason, count(*), count(*) FILTER (_duplicate) FROM ${records}
     WHERE _timestamp >= ${fromMs} AND _timestamp < ${toMs} GROUP BY ALL ORDER BY ALL`,
  );
  let [total, duplicates] = [0, 0];
  const reasons: Record<string, number> = {};
  for (const [reason, count, twice] of rows) {
    total += Number(count);
    duplicates += Number(twice);
    if (reason !== null) reasons[String(reason)] = Number(count);
  }
  const rejects = Object.values(reasons).reduce((sum, count) => sum + count, 0);
  return { records: total, duplicates, rejects, score: total === 0 ? null : (total - rejects) / total, reasons };
}
