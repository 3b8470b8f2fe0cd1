import type { DuckDBMaterializedResult, DuckDBPreparedStatement, DuckDBValue } from "@duckdb/node-api";
import { columnsIn, type Duck, rowsIn, rowsOf, STATISTICS } from "./duck.ts";

/** The most texts that are kept. The least recently used is dropped first. */
const MOST_STATEMENTS = 256;

/**
 * Keeps the statements of one connection that are run repeatedly, each parsed and planned once: planning is most of the
 * work for a small micro-batch. A text may run only once at a time.
 *
 * DuckDB (1.5) plans a statement with parameters at every run, so there are no parameters here. It also plans a
 * statement at every run if a table of its catalog was made after the statement was prepared, so `makeTable` drops all
 * kept statements. DuckDB also makes plans that are right only for the rows of that moment (it leaves out a filter that
 * no row fails), except on a pool that `keepsPlans`. On any other pool nothing is kept.
 */
export class KeptStatements {
  readonly #duck: Duck;
  /** Whether its pool allows plans to be kept. */
  readonly keepsPlans: boolean;
  readonly #kept = new Map<string, DuckDBPreparedStatement>();

  private constructor(duck: Duck, keepsPlans: boolean) {
    this.#duck = duck;
    this.keepsPlans = keepsPlans;
  }

  static async open(duck: Duck): Promise<KeptStatements> {
    const [[disabled] = []] = await rowsOf(duck, "SELECT current_setting('disabled_optimizers')");
    return new KeptStatements(duck, String(disabled).includes(STATISTICS));
  }

  async run(sql: string): Promise<void> {
    if (this.keepsPlans) await this.#running(sql);
    else await this.#duck.run(sql);
  }

  /** Returns all rows of a query. Values are as DuckDB returns them: 64-bit integers are bigint. */
  async rows(sql: string): Promise<DuckDBValue[][]> {
    if (!this.keepsPlans) return rowsOf(this.#duck, sql);
    return rowsIn(await this.#running(sql));
  }

  /** Returns the rows of a query in chunks, each as columns, with values as in `rows`. */
  async columns(sql: string): Promise<Iterable<DuckDBValue[][]>> {
    return columnsIn(await (this.keepsPlans ? this.#running(sql) : this.#duck.run(sql)));
  }

  /** Makes a temporary table from the rows of a query, and replaces one with this name. No statement may be running. */
  async makeTable(name: string, query: string, values: DuckDBValue[] = []): Promise<void> {
    for (const statement of this.#kept.values()) statement.destroySync();
    this.#kept.clear();
    await this.#duck.run(`CREATE OR REPLACE TEMP TABLE ${name} AS ${query}`, values);
  }

  /** Runs a statement. Keeps it if it succeeded. */
  async #running(sql: string): Promise<DuckDBMaterializedResult> {
    const statement = this.#kept.get(sql) ?? (await this.#duck.prepare(sql));
    this.#kept.delete(sql);
    const result = await statement.run();
    this.#kept.set(sql, statement);
    if (this.#kept.size > MOST_STATEMENTS) this.#dropOldest();
    return result;
  }

  #dropOldest(): void {
    for (const [sql, oldest] of this.#kept) {
      this.#kept.delete(sql);
      oldest.destroySync();
      return;
    }
  }
}

/**
 * Rows that were removed from a table still take memory. A new table after this many rows limits the memory, and
 * statements are seldom planned again.
 */
const MOST_STALE_ROWS = 30_000;

/** A temporary table that is refilled repeatedly. */
export class RefilledTable {
  readonly #duck: Duck;
  readonly #statements: KeptStatements;
  readonly #name: string;
  /** The number of rows that it has had since it was made. */
  #stale = Number.POSITIVE_INFINITY;

  constructor(duck: Duck, statements: KeptStatements, name: string) {
    this.#duck = duck;
    this.#statements = statements;
    this.#name = name;
  }

  /** Replaces its rows by those of a query, at most `rows`. */
  async fill(query: string, rows: number, values: DuckDBValue[] = []): Promise<void> {
    this.#stale += rows;
    if (this.#stale > MOST_STALE_ROWS) {
      await this.#statements.makeTable(this.#name, query, values);
      this.#stale = rows;
    } else {
      await this.clear();
      const insert = `INSERT INTO ${this.#name} ${query}`;
      if (values.length === 0) await this.#statements.run(insert);
      else await this.#duck.run(insert, values);
    }
  }

  async clear(): Promise<void> {
    await this.#statements.run(`TRUNCATE ${this.#name}`);
  }
}
