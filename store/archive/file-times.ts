import type { TimeRange } from "../../core/interval.ts";
import { type RowExtent, rowsRead } from "../../core/query/extents.ts";
import { parquetRowGroups } from "../duckdb/parquet.ts";

/** Runs a statement that reads files of the data directory. */
export type RunSql = (sql: string) => Promise<readonly (readonly unknown[])[]>;

/** The most files that are remembered. */
const MOST_FILES = 50_000;

/**
 * The times at which the records of archive files were written. They are read from the ends of the files, once a file,
 * because a published file never changes.
 */
export class FileTimes {
  readonly #extents = new Map<string, readonly RowExtent[]>();

  /**
   * Returns the files of `paths` with records of `range`, in record time, and the number of rows that a read of them
   * looks at.
   */
  async within(run: RunSql, paths: readonly string[], range: TimeRange): Promise<{ paths: string[]; rows: number }> {
    const unknown = paths.filter((path) => !this.#extents.has(path));
    if (unknown.length > 0) await this.#learn(run, unknown);
    const found: string[] = [];
    let rows = 0;
    for (const path of paths) {
      const read = rowsRead(this.#extents.get(path) ?? [], range);
      if (read === 0) continue;
      found.push(path);
      rows += read;
    }
    return { paths: found, rows };
  }

  async #learn(run: RunSql, paths: readonly string[]): Promise<void> {
    if (this.#extents.size + paths.length > MOST_FILES) this.#extents.clear();
    const columns = "file_name, row_group_num_rows, stats_min_value::BIGINT, stats_max_value::BIGINT";
    const found = new Map<string, RowExtent[]>(paths.map((path) => [path, []]));
    for (const [path, rows, first, last] of await run(
      `SELECT ${columns} FROM ${parquetRowGroups(paths)} WHERE path_in_schema = '_timestamp'`,
    ))
      found.get(String(path))?.push({ rows: Number(rows), fromMs: Number(first), lastMs: Number(last) });
    for (const [path, extents] of found) this.#extents.set(path, extents);
  }
}
