import { TidelineError } from "../../core/errors.ts";
import type { JoinedRow } from "../../core/query/tables/joined-rows.ts";
import { joinedRelation, textSql } from "../../core/query/tables/joined-sql.ts";
import type { DuckQueue } from "../read/batch/duck-queue.ts";
import type { DescribedJoin } from "./described-join.ts";
import { joinedValues, keyOf } from "./joined-values.ts";

const OF_VALUE = /^(?:Conversion|Out of Range|Invalid Input) Error: /;

/**
 * Whether DuckDB's error means that a value cannot be computed: a text that is not a number, or a number that is too
 * large.
 */
export function isOfValue(error: unknown): error is Error {
  return error instanceof Error && OF_VALUE.test(error.message);
}

/**
 * Returns the error for rows with a column that cannot be computed: COLUMN_FAILED with the first such column and the
 * key of a row. Finds the row by halving the rows until one is left.
 */
export async function columnFailed(
  ducks: DuckQueue,
  join: DescribedJoin,
  { found, error }: { readonly found: readonly JoinedRow[]; readonly error: Error },
): Promise<Error> {
  for (const [name, { sql, type }] of join.columns) {
    const statement = `SELECT ${textSql(sql, type)} FROM ${joinedRelation(join.source)}`;
    const failure = async (rows: readonly JoinedRow[]) => {
      const reading = ducks.read(statement, joinedValues(join, rows), function* () {});
      return reading.then(
        () => null,
        (cause: unknown) => {
          if (isOfValue(cause)) return cause;
          throw cause;
        },
      );
    };
    let [rows, reason] = [found, await failure(found)];
    if (reason === null) continue;
    while (rows.length > 1) {
      const half = rows.slice(0, rows.length >> 1);
      const ofHalf = await failure(half);
      rows = ofHalf === null ? rows.slice(half.length) : half;
      reason = ofHalf ?? reason;
    }
    return refused(join, name, { rows, reason });
  }
  return error;
}

function refused(
  join: DescribedJoin,
  column: string,
  { rows, reason }: { readonly rows: readonly JoinedRow[]; readonly reason: Error },
): TidelineError {
  const shown = rows.map((row) => Object.values(keyOf(join, row)).join("/").slice(0, 60));
  const why = (reason.message.split("\n")[0] ?? "").slice(0, 300);
  const problem =
    `column "${column}" of joined table "${join.definition.name}" cannot ` +
    `be computed for the row "${shown}": ${why}`;
  const allowed = "the column's SQL must accept every value: TRY_CAST gives null for a text that is not a number";
  return new TidelineError("COLUMN_FAILED", problem, allowed, {
    parameters: [{ parameter: "columns", problem, allowed }],
  });
}
