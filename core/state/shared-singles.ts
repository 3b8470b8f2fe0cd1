import { countedCondition } from "../definition/counted.ts";
import type { View } from "../definition/view.ts";
import { singleExpressions, VALID } from "./compile.ts";

/**
 * One statement in the place of the `singlesSql` of several views over the same events. A statement costs about a
 * quarter of a millisecond, however few events it reads, and views of one stream share many of their expressions.
 * The rows of each view are the same as those of its own statement (test/laws/answers/shared-singles.test.ts).
 */
export interface SharedSingles {
  /** The statement for a relation of decoded events: a row for each valid event, in the columns that `of` names. */
  sql(events: string): string;
  /** Which columns of the statement are a view's. */
  readonly of: ReadonlyMap<View, SharedColumns>;
}

export interface SharedColumns {
  /** The column that says whether the view counts the event; null: it counts all rows. */
  readonly counted: number | null;
  /** The columns of the view's `singlesSql`, in its order. They mean nothing in rows that the view does not count. */
  readonly columns: readonly number[];
}

/** Whether the events of a view can be read together with those of others: one that reads lines has rows of its own. */
export function isShareable(view: View): boolean {
  return view.each === null;
}

/** The shared statement of the views of one stream that are shareable. */
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

/** No field of a contract begins with an underscore. */
function flagName(number: number): string {
  return `_counted_${number}`;
}

/** A view's expressions may fail for events that it does not count. A column alone never does. */
function guarded(expression: string, flag: string | null): string {
  return flag === null || /^\(?\w+\)?$/.test(expression) ? expression : `CASE WHEN ${flag} THEN ${expression} END`;
}

/** Texts, each once, by their numbers. */
class Numbered {
  readonly #numbers = new Map<string, number>();

  /** The number of a text, from 0. */
  of(text: string): number {
    const number = this.#numbers.get(text) ?? this.#numbers.size;
    this.#numbers.set(text, number);
    return number;
  }

  get texts(): string[] {
    return [...this.#numbers.keys()];
  }
}
