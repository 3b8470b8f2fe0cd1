import { type Schema, Type } from "avsc";
import type { GroupValue } from "../core/state/cells.ts";
import type { Model } from "./oracle.ts";
import { type Order, revenueModel } from "./revenue-model.ts";

/**
 * What the shop's views say, in plain TypeScript; and how its records are read without our decoder: JSON as it is, Avro
 * by schemas that are written out here by hand.
 */

interface CompletedOrder extends Order {
  readonly items?: readonly Item[];
  readonly created_at?: number | null;
  readonly reserved_at?: number | null;
  readonly paid_at?: number | null;
}

interface Item {
  readonly sku: string;
  readonly quantity: number;
  readonly unit_cents: number;
}

interface Cancelled {
  readonly event_id: string;
  readonly cancelled_at: number;
  readonly created_at: number;
  readonly region: string;
  readonly reason: string;
  readonly step: string;
  readonly amount_cents: number;
  readonly test_order: boolean;
}

interface Activity {
  readonly event_id: string;
  readonly user_id: string;
  readonly occurred_at: number;
  readonly kind: string;
  readonly page: string;
  readonly sku?: string | null;
  readonly region: string;
  readonly device: string;
}

const text = (name: string) => ({ name, type: "string" });
const long = (name: string) => ({ name, type: "long" });
const time = (name: string) => ({ name, type: { type: "long", logicalType: "timestamp-millis" } });
const flag = (name: string) => ({ name, type: "boolean" });
const maybe = (field: { name: string; type: unknown }) => ({
  name: field.name,
  type: ["null", field.type],
  default: null,
});
const record = (name: string, fields: readonly object[]) => Type.forSchema({ type: "record", name, fields } as Schema);

const completedV1 = [
  ...[text("event_id"), text("order_id"), time("completed_at"), text("region"), text("category"), text("buyer_id")],
  ...[long("amount_cents"), flag("test_order")],
];
const item = {
  type: "record",
  name: "Item",
  fields: [text("sku"), text("category"), long("quantity"), long("unit_cents")],
};

/** Schema by the words with which the registry describes it. */
const types: Readonly<Record<string, Type>> = {
  "order-completed, version 1": record("CompletedV1", completedV1),
  "order-completed, version 2": record("CompletedV2", [
    ...completedV1,
    { ...long("tax_cents"), default: 0 },
    { name: "items", type: { type: "array", items: item }, default: [] },
    ...[maybe(time("created_at")), maybe(time("reserved_at")), maybe(time("paid_at"))],
  ]),
  "order-cancelled, version 1": record("Cancelled", [
    ...[text("event_id"), text("order_id"), time("cancelled_at"), time("created_at"), text("region"), text("buyer_id")],
    ...[text("reason"), text("step"), long("amount_cents"), flag("test_order")],
  ]),
  "user-activity, version 1": record("Activity", [
    ...[text("event_id"), text("user_id"), time("occurred_at"), text("kind"), text("page"), maybe(text("sku"))],
    ...[text("region"), text("device")],
  ]),
};

/** Schema id -> what the registry says that it is. */
export type SchemaIds = ReadonlyMap<number, string>;

const utf8 = new TextDecoder("utf-8", { fatal: true });

/** An event, or null for a record that no contract accepts. Only what our simulator spoils is looked for. */
function reader<E>(ids: SchemaIds, timeField: keyof E): (value: Buffer | null) => E | null {
  const read = (value: Buffer): E | null => {
    try {
      const type = value[0] === 0 ? types[ids.get(value.readUInt32BE(1)) ?? ""] : null;
      if (type === undefined) return null;
      const event = (type === null ? JSON.parse(utf8.decode(value)) : type.fromBuffer(value.subarray(5))) as E;
      return Number.isInteger(event[timeField]) ? event : null;
    } catch {
      return null;
    }
  };
  // A log is folded for many answers.
  const known = new WeakMap<Buffer, { readonly event: E | null }>();
  return (value) => {
    if (value === null) return null;
    const held = known.get(value) ?? { event: read(value) };
    known.set(value, held);
    return held.event;
  };
}

