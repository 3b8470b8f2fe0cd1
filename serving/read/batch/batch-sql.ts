import type { DuckDBValue } from "@duckdb/node-api";
import { quoteName, quoteText } from "../../../core/contract/sql.ts";
import { componentsOf, type NamedComponent } from "../../../core/definition/components.ts";
import type { View } from "../../../core/definition/view.ts";
import type { TimeRange } from "../../../core/interval.ts";
import type { EpochMs } from "../../../core/log/position.ts";
import { dimensionScales } from "../../../core/measures/decimals.ts";
import { ROWS } from "../../../core/measures/measure.ts";
import type { CalendarGrain } from "../../../core/query/calendar.ts";
import { filterParts } from "../../../core/query/filter.ts";
import { recordFieldSql } from "../../../core/query/stored-filter.ts";
import type { OrderKey, StoredFilter, TopOrder } from "../../../core/query/top-order.ts";
import type { Group, GroupValue } from "../../../core/state/cells.ts";
import { mergeSql } from "../../../core/state/compile.ts";
import { shardOf } from "../../../core/state/shard.ts";
import { bucketOf, bucketSql } from "../../../core/time.ts";
import { parquetRowGroups, parquetRows } from "../../../store/duckdb/parquet.ts";

/** The part of a batch version that an answer needs. */
export interface BatchPlan {
  readonly view: View;
  readonly fromMs: EpochMs;
  readonly toMs: EpochMs;
  readonly everyMs: number;
  /** The buckets of a calendar with their starts, ascending; null: every bucket has the length `everyMs`. */
  readonly calendar: { readonly grain: CalendarGrain; readonly starts: readonly EpochMs[] } | null;
  readonly by: readonly string[];
  readonly where: ReadonlyMap<string, readonly GroupValue[]>;
  /** The components of the wanted measures. */
  readonly components: readonly NamedComponent[];
  /** Only these cells of the answer; absent: all cells. */
  readonly only?: readonly CellPlace[];
  /** For each file, in the order of the files, those of `only` that it may have; absent: any of them. */
  readonly onlyIn?: readonly (readonly CellPlace[])[];
}

/** The place of a cell in an answer: its bucket and group. */
export interface CellPlace extends Group {
  readonly bucket: EpochMs;
}

export interface Statement {
  readonly sql: string;
  readonly values: DuckDBValue[];
}

/** Returns the wanted components that have one of these forms. */
export function ofForm({ components }: BatchPlan, ...forms: NamedComponent["form"][]): NamedComponent[] {
  return components.filter(({ form }) => forms.includes(form));
}

/**
 * Selects integers and picks of the wanted cells, a row a cell: bucket, dimensions, one column per component. The
 * merges are those of `mergeSql` in core/state/compile.ts. A column for each component needs one aggregation in place
 * of two, and was measured to be two to three times as fast.
 */
export function valuesSql(files: readonly string[], plan: BatchPlan): Statement {
  const wanted = ofForm(plan, "integer", "pick");
  const { sql: source, values } = sourceSql(files, plan, wanted);
  const columns = wanted.map(({ key, form, merge }) => {
    const filter = `FILTER (component = ${quoteText(key)})`;
    // A sum of 64-bit values may need more bits; DuckDB's sum has 128.
    const merged =
      form === "pick" ? `${merge === "first" ? "min" : "max"}(label) ${filter}` : `${merge}(value) ${filter}`;
    return `${merged} AS ${quoteName(key)}`;
  });
  return { sql: `SELECT ${[...cellColumns(plan), ...columns].join(", ")} FROM ${source} GROUP BY ALL`, values };
}

/** How many cells are wanted, and the ranges to look in. No cell lies in two of the ranges. */
export interface TopWanted {
  readonly most: number;
  readonly pieces: readonly TimeRange[];
}

