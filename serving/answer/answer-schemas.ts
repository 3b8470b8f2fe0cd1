import { z } from "zod";
import type { View } from "../../core/definition/view.ts";
import { count, cut, LogPosition, list, time } from "../../core/json-parts.ts";
import { dimensionScales } from "../../core/measures/decimals.ts";
import type { Measure } from "../../core/measures/measure.ts";
import { partialColumn } from "../../core/query/partial.ts";
import { AnyRow } from "../../core/query/present.ts";
import { Missing } from "../common/missing.ts";
import { problems } from "../common/trouble.ts";
import type { ColumnTypes } from "../views/column-types.ts";

/** The description of a column. A measure's `type` is the kind of its definition: count, sum, distinct. */
export const AnswerField = z
  .object({
    kind: z.enum(["time", "dimension", "measure"]),
    type: z.string().describe("of a measure: its kind; of a dimension: text, integer, decimal or boolean"),
    values: z
      .enum(["integer", "decimal", "double", "text", "boolean", "instant", "other"])
      .describe("what its values are, or those of its parts"),
    json: z
      .enum(["number", "string", "boolean"])
      .describe("the type that all of them have in JSON, where not null")
      .exactOptional(),
    scale: count.describe("how many decimal places its exact decimals have").exactOptional(),
    unit: z.string(),
    exact: z.boolean(),
    error: z.number().describe("relative standard error; 0 when exact"),
    note: z.string(),
    parts: z
      .union([list(z.string()), z.literal("list")])
      .describe("of a measure that presents several values: their names, or list")
      .exactOptional(),
  })
  .meta({ id: "Field" });
export type AnswerField = z.infer<typeof AnswerField>;

/** A note for the client about an answer that is right. */
export const AnswerNotice = z.object({
  code: z
    .enum(["EVENTS_AFTER_NOW", "LONG_NUMBERS"])
    .describe(
      "EVENTS_AFTER_NOW: the view holds events after the server's clock, and the window that " +
        "was chosen for you ends before them. LONG_NUMBERS: readers that keep numbers as " +
        "doubles round some of these; numbers=text avoids it",
    ),
  message: z.string(),
});
export type AnswerNotice = z.infer<typeof AnswerNotice>;

const notices = list(AnswerNotice)
  .describe("what a client should know although the answer is right; absent when there is nothing")
  .exactOptional();

/** The columns of an answer, by name. */
export const fields = z.record(z.string(), AnswerField);

const asOf = z.string().describe("opaque token of the position that the answer belongs to");
const freshness = z
  .int()
  .nullable()
  .describe("how long ago the applied position was known to be the end of the log; null with at");
const complete = z.boolean().describe("false: the batch version alone, and `missing` says why");

/** The fields that every answer has beside its rows. */
export const AnswerStatus = z.object({
  asOf,
  position: LogPosition,
  batchVersion: count,
  freshnessMs: freshness,
  complete,
  missing: Missing.exactOptional(),
  problems,
});
export type AnswerStatus = z.infer<typeof AnswerStatus>;

/** The fields that an answer about a joined table has beside its rows. Each of its tables has a position of its own. */
export const JoinedStatus = z.object({
  asOf,
  tables: z
    .record(
      z.string(),
      AnswerStatus.omit({ asOf: true, batchVersion: true }).extend({ table: z.string(), stream: z.string() }),
    )
    .describe("by the table's name in the definition"),
  freshnessMs: freshness,
  complete,
});
export type JoinedStatus = z.infer<typeof JoinedStatus>;

/** The event time that the rows are about, and the buckets that it is cut into. */
export const AnswerWindow = z.object({
  from: time,
  to: time,
  every: z.string().describe("the width of a bucket, the calendar's unit, or all"),
  window: z.string().describe("how much time a row covers; as every unless windows slide"),
  zone: z.string(),
});
export type AnswerWindow = z.infer<typeof AnswerWindow>;

/** The answer to a query of a view. */
export const AnswerBody = AnswerStatus.extend({
  view: z.string(),
  rows: list(AnyRow),
  truncated: z.boolean().describe("whether there are more rows than limit"),
  fields,
  window: AnswerWindow,
  notices,
});
export type AnswerBody = z.infer<typeof AnswerBody>;

