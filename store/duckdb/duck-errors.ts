import { type ErrorCode, TidelineError } from "../../core/errors.ts";
import { damagedHint } from "../files/intact.ts";

/** Whether DuckDB says that a number leaves 64 bits. */
export function isOverflow(error: unknown): boolean {
  return error instanceof Error && /out of range for the destination type INT64|Overflow in/.test(error.message);
}

/**
 * An error of DuckDB under the code that people know: STATE_OVERFLOW when a sum leaves 64 bits, ARCHIVE_DAMAGED when a
 * published file cannot be read. Files are checked before they are read; one that goes away after that is found here.
 * Any other error is returned as it is.
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

/** What DuckDB says when a value, or the text of the SQL, is to blame. Memory, disk and itself have other kinds. */
const OF_SQL = new RegExp(
  "^(Binder|Catalog|Constraint|Conversion|Divide by Zero|Invalid Input|Mismatch Type|" +
    "Not implemented|Out of Range|Parser|Syntax) Error:",
);

/**
 * Why the SQL of the view or rule `name` failed. `ofSql`: code and hint when the SQL is to blame. Otherwise it is
 * COMPUTATION_FAILED: the memory, the disk, or the program.
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