/**
 * Selects the first `most` cells in an order, a row a cell: bucket, dimensions. Text is sorted by its UTF-8 bytes,
 * which is the order of code points. Each range is grouped by itself, because many small hash tables take less time
 * than a large one.
 */
export function topSql(
  files: readonly string[],
  plan: BatchPlan,
  order: TopOrder,
  { most, pieces }: TopWanted,
): Statement {
  const { keys, prefix, after, filters = [] } = order;
  const ofRecords = plan.components.filter(({ key }) => filters.some((one) => one.by === "record" && one.key === key));
  // A filter on a record needs only the rows of one component: each has the newest record of its key.
  const integers = ofForm(plan, "integer").filter(({ key }) => isCompared(key, order));
  const wanted = ofRecords.length > 0 ? ofRecords : integers;
  const sources = pieces.map((piece) => sourceSql(files, plan, wanted, piece));
  // The parameters are the same for all ranges.
  const values = sources[0]?.values ?? [];
  const merged = integers.map(
    ({ key, merge }) => `${merge}(value) FILTER (component = ${quoteText(key)}) AS ${quoteName(`_${key}`)}`,
  );
  const before = filters.flatMap((one) => (one.by === "component" ? [] : [filterSql(one, values)]));
  const rows = before.length === 0 ? "" : ` WHERE ${before.join(" AND ")}`;
  const conditions = [
    ...(prefix === null
      ? []
      : [`starts_with(${asText(plan, prefix.dimension)}, $${values.push(prefix.text)}::VARCHAR)`]),
    ...(after === undefined ? [] : [afterSql(plan, after, values)]),
    ...filters.flatMap((one) => (one.by === "component" ? [filterSql(one, values)] : [])),
  ];
  const asked = conditions.length === 0 ? "" : ` WHERE ${conditions.join(" AND ")}`;
  const terms = keys.flatMap((key) => orderTerms(plan, key)).join(", ");
  const first = `ORDER BY ${terms} LIMIT ${most}`;
  const firsts = sources.map(({ sql: source }) => {
    const cells = `SELECT ${[...cellColumns(plan), ...merged].join(", ")} FROM ${source}${rows} GROUP BY ALL`;
    return `(SELECT * FROM (${cells})${asked} ${first})`;
  });
  return { sql: `SELECT ${cellColumns(plan).join(", ")} FROM (${firsts.join(" UNION ALL ")}) ${first}`, values };
}

/**
 * Whether the order or a filter compares this integer. `rows` is always included: every cell has it, so no cell is
 * lost.
 */
function isCompared(component: string, { keys, filters = [] }: TopOrder): boolean {
  const compared = [...keys, ...filters].some((one) => one.by === "component" && one.key === component);
  return compared || component === ROWS.name;
}

/** SQL: whether a filter allows a row. It filters by a key, by a field of the newest record, or by a merged integer. */
function filterSql(filter: StoredFilter, values: DuckDBValue[]): string {
  const text = filteredText(filter);
  const { texts, orNull } = filterParts(filter.values);
  const places = texts.map((value) => `$${values.push(value)}::VARCHAR`);
  const terms = [
    ...(places.length === 0 ? [] : [`${text} IN (${places.join(", ")})`]),
    ...(orNull ? [`${text} IS NULL`] : []),
  ];
  return terms.length === 0 ? "false" : `(${terms.join(" OR ")})`;
}

function filteredText(filter: StoredFilter): string {
  switch (filter.by) {
    case "dimension":
      return `CAST(${quoteName(filter.name)} AS VARCHAR)`;
    case "component": {
      const value = quoteName(`_${filter.key}`);
      return `CAST(${filter.absent === null ? value : `coalesce(${value}, 0)`} AS VARCHAR)`;
    }
    case "record":
      return recordFieldSql(filter.field);
  }
}

