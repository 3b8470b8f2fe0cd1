import type { EventOf, Report, System } from "tideline";
import * as tideline from "tideline";
import {
  count,
  decimal,
  flag,
  instant,
  integer,
  list,
  map,
  oneOf,
  optional,
  rule,
  simulator,
  sql,
  stream,
  sum,
  table,
  text,
  view,
  withDefault,
} from "tideline";
import type { orderCompleted } from "tideline/schemas/order-completed";
import { expect, expectTypeOf, test } from "vitest";

/**
 * The types that users' files get. `npm run types` reads them; what is wrong in a file of a user has to be an error
 * there, and what is right must not.
 */

const parcels = stream("parcels", {
  revision: 1,
  partitions: 3,
  key: "parcel",
  eventId: ["parcel", "scan"],
  eventTime: "at",
  dedupWindow: 1_000,
  fields: {
    parcel: text(),
    scan: integer({ min: 0, max: 999 }),
    at: instant(),
    state: oneOf("sent", "arrived"),
    carrier: oneOf("own", "post", { from: "$.by.carrier" }),
    cost: optional(decimal({ scale: 2, min: 0, max: 1_000 })),
    isFragile: withDefault(flag(), false),
    stops: list({ depot: text() }, { max: 10 }),
    weights: map(integer({ min: 0, max: 10 })),
  },
});

test("an event has the types of its stream's fields", () => {
  type Parcel = EventOf<typeof parcels>;
  expectTypeOf<Parcel["parcel"]>().toEqualTypeOf<string>();
  expectTypeOf<Parcel["state"]>().toEqualTypeOf<"sent" | "arrived">();
  expectTypeOf<Parcel["carrier"]>().toEqualTypeOf<"own" | "post">();
  expectTypeOf<Parcel["at"]>().toExtend<number>();
  expectTypeOf<null>().toExtend<Parcel["cost"]>();
  expectTypeOf<boolean>().toExtend<Parcel["isFragile"]>();
  expectTypeOf<EventOf<typeof orderCompleted>["order_id"]>().toEqualTypeOf<string>();
  expect(parcels.contract.safeParse({ parcel: 7 }).success).toBe(false);
});

test("a stream's key, event id and event time are names of its fields", () => {
  const { fields } = parcels;
  const rest = { revision: 1, partitions: 1, dedupWindow: 1, fields } as const;
  stream("right", { ...rest, key: "parcel", eventId: "scan", eventTime: "at" });
  // @ts-expect-error there is no field of this name
  stream("wrong", { ...rest, key: "customer", eventId: "scan", eventTime: "at" });
  // @ts-expect-error one of the fields is not there
  stream("wrong", { ...rest, key: "parcel", eventId: ["parcel", "number"], eventTime: "at" });
  // @ts-expect-error there is no field of this name
  stream("wrong", { ...rest, key: "parcel", eventId: "scan", eventTime: "time" });
  // @ts-expect-error a list of fields is not a field
  stream("wrong", { ...rest, key: "parcel", eventId: "scan", eventTime: "at", fields: ["parcel"] });
});

test("expressions are SQL, and not texts", () => {
  const measures = { parcels: count(), cost: sum(sql`cost`) };
  view("right", { stream: parcels, every: "1 hour", by: { state: sql`state` }, where: sql`scan > 0`, measures });
  table("right", { stream: parcels, key: sql`parcel`, measures, indexes: ["parcel"] });
  rule("right", { on: parcels, when: sql`scan > 3`, key: sql`parcel`, quiet: "1 hour", severity: "warning" });
  // @ts-expect-error a text is not an expression
  view("wrong", { stream: parcels, every: "1 hour", by: { state: "state" }, measures });
  // @ts-expect-error a text is not an expression
  expectTypeOf(sum).toBeCallableWith("cost");
  // @ts-expect-error a view has a grain
  view("wrong", { stream: parcels, measures });
  // @ts-expect-error a table has no grain
  table("wrong", { stream: parcels, key: sql`parcel`, every: "1 hour" });
});

test("a system has simulators that make events of streams", () => {
  const made = simulator("parcels", {
    description: "parcels on their way",
    streams: [parcels],
    unit: "scans",
    rate: 10,
    events:
      ({ fromMs }) =>
      (step) => [{ stream: parcels, event: { parcel: `p${step}`, at: fromMs } }],
  });
  expectTypeOf({ description: "parcels", simulators: [made] }).toExtend<System>();
  // @ts-expect-error a simulator is an object, and not a name
  const wrong: System = { simulators: ["parcels"] };
  expect(wrong).toBeDefined();
  expectTypeOf<NonNullable<System["report"]>>().returns.resolves.toEqualTypeOf<Report>();
});

test("these names are exported", () => {
  expect(Object.keys(tideline).sort()).toMatchInlineSnapshot(`
    [
      "alerts",
      "avg",
      "count",
      "decimal",
      "delivery",
      "distinct",
      "first",
      "flag",
      "histogram",
      "instant",
      "integer",
      "joined",
      "last",
      "list",
      "mail",
      "map",
      "max",
      "min",
      "oneOf",
      "optional",
      "quantile",
      "ratio",
      "rule",
      "simulator",
      "slack",
      "sql",
      "stream",
      "sum",
      "table",
      "text",
      "topK",
      "topic",
      "view",
      "webhook",
      "withDefault",
    ]
  `);
});
