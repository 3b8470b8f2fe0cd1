import { isIdentifier, isKind } from "../fields/fields.ts";
import type { FoundField } from "../fields/layout.ts";
import { endingIn, freeName, having } from "../fields/names.ts";
import { isNamedLikeTime } from "../fields/times.ts";
import type { ReadRecord } from "../sample/sample.ts";
import { instantAt } from "../sample/values.ts";

/** A proposed view: each part is text for its file. */
export interface ProposedView {
  /** Name and SQL of its dimension; null if it has none. */
  readonly by: { readonly name: string; readonly field: string } | null;
  readonly every: string;
  readonly measures: readonly ProposedMeasure[];
}

export interface ProposedMeasure {
  readonly name: string;
  readonly builder: "count" | "sum" | "avg" | "max" | "distinct";
  /** Null for `count`. */
  readonly field: string | null;
}

/** Names that the state of views uses itself (core/definition/view.ts). */
const RESERVED = ["bucket", "component", "item", "label", "value", "session"];

/**
 * Proposes a simple view: the number of events, and sums and averages of the main numbers, grouped by the best field
 * with few values. `isOfRows`: the records are changes of rows. An amount repeats with each change of its row, so
 * nothing is added up.
 */
export function proposeView(
  fields: readonly FoundField[],
  all: readonly ReadRecord[],
  { time, isOfRows }: { readonly time: string; readonly isOfRows: boolean },
): ProposedView {
  const taken = new Set(RESERVED);
  const operation = isOfRows ? fields.find(({ name }) => name === "op") : undefined;
  const grouping = operation?.name ?? groupingOf(fields, all.length);
  const by = grouping === null ? null : { name: freeName(grouping, taken), field: grouping };
  const measures: ProposedMeasure[] = [{ name: freeName("events", taken), builder: "count", field: null }];
  const add = (builder: ProposedMeasure["builder"], field: string) =>
    measures.push({ name: freeName(`${field.slice(0, 50)}_${builder}`, taken), builder, field });
  for (const { name } of isOfRows ? [] : mainNumbers(fields)) {
    add(ADDS_UP.test(name) ? "sum" : "max", name);
    add("avg", name);
  }
  const who = fields.find(({ name, seen }) => WHO.test(name) && differentOf(seen.texts, seen.numbers) > 1);
  if (who !== undefined) add("distinct", who.name);
  return { by, every: grainOf(fields, all, time), measures };
}

const WHO =
  /(^|_)(user|customer|visitor|session|account|device|client|actor|member|patient|player|driver|passenger)_?(id|uuid)$/;
const ADDS_UP = having(`
  amount total subtotal price cost costs revenue fare sum qty quantity count counts size length bytes duration
  minutes seconds hours ms millis weight distance tip tips tax fee fees discount value volume sales commits
  units points votes
`);
/** Names of numbers that are neither added up nor averaged. */
const NO_AMOUNT = having(`
  lat latitude lon lng long longitude year month hour sequence seq index idx position offset port pid lsn line
  row level status type class
`);
const MOST_NUMBERS = 2;
/** A sum of larger numbers over many events may not fit. */
const MOST_BOUND = 1e12;

function mainNumbers(fields: readonly FoundField[]): FoundField[] {
  const numbers = fields.filter(
    ({ name, spec, seen }) =>
      (spec.type === "integer" || spec.type === "decimal") &&
      spec.max <= MOST_BOUND &&
      !isIdentifier(name) &&
      !NO_AMOUNT.test(name) &&
      differentOf(seen.texts, seen.numbers) > 1,
  );
  const points = ({ name, spec, present }: FoundField) =>
    (ADDS_UP.test(name) ? 2 : 0) + (spec.type === "decimal" ? 1 : 0) + present / 1e9;
  return numbers.toSorted((a, b) => points(b) - points(a)).slice(0, MOST_NUMBERS);
}

function differentOf(texts: readonly string[], numbers: readonly number[]): number {
  return new Set<string | number>([...texts, ...numbers]).size;
}

/** Names of other things that people compare, besides kinds. */
const IS_PLACE = endingIn(`
  region country station city device platform product service source origin destination brand team department
  store shop warehouse language browser os name
`);
const MOST_GROUPS = 50;

/**
 * Returns the field to group by: it has few values, and none of them is in nearly all records. Returns null if there is
 * none.
 */
function groupingOf(fields: readonly FoundField[], records: number): string | null {
  const [best] = fields
    .filter(({ spec }) => !["instant", "list", "values", "map", "entries", "decimal"].includes(spec.type))
    .map((field) => ({ name: field.name, points: groupPoints(field, records) }))
    .filter(({ points }) => points > 0)
    .sort((a, b) => b.points - a.points);
  return best?.name ?? null;
}

function groupPoints({ name, path, spec, seen, present }: FoundField, records: number): number {
  const counts = new Map<string | number, number>();
  for (const value of [...seen.texts, ...seen.numbers]) counts.set(value, (counts.get(value) ?? 0) + 1);
  const different = spec.type === "flag" ? Math.max(2, counts.size) : counts.size;
  if (different < 2 || different > MOST_GROUPS || present < records / 2) return 0;
  // Ids of a few things repeat too, and so do times of day, but people compare names. A number is used only if its name
  // means a kind.
  if (spec.type === "text" && (present < different * 2 || isIdentifier(name) || isNamedLikeTime(name))) return 0;
  if (spec.type === "integer" && (!isKind(name) || different > 20)) return 0;
  const most = Math.max(0, ...counts.values()) / Math.max(1, seen.values);
  const named = isKind(name) ? 3 : IS_PLACE.test(name) ? 2 : 0;
  const isBalanced = spec.type === "flag" ? 0.2 : 1 - most;
  return 1 + named + isBalanced + (present === records ? 1 : 0) + (different <= 20 ? 1 : 0) - path.length * 0.2;
}

const MINUTE_MS = 60_000;
const GRAINS = [
  { every: "1 minute", upToMs: 6 * 60 * MINUTE_MS },
  { every: "5 minutes", upToMs: 3 * 24 * 60 * MINUTE_MS },
  { every: "1 hour", upToMs: 90 * 24 * 60 * MINUTE_MS },
] as const;

/** Returns a grain that divides the sample's time into some hundred buckets. Outliers do not count. */
function grainOf(fields: readonly FoundField[], all: readonly ReadRecord[], time: string): string {
  const field = fields.find(({ name }) => name === time);
  const times = all
    .map(({ record, object }) => (field === undefined ? record.timestampMs : instantAt(object, field.path, field.spec)))
    .filter((ms) => ms !== null)
    .sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor((times.length - 1) * share)] ?? 0;
  const spanMs = at(0.99) - at(0.01);
  return GRAINS.find(({ upToMs }) => spanMs <= upToMs)?.every ?? "1 day";
}
