import type { TidelineError } from "../../core/errors.ts";
import type { JoinedAsOf } from "../../core/log/as-of.ts";
import type { Cut } from "../../core/log/position.ts";
import type { Presented } from "../../core/measures/measure.ts";
import { comparePresented } from "../../core/measures/order.ts";
import { filterAllows } from "../../core/query/filter.ts";
import type { Row } from "../../core/query/present.ts";
import { type JoinedRow, joinRows, type PartRows } from "../../core/query/tables/joined-rows.ts";
import { planTable, storedKey, type TableQuestion } from "../../core/query/tables/table-query.ts";
import type { GroupValue } from "../../core/state/cells.ts";
import { askLess, badRequest } from "../common/refusals.ts";
import type { ViewStatus } from "../read/live/view-status.ts";
import type { Reader } from "../read/reader.ts";
import type { DescribedJoin } from "../views/described-join.ts";
import type { JoinedTables } from "../views/joined-tables.ts";
import type { DescribedView } from "../views/served-views.ts";
import { keyTexts } from "./table-request.ts";
import { MOST_LEFT_OUT, readTable, tooFar } from "./table-rows.ts";

/** A query of a joined table. */
export interface JoinedQuestion {
  /** Only these rows; null: all of them. A key is a list of texts, one for each part, in the form of rows. */
  readonly keys: readonly (readonly string[])[] | null;
  readonly prefix: string;
  /** Only rows after this key; null: from the first row. */
  readonly after: readonly string[] | null;
  /** The allowed values of each column; null means no value. */
  readonly where: ReadonlyMap<string, readonly (string | null)[]>;
  readonly order: readonly { readonly field: string; readonly descending: boolean }[];
  readonly columns: readonly string[];
  readonly limit: number;
}

/** The rows of a joined table, and the position of each of its tables. */
export interface JoinedAnswer {
  readonly rows: readonly Row[];
  readonly truncated: boolean;
  /** The key of the last row, after which the next page begins; null if there are no rows. */
  readonly last: readonly string[] | null;
  /** By the name that the definition has for the table. */
  readonly statuses: ReadonlyMap<string, ViewStatus>;
}

/** The positions of the tables, by the name that the definition has for each; null: the newest ones. */
export type Positions = ReadonlyMap<string, Cut> | null;

/** The positions to read a joined table at. `left` is aborted when the client has left. */
export interface JoinedRead {
  readonly at: Positions;
  readonly left: AbortSignal | null;
}

/** Returns the positions of a token. */
export function positionsOf(asOf: JoinedAsOf | null): Positions {
  return asOf === null ? null : new Map([...asOf].map(([name, { applied }]) => [name, applied]));
}

/**
 * The fewest and the most rows that are read at once if not all of them are shown, and the most rows that are sorted.
 */
const ROWS_A_READ = 2_000;
const MOST_ROWS_A_READ = 20_000;
const MOST_SORTED = 50_000;

/**
 * Reads the rows of a joined table. Each table is read at one position, even if that takes several reads. Throws as
 * `Reader.read`, and TOO_LARGE when too many rows would have to be sorted.
 */
