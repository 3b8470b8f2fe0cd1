import { quoteText } from "../../core/contract/sql.ts";

/** SQL relations of Parquet files. All take the files' paths. */

/** Special properties of the files. */
export interface ParquetFiles {
  /**
   * They are of several releases or contracts: a column that a file lacks is null in its rows. Otherwise all files have
   * the same columns.
   */
  readonly mayLackColumns?: boolean;
  /**
   * Another program wrote them. The names of their folders are not columns, and their texts may lack the mark that they
   * are text, which older writers leave out.
   */
  readonly areForeign?: boolean;
  /** Adds the column `file_row_number`, the place of a row in its file. */
  readonly numbersRows?: boolean;
}

/** SQL: all rows, in the order of the files. */
export function parquetRows(paths: readonly string[], files: ParquetFiles = {}): string {
  const options = [
    ...(files.mayLackColumns ? ["union_by_name = true"] : []),
    ...(files.numbersRows ? ["file_row_number = true"] : []),
    ...(files.areForeign ? ["hive_partitioning = false", "binary_as_string = true"] : []),
  ];
  return `read_parquet(${[listOf(paths), ...options].join(", ")})`;
}

/**
 * SQL: a row for each column of each row group, with its statistics. It reads only the ends of the files, as do the
 * next two.
 */
export function parquetRowGroups(paths: readonly string[]): string {
  return `parquet_metadata(${listOf(paths)})`;
}

/** SQL: a row for each file, with its number of rows. */
export function parquetFooters(paths: readonly string[]): string {
  return `parquet_file_metadata(${listOf(paths)})`;
}

/** SQL: a row for each column of each file. */
export function parquetColumns(paths: readonly string[]): string {
  return `parquet_schema(${listOf(paths)})`;
}

function listOf(paths: readonly string[]): string {
  return `[${paths.map(quoteText).join(", ")}]`;
}