/** SQL: whether a group comes after `after` in the order of `orderTerms`. */
function afterSql({ by }: BatchPlan, after: readonly string[], values: DuckDBValue[]): string {
  const termsOf = (text: string) => [`NOT ${isNumber(text)}`, numberKey(text), text];
  const own = by.flatMap((name) => termsOf(`CAST(${quoteName(name)} AS VARCHAR)`));
  const others = after.flatMap((text) => termsOf(`$${values.push(text)}::VARCHAR`));
  return `(${own.join(", ")}) > (${others.join(", ")})`;
}

/** SQL: a dimension's value as the text of a key. Null is "null", and a decimal has all of its places. */
function asText({ view }: BatchPlan, dimension: string): string {
  const column = quoteName(dimension);
  const scale = dimensionScales(view).get(dimension) ?? 0;
  if (scale === 0) return `coalesce(CAST(${column} AS VARCHAR), 'null')`;
  const units = 10n ** BigInt(scale);
  const [whole, rest] = [`abs(${column}) // ${units}`, `abs(${column}) % ${units}`];
  const written =
    `CASE WHEN ${column} < 0 THEN '-' ELSE '' END || (${whole}) || '.' ` + `|| lpad((${rest})::VARCHAR, ${scale}, '0')`;
  return `coalesce(${written}, 'null')`;
}

/** Returns the terms of ORDER BY for one key. They give the order of `comparePresented`. */
function orderTerms(plan: BatchPlan, key: OrderKey): string[] {
  const direction = key.descending ? "DESC" : "ASC";
  const sorted = (...terms: string[]) => terms.map((term) => `${term} ${direction} NULLS LAST`);
  switch (key.by) {
    case "bucket":
      return sorted("bucket");
    case "text":
      return [...sorted(asText(plan, key.name)), `${quoteName(key.name)} IS NULL`];
    case "component":
      return sorted(key.absent === null ? quoteName(`_${key.key}`) : `coalesce(${quoteName(`_${key.key}`)}, 0)`);
    case "dimension": {
      const text = `CAST(${quoteName(key.name)} AS VARCHAR)`;
      return [`${quoteName(key.name)} IS NULL`, ...sorted(`NOT ${isNumber(text)}`, numberKey(text), text)];
    }
  }
}

function isNumber(text: string): string {
  return `regexp_full_match(${text}, '-?[0-9]{1,40}')`;
}

/**
 * SQL: a text that sorts as the number that is written in `text`. It has a fixed number of digits; a negative number
 * has the nines' complement of its digits.
 */
function numberKey(text: string): string {
  const digits = `ltrim(ltrim(${text}, '-'), '0')`;
  const padded = `lpad(${digits}, 40, '0')`;
  const below = `'0' || translate(${padded}, '0123456789', '9876543210')`;
  const negative = `starts_with(${text}, '-') AND ${digits} <> ''`;
  return `CASE WHEN NOT ${isNumber(text)} THEN '' WHEN ${negative} THEN ${below} ELSE '1' || ${padded} END`;
}

/** Selects the items of the wanted cells, a row an item: bucket, dimensions, component, item, label, value. */
export function itemsSql(files: readonly string[], plan: BatchPlan): Statement {
  const { sql: source, values } = sourceSql(files, plan, ofForm(plan, "items"));
  return { sql: mergeSql(plan.view, source, cellColumns(plan), "wide"), values };
}

/**
 * Selects the registers of the wanted cells: bucket, dimensions, component, and the registers as text, a character each
 * (`packedRegister`). A cell has up to eight rows, so that a chunk of rows stays small. A register may come more than
 * once; its greatest rank counts.
 */
export function sketchesSql(files: readonly string[], plan: BatchPlan): Statement {
  const { sql: source, values } = sourceSql(files, plan, ofForm(plan, "registers"));
  const cell = [...cellColumns(plan), "component"].join(", ");
  // If one bucket or group of the answer is made of many stored ones, SQL finds the greatest ranks first. Otherwise
  // that would only cost time.
  const merged = rollsUp(plan) ? `(SELECT ${cell}, item, max(value) AS value FROM ${source} GROUP BY ALL)` : source;
  const packed = `chr((${FIRST_PACKED} + item * 64 + value)::INTEGER)`;
  return { sql: `SELECT ${cell}, string_agg(${packed}, '') FROM ${merged} GROUP BY ${cell}, item // 2048`, values };
}

