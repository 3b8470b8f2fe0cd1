import { TidelineError } from "../../core/errors.ts";
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