/** A value that a dimension has. */
const KeyEntry = z.object({
  key: z.union([z.string(), z.number(), z.boolean(), z.null()]),
  rows: z.union([z.int(), z.string()]).describe("how many events (or lines) have it"),
});

/** The answer that lists the values of a dimension. */
export const KeysBody = AnswerStatus.extend({
  view: z.string(),
  dimension: z.string(),
  keys: list(KeyEntry),
  truncated: z.boolean().describe("whether there are more values than limit"),
  window: AnswerWindow.pick({ from: true, to: true }),
  notices,
});
export type KeysBody = z.infer<typeof KeysBody>;

/** `AnswerBody` with the columns of one view. */
export function answerOf(view: View, types: ColumnTypes) {
  return AnswerBody.extend({ view: z.literal(view.name), rows: list(rowOf(view, types)) });
}

/** `KeysBody` with the values that the dimensions of one view can have. */
export function keysOf(view: View, types: ColumnTypes) {
  const key = z.union(Object.keys(view.by).map((name) => dimensionValue(view, types, name)));
  return KeysBody.extend({ view: z.literal(view.name), keys: list(KeyEntry.extend({ key })) });
}

/** A query may leave out any column but `bucket`. */
function rowOf(view: View, types: ColumnTypes) {
  const dimensions = Object.keys(view.by).map((name) => [name, dimensionValue(view, types, name)] as const);
  const measures = Object.entries(view.measures).map(([name, measure]) => [name, measureValue(measure)] as const);
  const duration = z.union([z.int(), z.string()]);
  const partial = z.literal(true).describe("from and to leave out a part of the bucket's time; else absent");
  const columns = z.object({
    ...(view.sessions === null ? {} : { ended: time, duration_ms: duration }),
    ...Object.fromEntries([...dimensions, ...measures]),
    ...(view.sessions === null ? { [partialColumn(view)]: partial } : {}),
  });
  return z.object({ bucket: time, ...columns.partial().shape });
}

/** The type of a dimension's values. With numbers=text, exact numbers are text. */
function dimensionValue(view: View, types: ColumnTypes, name: string): z.ZodType {
  if (dimensionScales(view).has(name)) return z.union([z.number(), z.string(), z.null()]);
  const type = types.get(name) ?? "text";
  if (type === "integer") return z.union([z.int(), z.string(), z.null()]);
  return (type === "boolean" ? z.boolean() : z.string()).nullable();
}

function measureValue({ kind, unit, accuracy, parts, values, scale }: Measure): z.ZodType {
  const value = values === "double" ? z.number().nullable() : z.union([z.number(), z.string(), z.boolean(), z.null()]);
  const written = {
    integer: " Integers, text with numbers=text.",
    decimal: ` Exact decimals of ${scale} places, text with numbers=text.`,
    double: "",
    picked: "",
  }[values];
  const description = `${kind}, ${unit === "" ? "no unit" : unit}, ${accuracy.note}.${written}`;
  if (parts === undefined) return value.describe(description);
  if (parts === "list") return z.array(z.record(z.string(), value)).describe(description);
  const each = Object.fromEntries(parts.map((part) => [part, value]));
  return z.object(each).partial().describe(description);
}

/** A view in the list of views: its dimensions and measures, its position, and how long ago it changed. */
export const ViewSummary = z
  .object({
    name: z.string(),
    stream: z.string(),
    grain: z.string(),
    sessions: z.boolean().describe("whether a row is a session, and not a bucket"),
    dimensions: list(AnswerField.pick({ type: true, scale: true }).extend({ name: z.string() })),
    measures: list(AnswerField.omit({ kind: true }).extend({ name: z.string() })),
    generation: z.string(),
    ready: z.boolean().describe("whether anything is published"),
    version: z.int().nullable(),
    cut: cut.nullable(),
    applied: cut.nullable(),
    freshnessMs: z.int().nullable().describe("how long ago the applied position was known to be the end of the log"),
    changedMs: z
      .int()
      .nullable()
      .describe("how long ago its numbers last changed, to about a minute; null when that is not known"),
    complete: z.boolean(),
    missing: Missing.exactOptional(),
    problems,
  })
  .meta({ id: "ViewSummary" });
export type ViewSummary = z.infer<typeof ViewSummary>;
