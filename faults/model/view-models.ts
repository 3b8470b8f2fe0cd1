import type { GroupValue } from "../../core/state/cells.ts";
import type { Model } from "../../test/fixtures/oracles/oracle.ts";
import {
  type Latest,
  latestOf,
  type Newest,
  newest,
  type TableFold,
  type TableModel,
  tableFoldOf,
} from "./table-fold.ts";
import { foldOf, type ViewFold } from "./view-fold.ts";

/** One event of `ticks`. */
export interface Tick {
  readonly id: string;
  readonly thing: string;
  readonly at: number;
  readonly place: string | null;
  readonly good: boolean | null;
  readonly amount: number;
  readonly tip: number | null;
  readonly test: boolean;
  readonly items: readonly Item[];
}

interface Item {
  readonly sku: string;
  readonly quantity: number;
}

export const PLACES = ["quay", 'the "old" port', "pier 7/8"] as const;

const isText = (value: unknown) => typeof value === "string" && value.length <= 20;

/** What the contract accepts, as far as the source spoils it. */
function decode(value: Buffer | null): Tick | null {
  try {
    const tick = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(value ?? Buffer.from("{"))) as Tick;
    const sound =
      isText(tick.id) && Number.isInteger(tick.at) && Number.isInteger(tick.amount) && typeof tick.test === "boolean";
    return sound && Math.abs(tick.amount) <= 1_000_000 ? tick : null;
  } catch {
    return null;
  }
}

/** The key that a record without a value deletes; null when it is refused. */
function tombstoneKey(key: Buffer | null): string | null {
  return key !== null && isText(String(key)) ? String(key) : null;
}

/** What `schemas/ticks.ts` says. */
export const contract = {
  dedupWindow: 60,
  decode,
  tombstoneKey,
  id: (tick: Tick) => tick.id,
  timeMs: (tick: Tick) => tick.at,
};

const everything: Model<Tick> = {
  ...contract,
  counted: (tick) => !tick.test,
  grainMs: 300_000,
  group: (tick): GroupValue[] => [tick.place, tick.good],
  measures: {
    events: { kind: "count" },
    total: { kind: "sum", of: (tick) => tick.amount },
    least: { kind: "min", of: (tick) => tick.amount },
    most: { kind: "max", of: (tick) => tick.amount },
    mean_tip: { kind: "avg", of: (tick) => tick.tip },
    amounts: { kind: "distinct", of: (tick) => tick.amount },
    spread: { kind: "quantile", of: (tick) => tick.amount, at: [0.01, 0.5, 0.9], error: 0.02 },
    tip_bins: { kind: "histogram", of: (tick) => tick.tip, edges: [10, 50, 90] },
    first_tip: { kind: "first", of: (tick) => tick.tip },
    last_place: { kind: "last", of: (tick) => tick.place },
    good_share: { kind: "ratio", top: (tick) => tick.good === true, bottom: () => true },
  },
};

const totals: Model<Tick> = {
  ...contract,
  counted: () => true,
  grainMs: 600_000,
  group: () => [],
  measures: {
    events: { kind: "count" },
    amount: { kind: "sum", of: (tick) => tick.amount },
    ids: { kind: "distinct", of: (tick) => tick.id },
    last_id: { kind: "last", of: (tick) => tick.id },
  },
};

const lines: Model<Tick, Item & { readonly place: string | null }> = {
  ...contract,
  counted: (tick) => !tick.test,
  lines: ({ items, place }) => items.map((item) => ({ ...item, place })),
  grainMs: 1_800_000,
  group: ({ place }) => [place],
  measures: {
    events: { kind: "count" },
    units: { kind: "sum", of: ({ quantity }) => quantity },
    best: { kind: "topK", of: ({ sku }) => sku, weight: ({ quantity }) => quantity, show: 3 },
  },
};

const things: TableModel<Tick, Newest<Tick>> = {
  table: "things",
  key: ["thing"],
  numbers: ["amount"],
  filters: { place: [...PLACES, "null"], good: ["true", "null"], tip: ["7", "50"] },
  keyOf: ({ thing, test }) => (test ? null : [thing]),
  countsTombstones: true,
  of: (event, place) => ({ event, place }),
  join: newest,
  row({ event }) {
    if (event === null || event.amount < -400) return null;
    const { id, thing, at, place, good, amount, tip, test, items } = event;
    const lines = items.map(({ sku, quantity }) => ({ sku, quantity }));
    return { id, thing, at: new Date(at).toISOString(), place, good, amount, tip, test, items: lines };
  },
};

interface Berth {
  readonly events: number;
  readonly total: number;
  readonly least: number;
  readonly most: number;
  readonly last: Latest;
}

const berths: TableModel<Tick, Berth> = {
  table: "berths",
  key: ["thing", "place"],
  numbers: ["events", "total", "least", "most"],
  filters: { place: PLACES, events: ["1", "2", "7"], least: ["-500", "-499"] },
  keyOf: ({ thing, place }) => (place === null ? null : [thing, place]),
  countsTombstones: false,
  of(tick, place) {
    if (tick === null) throw new RangeError("no tombstone is counted");
    const { amount, id } = tick;
    return { events: 1, total: amount, least: amount, most: amount, last: { value: id, place } };
  },
  join: (a, b) => ({
    events: a.events + b.events,
    total: a.total + b.total,
    least: Math.min(a.least, b.least),
    most: Math.max(a.most, b.most),
    last: latestOf(a.last, b.last),
  }),
  row: ({ events, total, least, most, last }) => ({ events, total, least, most, last_id: last.value }),
};

const HOUR_MS = 3_600_000;

/** A fold for each view of `views/`, written independently in plain TypeScript. */
export function openFolds(): ViewFold<Tick>[] {
  const hours = { everyMs: HOUR_MS, by: [] };
  return [
    foldOf({
      view: "everything",
      model: everything,
      dimensions: ["place", "good"],
      shapes: [{ everyMs: 600_000, by: ["good"] }, hours],
    }),
    foldOf({ view: "totals", model: totals, dimensions: [], shapes: [] }),
    foldOf({ view: "lines", model: lines, dimensions: ["place"], shapes: [hours] }),
  ];
}

/** A fold for each table of `views/`. */
export function openTableFolds(): TableFold<Tick>[] {
  return [tableFoldOf(things), tableFoldOf(berths)];
}
