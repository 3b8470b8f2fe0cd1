import { type Joined, joinedKey } from "../../core/definition/joined.ts";
import { TidelineError } from "../../core/errors.ts";
import { presentDecimal, unitsOfText } from "../../core/measures/decimals.ts";
import { type Presented, type PresentedField, presentInteger } from "../../core/measures/measure.ts";
import type { Row } from "../../core/query/present.ts";
import type { JoinedRow } from "../../core/query/tables/joined-rows.ts";
import { type JoinedSource, joinedRelation, textSql } from "../../core/query/tables/joined-sql.ts";
import { type JoinedColumn, joinedColumns, joinedSource } from "../../store/definitions/joined-columns.ts";
import type { DuckPool } from "../../store/duckdb/duck.ts";
import type { DuckQueue, OnChunk } from "../read/batch/duck-queue.ts";
import type { DescribedJoin } from "./described-join.ts";
import { columnFailed, isOfValue } from "./joined-failure.ts";
import { joinedValues, keyOf } from "./joined-values.ts";
import type { DescribedView } from "./served-views.ts";

interface JoinedTablesOptions {
  readonly definitions: ReadonlyMap<string, Joined>;
  readonly views: ReadonlyMap<string, DescribedView>;
  readonly pool: DuckPool;
  readonly ducks: DuckQueue;
}

/** How many rows one statement computes. Between two statements other requests get their turn. */
const ROWS_A_STATEMENT = 2_000;

/** The joined tables that the files define. */
export class JoinedTables {
  readonly #options: JoinedTablesOptions;
  readonly #described = new Map<string, DescribedJoin>();

  constructor(options: JoinedTablesOptions) {
    this.#options = options;
  }

  /** Returns the names of all joined tables. */
  names(): string[] {
    return [...this.#options.definitions.keys()];
  }

  /** Returns the definition with this name; undefined if there is none. */
  definition(name: string): Joined | undefined {
    return this.#options.definitions.get(name);
  }

  definitions(): Joined[] {
    return [...this.#options.definitions.values()];
  }

  /**
   * Returns the joined table with this name; null if there is none. Throws NOT_READY while one of its tables is not
   * served, or is served by a definition without the columns that it reads.
   */
  async find(name: string): Promise<DescribedJoin | null> {
    const definition = this.#options.definitions.get(name);
    return definition === undefined ? null : this.#describe(definition);
  }

  /** Returns all columns of these rows, in the form of answers. Throws COLUMN_FAILED if a column cannot be computed. */
  async rows(join: DescribedJoin, found: readonly JoinedRow[]): Promise<Row[]> {
    const { source, columns } = join;
    const { ducks } = this.#options;
    const rows: Row[] = [];
    const names = [...columns.keys()];
    const texts = [...columns.values()].map(({ sql, type }) => textSql(sql, type));
    const statement = `SELECT ${texts.join(", ")} FROM ${joinedRelation(source)} ORDER BY _row`;
    for (let at = 0; at < found.length; at += ROWS_A_STATEMENT) {
      const some = found.slice(at, at + ROWS_A_STATEMENT);
      const keys = some.map((one) => keyOf(join, one));
      let next = 0;
      const onChunk: OnChunk = function* (chunk) {
        const length = chunk[0]?.length ?? 0;
        for (let row = 0; row < length; row++) {
          const shown = names.map((name, index) => [name, shownValue(columns.get(name), chunk[index]?.[row])]);
          rows.push({ ...keys[next], ...Object.fromEntries(shown) } as Row);
          next += 1;
        }
        yield length;
      };
      await ducks.read(statement, joinedValues(join, some), onChunk).catch(async (error: unknown) => {
        throw isOfValue(error) ? await columnFailed(ducks, join, { found: some, error }) : error;
      });
    }
    return rows;
  }

  async #describe(definition: Joined): Promise<DescribedJoin> {
    const { views, pool } = this.#options;
    const tables = new Map<string, DescribedView>();
    for (const [part, { name }] of Object.entries(definition.tables)) {
      const served = views.get(name);
      if (served === undefined) throw notReady(`table "${name}" is not served yet`);
      tables.set(part, served);
    }
    const generations = [...tables.values()].map((one) => one.definition.generation).join(" ");
    const known = `${definition.name} ${generations}`;
    const held = this.#described.get(known);
    if (held !== undefined) return held;
    const duck = await pool.connect();
    try {
      const served = new Map([...tables].map(([part, one]) => [part, one.definition.view]));
      const columns = await joinedColumns(duck, definition, served);
      const source = narrowed(await joinedSource(duck, served), columns);
      const described = { definition, key: joinedKey(definition), tables, source, columns };
      this.#described.set(known, described);
      return described;
    } catch (cause) {
      const changing = `its columns cannot be computed over the tables that are served: ${(cause as Error).message}`;
      throw notReady(`${changing}. They are served as the files define them once they have been built.`);
    } finally {
      duck.closeSync();
    }
  }
}

function notReady(message: string): TidelineError {
  return new TidelineError("NOT_READY", message, "");
}

/** Returns for each table its key and the columns that are read. */
function narrowed({ key, tables }: JoinedSource, columns: ReadonlyMap<string, JoinedColumn>): JoinedSource {
  const read = (table: string) => new Set([...columns.values()].flatMap(({ reads }) => reads.get(table) ?? []));
  const some = [...tables].map(([name, all]) => {
    const wanted = read(name);
    return [name, new Map([...all].filter(([column]) => key.has(column) || wanted.has(column)))] as const;
  });
  return { key, tables: new Map(some) };
}

/** Returns a column's value from its text. */
function shownValue(column: JoinedColumn | undefined, value: unknown): PresentedField {
  if (value === null || value === undefined || column === undefined) return null;
  const text = String(value);
  const { type, scale } = column;
  if (type === "integer") return presentInteger(BigInt(text));
  if (type === "decimal") return presentDecimal(BigInt(unitsOfText(text, scale) ?? 0), scale);
  if (type === "double") return Number(text);
  if (type === "boolean") return text === "true";
  if (type === "instant") return new Date(Number(text)).toISOString();
  return type === "other" ? (JSON.parse(text) as Presented) : text;
}
