import type { Described } from "../contract/described.ts";
import type { Sql } from "../contract/sql.ts";
import type { Fields, Stream } from "../contract/stream.ts";
import { TidelineError } from "../errors.ts";
import { withDecimals } from "../measures/decimals.ts";
import { latest } from "../measures/kinds/latest.ts";
import type { Measure } from "../measures/measure.ts";
import { columnOf, type View } from "./view.ts";

export interface TableDefinition extends Described {
  readonly stream: Stream;
  /**
   * The key of a row: an expression over one event, or several with names. Events without a value for it have no row.
   */
  readonly key: Sql | Readonly<Record<string, Sql>>;
  /** Events for which this is not true are filtered: they change no row. */
  readonly where?: Sql;
  /** The measures of a row, over all events of its key. Absent: a row is the newest record of its key. */
  readonly measures?: Readonly<Record<string, Measure>>;
  /** Without measures: if this is true for the newest record, the row is removed, until a later record comes. */
  readonly deleted?: Sql;
  /** The number of parts that rows are divided into, by a hash of their key: more for millions of keys. Absent: 256. */
  readonly shards?: number;
  /**
   * Columns that `where` finds by an index: parts of the key, fields of the newest record, mins and maxes. Absent:
   * none. Indexes do not change the rows.
   */
  readonly indexes?: readonly string[];
  /**
   * The most cells (row x component) that Redis may hold for this table between two cuts. Beyond it Redis refuses more.
   */
  readonly maxCells?: number;
}

/** The name of the measure that is the newest record of a key. */
export const LATEST = "latest";

const SHARDS = 256;

/**
 * Defines a table: the state of every key. It is a view whose buckets are shards of the key instead of times, so that
 * it has the versions, tiling, positions and proofs of a view. The newest record is the one with the highest position
 * in the log. So the records of a key have to be in one partition, as they are when the key is the stream's.
 */
export function table(name: string, definition: TableDefinition): View {
  const {
    stream,
    key,
    where,
    measures,
    deleted = null,
    shards = SHARDS,
    indexes = [],
    maxCells = 2_000_000,
  } = definition;
  const { doc, example } = definition;
  const by = keyColumns(key);
  const kind = measures === undefined ? "latest" : "measures";
  return withDecimals({
    kind: "view",
    name,
    stream,
    where: withKey(by, where ?? null),
    by,
    each: null,
    every: "",
    grainMs: 1,
    windowMs: 1,
    sessions: null,
    measures: measures ?? latestMeasures(stream, deleted),
    maxCells,
    ...(doc === undefined ? {} : { doc }),
    ...(example === undefined ? {} : { example }),
    table: { kind, shards, deleted, indexes },
  });
}

/** Returns the measures of a table of newest records. */
export function latestMeasures(stream: Stream, deleted: Sql | null): Record<string, Measure> {
  return { [LATEST]: latest((stream?.fields ?? {}) as Fields, deleted, stream?.tombstones ?? null) };
}

function keyColumns(key: TableDefinition["key"]): Readonly<Record<string, Sql>> {
  if (typeof key !== "object" || key === null) return {};
  if (!isSql(key)) return key;
  return { [columnOf(key) ?? "key"]: key };
}

function isSql(key: Sql | Readonly<Record<string, Sql>>): key is Sql {
  return typeof key.text === "string";
}

/** Returns the condition of a table: `where`, and a value for each part of the key. */
function withKey(by: Readonly<Record<string, Sql>>, where: Sql | null): Sql {
  const given = Object.values(by).map((expression) => `(${expression?.text}) IS NOT NULL`);
  return { text: [...(where === null ? [] : [`(${where.text})`]), ...given].join(" AND ") };
}

/** Throws BAD_REQUEST for a table, because a table has no times. */
export function requireTimes({ name, table }: View): void {
  if (table === null) return;
  throw new TidelineError(
    "BAD_REQUEST",
    `"${name}" is a table: its rows belong to keys, not to times`,
    `\`tideline rebuild ${name}\` recomputes all of it from the archive.`,
  );
}
