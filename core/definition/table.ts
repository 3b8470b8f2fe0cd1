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
   * What a row is about: an expression over one event, or several with their names. Events without a value for it have
   * no row.
   */
  readonly key: Sql | Readonly<Record<string, Sql>>;
  /** Events for which this is not true are filtered: they change no row. */
  readonly where?: Sql;
  /** A row has these, over all events of its key. Absent: a row is the newest record of its key. */
  readonly measures?: Readonly<Record<string, Measure>>;
  /** Without measures: the newest record for which this is true removes the row, until a later one comes. */
  readonly deleted?: Sql;
  /** Into how many parts the rows are divided, by a hash of their key: more for millions of keys. 256 when absent. */
  readonly shards?: number;
  /**
   * Columns that `where` finds by an index: parts of the key, fields of the newest record, mins and maxes. None when
   * absent. They change nothing of what the rows are.
   */
  readonly indexes?: readonly string[];
  /** Cells (row x component) that Redis may hold for this table between two cuts before it refuses more. */
  readonly maxCells?: number;
}

/** What the newest record of a key is called among measures. */
export const LATEST = "latest";

const SHARDS = 256;

/**
 * Defines a table: the state of every key. It is a view whose buckets are shards of the key instead of times, so that
 * versions, seams, positions and proofs are those of views. The newest record is the one with the highest position in
 * the log: the records of a key have to be in one partition, as they are when the key is the stream's.
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

/** The columns of a newest record, as measures have them. */
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

/** Events without a key are filtered. */
function withKey(by: Readonly<Record<string, Sql>>, where: Sql | null): Sql {
  const given = Object.values(by).map((expression) => `(${expression?.text}) IS NOT NULL`);
  return { text: [...(where === null ? [] : [`(${where.text})`]), ...given].join(" AND ") };
}

/** Throws BAD_REQUEST for a table: no interval of time is a part of it. */
export function requireTimes({ name, table }: View): void {
  if (table === null) return;
  throw new TidelineError(
    "BAD_REQUEST",
    `"${name}" is a table: its rows belong to keys, not to times`,
    `\`tideline rebuild ${name}\` recomputes all of it from the archive.`,
  );
}
