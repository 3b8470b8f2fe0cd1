import { quoteName } from "../contract/sql.ts";
import { countedCondition } from "../definition/counted.ts";
import { LINE, type View } from "../definition/view.ts";
import type { TimeRange } from "../interval.ts";
import type { PlainColumn } from "../measures/measure.ts";
import { registerSql } from "../numbers/hll.ts";
import { bucketStarts, type Query } from "../query/query.ts";
import { bucketOf } from "../time.ts";

/**
 * A view's rows, computed by plain SQL over raw events, all at once. A proof compares an answer with them. There are no
 * states, components or merges here: an event belongs to the rows whose time contains it, and a measure is an aggregate
 * over a row's events.
 */

/** A query whose rows are computed by plain SQL. */
export interface PlainQuery {
  readonly view: View;
  readonly query: Query;
  /** The event time of the answer. */
  readonly range: TimeRange;
  /** SQL: a relation of decoded events up to one position. */
  readonly events: string;
}

/** SQL, and the values of its parameters. */
export interface PlainSql {
  readonly sql: string;
  readonly values: readonly (string | bigint)[];
}

/**
 * The columns that identify a row: its start, for sessions its last event's time, and the values of the query's
 * dimensions.
 */
export interface PlainKey {
  readonly columns: readonly string[];
  readonly sessions: boolean;
}

export function plainKey({ view, query }: Pick<PlainQuery, "view" | "query">): PlainKey {
  const sessions = view.sessions !== null;
  const dimensions = Object.keys(view.by);
  const groups = query.by.map((name) => `_d${dimensions.indexOf(name)}`);
  return { sessions, columns: ["_bucket", ...(sessions ? ["_ended"] : []), ...groups] };
}

/** Returns the columns that the measures of a query need of each row, by `<measure>.<column>`. */
export function plainColumns({ view, query }: Pick<PlainQuery, "view" | "query">): Map<string, PlainColumn> {
  return new Map(
    query.measures.flatMap((name) =>
      Object.entries(view.measures[name]?.plain.columns ?? {}).map(([column, asked]) => [`${name}.${column}`, asked]),
    ),
  );
}

/** SQL: the rows and all aggregates: the key's columns, then a column for each aggregate of `plainColumns`. */
export function plainAggregates(wanted: PlainQuery): PlainSql {
  const { columns } = plainKey(wanted);
  const asked = [...plainColumns(wanted)].flatMap(([name, column]) =>
    column.form === "aggregate" ? [`${column.sql} AS ${quoteName(name)}`] : [],
  );
  const { sql, values } = placed(wanted);
  return { sql: `${sql} SELECT ${[...columns, ...asked].join(", ")} FROM placed GROUP BY ALL`, values };
}

/** SQL: the items of one column, the heaviest first: the key's columns, the item and its weight. */
export function plainItems(
  wanted: PlainQuery,
  { item, weight, show }: Extract<PlainColumn, { form: "items" }>,
): PlainSql {
  const key = plainKey(wanted).columns.join(", ");
  const { sql, values } = placed(wanted);
  const weighed = `SELECT ${key}, ${item} AS _item, ${weight} AS _weight FROM placed GROUP BY ALL`;
  const order = `PARTITION BY ${key} ORDER BY _weight DESC, _item`;
  const ranked =
    `SELECT *, row_number() OVER (${order}) AS _rank FROM (${weighed}) ` +
    "WHERE _item IS NOT NULL AND _weight IS NOT NULL";
  return { sql: `${sql} SELECT ${key}, _item, _weight FROM (${ranked}) WHERE _rank <= ${show} ORDER BY _rank`, values };
}

/**
 * SQL: the registers of one column, from all different values at once: the key's columns and the list of `register * 64
 * + rank`.
 */
