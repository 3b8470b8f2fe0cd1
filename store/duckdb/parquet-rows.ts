import { dirname } from "node:path";
import { quoteName } from "../../core/contract/sql.ts";
import { TidelineError } from "../../core/errors.ts";
import { DuckPool, rowsOf } from "./duck.ts";
import { parquetRows } from "./parquet.ts";

/** A value as text with every digit, or the number of a floating-point column. Null for a missing one. */
export type TableValue = string | number | null;

export interface ParquetRows {
  readonly total: number;
  readonly columns: readonly string[];
  /**
   * Yields rows in the file's order, in pieces: the values of the named columns, which the file has to have. Numbers,
   * dates and times are in DuckDB's text form; lists and structures are JSON. Throws INPUT_MISSING when a part of the
   * file cannot be read, or a text is not UTF-8.
   */
  read(columns: readonly string[]): AsyncIterable<readonly (readonly TableValue[])[]>;
  close(): void;
}

/** Opens a Parquet file for reading row by row. Throws INPUT_MISSING when it cannot be read. */
export async function openParquet(path: string): Promise<ParquetRows> {
  const pool = await DuckPool.open({ threads: 2, memoryLimitMb: 512, directories: [dirname(path)] });
  const duck = await pool.connect();
  // The path must be read as one file, not as a pattern.
  const relation = parquetRows([path.replaceAll(/[*?[]/g, "[$&]")], { areForeign: true });
  try {
    const described = await rowsOf(duck, `DESCRIBE SELECT * FROM ${relation}`);
    const types = new Map(described.map(([name, type]) => [String(name), String(type)]));
    const [[total] = []] = await rowsOf(duck, `SELECT count(*) FROM ${relation}`);
    return {
      total: Number(total),
      columns: [...types.keys()],
      read: async function* (columns) {
        const texts = columns.map((name) => textSql(name, types.get(name) ?? ""));
        const isFloat = columns.map((name) => /^(FLOAT|DOUBLE)$/.test(types.get(name) ?? ""));
        try {
          yield* pieces(await duck.stream(`SELECT ${texts.join(", ")} FROM ${relation}`), isFloat);
        } catch (cause) {
          throw unreadable(path, cause);
        }
      },
      close: () => {
        duck.closeSync();
        pool.close();
      },
    };
  } catch (cause) {
    duck.closeSync();
    pool.close();
    throw unreadable(path, cause);
  }
}

function unreadable(path: string, cause: unknown): TidelineError {
  const message = cause instanceof Error ? (cause.message.split("\n")[0] ?? "") : String(cause);
  return new TidelineError(
    "INPUT_MISSING",
    `${path} cannot be read: ${message}`,
    "Name a Parquet file with UTF-8 texts.",
    {
      cause,
    },
  );
}

/** SQL: a column's value as text. JSON of a whole row would lose digits when it is read, and cannot hold NaN. */
function textSql(name: string, type: string): string {
  const column = quoteName(name);
  const nested = /^(STRUCT|MAP|UNION)\b|\[\d*\]$/.test(type);
  const text = `${nested ? `to_json(${column})` : column}::VARCHAR`;
  // 12.50 and 12.5 are the same number, so they must be the same text if they are an event's id.
  return /^DECIMAL\(\d+,[1-9]\d*\)$/.test(type) ? `rtrim(rtrim(${text}, '0'), '.')` : text;
}

interface Chunks {
  fetchChunk(): Promise<{ readonly rowCount: number; getRows(): unknown[][] } | null>;
}

async function* pieces(rows: Chunks, isFloat: readonly boolean[]): AsyncGenerator<TableValue[][]> {
  for (;;) {
    const chunk = await rows.fetchChunk();
    if (chunk === null || chunk.rowCount === 0) return;
    const read = (text: string | null, column: number) =>
      text === null || isFloat[column] !== true ? text : floatOf(text);
    yield (chunk.getRows() as (string | null)[][]).map((row) => row.map(read));
  }
}

/** Returns a floating-point number. DuckDB writes `inf` for JavaScript's `Infinity`. */
function floatOf(text: string): number {
  return Number(text.replace("inf", "Infinity"));
}