/** A model of each of the shop's views, with its dimensions, for a log whose Avro records have these schema ids. */
export function shopModels(ids: SchemaIds) {
  const ofOrders = {
    dedupWindow: 20_000,
    decode: reader<CompletedOrder>(ids, "completed_at"),
    id: (order: CompletedOrder) => order.event_id,
    timeMs: (order: CompletedOrder) => order.completed_at,
    counted: (order: CompletedOrder) => !order.test_order,
    grainMs: 3_600_000,
  };
  const ofActivity = {
    dedupWindow: 20_000,
    decode: reader<Activity>(ids, "occurred_at"),
    id: (act: Activity) => act.event_id,
    timeMs: (act: Activity) => act.occurred_at,
    counted: () => true,
  };
  const is = (kind: string) => (act: Activity) => act.kind === kind;
  const between = (from?: number | null, to?: number | null) => (from == null || to == null ? null : to - from);
  const region = (one: { readonly region: string }): GroupValue[] => [one.region];
  const regionAndDevice = (act: Activity): GroupValue[] => [act.region, act.device];

  const revenue: Model<CompletedOrder> = { ...revenueModel, decode: ofOrders.decode };
  const baskets: Model<CompletedOrder> = {
    ...ofOrders,
    group: region,
    measures: {
      orders: { kind: "count" },
      average: { kind: "avg", of: (order) => order.amount_cents },
      amount: { kind: "quantile", of: (order) => order.amount_cents, at: [0.1, 0.5, 0.9, 0.99], error: 0.01 },
      spread: {
        kind: "histogram",
        of: (order) => order.amount_cents,
        edges: [1_000, 2_500, 5_000, 10_000, 25_000, 50_000],
      },
      tax: { kind: "sum", of: (order) => order.tax_cents ?? 0 },
    },
  };
  const topProducts: Model<CompletedOrder, Item> = {
    ...ofOrders,
    lines: (order) => order.items ?? [],
    group: () => [],
    measures: {
      lines: { kind: "count" },
      products: { kind: "distinct", of: ({ sku }) => sku },
      units: { kind: "topK", of: ({ sku }) => sku, weight: ({ quantity }) => quantity, show: 100 },
      revenue: { kind: "topK", of: ({ sku }) => sku, weight: (line) => line.quantity * line.unit_cents, show: 100 },
    },
  };
  const activeBuyers: Model<CompletedOrder> = {
    ...ofOrders,
    group: region,
    measures: { orders: { kind: "count" }, buyers: { kind: "distinct", of: (order) => order.buyer_id } },
  };
  const orderDurations: Model<CompletedOrder> = {
    ...ofOrders,
    group: region,
    measures: {
      orders: { kind: "count" },
      timed: { kind: "count", where: (order) => typeof order.created_at === "number" },
      to_reserve: {
        kind: "quantile",
        of: (o) => between(o.created_at, o.reserved_at),
        at: [0.5, 0.9, 0.99],
        error: 0.05,
      },
      to_pay: { kind: "quantile", of: (o) => between(o.reserved_at, o.paid_at), at: [0.5, 0.9, 0.99], error: 0.05 },
      to_complete: {
        kind: "quantile",
        of: (o) => between(o.created_at, o.completed_at),
        at: [0.5, 0.9, 0.99],
        error: 0.05,
      },
      longest: { kind: "max", of: (order) => between(order.created_at, order.completed_at) },
    },
  };
  const cancellations: Model<Cancelled> = {
    dedupWindow: 20_000,
    decode: reader<Cancelled>(ids, "cancelled_at"),
    id: (order) => order.event_id,
    timeMs: (order) => order.cancelled_at,
    counted: (order) => !order.test_order,
    grainMs: 3_600_000,
    group: (order) => [order.region, order.reason],
    measures: {
      orders: { kind: "count" },
      lost: { kind: "sum", of: (order) => order.amount_cents },
      reserved_share: { kind: "ratio", top: (order) => order.step !== "created", bottom: () => true },
      average_life: { kind: "avg", of: (order) => order.cancelled_at - order.created_at },
    },
  };
  const trendingProducts: Model<Activity> = {
    ...ofActivity,
    grainMs: 60_000,
    group: () => [],
    measures: {
      views: { kind: "count", where: is("view") },
      purchases: { kind: "count", where: is("purchase") },
      viewed: { kind: "topK", of: (act) => (act.kind === "view" ? (act.sku ?? null) : null), show: 10 },
      purchased: { kind: "topK", of: (act) => (act.kind === "purchase" ? (act.sku ?? null) : null), show: 10 },
    },
  };
  const activeUsers: Model<Activity> = {
    ...ofActivity,
    grainMs: 3_600_000,
    group: regionAndDevice,
    measures: { events: { kind: "count" }, users: { kind: "distinct", of: (act) => act.user_id } },
  };
  const conversion: Model<Activity> = {
    ...ofActivity,
    grainMs: 60_000,
    group: regionAndDevice,
    measures: {
      views: { kind: "count", where: is("view") },
      carts: { kind: "count", where: is("add-to-cart") },
      purchases: { kind: "count", where: is("purchase") },
      carts_per_view: { kind: "ratio", top: is("add-to-cart"), bottom: is("view") },
      purchases_per_cart: { kind: "ratio", top: is("purchase"), bottom: is("add-to-cart") },
      purchases_per_view: { kind: "ratio", top: is("purchase"), bottom: is("view") },
    },
  };
  const visits: Model<Activity> = {
    ...ofActivity,
    grainMs: 1_800_000,
    group: (act) => [act.user_id],
    measures: {
      events: { kind: "count" },
      views: { kind: "count", where: is("view") },
      purchases: { kind: "count", where: is("purchase") },
      device: { kind: "last", of: (act) => act.device },
      first_page: { kind: "first", of: (act) => act.page },
      last_page: { kind: "last", of: (act) => act.page },
    },
  };
  return {
    revenue,
    baskets,
    topProducts,
    activeBuyers,
    orderDurations,
    cancellations,
    trendingProducts,
    activeUsers,
    conversion,
    visits,
  };
}
