import { flag, instant, integer, oneOf, text } from "../../../core/contract/fields.ts";
import { sql } from "../../../core/contract/sql.ts";
import { stream } from "../../../core/contract/stream.ts";
import { view } from "../../../core/definition/view.ts";
import { count } from "../../../core/measures/kinds/count.ts";
import { distinct } from "../../../core/measures/kinds/distinct.ts";
import { max } from "../../../core/measures/kinds/extremes.ts";
import { sum } from "../../../core/measures/kinds/sum.ts";
import { planQuery, type Query } from "../../../core/query/query.ts";
import type { Model } from "../../fixtures/oracles/oracle.ts";

/** The stream of the protocol's simulations: as small as it can be, so that a simulation takes milliseconds. */
export interface Parcel {
  readonly id: string;
  readonly at: number;
  readonly place: "north" | "south";
  /** No two records have the same: a sum that is right counted each record once. */
  readonly weight: number;
  readonly colour: string;
  readonly hidden: boolean;
}

export const DEDUP_WINDOW = 6;
export const PARTITIONS = [0, 1] as const;

export const parcels = stream("parcels", {
  revision: 1,
  partitions: PARTITIONS.length,
  key: "id",
  eventId: "id",
  eventTime: "at",
  dedupWindow: DEDUP_WINDOW,
  fields: {
    id: text({ max: 20 }),
    at: instant({ from: "2020-01-01T00:00:00Z", to: "2030-01-01T00:00:00Z" }),
    place: oneOf("north", "south"),
    weight: integer({ min: 0, max: 1_000_000_000_000 }),
    colour: text({ max: 20 }),
    hidden: flag(),
  },
});

export const weights = view("weights", {
  stream: parcels,
  where: sql`NOT hidden`,
  by: { place: sql`place` },
  every: "1 hour",
  measures: {
    parcels: count(),
    weight: sum(sql`weight`),
    heaviest: max(sql`weight`),
    colours: distinct(sql`colour`),
  },
});

/** What `weights` says, in plain TypeScript. */
export const weightsModel: Model<Parcel> = {
  dedupWindow: DEDUP_WINDOW,
  decode: (value) => {
    try {
      const parcel = JSON.parse(value?.toString() ?? "") as Parcel;
      return parcel.weight >= 0 ? parcel : null;
    } catch {
      return null;
    }
  },
  id: ({ id }) => id,
  timeMs: ({ at }) => at,
  counted: ({ hidden }) => !hidden,
  grainMs: 3_600_000,
  group: ({ place }) => [place],
  measures: {
    parcels: { kind: "count" },
    weight: { kind: "sum", of: ({ weight }) => weight },
    heaviest: { kind: "max", of: ({ weight }) => weight },
    colours: { kind: "distinct", of: ({ colour }) => colour },
  },
};

/**
 * What readers ask in turn, and its model: everything, for which buckets are read as a whole, and one group, of which
 * only its own fields are read.
 */
export const questions: readonly { readonly query: Query; readonly model: Model<Parcel> }[] = [
  { query: planned({}), model: weightsModel },
  {
    query: planned({ "where[place]": "north" }),
    model: { ...weightsModel, counted: (parcel) => weightsModel.counted(parcel) && parcel.place === "north" },
  },
];

function planned(parameters: Readonly<Record<string, string>>): Query {
  const plan = planQuery(weights, { from: "2020-01-01", to: "2030-01-01", limit: "1000", ...parameters });
  if (!plan.ok) throw new Error(JSON.stringify(plan.problems));
  return plan.query;
}
