import {
  type DuckDBConnection,
  DuckDBInstance,
  type DuckDBMaterializedResult,
  type DuckDBValue,
} from "@duckdb/node-api";
import * as accessors from "@duckdb/node-api/lib/vectors/dataAccessors.js";
import { ScratchFolder } from "../files/scratch-folder.ts";

/**
 * The client reads texts with a decoder that drops U+FEFF at the beginning of each, so two different values would
 * become one. It takes the decoder from its module's exports for each text, so this module replaces it there.
 */
const { default: shared } = accessors as unknown as {
  readonly default: { textDecoder: InstanceType<typeof TextDecoder> };
};
shared.textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

export type Duck = DuckDBConnection;

export interface DuckOptions {
  readonly threads: number;
  readonly memoryLimitMb: number;
  /** Directories that SQL may read and write. Absent: none. */
  readonly directories?: readonly string[];
  /**
   * Whether plans may be kept while the rows of tables change (store/duckdb/kept-statements.ts). Then no statement uses
   * statistics.
   */
  readonly keepsPlans?: boolean;
  /** Whether the metadata of Parquet files is kept, for callers that read the same files repeatedly. */
  readonly keepsMetadata?: boolean;
}

/** The optimizer that must be off if plans are kept: https://github.com/duckdb/duckdb/pull/24696 */
export const STATISTICS = "statistics_propagation";

/**
 * The beginning of the name of a folder for data that does not fit in DuckDB's memory. DuckDB makes the folder when it
 * needs it, and deletes it when it is closed.
 */
const SPILL = ".spill-";

/**
 * A DuckDB instance in this process, locked down: UTC, no extension downloads, no file outside `directories`, and
 * settings cannot be changed afterwards. Connections of one instance share its threads and memory, not their temporary
 * tables.
 */
export class DuckPool {
  readonly #instance: DuckDBInstance;
  readonly #spill: ScratchFolder | null;

  private constructor(instance: DuckDBInstance, spill: ScratchFolder | null) {
    this.#instance = instance;
    this.#spill = spill;
  }

  static async open(options: DuckOptions): Promise<DuckPool> {
    const { threads, memoryLimitMb, directories = [], keepsPlans = false, keepsMetadata = false } = options;
    // Data that does not fit in memory is written next to the archive. Where nothing may be written, the query fails
    // instead.
    const spill = directories[0] === undefined ? null : new ScratchFolder(directories[0], SPILL);
    const instance = await DuckDBInstance.create(":memory:", {
      threads: String(threads),
      memory_limit: `${memoryLimitMb}MB`,
      autoinstall_known_extensions: "false",
      autoload_known_extensions: "false",
      temp_directory: spill?.path ?? "",
    });
    const connection = await instance.connect();
    await connection.run("SET GLOBAL TimeZone = 'UTC'");
    if (keepsMetadata) await connection.run("SET GLOBAL parquet_metadata_cache = true");
    if (keepsPlans) await connection.run(`SET GLOBAL disabled_optimizers = '${STATISTICS}'`);
    if (directories.length > 0) {
      const list = directories.map((directory) => `'${directory.replaceAll("'", "''")}'`).join(", ");
      await connection.run(`SET GLOBAL allowed_directories = [${list}]`);
    }
    await connection.run("SET GLOBAL enable_external_access = false");
    await connection.run("SET GLOBAL lock_configuration = true");
    connection.closeSync();
    return new DuckPool(instance, spill);
  }

  connect(): Promise<Duck> {
    return this.#instance.connect();
  }

  close(): void {
    this.#spill?.release();
    this.#instance.closeSync();
  }
}

/** Returns all rows of a query. Values are as DuckDB returns them: 64-bit integers are bigint. */
export async function rowsOf(duck: Duck, sql: string, values?: DuckDBValue[]): Promise<DuckDBValue[][]> {
  return rowsIn(await duck.run(sql, values));
}

/**
 * Returns the rows of a complete result. It takes them at once, because waiting for each chunk costs more than a small
 * chunk.
 */
export function rowsIn(result: DuckDBMaterializedResult): DuckDBValue[][] {
  const rows: DuckDBValue[][] = [];
  for (let index = 0; index < result.chunkCount; index++) result.getChunk(index).appendToRows(rows);
  return rows;
}

/** Yields the chunks of a complete result, each as columns. For a wide result it takes a third of the time of rows. */
export function* columnsIn(result: DuckDBMaterializedResult): Generator<DuckDBValue[][]> {
  for (let index = 0; index < result.chunkCount; index++) yield result.getChunk(index).getColumns();
}
