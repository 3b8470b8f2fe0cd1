import { DuckDBTableFunction, type DuckDBType, type DuckDBValue, INTEGER } from "@duckdb/node-api";
import type { Duck } from "./duck.ts";

/** The name in SQL of the function that reads handed rows. */
const FUNCTION = "handed_rows";
/** DuckDB reads a function's rows in chunks of at most this many. */
export const MOST_HANDED_ROWS = 2_048;

export interface HandedColumn {
  readonly name: string;
  readonly type: DuckDBType;
}

/**
 * Rows that this process hands to SQL statements. `relation` is their text in SQL. It is always the same, so that a
 * statement which reads the rows can be kept: planning the statement again takes longer than decoding a small batch.
 * With rows as parameters or literals the statement would be planned each time.
 */
export class HandedRows {
  /**
   * The rows that SQL can read now, by the number in `relation`. All DuckDB instances of the process share one
   * function.
   */
  static readonly #open = new Map<number, HandedRows>();
  static #opened = 0;

  readonly relation: string;
  readonly #number: number;
  readonly #columns: readonly HandedColumn[];
  #values: readonly (readonly DuckDBValue[])[] = [];

  private constructor(number: number, columns: readonly HandedColumn[]) {
    this.#number = number;
    this.#columns = columns;
    this.relation = `${FUNCTION}(${number})`;
  }

  /**
   * Opens handed rows with these columns, empty at first, for statements of this connection. Close them with `close`.
   */
  static open(duck: Duck, columns: readonly HandedColumn[]): HandedRows {
    duck.registerTableFunction(HandedRows.#function);
    const rows = new HandedRows(++HandedRows.#opened, columns);
    HandedRows.#open.set(rows.#number, rows);
    return rows;
  }

  /**
   * Sets the rows for the next statements: a list of values for each column, all of the same length. Throws on more
   * than `MOST_HANDED_ROWS` rows.
   */
  hand(values: readonly (readonly DuckDBValue[])[]): void {
    if ((values[0]?.length ?? 0) > MOST_HANDED_ROWS) throw new RangeError(`more than ${MOST_HANDED_ROWS} handed rows`);
    this.#values = values;
  }

  /** Closes the rows. No statement may read them afterwards. */
  close(): void {
    HandedRows.#open.delete(this.#number);
  }

  static readonly #function = DuckDBTableFunction.create({
    name: FUNCTION,
    parameterTypes: [INTEGER],
    bindFunction: (bound) => {
      const number = Number(bound.getParameter(0));
      const rows = HandedRows.#open.get(number);
      if (rows === undefined) return bound.setError(`there are no handed rows ${number}`);
      for (const { name, type } of rows.#columns) bound.addResultColumn(name, type);
      bound.setBindData({ number });
    },
    initFunction: (begun) => {
      begun.setMaxThreads(1);
      begun.setInitData({ given: false });
    },
    mainFunction: (info, chunk) => {
      const [{ number }, state] = [info.getBindData() as { number: number }, info.getInitData() as { given: boolean }];
      const rows = state.given ? undefined : HandedRows.#open.get(number);
      const values = rows === undefined ? [] : rows.#values;
      state.given = true;
      chunk.rowCount = values[0]?.length ?? 0;
      for (const [column, some] of values.entries()) chunk.setColumnValues(column, some);
    },
  });
}
