import { cellsOver, coarser } from "../../../batch-layer/report/coarser.ts";
import { eventsIn } from "../../../batch-layer/report/source.ts";
import type { View } from "../../../core/definition/view.ts";
import { DAY_MS, type TimeRange } from "../../../core/interval.ts";
import type { EpochMs } from "../../../core/log/position.ts";
import type { PresentedField } from "../../../core/measures/measure.ts";
import type { Budget } from "../../../core/query/budget.ts";
import { type Cell, type GroupValue, stateOf } from "../../../core/state/cells.ts";
import type { Duck } from "../../../store/duckdb/duck.ts";

/** What the view `revenue` says about a day, the day before and the same weekday a week before. */
export interface Sales {
  readonly day: Totals;
  readonly dayBefore: Totals;
  readonly weekBefore: Totals;
  /** By dimension of the view, the groups with the most revenue first. */
  readonly by: Readonly<Record<string, readonly GroupSales[]>>;
  /** Revenue of the 24 hours, in the measure's own unit. */
  readonly hours: Readonly<Record<keyof typeof DAYS, readonly number[]>>;
}

/** The view's measures by name; empty when nothing was sold. */
export type Totals = Readonly<Record<string, PresentedField>>;

export interface GroupSales {
  readonly group: GroupValue;
  readonly day: Totals;
  readonly dayBefore: Totals;
}

/** What is shown of the view, if it has it. */
const MEASURES = ["orders", "revenue", "average", "buyers", "basket"];
const HOUR_MS = 3_600_000;
const DAYS = { day: 0, dayBefore: -1, weekBefore: -7 } as const;

/** The days that a report compares, as ranges of event time. */
export function comparedDays({ fromMs, toMs }: TimeRange): TimeRange[] {
  return Object.values(DAYS).map((days) => ({ fromMs: fromMs + days * DAY_MS, toMs: toMs + days * DAY_MS }));
}

/** What a part of a report is made from. */
export interface PartSource {
  readonly duck: Duck;
  /** SQL: a relation of the view's events. */
  readonly events: string;
  readonly budget: Budget;
}

/** The sales of the UTC day that begins at `fromMs`. Throws REPORT_TOO_LARGE. */
export async function salesOf(source: PartSource, view: View, day: TimeRange): Promise<Sales> {
  const { duck, events, budget } = source;
  const measures = MEASURES.filter((name) => name in view.measures);
  const [today, yesterday] = [day.fromMs, day.fromMs - DAY_MS];
  const within = eventsIn(view, events, comparedDays(day));
  const whole = coarser(view, { grainMs: DAY_MS, by: [], measures });
  const totals = await cellsOver(duck, whole, within, budget);
  const on = (cells: readonly Cell[], bucket: EpochMs, of: View) =>
    totalsOf(
      of,
      cells.find((cell) => cell.bucket === bucket),
    );
  const by: Record<string, GroupSales[]> = {};
  for (const dimension of Object.keys(view.by)) {
    const grouped = coarser(view, { grainMs: DAY_MS, by: [dimension], measures });
    const cells = await cellsOver(duck, grouped, eventsIn(view, events, comparedDays(day).slice(0, 2)), budget);
    by[dimension] = groupsOf(cells).map((group) => {
      const own = cells.filter((cell) => cell.group[0] === group);
      return { group, day: on(own, today, grouped), dayBefore: on(own, yesterday, grouped) };
    });
    by[dimension].sort((a, b) => numberIn(b.day, "revenue") - numberIn(a.day, "revenue") || order(a.group, b.group));
  }
  return {
    day: on(totals, today, whole),
    dayBefore: on(totals, yesterday, whole),
    weekBefore: on(totals, day.fromMs + DAYS.weekBefore * DAY_MS, whole),
    by,
    hours: await hoursOf({ ...source, events: within }, view, day),
  };
}

async function hoursOf({ duck, events, budget }: PartSource, view: View, day: TimeRange): Promise<Sales["hours"]> {
  const hourly = coarser(view, { grainMs: HOUR_MS, by: [], measures: ["revenue"] });
  const byBucket = new Map((await cellsOver(duck, hourly, events, budget)).map((cell) => [cell.bucket, cell]));
  const hours = (days: number) =>
    Array.from({ length: 24 }, (_, hour) =>
      numberIn(totalsOf(hourly, byBucket.get(day.fromMs + days * DAY_MS + hour * HOUR_MS)), "revenue"),
    );
  return { day: hours(DAYS.day), dayBefore: hours(DAYS.dayBefore), weekBefore: hours(DAYS.weekBefore) };
}

function totalsOf({ measures }: View, cell: Cell | undefined): Totals {
  if (cell === undefined) return {};
  return Object.fromEntries(
    Object.entries(measures).map(([name, { present }]) => [name, present(stateOf(cell, name))]),
  );
}

function groupsOf(cells: readonly Cell[]): GroupValue[] {
  return [...new Set(cells.map(({ group }) => group[0] ?? null))];
}

/** A measure's value as a number: 0 where there is none. */
export function numberIn(totals: Totals, measure: string): number {
  return Number(totals[measure] ?? 0);
}

function order(a: GroupValue, b: GroupValue): number {
  return String(a) < String(b) ? -1 : 1;
}
