import { countedCondition } from "../definition/counted.ts";
import type { View } from "../definition/view.ts";
import { singleExpressions, VALID } from "./compile.ts";

/**
 * One statement in place of the `singlesSql` of several views over the same events. A statement costs about a quarter
 * of a millisecond, however few events it reads, and views of one stream share many of their expressions. The rows of
 * each view are the same as those of its own statement (test/laws/answers/shared-singles.test.ts).
 */
export interface SharedSingles {
  /**
   * Returns the statement for a relation of decoded events: a row for each valid event, in the columns that `of` names.
   */
  sql(events: string): string;
  /** The columns of the statement that belong to each view. */
  readonly of: ReadonlyMap<View, SharedColumns>;
}

export interface SharedColumns {
  /** The column that says whether the view counts the event. Null: it counts all rows. */
  readonly counted: number | null;
  /** The columns of the view's `singlesSql`, in its order. They mean nothing in rows that the view does not count. */
  readonly columns: readonly number[];
}

/** Whether a view can share a statement. A view that reads lines cannot: its rows are lines. */
export function isShareable(view: View): boolean {
  return view.each === null;
}

/** Returns the shared statement of views of one stream. All have to be shareable. */
export function sharedSingles(views: readonly View[]): SharedSingles {
  const conditions = new Numbered();
  const columns = new Numbered();
  const partition = columns.of("_partition");
  const of = new Map<View, SharedColumns>();
  for (const view of views.filter(isShareable)) {
    const condition = countedCondition(view);
    const flag = condition === null ? null : flagName(conditions.of(condition));
    const own = singleExpressions(view).map((expression) => columns.of(guarded(expression, flag)));
    of.set(view, { counted: flag === null ? null : columns.of(flag), columns: [partition, ...own] });
  }
  const flags = conditions.texts.map((condition, number) => `, ${condition} AS ${flagName(number)}`).join("");
  const selected = columns.texts.join(", ");
  return { sql: (events) => `SELECT ${selected} FROM (SELECT *${flags} FROM ${events} WHERE ${VALID})`, of };
}

/** Returns the name of a flag. No field of a contract begins with an underscore. */
function flagName(number: number): string {
  return `_counted_${number}`;
}

/**
 * Guards an expression with the view's flag, because it may fail for events that the view does not count. A column
 * alone never fails.
 */
function guarded(expression: string, flag: string | null): string {
  return flag === null || /^\(?\w+\)?$/.test(expression) ? expression : `CASE WHEN ${flag} THEN ${expression} END`;
}

/** Numbers texts, each different text once. */
class Numbered {
  readonly #numbers = new Map<string, number>();

  /** Returns the number of a text, from 0. */
  of(text: string): number {
    const number = this.#numbers.get(text) ?? this.#numbers.size;
    this.#numbers.set(text, number);
    return number;
  }

  get texts(): string[] {
    return [...this.#numbers.keys()];
  }
}
