import type { View } from "../../core/definition/view.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { ReportPinJson } from "../../core/log/documents.ts";
import type { Budget } from "../../core/query/budget.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import type { StreamQuality } from "./quality.ts";

/** A daily report, as a system defines it. */
export interface Report {
  /**
   * The views whose events it reads. An edition is pinned with their definitions. Where one of them is not defined
   * there is no report.
   */
  readonly views: readonly string[];
  /** Computes an edition. The same identity and events must give the same files to the byte. */
  make(identity: ReportIdentity, source: ReportSource): Promise<ReportContent>;
}

export interface ReportIdentity {
  /** The UTC day, such as 2026-01-01. */
  readonly date: string;
  readonly edition: number;
  /** The day as a range of event time, and the positions that the numbers hold for. */
  readonly pin: ReportPinJson;
}

/** What a report reads: archived events at the pin's positions, in a DuckDB of its own. */
export interface ReportSource {
  readonly duck: Duck;
  /** What the report may cost; `cellsOver` counts against it. */
  readonly budget: Budget;
  /** The definition that the edition is pinned with. */
  view(name: string): View;
  /**
   * The name of a table of the events of a view's stream whose time lies in `ranges`; null when nothing is archived.
   * Throws REPORT_TOO_LARGE.
   */
  events(view: string, ranges: readonly TimeRange[]): Promise<string | null>;
  /** What became of the records that Kafka got during the day, by stream. */
  quality(): Promise<Readonly<Record<string, StreamQuality>>>;
}

export interface ReportContent {
  /** HTML without scripts or anything to fetch: the file `report.html`, and the body of the mail. */
  readonly page: string;
  /** Further files by name, such as `summary.json`; attached to the mail. */
  readonly files: Readonly<Record<string, string>>;
  /** Counts that the run's result shows, such as `{ orders: 12 }`. */
  readonly counts: Readonly<Record<string, number>>;
}