export function plainRegisters(
  wanted: PlainQuery,
  { hash, given }: Extract<PlainColumn, { form: "registers" }>,
): PlainSql {
  const key = plainKey(wanted).columns.join(", ");
  const { sql, values } = placed(wanted);
  const hashes = `(SELECT DISTINCT ${key}, ${hash} AS hash FROM placed WHERE ${given})`;
  const ranks = `SELECT ${key}, register, max(rank) AS rank FROM (${registerSql(hashes)}) GROUP BY ALL`;
  return { sql: `${sql} SELECT ${key}, list((register * 64 + rank)::INTEGER) FROM (${ranks}) GROUP BY ALL`, values };
}

/** SQL: the grains of the first, the middle and the last counted event. All are null if there are no events. */
export function plainExtent(view: View, range: TimeRange, events: string): string {
  const time = `(SELECT ${floored("_at", view.grainMs)} AS _grain FROM lines WHERE ${within(range)})`;
  return `${lines(view, events)} SELECT min(_grain), quantile_disc(_grain, 0.5), max(_grain) FROM ${time}`;
}

/** SQL: `count` grains with counted events, chosen at random. */
export function plainSample(view: View, range: TimeRange, events: string, count: number): string {
  return (
    `${lines(view, events)} SELECT _grain FROM (SELECT DISTINCT ${floored("_at", view.grainMs)} AS _grain FROM ` +
    `lines WHERE ${within(range)}) ORDER BY random() LIMIT ${count}`
  );
}

/**
 * SQL: `lines`, every counted event, or with `each` every element of its list, with its time, all dimensions, and
 * `_at`. Buckets are made from `_at`: the event's time, or for a table the shard of its key.
 */
function lines(view: View, events: string): string {
  const { each, stream, by } = view;
  const valid = "_reject IS NULL AND NOT _duplicate";
  const wanted = countedCondition(view);
  const condition = wanted === null ? valid : `${valid} AND ${wanted}`;
  const list = each === null ? "" : quoteName(each);
  const unfolded =
    each === null
      ? "SELECT *, 0 AS _line FROM counted"
      : `SELECT * EXCLUDE (${list}), unnest(${list}) AS ${quoteName(LINE)}, ` +
        `generate_subscripts(${list}, 1) AS _line FROM counted`;
  const dimensions = Object.values(by).map(({ text }, index) => `(${text}) AS _d${index}`);
  const time = quoteName(stream.eventTime);
  const columns = ["*", `${time} AS _time`, `${plainShard(view) ?? time} AS _at`, ...dimensions].join(", ");
  return [
    `WITH counted AS (SELECT * FROM ${events} WHERE ${condition})`,
    `unfolded AS (${unfolded})`,
    `lines AS (SELECT ${columns} FROM unfolded)`,
  ].join(", ");
}

/**
 * SQL: the shard, from the first two bytes of the MD5 of a key's text, which are the lowest ones of its number. Null
 * for a view.
 */
function plainShard({ by, table }: View): string | null {
  if (table === null) return null;
  const parts = Object.values(by).map(({ text }) => `CAST((${text}) AS VARCHAR)`);
  const number = `md5_number_upper(${parts.join(" || chr(31) || ")})`;
  return `(((${number} % 256) * 256 + (${number} // 256) % 256) % ${table.shards})::BIGINT`;
}

function within({ fromMs, toMs }: TimeRange): string {
  return `_at >= ${fromMs} AND _at < ${toMs}`;
}

/**
 * SQL: the start of a bucket. It repeats core/time.ts on purpose: an error in the code of answers must not be in the
 * code that proves them.
 */
function floored(time: string, widthMs: number): string {
  return `(${time} - ((${time} % ${widthMs}) + ${widthMs}) % ${widthMs})`;
}

/**
 * SQL: `placed`, the lines that the query selects, each in every row that it belongs to. A client's values are
 * parameters.
 */
