import { quoteName, quoteText } from "../../core/contract/sql.ts";
import type { View } from "../../core/definition/view.ts";
import type { TimeRange } from "../../core/interval.ts";
import type { PresentedField } from "../../core/measures/measure.ts";
import type { Query } from "../../core/query/query.ts";
import { linesSql } from "../../core/state/compile.ts";
import { bucketOf, bucketSql, LAST_INSTANT } from "../../core/time.ts";
import type { Duck } from "../duckdb/duck.ts";
import { plainRows } from "../duckdb/plain-rows.ts";
import { type Finding, type FoundRecord, findings } from "./findings.ts";

/** The ways in which a changed view counts a record differently from the served one. */
export type PartKind = "counted no more" | "counted now" | "counted otherwise";

/** A view, and the table of the records as its contract reads them. */
export interface ReadView {
  readonly view: View;
  readonly table: string;
}

export interface ChangedCell {
  /** The bucket's start in ISO 8601, and the dimensions. */
  readonly cell: Readonly<Record<string, unknown>>;
  /** The measures that differ. Null: there is no such cell. */
  readonly before: Readonly<Record<string, PresentedField>> | null;
  readonly after: Readonly<Record<string, PresentedField>> | null;
}

export interface ChangedMeasure {
  readonly different: number;
  /** Over all records, without groups. */
  readonly before: PresentedField;
  readonly after: PresentedField;
}

/**
 * The differences between two views over the same records. Dimensions and measures that both have are compared, in
 * buckets that both can make.
 */
export interface ViewDifferences {
  readonly cells: { readonly before: number; readonly after: number; readonly different: number };
  readonly measures: Readonly<Record<string, ChangedMeasure>>;
  /** The first cells that differ. */
  readonly examples: readonly ChangedCell[];
  readonly records: readonly Finding<PartKind>[];
}

const EXAMPLES = 10;

/** The dimensions and measures that both views have. */
interface Shared {
  readonly by: readonly string[];
  readonly measures: readonly string[];
  readonly everyMs: number;
  /** Whether rows are sessions. They are if both views have sessions and the same dimensions. */
  readonly sessions: boolean;
  /** Whether rows belong to keys, and buckets are shards of keys. Both views are tables, or neither is. */
  readonly isTable: boolean;
}

/** Compares a changed view with the served one, over the records of their tables. */
export async function compareViews(duck: Duck, served: ReadView, changed: ReadView): Promise<ViewDifferences> {
  const inBoth = (a: object, b: object) => Object.keys(a).filter((name) => Object.hasOwn(b, name));
  const by = inBoth(served.view.by, changed.view.by);
  const shared: Shared = {
    by,
    measures: inBoth(served.view.measures, changed.view.measures),
    everyMs: widthOf(served.view, changed.view),
    isTable: served.view.table !== null,
    sessions: [served.view, changed.view].every(
      (view) => view.sessions !== null && Object.keys(view.by).length === by.length,
    ),
  };
  const [before, after] = [await cellsOf(duck, served, shared), await cellsOf(duck, changed, shared)];
  const compared = comparedCells(before, after, shared.measures);
  const [was, is] = [await totalsOf(duck, served, shared), await totalsOf(duck, changed, shared)];
  const measures = shared.measures.map((name) => [
    name,
    { different: compared.ofMeasures.get(name) ?? 0, before: was[name] ?? null, after: is[name] ?? null },
  ]);
  return {
    cells: { before: before.size, after: after.size, different: compared.different },
    measures: Object.fromEntries(measures),
    examples: compared.examples,
    records: await compareParts(duck, served, changed, shared),
  };
}

function leastCommon(a: number, b: number): number {
  const divisor = (x: number, y: number): number => (y === 0 ? x : divisor(y, x % y));
  return (a / divisor(a, b)) * b;
}

type Cell = Readonly<Record<string, PresentedField>>;

/** Returns the cells of a view, by their coordinates as JSON. */
async function cellsOf(duck: Duck, { view, table }: ReadView, shared: Shared): Promise<Map<string, Cell>> {
  const { by, measures, everyMs, sessions } = shared;
  const asked = sessions ? view : withoutSessions(view);
  const query = questionOf({ by, measures, everyMs, calendar: null });
  const rows = await plainRows(duck, { view: asked, query, range: rangeOf(everyMs), events: table });
  return presented(asked, query, rows, shared);
}

/** Returns totals over all records. Newest records have no total. */
async function totalsOf(duck: Duck, { view, table }: ReadView, shared: Shared): Promise<Cell> {
  const { measures, everyMs } = shared;
  if (view.table?.kind === "latest") return {};
  const query = questionOf({ by: [], measures, everyMs, calendar: { unit: "all", zone: "UTC" } });
  const whole = withoutSessions(view);
  const rows = await plainRows(duck, { view: whole, query, range: rangeOf(everyMs), events: table });
  return [...presented(whole, query, rows, shared).values()][0] ?? {};
}

