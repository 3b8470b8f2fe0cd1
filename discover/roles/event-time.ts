import { percent } from "../fields/fields.ts";
import type { FoundField } from "../fields/layout.ts";
import { freeName } from "../fields/names.ts";
import type { ReadRecord } from "../sample/sample.ts";
import { instantAt } from "../sample/values.ts";
import { type Choice, inNearlyAll } from "./choice.ts";

const DAY_MS = 86_400_000;
const TIME_NAMES: readonly (readonly [pattern: RegExp, points: number])[] = [
  // In Debezium: when a row was changed.
  [/^source_ts_(ms|us|ns)$/, 6],
  [/(^|_)(expires?|expiry|until|due|deadline|birth|birthday|valid|next|scheduled|delivery|deleted|end|ended)(_|$)/, -1],
  [/(^|_)(updated?|modified|changed|received|ingested|processed|synced|loaded)(_|$)/, 2],
  [/(^|_)(occurred|happened)(_|$)|^(event_?)?(time|timestamp|ts|at|date|datetime)$/, 5],
  [/(^|_)(created?|placed|ordered|started|departure|published|sent|logged|measured|recorded)(_|$)/, 4],
];

/** Rates a field as the event time: by its name, its depth, and how near its values are to the record times. */
function timePoints({ name, path, spec }: FoundField, all: readonly ReadRecord[]): number {
  const named = TIME_NAMES.find(([pattern]) => pattern.test(name))?.[1] ?? 3;
  const distances = all
    .map(({ record, object }) => Math.abs((instantAt(object, path, spec) ?? 0) - record.timestampMs))
    .sort((a, b) => a - b);
  const isNear = (distances[Math.floor(distances.length / 2)] ?? Number.POSITIVE_INFINITY) < DAY_MS;
  return named + (isNear ? 0.5 : 0) - path.length * 0.1;
}

/** Returns the field with the time of an event. If there is none, returns Kafka's time of the record. */
export function chooseTime(fields: readonly FoundField[], all: readonly ReadRecord[], taken: Set<string>): Choice {
  const instants = fields.filter(({ path, spec }) => path.length > 0 && spec.type === "instant");
  const [best] = inNearlyAll(instants, all.length)
    .map((field) => ({ field, points: timePoints(field, all) }))
    .sort((a, b) => b.points - a.points);
  if (best !== undefined && best.points > 0) {
    const { name, present } = best.field;
    const missing = present < all.length ? `; ${percent(all.length - present, all.length)} of the records lack it` : "";
    return { name, because: `event time: ${name}${missing}` };
  }
  const name = freeName("recorded_at", taken);
  const spec = { type: "instant", ...DEFAULT_BOUNDS, path: "timestamp" } as const;
  return {
    ...{ name, added: [name, spec] },
    because: "event time: the time that Kafka has for the record, because no field that all records have is one",
  };
}

const DEFAULT_BOUNDS = { from: "2000-01-01T00:00:00Z", to: "2100-01-01T00:00:00Z" };