function placed({ view, query, range, events }: PlainQuery): PlainSql {
  const values: string[] = [];
  const dimensions = Object.keys(view.by);
  const conditions = [...query.where].map(([name, allowed]) => {
    const column = `_d${dimensions.indexOf(name)}`;
    const each = allowed.map((value) =>
      value === null
        ? `${column} IS NULL`
        : `CAST(${column} AS VARCHAR) IS NOT DISTINCT FROM $${values.push(String(value))}`,
    );
    return `(${each.join(" OR ")})`;
  });
  const where = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  const wanted = `wanted AS (SELECT * FROM lines${where})`;
  return { sql: `${lines(view, events)}, ${wanted}, ${rows(view, query, range)}`, values };
}

function rows(view: View, query: Query, range: TimeRange): string {
  if (view.sessions !== null) return sessionRows(view, view.sessions.gapMs, range);
  const starts = bucketStarts(view, query, range);
  if (starts !== null) return calendarRows(starts, range);
  const { everyMs, windowMs } = query;
  return windowMs === everyMs ? bucketRows(everyMs, range) : slidingRows(everyMs, windowMs, range);
}

/** SQL: buckets of one width, aligned to the epoch. */
function bucketRows(everyMs: number, range: TimeRange): string {
  return `placed AS (SELECT *, ${floored("_at", everyMs)} AS _bucket FROM wanted WHERE ${within(range)})`;
}

/**
 * SQL: sliding windows. A row covers `windowMs` up to the end of its bucket, so every line is joined with the rows that
 * contain it.
 */
function slidingRows(everyMs: number, windowMs: number, range: TimeRange): string {
  const firstMs = bucketOf(range.fromMs, everyMs);
  const own = floored("_time", everyMs);
  const reached = `SELECT * FROM wanted WHERE ${within({ fromMs: firstMs - windowMs + everyMs, toMs: range.toMs })}`;
  const starts =
    `SELECT DISTINCT ${own} + _step * ${everyMs} AS _bucket FROM reached, ` +
    `range(${windowMs / everyMs}) AS steps(_step)`;
  return [
    `reached AS (${reached})`,
    `starts AS (SELECT _bucket FROM (${starts}) WHERE _bucket >= ${firstMs} AND _bucket < ${range.toMs})`,
    "placed AS (SELECT * FROM reached JOIN starts ON _time >= _bucket + " +
      `${everyMs} - ${windowMs} AND _time < _bucket + ${everyMs})`,
  ].join(", ");
}

/** SQL: days, weeks, months …: a row lasts until the next one begins. */
function calendarRows(starts: readonly number[], range: TimeRange): string {
  const list = starts.map((start) => `${start}::BIGINT`).join(", ");
  return [
    "starts AS (SELECT _bucket, coalesce(lead(_bucket) OVER (ORDER BY _bucket), " +
      `${range.toMs}) AS _next FROM (SELECT unnest([${list}]) AS _bucket))`,
    `placed AS (SELECT * FROM wanted JOIN starts ON _time >= _bucket AND _time < _next WHERE ${within(range)})`,
  ].join(", ");
}

/**
 * SQL: sessions by gaps and islands. An event at least the gap after the one before it in its group begins a session.
 */
function sessionRows(view: View, gapMs: number, range: TimeRange): string {
  const group = Object.keys(view.by).map((_, index) => `_d${index}`);
  const of = (columns: readonly string[]) => (columns.length === 0 ? "" : `PARTITION BY ${columns.join(", ")} `);
  const session = of([...group, "_session"]);
  return [
    `gaps AS (SELECT *, _time - lag(_time) OVER (${of(group)}ORDER BY _time) AS _gap FROM wanted)`,
    // Over a range, not over rows: events with the same time are in one session, whatever their order.
    `islands AS (SELECT *, sum(CASE WHEN _gap < ${gapMs} THEN 0 ELSE 1 END) OVER (${of(group)}` +
      "ORDER BY _time RANGE UNBOUNDED PRECEDING) AS _session FROM gaps)",
    `whole AS (SELECT *, min(_time) OVER (${session}) AS _bucket, max(_time) OVER (${session}) AS _ended FROM islands)`,
    `placed AS (SELECT * FROM whole WHERE _bucket >= ${range.fromMs} AND _bucket < ${range.toMs})`,
  ].join(", ");
}