function withoutSessions(view: View): View {
  return { ...view, sessions: null };
}

function rangeOf(everyMs: number): TimeRange {
  return { fromMs: bucketOf(-LAST_INSTANT, everyMs), toMs: LAST_INSTANT };
}

function questionOf(asked: Pick<Query, "by" | "measures" | "everyMs" | "calendar">): Query {
  const unbounded = { fromMs: null, toMs: null, windowMs: asked.everyMs, zone: "UTC", where: new Map() };
  return { ...asked, ...unbounded, order: [], limit: 1 };
}

type PlainRows = Awaited<ReturnType<typeof plainRows>>;

function presented(view: View, { by }: Query, rows: PlainRows, { measures, isTable }: Shared): Map<string, Cell> {
  return new Map(
    rows.map(({ bucket, ended, group, found }) => {
      const start = Math.abs(bucket) > LAST_INSTANT ? null : new Date(bucket).toISOString();
      const dimensions = by.map((name, index) => [name, group[index] ?? null]);
      const end = ended === null ? {} : { ended: new Date(ended).toISOString() };
      const values = measures.map((name) => [name, view.measures[name]?.plain.present(found(name)) ?? null]);
      const place = JSON.stringify({ ...(isTable ? {} : { bucket: start }), ...Object.fromEntries(dimensions) });
      return [place, { ...end, ...Object.fromEntries(values) } as Cell];
    }),
  );
}

function comparedCells(
  before: ReadonlyMap<string, Cell>,
  after: ReadonlyMap<string, Cell>,
  measures: readonly string[],
) {
  const ofMeasures = new Map<string, number>();
  const changes: { readonly place: string; readonly before: Cell | null; readonly after: Cell | null }[] = [];
  for (const place of new Set([...before.keys(), ...after.keys()])) {
    const [was, is] = [before.get(place), after.get(place)];
    const differing = [...measures, "ended"].filter(
      (name) => JSON.stringify(was?.[name]) !== JSON.stringify(is?.[name]),
    );
    if (differing.length === 0 && was !== undefined && is !== undefined) continue;
    for (const name of differing) ofMeasures.set(name, (ofMeasures.get(name) ?? 0) + 1);
    const only = (cell: Cell | undefined) =>
      cell === undefined ? null : Object.fromEntries(differing.map((name) => [name, cell[name] ?? null]));
    changes.push({ place, before: only(was), after: only(is) });
  }
  changes.sort((a, b) => (a.place < b.place ? -1 : 1));
  const examples = changes.slice(0, EXAMPLES).map(({ place, ...sides }): ChangedCell => {
    return { cell: JSON.parse(place) as Record<string, unknown>, ...sides };
  });
  return { different: changes.length, ofMeasures, examples };
}

/**
 * Finds the records that the two views count otherwise: in another cell, or with other values. A record's part in a
 * view is the cell of each of its lines, and the values that each measure reads in it.
 */
async function compareParts(
  duck: Duck,
  served: ReadView,
  changed: ReadView,
  shared: Shared,
): Promise<Finding<PartKind>[]> {
  const names = [...(shared.isTable ? [] : ["bucket"]), ...shared.by, ...shared.measures];
  await duck.run(`CREATE OR REPLACE TEMP TABLE served_parts AS ${partsSql(served, shared)}`);
  await duck.run(`CREATE OR REPLACE TEMP TABLE changed_parts AS ${partsSql(changed, shared)}`);
  const whole = (side: string) => {
    const packed = names.map((name) => `${quoteName(name)} := ${side}.${quoteName(name)}`);
    return `to_json(struct_pack(${packed.join(", ")}))::VARCHAR`;
  };
  const onlyIn = (side: string, other: string, readBy: ReadView) => {
    const [before, after] = side === "served_parts" ? [whole("p"), "NULL"] : ["NULL", whole("p")];
    const place = "_partition, _offset, p._id AS id";
    const columns = `${whyNot(readBy)} AS detail, ${place}, ${before} AS before, ${after} AS after`;
    const parts = `(SELECT * FROM ${side} ANTI JOIN ${other} USING (_partition, _offset)) AS p`;
    return `SELECT ${columns} FROM ${parts} JOIN ${readBy.table} AS r USING (_partition, _offset)`;
  };
  const differing = names.map(
    (name) => `CASE WHEN w.${quoteName(name)} IS DISTINCT FROM n.${quoteName(name)} THEN ${quoteText(name)} END`,
  );
  const detail = `concat_ws(', ', ${differing.join(", ")}) AS detail`;
  const columns = `${detail}, _partition, _offset, n._id AS id, ${whole("w")} AS before, ${whole("n")} AS after`;
  const both = "served_parts AS w JOIN changed_parts AS n USING (_partition, _offset)";
  const found = [
    ...(await findings(duck, "counted no more", onlyIn("served_parts", "changed_parts", changed))),
    ...(await findings(duck, "counted now", onlyIn("changed_parts", "served_parts", served))),
    ...(await findings(duck, "counted otherwise", `SELECT * FROM (SELECT ${columns} FROM ${both}) WHERE detail <> ''`)),
  ];
  return found.map((finding) => ({
    ...finding,
    examples: finding.examples.map((one) => readable(one, finding, shared)),
  }));
}