/**
 * The code point of register 0 with rank 0. The code points of the others follow it, up to the highest one of Unicode,
 * and none of them is a surrogate.
 */
const FIRST_PACKED = 0x10000;

/** Returns register and rank of the character at `index`. The character has two code units. */
export function packedRegister(text: string, index: number): { register: number; rank: number } {
  const packed = ((text.charCodeAt(index) & 0x3ff) << 10) | (text.charCodeAt(index + 1) & 0x3ff);
  return { register: packed >> 6, rank: packed & 63 };
}

function rollsUp(plan: BatchPlan): boolean {
  return rollsUpTime(plan) || plan.by.length < Object.keys(plan.view.by).length;
}

/** Whether a bucket of the answer is made of several stored buckets. */
function rollsUpTime({ view, everyMs, calendar }: BatchPlan): boolean {
  return calendar !== null || everyMs > view.grainMs;
}

/**
 * SQL: the answer's bucket of a stored row. It is a constant if all rows have the same one, which costs nothing in
 * GROUP BY.
 */
function answerBucketSql({ view, fromMs, toMs, everyMs }: BatchPlan): string {
  const only = bucketOf(fromMs, everyMs);
  if (only === bucketOf(toMs - 1, everyMs)) return `${only}::BIGINT`;
  if (everyMs === view.grainMs) return "_state.bucket";
  return bucketSql("_state.bucket", everyMs);
}

/** Whether all stored rows of a cell lie in one bucket. For a table this is the shard of its key. */
export function hasOneBucket(plan: BatchPlan): boolean {
  return plan.view.table === null ? !rollsUpTime(plan) : !rollsUp({ ...plan, everyMs: plan.view.grainMs });
}

/** Returns the condition by which DuckDB chooses the row groups of these cells; none if a cell has several buckets. */
function storedBuckets(plan: BatchPlan, cells: readonly CellPlace[]): string[] {
  if (!hasOneBucket(plan)) return [];
  const { table } = plan.view;
  const stored = cells.map(({ bucket, group }) => (table === null ? bucket : shardOf(group.map(String), table)));
  return [`_state.bucket IN (${[...new Set(stored)].join(", ")})`];
}

/** Selects the newest bucket that does not start after `untilMs`. */
export function lastBucketSql(files: readonly string[], untilMs: EpochMs): Statement {
  return { sql: `SELECT max(bucket) FROM ${parquetRows(files)} WHERE bucket <= $1`, values: [BigInt(untilMs)] };
}

/**
 * Selects for each row group: the path of its file, its number of rows, its first and its last bucket. Only the files'
 * footers are read.
 */
export function extentsSql(files: readonly string[]): Statement {
  const columns = "file_name, row_group_num_rows, stats_min_value::BIGINT, stats_max_value::BIGINT";
  return { sql: `SELECT ${columns} FROM ${parquetRowGroups(files)} WHERE path_in_schema = 'bucket'`, values: [] };
}

function cellColumns({ by }: BatchPlan): string[] {
  return ["bucket", ...by.map(quoteName)];
}

/**
 * Selects the state rows of the wanted components, in the query's own buckets. Values from a client are bound as
 * parameters, never written into the SQL.
 */
