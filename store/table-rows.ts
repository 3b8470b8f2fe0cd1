import { dirname } from "node:path";
import { TidelineError } from "../core/errors.ts";
import { quoteText } from "../core/sql.ts";
import { DuckPool, rowsOf } from "./duck.ts";

/** A table in a file: CSV with a header line, or Parquet. */
export type TableFormat = "csv" | "parquet";

export interface TableRows {
  readonly total: number;
  readonly columns: readonly string[];
  /** Rows in the file's order, in pieces; each is an object by column name. In CSV every value is text, and an empty one is null. */
  readonly pieces: AsyncIterable<readonly Readonly<Record<string, unknown>>[]>;
  close(): void;
}

/** Opens a table to be read row by row. Throws INPUT_MISSING when it cannot be read. */
export async function openTable(path: string, format: TableFormat): Promise<TableRows> {
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [dirname(path)] });
  const duck = await pool.connect();
  const relation =
    format === "csv"
      ? `read_csv(${quoteText(path)}, header = true, all_varchar = true)`
      : `read_parquet(${quoteText(path)})`;
  try {
    const columns = (await rowsOf(duck, `DESCRIBE SELECT * FROM ${relation}`)).map(([name]) => String(name));
    const [[total] = []] = await rowsOf(duck, `SELECT count(*) FROM ${relation}`);
    // As JSON: so dates, decimals and lists of any file cross alike.
    const rows = await duck.stream(`SELECT to_json(t)::VARCHAR FROM ${relation} t`);
    return {
      total: Number(total),
      columns,
      pieces: pieces(rows),
      close: () => {
        duck.closeSync();
        pool.close();
      },
    };
  } catch (cause) {
    duck.closeSync();
    pool.close();
    const message = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
    throw new TidelineError("INPUT_MISSING", `${path} cannot be read: ${message}`, `Name a ${format} file.`, { cause });
  }
}

interface Chunks {
  fetchChunk(): Promise<{ readonly rowCount: number; getRows(): unknown[][] } | null>;
}

async function* pieces(rows: Chunks): AsyncGenerator<Record<string, unknown>[]> {
  for (;;) {
    const chunk = await rows.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) return;
    yield chunk.getRows().map(([row]) => JSON.parse(String(row)) as Record<string, unknown>);
  }
}
