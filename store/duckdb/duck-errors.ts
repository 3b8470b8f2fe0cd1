import { type ErrorCode, TidelineError } from "../../core/errors.ts";
import { damagedHint } from "../files/intact.ts";

/** Whether an error of DuckDB means that a number exceeds 64 bits. */
export function isOverflow(error: unknown): boolean {
  return error instanceof Error && /out of range for the destination type INT64|Overflow in/.test(error.message);
}

/**
 * Returns an error of DuckDB with one of our codes: STATE_OVERFLOW when a sum exceeds 64 bits, ARCHIVE_DAMAGED when a
 * published file cannot be read. Files are checked before they are read, but a file may disappear after that. Returns
 * any other error unchanged.
 */
export function namedDuckError(error: unknown): unknown {
  const message = error instanceof Error ? (error.message.split("\n")[0] ?? "") : "";
  if (error instanceof TidelineError) return error;
  if (isOverflow(error)) {
    return new TidelineError(
      "STATE_OVERFLOW",
      message,
      "Lower the bounds in the stream's contract, or count in a larger unit.",
      { cause: error },
    );
  }
  if (/No files found|Cannot open file|No magic bytes|too small to be a Parquet/.test(message)) {
    return new TidelineError(
      "ARCHIVE_DAMAGED",
      message,
      damagedHint(/[/\\]views[/\\]/.test(message) ? "views/" : "archive/"),
      { cause: error },
    );
  }
  return error;
}

/**
 * DuckDB's errors that a value or the text of the SQL causes. Errors of memory, of the disk and of DuckDB itself have
 * other kinds.
 */
const OF_SQL = new RegExp(
  "^(Binder|Catalog|Constraint|Conversion|Divide by Zero|Invalid Input|Mismatch Type|" +
    "Not implemented|Out of Range|Parser|Syntax) Error:",
);

/**
 * Returns the error of the view or rule `name` whose SQL failed. `ofSql`: code and hint if the SQL is the cause.
 * Otherwise the cause is the memory, the disk or the program, and the code is COMPUTATION_FAILED.
 */
export function sqlFailed(
  name: string,
  cause: unknown,
  ofSql: { readonly code: ErrorCode; readonly hint: string },
): TidelineError {
  if (cause instanceof TidelineError) return cause;
  const [reason = ""] = (cause instanceof Error ? cause.message : String(cause)).split("\n");
  if (OF_SQL.test(reason)) return new TidelineError(ofSql.code, `${name}: ${reason}`, ofSql.hint, { cause });
  return new TidelineError(
    "COMPUTATION_FAILED",
    `${name}: ${reason}`,
    "Run `tideline doctor`, and see whether the process has enough memory and its disk has room. The SQL is not to " +
      "blame, and is tried again by itself. Report it if it goes on.",
    { cause },
  );
}