function sourceSql(
  files: readonly string[],
  plan: BatchPlan,
  components: readonly NamedComponent[],
  piece: TimeRange | null = null,
): Statement {
  const { view, fromMs, toMs, calendar, by, where, only, onlyIn } = plan;
  const values: DuckDBValue[] = [BigInt(fromMs), BigInt(toMs)];
  const conditions = [...where].map(([dimension, allowed]) => {
    const text = `CAST(_state.${quoteName(dimension)} AS VARCHAR)`;
    const { texts, orNull } = filterParts(allowed);
    const places = texts.map((value) => `$${values.push(value)}`);
    const terms = [
      // DuckDB uses the statistics of row groups for a comparison with one value, but not for a list of parameters.
      ...(places.length === 0
        ? []
        : [places.length === 1 ? `${text} = ${places[0]}` : `${text} IN (${places.join(", ")})`]),
      ...(orNull ? [`_state.${quoteName(dimension)} IS NULL`] : []),
    ];
    return `(${terms.join(" OR ")})`;
  });
  // If all components are wanted, this condition would cost a join and leave out nothing.
  const isAll = components.length === componentsOf(view).length;
  const wanted = isAll ? [] : [`component IN (${components.map(({ key }) => quoteText(key)).join(", ")})`];
  // No dimension's name begins with an underscore.
  const wider = `${calendar === null ? answerBucketSql(plan) : "_calendar._start"} AS bucket`;
  const state = (name: string) => `_state.${name}`;
  const columns = [wider, ...by.map((name) => state(quoteName(name))), ...STATE.map(state)].join(", ");
  const joined =
    calendar === null
      ? ""
      : " ASOF JOIN (SELECT unnest([" +
        `${calendar.starts.map((start) => `${start}::BIGINT`).join(", ")}]) AS _start) AS ` +
        "_calendar ON _state.bucket >= _calendar._start";
  const filter = ["_state.bucket >= $1", "_state.bucket < $2", ...wanted, ...conditions];
  if (piece !== null) filter.push(`_state.bucket >= ${piece.fromMs} AND _state.bucket < ${piece.toMs}`);
  const from = (some: readonly string[], more: readonly string[]) =>
    `(SELECT ${columns} FROM ${parquetRows(some)} AS _state${joined} WHERE ${[...filter, ...more].join(" AND ")})`;
  if (only === undefined) return { sql: from(files, []), values };
  const among = (some: readonly string[], cells: readonly CellPlace[]) =>
    amongSql(from(some, storedBuckets(plan, cells)), plan, cells, values);
  if (onlyIn === undefined) return { sql: among(files, only), values };
  return { sql: `(${files.map((file, index) => among([file], onlyIn[index] ?? [])).join(" UNION ALL ")})`, values };
}

/**
 * SQL: the rows of `source` that belong to these cells. Values are compared as text, because equal values have equal
 * texts.
 */
function amongSql(source: string, { view, by }: BatchPlan, only: readonly CellPlace[], values: DuckDBValue[]): string {
  const columns = ["_bucket", ...by.map((_, index) => `_g${index}`)];
  const text = (value: GroupValue) => (value === null ? null : String(value));
  const places = only.map(({ bucket, group }) => [bucket, ...group.map(text)]);
  const named = places.map((place) => Object.fromEntries(columns.map((column, index) => [column, place[index]])));
  const types = Object.fromEntries(columns.map((column) => [column, column === "_bucket" ? "BIGINT" : "VARCHAR"]));
  const parameter = `$${values.push(JSON.stringify(named))}::VARCHAR`;
  const cells = `(SELECT unnest(from_json(${parameter}, ${quoteText(JSON.stringify([types]))}), recursive := true))`;
  // No part of a table's key is null. With `=`, DuckDB leaves out more rows before it reads their other columns.
  const sameAs = view.table === null ? "IS NOT DISTINCT FROM" : "=";
  const equal = by.map((name, index) => `CAST(_row.${quoteName(name)} AS VARCHAR) ${sameAs} _cell._g${index}`);
  const same = ["_row.bucket = _cell._bucket", ...equal].join(" AND ");
  return `(SELECT _row.* FROM ${source} AS _row SEMI JOIN ${cells} AS _cell ON ${same})`;
}

const STATE = ["component", "item", "label", "value"];