export async function readJoined(
  { joins, reader }: { readonly joins: JoinedTables; readonly reader: Reader },
  join: DescribedJoin,
  question: JoinedQuestion,
  { at, left }: JoinedRead,
): Promise<JoinedAnswer> {
  const { limit, order, where, columns } = question;
  const looksFurther = order.length > 0 || where.size > 0;
  let most = looksFurther ? Math.max(limit, ROWS_A_READ) : limit;
  let leftOut = 0;
  const found: Row[] = [];
  let statuses: ReadonlyMap<string, ViewStatus> | null = null;
  let [positions, after, more] = [at, question.after, true];
  while (more && (order.length > 0 || found.length <= limit)) {
    const read = await readParts(reader, join, { ...question, after, limit: most }, { at: positions, left });
    statuses ??= read.statuses;
    positions = new Map([...statuses].map(([name, { applied }]) => [name, applied]));
    const rows = await joins.rows(join, read.rows);
    const allowed = rows.filter((row) => isAllowed(row, where));
    found.push(...allowed);
    leftOut += rows.length - allowed.length;
    if (looksFurther) most = Math.max(most, Math.min(most * 2, MOST_ROWS_A_READ));
    const last = rows.at(-1);
    more = read.truncated && last !== undefined;
    if (last !== undefined) after = keyTexts(last, join.key);
    if (more && found.length <= limit && leftOut > MOST_LEFT_OUT) throw tooFar(where, found.length, leftOut);
    if (order.length > 0 && found.length > MOST_SORTED) throw tooManyToSort(join.definition.name);
  }
  const sorted = order.length === 0 ? found : found.toSorted((a, b) => compareRows(a, b, order));
  const shown = sorted.slice(0, limit);
  const last = shown.at(-1);
  return {
    rows: shown.map((row) => Object.fromEntries(columns.map((name) => [name, row[name] ?? null]))),
    truncated: more || found.length > limit,
    last: last === undefined ? null : keyTexts(last, join.key),
    statuses: statuses ?? new Map(),
  };
}

/** Returns the query of one of the tables. Throws BAD_REQUEST for keys that its key cannot have. */
export function partQuestion(
  join: DescribedJoin,
  part: string,
  { definition }: DescribedView,
  asked: Pick<JoinedQuestion, "keys" | "prefix" | "after" | "limit">,
): TableQuestion {
  const { keys, prefix, after, limit } = asked;
  const columns = [...(join.source.tables.get(part)?.keys() ?? [])].filter((name) => !join.key.includes(name));
  const plan = planTable(definition.view, { keys, prefix, after, columns: columns.join(","), limit: String(limit) });
  if (!plan.ok) throw badRequest(plan.problems);
  return plan.question;
}

async function readParts(
  reader: Reader,
  join: DescribedJoin,
  asked: JoinedQuestion,
  { at, left }: JoinedRead,
): Promise<{ rows: readonly JoinedRow[]; truncated: boolean; statuses: ReadonlyMap<string, ViewStatus> }> {
  const answers = await Promise.all(
    [...join.tables].map(async ([name, described]) => {
      const { definition } = described;
      const question = partQuestion(join, name, described, asked);
      return [
        name,
        definition.view,
        await readTable(reader, definition, question, { at: at?.get(name) ?? null, left }),
      ] as const;
    }),
  );
  const parts = answers.map(([name, view, { rows, truncated }]): [string, PartRows] => [
    name,
    { rows: rows.map((row) => ({ key: storedKey(view, row), row })), truncated },
  ]);
  return { ...joinRows(new Map(parts)), statuses: new Map(answers.map(([name, , answer]) => [name, answer])) };
}

function isAllowed(row: Row, where: JoinedQuestion["where"]): boolean {
  return [...where].every(([name, values]) => filterAllows(values, (row[name] ?? null) as GroupValue));
}

function compareRows(a: Row, b: Row, order: JoinedQuestion["order"]): number {
  for (const { field, descending } of order) {
    const compared = comparePresented((a[field] ?? null) as Presented, (b[field] ?? null) as Presented, descending);
    if (compared !== 0) return compared;
  }
  return 0;
}

function tooManyToSort(name: string): TidelineError {
  const problem =
    `joined table "${name}" has more than ${MOST_SORTED.toLocaleString("en-US")} ` +
    "such rows, and all of them have to be held to be sorted";
  const allowed = "key, a prefix, where[column], or the order of the key";
  return askLess({ parameter: "order", problem, allowed }, "with");
}

/** Returns the columns of a joined table's rows, the key first. */
export function joinedColumnNames({ key, columns }: Pick<DescribedJoin, "key" | "columns">): string[] {
  return [...key, ...columns.keys()];
}
