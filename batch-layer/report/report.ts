import type { View } from "../../core/definition/view.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { ReportPinJson } from "../../core/log/documents.ts";
import type { Budget } from "../../core/query/budget.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { StreamQuality } from "./quality.ts";

/** A daily report, as a system defines it. */
export interface Report {
  /**
   * The views whose events it reads. An edition is pinned with their definitions. If one of them is not defined, there
   * is no report.
   */
  readonly views: readonly string[];
  /** Computes an edition. The same identity and events must give files with the same bytes. */
  make(identity: ReportIdentity, source: ReportSource): Promise<ReportContent>;
}

export interface ReportIdentity {
  /** The UTC day, such as 2026-01-01. */
  readonly date: string;
  readonly edition: number;
  /** The day as a range of event time, and the positions of the numbers. */
  readonly pin: ReportPinJson;
}

/** The data that a report reads: archived events up to the pin's positions, in a DuckDB of its own. */
export interface ReportSource {
  readonly duck: Duck;
  /** The limits of the report; `cellsOver` counts against them. */
  readonly budget: Budget;
  /** Returns the definition that the edition is pinned with. */
  view(name: string): View;
  /**
   * Returns the name of a table with the events of a view's stream whose time lies in `ranges`; null if nothing is
   * archived. Throws REPORT_TOO_LARGE.
   */
  events(view: string, ranges: readonly TimeRange[]): Promise<string | null>;
  /** Returns the counts of the records that Kafka got during the day, by stream. */
  quality(): Promise<Readonly<Record<string, StreamQuality>>>;
}

export interface ReportContent {
  /** HTML without scripts and without links to other files: the file `report.html`, and the body of the mail. */
  readonly page: string;
  /** Further files by name, such as `summary.json`. They are attached to the mail. */
  readonly files: Readonly<Record<string, string>>;
  /** Counts for the run's result, such as `{ orders: 12 }`. */
  readonly counts: Readonly<Record<string, number>>;
}
