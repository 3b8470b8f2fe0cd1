import {
  type DuckDBConnection,
  DuckDBInstance,
  type DuckDBMaterializedResult,
  type DuckDBValue,
} from "@duckdb/node-api";
import * as accessors from "@duckdb/node-api/lib/vectors/dataAccessors.js";
import { ScratchFolder } from "../files/scratch-folder.ts";

/**
 * The client reads texts with a decoder that drops U+FEFF at the beginning of each: two different values would become
 * one. It takes the decoder from its module's exports whenever it reads a text, so that another one can be put there.
 */
const { default: shared } = accessors as unknown as {
  readonly default: { textDecoder: InstanceType<typeof TextDecoder> };
};
shared.textDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

export type Duck = DuckDBConnection;

export interface DuckOptions {
  readonly threads: number;
  readonly memoryLimitMb: number;
  /** Directories that SQL may read and write; none by default. */
  readonly directories?: readonly string[];
  /**
   * Whether plans may be kept while the rows of tables change (store/duckdb/kept-statements.ts). Other statements lose
   * what statistics give them.
   */
  readonly keepsPlans?: boolean;
  /** Whether the metadata of Parquet files is kept, for those who ask the same files again and again. */
  readonly keepsMetadata?: boolean;
}

/** What plans must not be made of if they are kept: https://github.com/duckdb/duckdb/pull/24696 */
export const STATISTICS = "statistics_propagation";

/**
 * Begins the name of a folder in which DuckDB puts what does not fit in memory. It makes the folder when it needs it,
 * and deletes it when it is closed.
 */
const SPILL = ".spill-";

/**
 * A DuckDB instance in this process, locked down: UTC, no extension downloads, no file outside `directories`, and no
 * setting can be changed afterwards. Connections of one instance share its threads and memory, not their temporary
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
    // What does not fit in memory goes beside the data; where nothing may be written, the query fails instead.
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

/** All rows of a query, values as DuckDB gives them: 64-bit integers are bigint. */
export async function rowsOf(duck: Duck, sql: string, values?: DuckDBValue[]): Promise<DuckDBValue[][]> {
  return rowsIn(await duck.run(sql, values));
}

/**
 * The rows of a result that is there: taken at once, for to wait for each of its chunks costs more than a small one is
 * worth.
 */
export function rowsIn(result: DuckDBMaterializedResult): DuckDBValue[][] {
  const rows: DuckDBValue[][] = [];
  for (let index = 0; index < result.chunkCount; index++) result.getChunk(index).appendToRows(rows);
  return rows;
}

/** The chunks of a result that is there, each as its columns: for a wide result a third of what rows cost. */
export function* columnsIn(result: DuckDBMaterializedResult): Generator<DuckDBValue[][]> {
  for (let index = 0; index < result.chunkCount; index++) yield result.getChunk(index).getColumns();
}
