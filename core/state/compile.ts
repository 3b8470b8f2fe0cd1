import { quoteName, quoteText } from "../contract/sql.ts";
import { componentsOf, type NamedComponent } from "../definition/components.ts";
import { countedCondition } from "../definition/counted.ts";
import { LINE, type View } from "../definition/view.ts";
import { hashSql, registerSql } from "../numbers/hll.ts";
import { bucketSql } from "../time.ts";
import { shardSql } from "./shard.ts";

/**
 * The view compiler: turns one definition into the SQL of both layers. All SQL reads a relation of decoded events with
 * the columns of the contract and of `META_COLUMNS`. The caller gives the relation, already limited to the wanted span.
 */

/** SQL: whether a row is a valid event: it decodes, and it is not a duplicate. */
export const VALID = "_reject IS NULL AND NOT _duplicate";

/** SQL: whether the view counts the event. Never NULL. */
function counted(view: View): string {
  const condition = countedCondition(view);
  return condition === null ? VALID : `(${VALID} AND ${condition})`;
}

/**
 * SQL: the lines that measures count: the counted events, or with `each` their elements, each with its place in the
 * list.
 */
export function linesSql(view: View, events: string): string {
  if (view.each === null) return `(SELECT * FROM ${events} WHERE ${counted(view)})`;
  const list = quoteName(view.each);
  return (
    `(SELECT * EXCLUDE (${list}), unnest(${list}) AS ${quoteName(LINE)}, ` +
    `generate_subscripts(${list}, 1) AS _line FROM ${events} WHERE ${counted(view)})`
  );
}

/** SQL: the start of the event's bucket, in epoch milliseconds. For a table: the shard of its key. */
function bucket(view: View): string {
  if (view.table !== null) return shardSql(view, view.table);
  return bucketSql(quoteName(view.stream.eventTime), view.grainMs);
}

/** Returns expressions over an event for the coordinates of its cell: its bucket, then its dimensions. */
function cellExpressions(view: View): string[] {
  return [bucket(view), ...Object.values(view.by).map(({ text }) => `(${text})`)];
}

/** Returns `cellExpressions` with their names. */
export function cell(view: View): string[] {
  const names = cellColumns(view);
  return cellExpressions(view).map((expression, index) => `${expression} AS ${names[index]}`);
}

/** SQL: a component with one value in a cell, as an aggregate over the cell's events. */
function aggregate(view: View, component: NamedComponent): string {
  const { form, partial, given = "true" } = component;
  if (form === "integer") return partial;
  // For a small batch it takes half the time of `list(DISTINCT …)`, which makes a table of its own.
  if (form === "registers") return `list_distinct(list(${partial}) FILTER (${given}))`;
  return pickSql(view, component);
}

/**
 * SQL: the text of a pick. It begins with the place of the event (event time from the year -314,886 on, partition,
 * offset, line) in a fixed number of digits, then has the value as JSON. So the greatest text is the last event's.
 */
function pickSql(view: View, component: NamedComponent): string {
  const { merge, given = "true" } = component;
  const { t, p, o, l, v } = pickPartsSql(view, component);
  const place = `{t: ${t}, p: ${p}, o: ${o}, l: ${l}, v: ${v}}`;
  const picked = `${merge === "first" ? "min" : "max"}(${place}) FILTER (${given})`;
  const of = (part: keyof PickParts) => `(${picked}).${part}`;
  return pickTextSql(component, { t: of("t"), p: of("p"), o: of("o"), l: of("l"), v: of("v") });
}

/** SQL of event time, partition, offset, line and value. */
type PickParts = Readonly<Record<"t" | "p" | "o" | "l" | "v", string>>;

/** Returns the parts of a pick, of one event. */
function pickPartsSql(view: View, { partial, place }: NamedComponent): PickParts {
  const time = place === "log" ? "0::BIGINT" : quoteName(view.stream.eventTime);
  return { t: time, p: "_partition", o: "_offset", l: view.each === null ? "0" : "_line", v: `(${partial})` };
}

/** SQL: the text of a pick, from its parts. */
function pickTextSql({ place }: NamedComponent, { t, p, o, l, v }: PickParts): string {
  const digits = `format('{:017d}{:010d}{:019d}{:06d}', ${t} + 10000000000000000, ${p}, ${o}, ${l})`;
  const json = `to_json(${v})::VARCHAR`;
  // The newest record of a key counts even if it deletes the key.
  return `${digits} || ${place === "log" ? `coalesce(${json}, 'null')` : json}`;
}

/** The number of digits before the value in the text of a pick. */
export const PICK_PLACE_DIGITS = 52;

/**
 * SQL: the state of a micro-batch, a row a cell. Registers are the list of distinct hashes, for PFADD. Items are not
 * included.
 */