/** SQL: why a view does not count a record, from the columns of its reading `r`. */
function whyNot({ view }: ReadView): string {
  const filtered = view.where === null ? "it has no lines" : "where is not true";
  const refused = "WHEN r._reject IS NOT NULL THEN 'refused: ' || r._reject";
  return `CASE ${refused} WHEN r._duplicate THEN 'duplicate' ELSE ${quoteText(filtered)} END`;
}

/**
 * SQL: the part of each record that a view counts, a row a record: (_partition, _offset, _id, bucket, dimensions,
 * measures), each a list over its lines.
 */
function partsSql({ view, table }: ReadView, { by, measures, everyMs, sessions, isTable }: Shared): string {
  const time = quoteName(view.stream.eventTime);
  const line = view.each === null ? "0" : "_line";
  const bucket = sessions ? time : bucketSql(time, everyMs);
  const parts = [
    ...(isTable ? [] : [`${bucket} AS bucket`]),
    ...by.map((name) => `to_json((${view.by[name]?.text})) AS ${quoteName(name)}`),
    ...measures.map((name) => `${readOf(view, name)} AS ${quoteName(name)}`),
  ];
  const lines = `SELECT _partition, _offset, _id, ${line} AS _place, ${parts.join(", ")} FROM ${linesSql(view, table)}`;
  const lists = [...(isTable ? [] : ["bucket"]), ...by, ...measures]
    .map(quoteName)
    .map((column) => `list(${column} ORDER BY _place) AS ${column}`);
  const columns = `_partition, _offset, any_value(_id) AS _id, ${lists.join(", ")}`;
  return `SELECT ${columns} FROM (${lines}) GROUP BY _partition, _offset`;
}

/** SQL: the kind of a measure and the values that it reads of a line, as a JSON list. */
function readOf(view: View, name: string): string {
  const { kind = "", inputs = [], components = [] } = view.measures[name] ?? {};
  const texts = inputs.map(({ sql }) => sql.text);
  // The newest record of a key is read as a whole.
  const picked = components.flatMap(({ form, partial }) =>
    form === "pick" && !texts.includes(partial) ? [partial] : [],
  );
  const read = [quoteText(kind), ...[...texts, ...picked].map((one) => `(${one})`)].map((one) => `to_json(${one})`);
  return `to_json([${read.join(", ")}])`;
}

/**
 * Returns an example for people. For a record that is counted otherwise it has only the differences; for an event
 * without lines no lists; for measures the values that they read.
 */
function readable(example: FoundRecord, { kind, detail }: Finding<PartKind>, { measures }: Shared): FoundRecord {
  const differing = kind === "counted otherwise" ? new Set(detail.split(", ")) : null;
  const side = (parts: unknown) =>
    parts === null
      ? null
      : Object.fromEntries(
          Object.entries(parts as Record<string, readonly unknown[]>).flatMap(([name, lines]) => {
            if (differing?.has(name) === false) return [];
            const isMeasure = measures.includes(name);
            if (isMeasure && differing === null && lines.every(readsNothing)) return [];
            const values = lines.map((value) => (isMeasure ? readValue(value) : shownPart(name, value)));
            return [[name, values.length === 1 ? values[0] : values]];
          }),
        );
  return { ...example, before: side(example.before), after: side(example.after) };
}

/** Whether a measure, such as a count, has only its kind. */
function readsNothing(value: unknown): boolean {
  return (value as readonly unknown[]).length === 1;
}

/** Returns the values without the kind. Null for a measure that reads nothing. */
function readValue(value: unknown): unknown {
  const [, ...read] = value as readonly unknown[];
  return read.length > 1 ? read : (read[0] ?? null);
}

function shownPart(name: string, value: unknown): unknown {
  return name === "bucket" && typeof value === "number" ? new Date(value).toISOString() : value;
}

/**
 * Returns the common width of the rows of both views. For two tables one row has all shards, because their keys may
 * have different parts.
 */
function widthOf(served: View, changed: View): number {
  if (served.table !== null && changed.table !== null) return Math.max(served.table.shards, changed.table.shards);
  return leastCommon(served.grainMs, changed.grainMs);
}
