import type { Described } from "../contract/described.ts";
import { type Sql, sqlProblem } from "../contract/sql.ts";
import type { Stream } from "../contract/stream.ts";
import { withDecimals } from "../measures/decimals.ts";
import type { Measure } from "../measures/measure.ts";
import { parseDuration } from "../time.ts";

export interface ViewDefinition extends Described {
  readonly stream: Stream;
  /** Events for which this is not true are filtered: the ledger counts them, and no measure does. */
  readonly where?: Sql;
  /** Dimensions, each an expression over one event. */
  readonly by?: Readonly<Record<string, Sql>>;
  /**
   * A list field of the stream. Every element of it is a line, which expressions see as `item` (`item.sku`). Dimensions
   * and measures then read and count lines; `where` and the ledger still count events.
   */
  readonly each?: string;
  /** The time grain, in event time: "1 minute", "1 day". */
  readonly every: string;
  /** The time that each row covers, up to the end of its bucket: a multiple of `every`. A query may ask for another. */
  readonly window?: string;
  /**
   * Makes rows of sessions. A session is successive events with the same dimensions, each less than `gap` after the one
   * before. `every` is then only the grain of the state, at most the gap.
   */
  readonly sessions?: { readonly gap: string };
  readonly measures: Readonly<Record<string, Measure>>;
  /**
   * The most cells (bucket x group x component) that Redis may hold for this view between two cuts. Beyond it Redis
   * refuses more.
   */
  readonly maxCells?: number;
}

/** A view: the measures of a stream, by group and time. */
export interface View extends Described {
  readonly kind: "view";
  readonly name: string;
  readonly stream: Stream;
  readonly where: Sql | null;
  readonly by: Readonly<Record<string, Sql>>;
  readonly each: string | null;
  readonly every: string;
  readonly grainMs: number;
  /** The time that a row covers unless a query asks for another. The grain itself for tumbling buckets. */
  readonly windowMs: number;
  readonly sessions: { readonly gapMs: number } | null;
  readonly measures: Readonly<Record<string, Measure>>;
  readonly maxCells: number;
  /**
   * The properties of a table (`table()`), whose buckets are shards of the key, and whose `by` is the key. Null for a
   * view, whose buckets are times.
   */
  readonly table: Table | null;
}

/** The properties of a table that a view does not have. */
export interface Table {
  /** "latest": a row is the newest record of its key. "measures": a row has measures over all records of its key. */
  readonly kind: "latest" | "measures";
  /** The number of buckets, which are the numbers from 0 on. The bucket of a key is a hash of it. */
  readonly shards: number;
  /** For "latest": whether a record deletes its key. */
  readonly deleted: Sql | null;
  /** Columns for which state files have an index. Not stored with the definition: the file decides. */
  readonly indexes: readonly string[];
}

/** Defines a view. Problems of a definition are found at start-up, with file and field. */
export function view(name: string, definition: ViewDefinition): View {
  const { stream, where = null, by = {}, each = null, every, measures, maxCells = 2_000_000 } = definition;
  const grainMs = parseDuration(every) ?? 0;
  const windowMs = definition.window === undefined ? grainMs : (parseDuration(definition.window) ?? 0);
  const sessions = definition.sessions === undefined ? null : { gapMs: parseDuration(definition.sessions.gap) ?? 0 };
  const { doc, example } = definition;
  const described = { ...(doc === undefined ? {} : { doc }), ...(example === undefined ? {} : { example }) };
  const made = { name, stream, where, by, each, every, grainMs, windowMs, sessions, measures, maxCells, ...described };
  return withDecimals({ kind: "view", ...made, table: null });
}

/** The name of a line in the expressions of a view with `each`. */
export const LINE = "item";

/**
 * The columns of a session's row in addition to its dimensions and measures: the time of its last event, and its
 * duration.
 */
export const SESSION_COLUMNS = ["ended", "duration_ms"] as const;

/** The names that views and tables may have. */
export const DEFINITION_NAME = /^[a-z][a-z0-9-]{0,62}$/;

/** The names that dimensions, measures and columns may have. */
export const COLUMN_NAME = /^[a-z][a-z0-9_]{0,62}$/;

/** The columns of state rows that are not dimensions. */
const RESERVED: ReadonlySet<string> = new Set(["bucket", "component", "item", "label", "value"]);