export function partialSql(view: View, events: string): string {
  const states = wide(view).map((component) => `${aggregate(view, component)} AS ${quoteName(component.key)}`);
  const columns = ["_partition AS partition", ...cell(view), ...states];
  return `SELECT ${columns.join(", ")} FROM ${linesSql(view, events)} GROUP BY ALL`;
}

/** Returns the components that have a column in `partialSql`, in the order of the columns. */
export function wide(view: View): NamedComponent[] {
  return componentsOf(view).filter(({ form }) => form !== "items");
}

/** SQL: the items of one component in a micro-batch, as (partition, bucket, dimensions, item, value), a row an item. */
export function partialItemsSql(view: View, component: NamedComponent, events: string): string {
  const columns = ["_partition AS partition", ...cell(view), `${component.item?.sql} AS item`];
  return (
    `SELECT ${columns.join(", ")}, ${component.partial} AS value FROM ` +
    `${linesSql(view, events)} WHERE ${component.given ?? "true"} GROUP BY ALL`
  );
}

/**
 * SQL: the number of events that a view counts, a row a partition. Without `each` it is the sum of `rows`, so this SQL
 * is not needed.
 */
export function countedSql(view: View, events: string): string {
  return `SELECT _partition AS partition, count(*) AS counted FROM ${events} WHERE ${counted(view)} GROUP BY ALL`;
}

/** SQL: the counts of a batch's records, duplicates and rejects, independent of views: a row a partition. */
export function batchLedgerSql(events: string): string {
  return [
    "SELECT _partition AS partition, count(*) AS records, count(*) FILTER (_duplicate) AS duplicates,",
    ` count(_reject) AS rejects FROM ${events} GROUP BY ALL`,
  ].join("");
}

/** SQL: the ledger of a span for a view, a row a partition. */
export function ledgerSql(view: View, events: string): string {
  return [
    "SELECT _partition AS partition, count(*) AS records, count(*) FILTER (_duplicate) AS duplicates,",
    ` count(*) FILTER (_reject IS NOT NULL) AS rejects, count(*) FILTER (${counted(view)}) AS counted,`,
    ` count(*) FILTER (${VALID} AND NOT ${counted(view)}) AS filtered FROM ${events} GROUP BY ALL`,
  ].join("");
}

/** Returns the columns that identify a cell of stored state, quoted. */
export function cellColumns(view: View): string[] {
  return ["bucket", ...Object.keys(view.by).map(quoteName)];
}

/** The columns of stored state rows, quoted, in their order. */
export function stateColumns(view: View): string[] {
  return [...cellColumns(view), "component", "item", "label", "value"];
}

/**
 * SQL: state rows as they are stored: (bucket, one column per dimension, component, item, label, value), in that order.
 * `item` is the bin or the register, else 0. `label` is the text of an item or pick, else NULL. `value` is the integer,
 * the rank of a register, or 1 for a pick.
 */
export function stateSql(view: View, events: string): string {
  const columns = cellColumns(view).join(", ");
  const source = cell(view).join(", ");
  const from = linesSql(view, events);
  const components = componentsOf(view);
  const integers = components.filter(({ form }) => form === "integer");
  const aggregates = integers
    .map((component) => `${component.partial} AS ${quoteName(`_${component.key}`)}`)
    .join(", ");
  // A leading underscore cannot collide: no dimension has a name that begins with one.
  const names = integers.map(({ key }) => quoteName(`_${key}`)).join(", ");
  const selects = [
    `SELECT ${columns}, substr(component, 2) AS component, 0::BIGINT AS item, NULL::VARCHAR ` +
      `AS label, value FROM (UNPIVOT (SELECT ${source}, ${aggregates} FROM ${from} GROUP BY ` +
      `ALL) ON ${names} INTO NAME component VALUE value)`,
  ];
  for (const component of components) {
    const { form, given = "true", partial } = component;
    const key = quoteText(component.key);
    if (form === "items") {
      const [item, label] = component.item?.type === "integer" ? ["_of_item::BIGINT", "NULL"] : ["0", "_of_item"];
      const rows =
        `SELECT ${source}, ${component.item?.sql} AS _of_item, ${partial} AS ` +
        `_held FROM ${from} WHERE ${given} GROUP BY ALL`;
      selects.push(`SELECT ${columns}, ${key}, ${item}, ${label}, _held FROM (${rows}) WHERE _held IS NOT NULL`);
    } else if (form === "registers") {
      selects.push(registersSql(view, component, from));
    } else if (form === "pick") {
      const picked = `SELECT ${source}, ${pickSql(view, component)} AS _picked FROM ${from} GROUP BY ALL`;
      selects.push(`SELECT ${columns}, ${key}, 0, _picked, 1 FROM (${picked}) WHERE _picked IS NOT NULL`);
    }
  }
  return selects.map((select) => `(${select})`).join(" UNION ALL ");
}

/**
 * SQL: the registers of one component. Many events have the same text, and looking a text up costs less than hashing
 * it, so each text is hashed once.
 */
