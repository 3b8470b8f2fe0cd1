import { quoteName } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import { insideSql, type TimeRange } from "../../core/interval.ts";
import type { ReportPin } from "../../core/log/documents.ts";
import { Budget } from "../../core/query/budget.ts";
import type { Duck } from "../../store/duckdb/duck.ts";
import { archivedEvents } from "../archive/archived-events.ts";
import { numbersOf, withDuck } from "../duck-run.ts";
import type { BatchStores, StreamTarget, ViewTarget, Watch } from "../stores.ts";
import { REPORT_LIMITS, spendEvents } from "./budget.ts";
import { NO_RECORDS, qualityOf, type StreamQuality } from "./quality.ts";
import type { ReportSource } from "./report.ts";

/** The definitions that a report reads: its views by name, and the streams whose quality it shows. */
export interface ReportTargets {
  readonly views: ReadonlyMap<string, ViewTarget>;
  readonly streams: readonly StreamTarget[];
}

/**
 * Runs `work` with the archive's events up to the pin's cuts. A view's version would be cheaper to read, but its files
 * are deleted after the next versions. The archive's events up to a cut stay the same for ever.
 */
export async function withReportSource<T>(
  stores: BatchStores,
  targets: ReportTargets,
  { pin, watch }: { readonly pin: ReportPin; readonly watch: Watch },
  work: (source: ReportSource) => Promise<T>,
): Promise<T> {
  return withDuck(stores, watch, (duck) => work(new PinnedSource(stores, targets, { pin, watch, duck })));
}

interface Reading {
  readonly pin: ReportPin;
  readonly watch: Watch;
  readonly duck: Duck;
}

class PinnedSource implements ReportSource {
  readonly duck: Duck;
  readonly budget = new Budget(REPORT_LIMITS);
  readonly #stores: BatchStores;
  readonly #targets: ReportTargets;
  readonly #reading: Reading;
  /** By contract. */
  readonly #relations = new Map<string, string | null>();
  /** By contract and ranges; null when nothing is archived. */
  readonly #tables = new Map<string, string | null>();

  constructor(stores: BatchStores, targets: ReportTargets, reading: Reading) {
    this.#stores = stores;
    this.#targets = targets;
    this.#reading = reading;
    this.duck = reading.duck;
  }

  view(name: string): View {
    return this.#target(name).view;
  }

  /** The events are read once for all views with the same contract. */
  async events(view: string, ranges: readonly TimeRange[]): Promise<string | null> {
    const target = this.#target(view);
    const key = `${contractOf(target)} ${JSON.stringify(ranges)}`;
    const known = this.#tables.get(key);
    if (known !== undefined) return known;
    const archived = await this.#archived(target);
    const table = archived === null ? null : `report_${this.#tables.size}`;
    if (archived !== null && table !== null) await this.#copy(table, target, eventsIn(target.view, archived, ranges));
    this.#tables.set(key, table);
    this.#reading.watch.beat({ read: view });
    return table;
  }

  async #copy(table: string, { stream }: StreamTarget, source: string): Promise<void> {
    // One row more than may be read shows that there are more.
    const most = REPORT_LIMITS.rows - this.budget.spent("rows") + 1;
    await this.duck.run(`CREATE TEMP TABLE ${table} AS SELECT * FROM ${source} LIMIT ${most}`);
    const [read = 0] = await numbersOf(this.duck, `SELECT count(*) FROM ${table}`);
    spendEvents(this.budget, stream.name, read);
  }

  async quality(): Promise<Record<string, StreamQuality>> {
    const quality: Record<string, StreamQuality> = {};
    for (const target of this.#targets.streams) {
      const records = await this.#archived(target);
      quality[target.stream.name] =
        records === null ? NO_RECORDS : await qualityOf(this.duck, records, this.#reading.pin);
      this.#reading.watch.beat({ read: target.stream.name });
    }
    return quality;
  }

  #target(view: string): ViewTarget {
    const target = this.#targets.views.get(view);
    if (target === undefined) throw new RangeError(`the report does not name view ${view}`);
    return target;
  }

  async #archived(target: StreamTarget): Promise<string | null> {
    const contract = contractOf(target);
    const known = this.#relations.get(contract);
    if (known !== undefined) return known;
    const span = this.#reading.pin.streams[target.stream.name];
    if (span === undefined) throw notPinned(target);
    const archived = { ...target, topicId: span.topicId, from: span.start, to: span.cut };
    const { relation } = await archivedEvents(this.#stores, this.duck, archived);
    this.#relations.set(contract, relation);
    return relation;
  }
}

/** SQL: the events whose time lies in `ranges`. */
export function eventsIn({ stream }: View, events: string, ranges: readonly TimeRange[]): string {
  return `(SELECT * FROM ${events} WHERE ${insideSql(quoteName(stream.eventTime), ranges)})`;
}

/**
 * Returns a text that identifies how a stream's records are decoded. Views that were pinned at different times may use
 * different revisions of the contract.
 */
function contractOf({ topic, stream }: StreamTarget): string {
  return `${topic}/${stream.revision}`;
}

function notPinned({ stream }: StreamTarget): TidelineError {
  return new TidelineError(
    "BAD_REQUEST",
    `this edition was pinned without stream ${stream.name}`,
    "Ask for a fresh edition: `tideline report --fresh`.",
  );
}
