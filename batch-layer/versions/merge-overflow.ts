import { quoteText } from "../../core/contract/sql.ts";
import { componentsOf } from "../../core/definition/components.ts";
import type { View } from "../../core/definition/view.ts";
import { TidelineError } from "../../core/errors.ts";
import { cellColumns } from "../../core/state/compile.ts";
import { type Duck, rowsOf } from "../../store/duckdb/duck.ts";
import { isOverflow } from "../../store/duckdb/duck-errors.ts";

/** The most characters of a cell's dimensions in an error. */
const MAX_SHOWN = 200;

/**
 * Runs `work`, which merges the state rows of a relation. Cells that fit 64 bits may have a sum that does not. Then
 * throws STATE_OVERFLOW with the view and the cell; nothing is written, and the published version stays.
 */
export async function namingOverflow<T>(duck: Duck, view: View, states: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!isOverflow(error)) throw error;
    throw overflow(view, await firstOverflow(duck, view, states), error);
  }
}

/** Returns the component, bucket, dimensions and sum of the first cell that leaves 64 bits; null if no sum does. */
async function firstOverflow(duck: Duck, view: View, states: string): Promise<readonly string[] | null> {
  const summed = componentsOf(view).filter(({ merge }) => merge === "sum");
  const cell = cellColumns(view);
  const group = [...cell, "component", "item", "label"].join(", ");
  const [row] = await rowsOf(
    duck,
    `SELECT component, bucket, to_json([${cell
      .slice(1)
      .map((name) => `${name}::VARCHAR`)
      .join(", ")}])::VARCHAR, sum(value)::VARCHAR FROM ${states}
     WHERE component IN (${summed.map(({ key }) => quoteText(key)).join(", ")})
     GROUP BY ${group} HAVING sum(value) NOT BETWEEN -9223372036854775808 AND 9223372036854775807
     ORDER BY bucket LIMIT 1`,
  );
  return row === undefined ? null : row.map(String);
}

function overflow(view: View, found: readonly string[] | null, cause: unknown): TidelineError {
  const [component = "", bucket = "0", dimensions = "", sum = ""] = found ?? [];
  const what =
    found === null
      ? (cause as Error).message.split("\n")[0]
      : `${component} of bucket ${new Date(Number(bucket)).toISOString()} ` +
        `${dimensions.slice(0, MAX_SHOWN)} adds up to ${sum}, which 64 bits do not hold`;
  return new TidelineError(
    "STATE_OVERFLOW",
    `${view.name}: ${what}`,
    "Nothing was merged. The view is still answered, exactly. Lower the bounds " +
      "in the stream's contract, or count in a larger unit.",
    { cause },
  );
}