function registersSql(view: View, { key, text, given = "true" }: NamedComponent, lines: string): string {
  if (text === undefined) throw new RangeError(`${key}: registers of no text`);
  const cells = cellColumns(view).map((name) => `e.${name}`);
  const events = `SELECT ${[...cell(view), `${text} AS _text`].join(", ")} FROM ${lines} WHERE ${given}`;
  const hashes =
    `SELECT _text, ${hashSql("_text")} AS hash FROM (SELECT DISTINCT ` +
    `${text} AS _text FROM ${lines} WHERE ${given})`;
  return (
    `SELECT ${cells.join(", ")}, ${quoteText(key)}, h.register, NULL, max(h.rank) FROM (${events}) ` +
    `e JOIN (${registerSql(`(${hashes})`)}) h USING (_text) GROUP BY ALL`
  );
}

/**
 * SQL: the merge of stored state rows, each component in its own way. `keep` are the columns that identify a cell. A
 * stored cell has 64 bits. The sum of many of them for an answer may have more, which needs `wide` sums.
 */
export function mergeSql(view: View, states: string, keep: readonly string[], sums: "stored" | "wide"): string {
  const of = (...merges: NamedComponent["merge"][]) =>
    componentsOf(view)
      .filter(({ merge }) => merges.includes(merge))
      .map(({ key }) => quoteText(key))
      .join(", ");
  const when = (merge: NamedComponent["merge"], sql: string) =>
    of(merge) === "" ? "" : `WHEN component IN (${of(merge)}) THEN ${sql} `;
  const choice = (cases: string, otherwise: string) =>
    cases === "" ? otherwise : `CASE ${cases}ELSE ${otherwise} END`;
  const key = [...keep, "component", "item"].join(", ");
  const picks = of("first", "last");
  // For a pick only one text remains in a cell. Every other label makes a row of its own.
  const apart = picks === "" ? "label" : `CASE WHEN component IN (${picks}) THEN NULL ELSE label END`;
  const label = choice(when("first", "min(label)") + when("last", "max(label)"), "any_value(label)");
  const value = choice(
    when("min", "min(value)") +
      when("max", "max(value)") +
      (picks === "" ? "" : `WHEN component IN (${picks}) THEN 1 `),
    sums === "stored" ? "sum(value)::BIGINT" : "sum(value)",
  );
  return `SELECT ${key}, ${label} AS label, ${value} AS value FROM ${states} GROUP BY ${key}, ${apart}`;
}

/** SQL: the order of stored state rows that makes their hashes comparable. */
export function stateOrder(view: View): string {
  return [...cellColumns(view), "component", "item", "label"].join(", ");
}

/**
 * SQL: the values that each event (or line) adds to each component, for small micro-batches. A row an event:
 * (partition, bucket, dimensions, then for each component its value, preceded by its item if it has items). NULL where
 * an event adds nothing.
 *
 * DuckDB groups nothing here, because a statement that groups costs about a millisecond, however few events it reads,
 * and one that only reads costs a quarter of that. The caller merges the rows, as Redis merges batches. The result is
 * the same as that of `partialSql` and `partialItemsSql` (test/laws/answers/single-events.test.ts).
 */
export function singlesSql(view: View, events: string): string {
  return `SELECT ${["_partition", ...singleExpressions(view)].join(", ")} FROM ${linesSql(view, events)}`;
}

/** Returns the columns of `singlesSql` after the partition, as expressions over an event (or line). */
export function singleExpressions(view: View): string[] {
  return [...cellExpressions(view), ...componentsOf(view).flatMap((component) => singleColumns(view, component))];
}

function singleColumns(view: View, component: NamedComponent): string[] {
  const { form, partial, item } = component;
  const value = ifGiven(component, form === "registers" ? partial : singleSql(view, component));
  return item === undefined ? [value] : [ifGiven(component, item.sql), value];
}

function ifGiven({ given }: NamedComponent, value: string): string {
  return given === undefined ? value : `CASE WHEN ${given} THEN ${value} END`;
}

function singleSql(view: View, component: NamedComponent): string {
  const { key, form, single } = component;
  if (form === "pick") return pickTextSql(component, pickPartsSql(view, component));
  if (single === undefined) throw new RangeError(`${key}: no SQL for a single event`);
  return single;
}

/** SQL: the events that a view counts, a row an event: (partition, 1). Summed, they are the rows of `countedSql`. */
export function singleCountedSql(view: View, events: string): string {
  return `SELECT _partition AS partition, 1 AS counted FROM ${events} WHERE ${counted(view)}`;
}

/**
 * SQL: whether each record of a batch is a duplicate or a reject, a row a record. Summed, they are the rows of
 * `batchLedgerSql`.
 */
export function singleLedgerSql(events: string): string {
  return [
    "SELECT _partition AS partition, 1 AS records, _duplicate::INTEGER AS duplicates,",
    ` (_reject IS NOT NULL)::INTEGER AS rejects FROM ${events}`,
  ].join("");
}
