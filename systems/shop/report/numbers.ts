import { archivedEvents } from "../../../batch-layer/archive/archived-events.ts";
import { numbersOf, withDuck } from "../../../batch-layer/duck-run.ts";
import { REPORT_LIMITS, spendEvents } from "../../../batch-layer/report/budget.ts";
import { NO_RECORDS, qualityOf, type StreamQuality } from "../../../batch-layer/report/quality.ts";
import type { BatchStores, StreamTarget, ViewTarget, Watch } from "../../../batch-layer/stores.ts";
import type { View } from "../../../core/definition/view.ts";
import { TidelineError } from "../../../core/errors.ts";
import type { ReportPin } from "../../../core/log/documents.ts";
import { cutFromJson } from "../../../core/log/position.ts";
import { Budget } from "../../../core/query/budget.ts";
import { productsOf } from "./products.ts";
import { comparedDays, eventsIn, salesOf } from "./sales.ts";
import type { ReportNumbers } from "./summary.ts";

/** What a report reads: its views, and the streams whose quality it tells. */
export interface ReportTargets {
  readonly sales: ViewTarget;
  readonly products: ViewTarget;
  readonly streams: readonly StreamTarget[];
}

/**
 * The numbers of the day at the pin's cuts, from the archive's events by the views' own SQL. A version of a view would be cheaper to read, but
 * its files go with the next ones; the archive's events up to a cut are the same for ever. Throws REPORT_TOO_LARGE.
 */
export async function reportNumbers(
  stores: BatchStores,
  { sales, products, streams }: ReportTargets,
  pin: ReportPin,
  watch: Watch,
): Promise<ReportNumbers> {
  return withDuck(stores, watch, async (duck) => {
    const budget = new Budget(REPORT_LIMITS);
    const relations = new Map<string, string | null>();
    const archived = async (target: StreamTarget): Promise<string | null> => {
      const contract = contractOf(target);
      const known = relations.get(contract);
      if (known !== undefined) return known;
      const span = pin.streams[target.stream.name];
      if (span === undefined) throw notPinned(target);
      const [from, to] = [cutFromJson(span.start), cutFromJson(span.cut)];
      const { relation } = await archivedEvents(stores, duck, target, span.topicId, from, to);
      relations.set(contract, relation);
      return relation;
    };
    /** The events that a view's numbers come from, read once; a table of that name. */
    const table = async (name: string, target: ViewTarget) => {
      const events = await archived(target);
      const { view } = target;
      const source = events === null ? null : eventsIn(view, events, comparedDays(pin));
      if (source === null) return null;
      // One row more than may be read shows that there are more.
      const most = REPORT_LIMITS.rows - budget.spent("rows") + 1;
      await duck.run(`CREATE TEMP TABLE ${name} AS SELECT * FROM ${source} LIMIT ${most}`);
      const [read = 0] = await numbersOf(duck, `SELECT count(*) FROM ${name}`);
      spendEvents(budget, target.stream.name, read);
      watch.beat({ read: view.name });
      return name;
    };
    const orders = await table("report_sales", sales);
    const lines = contractOf(sales) === contractOf(products) ? orders : await table("report_products", products);
    const quality: Record<string, StreamQuality> = {};
    for (const target of streams) {
      const records = await archived(target);
      quality[target.stream.name] = records === null ? NO_RECORDS : await qualityOf(duck, records, pin);
      watch.beat({ read: target.stream.name });
    }
    return {
      sales: orders === null ? NO_SALES : await salesOf({ duck, events: orders, budget }, sales.view, pin),
      products: lines === null ? [] : await productsOf({ duck, events: lines, budget }, products.view, pin),
      quality,
      units: unitsOf(sales.view),
    };
  });
}

const NONE: readonly number[] = Array.from({ length: 24 }, () => 0);
const NO_SALES: ReportNumbers["sales"] = {
  day: {},
  dayBefore: {},
  weekBefore: {},
  by: {},
  hours: { day: NONE, dayBefore: NONE, weekBefore: NONE },
};

/** What decodes a stream's records: views that were pinned at different times may have been defined over different revisions of it. */
function contractOf({ topic, stream }: StreamTarget): string {
  return `${topic}/${stream.revision}`;
}

function unitsOf({ measures }: View): Record<string, string> {
  return Object.fromEntries(Object.entries(measures).map(([name, { unit }]) => [name, unit]));
}

function notPinned({ stream }: StreamTarget): TidelineError {
  return new TidelineError(
    "BAD_REQUEST",
    `this edition was pinned without stream ${stream.name}`,
    "Ask for a fresh edition: `tideline report --fresh`.",
  );
}