/** Returns the problems of a view that can be found without a database: one sentence per problem, naming the field. */
export function checkViewShape(definition: View): string[] {
  const problems: string[] = [];
  if (!DEFINITION_NAME.test(definition.name))
    problems.push(`name "${definition.name}": use lower-case letters, digits and dashes`);
  if (definition.table !== null) problems.push(...tableProblems(definition, definition.table));
  else if (definition.grainMs <= 0)
    problems.push(`every: "${definition.every}" is not a duration such as "1 minute" or "1 day"`);
  if (Object.keys(definition.measures).length === 0) problems.push("measures: a view needs at least one");
  for (const field of [...Object.keys(definition.by), ...Object.keys(definition.measures)]) {
    if (!COLUMN_NAME.test(field)) problems.push(`"${field}": use lower-case letters, digits and underscores`);
    if (RESERVED.has(field)) problems.push(`"${field}" is a column of every view's state`);
  }
  problems.push(...expressionProblems(definition));
  if (typeof (definition.doc ?? "") !== "string") problems.push("doc: a text");
  if (!Number.isSafeInteger(definition.maxCells) || definition.maxCells < 1)
    problems.push("maxCells: a whole number from 1");
  for (const field of Object.keys(definition.measures)) {
    if (field in definition.by) problems.push(`measures.${field}: a dimension has this name already`);
  }
  const { grainMs, windowMs, sessions } = definition;
  if (windowMs <= 0 || (grainMs > 0 && windowMs % grainMs !== 0))
    problems.push(`window: has to be a multiple of every, "${definition.every}"`);
  if (sessions !== null) {
    if (sessions.gapMs < grainMs || sessions.gapMs <= 0)
      problems.push(`sessions.gap: a duration of at least every, "${definition.every}"`);
    if (windowMs !== grainMs) problems.push("window: a view of sessions has none");
    for (const field of SESSION_COLUMNS)
      if (field in definition.by || field in definition.measures)
        problems.push(`"${field}" is a column of every view of sessions`);
  }
  if ("session" in definition.measures) problems.push("measures.session: this name is taken by the state of sessions");
  if (definition.each !== null) {
    const lists = Object.entries(definition.stream.fields).flatMap(([field, { column }]) =>
      column.endsWith("[]") ? [field] : [],
    );
    if (!lists.includes(definition.each))
      problems.push(`each: "${definition.each}" is not a list of the stream (it has ${lists.join(", ") || "none"})`);
    if (LINE in definition.stream.fields)
      problems.push(`each: the stream has a field "${LINE}", which would hide its lines`);
  }
  return problems;
}

/** Returns the column that an expression consists of, in quotes or without. Null for any other expression. */
export function columnOf({ text }: Sql): string | null {
  return /^\s*("?)([a-z][a-z0-9_]*)\1\s*$/.exec(text)?.[2] ?? null;
}

/** The most shards that a table can have. */
export const MOST_SHARDS = 4_096;

function tableProblems({ by, stream }: View, { shards, kind, deleted, indexes }: Table): string[] {
  const problems: string[] = [];
  if (!Array.isArray(indexes) || indexes.some((column) => typeof column !== "string"))
    problems.push('indexes: a list of columns, such as ["customer"]');
  if (!Number.isSafeInteger(shards) || shards < 1 || shards > MOST_SHARDS)
    problems.push(`shards: a whole number from 1 to ${MOST_SHARDS}`);
  if (Object.keys(by).length === 0) problems.push("key: a table needs one, such as sql`customer_id`");
  if (kind === "latest")
    for (const [name, { text }] of Object.entries(by))
      if (name in stream.fields && columnOf({ text }) !== name)
        problems.push(
          `key.${name}: the stream has a field of this name, which is a column of the row; give the key another name`,
        );
  const problem = deleted === null ? null : sqlProblem(deleted);
  return problem === null ? problems : [...problems, `deleted: ${problem}`];
}

/** Returns the problems of the view's SQL and measures. */
function expressionProblems({ where, by, measures }: View): string[] {
  const expressions = [
    ...(where === null ? [] : [["where", where]]),
    ...Object.entries(by).map(([name, one]) => [`by.${name}`, one]),
  ];
  const ofSql = expressions.flatMap(([field, expression]) => {
    const problem = sqlProblem(expression);
    return problem === null ? [] : [`${String(field)}: ${problem}`];
  });
  const ofMeasures = Object.entries(measures).flatMap(([name, measure]) => {
    const { components, problem } = (measure ?? {}) as Partial<Measure>;
    const found = components === undefined ? "no measure: give one such as count() or sum(sql`…`)" : problem;
    return found === undefined ? [] : [`measures.${name}: ${found}`];
  });
  return [...ofSql, ...ofMeasures];
}
