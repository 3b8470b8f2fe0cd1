import type { DuckDBMaterializedResult, DuckDBPreparedStatement, DuckDBValue } from "@duckdb/node-api";
import { columnsIn, type Duck, rowsIn, rowsOf, STATISTICS } from "./duck.ts";

/** This many texts are kept; what was unused for longest goes first. */
const MOST_STATEMENTS = 256;

/**
 * The statements of one connection that are run again and again, each parsed and planned once: for a small micro-batch
 * that is most of the work. A text may run once at a time.
 *
 * DuckDB (1.5) plans a statement that has parameters again whenever it runs, and for ever one that was prepared before
 * a table of its catalog was made: so there are no parameters here, and `makeTable` drops what is kept. And it makes
 * plans that are right only for the rows of that moment (a filter that nothing failed is left out), except on a pool
 * that `keepsPlans`: on any other nothing is kept.
 */
export class KeptStatements {
  readonly #duck: Duck;
  /** Whether its pool lets plans be kept. */
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

  /** All rows of a query, values as DuckDB gives them: 64-bit integers are bigint. */
  async rows(sql: string): Promise<DuckDBValue[][]> {
    if (!this.keepsPlans) return rowsOf(this.#duck, sql);
    return rowsIn(await this.#running(sql));
  }

  /** The rows of a query in chunks, each as its columns; values as `rows` gives them. */
  async columns(sql: string): Promise<Iterable<DuckDBValue[][]>> {
    return columnsIn(await (this.keepsPlans ? this.#running(sql) : this.#duck.run(sql)));
  }

  /** Makes a temporary table of the rows of a query, in the place of one that has this name. Nothing may be running. */
  async makeTable(name: string, query: string, values: DuckDBValue[] = []): Promise<void> {
    for (const statement of this.#kept.values()) statement.destroySync();
    this.#kept.clear();
    await this.#duck.run(`CREATE OR REPLACE TEMP TABLE ${name} AS ${query}`, values);
  }

  /** Keeps what succeeded. */
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
 * Rows that were taken out of a table still take memory. With a new table every this many rows that is little, and so
 * is planning again.
 */
const MOST_STALE_ROWS = 30_000;

/** A temporary table that is filled again and again. */
export class RefilledTable {
  readonly #duck: Duck;
  readonly #statements: KeptStatements;
  readonly #name: string;
  /** How many rows it has held since it was made. */
  #stale = Number.POSITIVE_INFINITY;

  constructor(duck: Duck, statements: KeptStatements, name: string) {
    this.#duck = duck;
    this.#statements = statements;
    this.#name = name;
  }

  /** Puts the rows of a query, `rows` at most, in the place of all that it holds. */
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
