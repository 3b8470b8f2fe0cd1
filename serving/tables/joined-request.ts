import { decodeAsOf, decodeJoinedAsOf, type JoinedAsOf } from "../../core/log/as-of.ts";
import { type Cut, farthest } from "../../core/log/position.ts";
import { presentDecimal, unitsOfText } from "../../core/measures/decimals.ts";
import { filterValue } from "../../core/query/filter.ts";
import { type Fail, wholeNumber } from "../../core/query/parameters.ts";
import { ROW_LIMIT } from "../../core/query/query.ts";
import { MOST_KEYS } from "../../core/query/tables/table-query.ts";
import { topicOf } from "../../store/kafka/cluster/topics.ts";
import type { Numbers } from "../common/numbers.ts";
import { badRequest } from "../common/refusals.ts";
import { generationGone, piecesOf, recordAt, sameLog, waitOf } from "../request/consistency.ts";
import type { Parameters } from "../request/parameters.ts";
import { type ParameterReading, readingOf, readNumbers } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";
import type { DescribedJoin } from "../views/described-join.ts";
import { type JoinedQuestion, joinedColumnNames } from "./joined-rows.ts";
import { type KeyRoute, keysOf, pageOf, readKeyAndLimit, whereOf } from "./table-request.ts";

/** A parsed request to a joined table. */
export interface JoinedRequest {
  readonly question: JoinedQuestion;
  /** Exactly these positions; null: the newest ones. */
  readonly at: JoinedAsOf | null;
  /** These positions or later ones, by the name that the definition has for the table. */
  readonly min: ReadonlyMap<string, Cut>;
  readonly waitMs: number;
  readonly numbers: Numbers;
}

/** Reads a request to a joined table; `key` is the key in its path. Throws GENERATION_GONE and BAD_REQUEST. */
export function readJoinedRequest(
  serving: Serving,
  join: DescribedJoin,
  parameters: Parameters,
  key: readonly string[] | null,
): JoinedRequest {
  const { values } = parameters;
  const reading = readingOf(key === null ? "/tables/:name" : "/tables/:name/*", parameters);
  const { one, fail, problems } = reading;
  const all = joinedColumnNames(join);
  const named = (parameter: string, names: readonly string[]) => {
    for (const name of names)
      if (!all.includes(name)) fail(parameter, `"${name.slice(0, 60)}" is not a column of this table`, all.join(", "));
  };
  const page = pageOf(one("after"), fail, decodeJoinedAsOf);
  const listed = (parameter: string) => (one(parameter) ?? "").split(",").filter((part) => part !== "");
  const order = listed("order").map((part) => ({ field: part.replace(/^-/, ""), descending: part.startsWith("-") }));
  const written = key === null ? whereOf(values) : new Map<string, readonly string[]>();
  const wanted = listed("columns");
  named("columns", wanted);
  named("order", order.map(({ field }) => field)); // biome-ignore format: one line
  named("where", [...written.keys()]);
  const keys = key === null ? keysOf(values.key, join.key.length) : [key];
  if ((keys?.length ?? 0) > MOST_KEYS) fail("key", `${keys?.length} keys are asked for`, `at most ${MOST_KEYS}`);
  if (page !== null && order.length > 0) fail("after", "pages come in the order of the key", "no order");
  const limit = wholeNumber("limit", one("limit"), ROW_LIMIT, fail);
  const position = readPosition(serving, join, reading);
  const numbers = readNumbers(one, fail);
  const prefix = one("prefix") ?? "";
  if (problems.length > 0) throw badRequest(problems);
  const columns = wanted.length === 0 ? all : [...join.key, ...wanted.filter((name) => !join.key.includes(name))];
  const where = new Map(
    [...written].map(([name, texts]) => [name, texts.map((text) => shownFilter(join, name, text))]),
  );
  const question = { keys, prefix, after: page?.key ?? null, where, order, columns, limit };
  return { ...position, question, at: page === null ? position.at : known(join, page.at), numbers };
}

/** Reads `key`, `at` and, if the route accepts it, `limit`. Throws GENERATION_GONE and BAD_REQUEST. */
export function readJoinedKey(
  serving: Serving,
  join: DescribedJoin,
  route: KeyRoute,
  parameters: Parameters,
): { readonly key: readonly string[]; readonly limit: number; readonly at: JoinedAsOf | null } {
  const reading = readingOf(route, parameters);
  const { keys, limit } = readKeyAndLimit(reading, parameters, join.key);
  const { at } = readPosition(serving, join, reading);
  if (reading.problems.length > 0) throw badRequest(reading.problems);
  return { key: keys?.[0] ?? [], limit, at };
}

/** Reads `at`, `min` and `wait`. Throws GENERATION_GONE for positions of a definition that is no longer served. */
export function readPosition(
  serving: Serving,
  join: DescribedJoin,
  { one, fail }: ParameterReading,
): Pick<JoinedRequest, "at" | "min" | "waitMs"> {
  const [atText, minText] = [one("at"), one("min")];
  const token = atText === undefined ? null : decodeJoinedAsOf(atText);
  if (atText !== undefined && token === null)
    fail("at", `"${atText.slice(0, 60)}" is not a position`, "the asOf of an earlier answer of this table");
  if (atText !== undefined && minText !== undefined)
    fail("min", "cannot be used together with at", "one of at and min");
  const min = minText === undefined ? new Map<string, Cut>() : leastOf(serving, join, minText, fail);
  return { at: token === null ? null : known(join, token), min, waitMs: waitOf(one, fail) };
}

/** Returns positions of exactly the tables that are served now. Throws GENERATION_GONE for others. */
function known(join: DescribedJoin, asOf: JoinedAsOf): JoinedAsOf {
  const same = [...join.tables].every(([name, { definition }]) => asOf.get(name)?.generation === definition.generation);
  if (!same || asOf.size !== join.tables.size) throw generationGone(join.definition.name);
  return asOf;
}

/**
 * Returns the position that each table has to reach for `min`, which has records of the tables' topics and tokens of
 * other answers.
 */
function leastOf({ views, namespace }: Serving, join: DescribedJoin, text: string, fail: Fail): Map<string, Cut> {
  const least = new Map<string, Cut>();
  const raise = (name: string, to: Cut) => least.set(name, farthest(least.get(name) ?? new Map(), to));
  const streams = [...join.tables].map(([name, { definition }]) => [name, definition.view.stream] as const);
  const topics = [...new Set(streams.map(([, stream]) => topicOf(namespace, stream)))];
  const allowed =
    "the asOf of an earlier answer, or topic:partition:offset of " +
    `${topics.join(", ")}; several separated by commas`;
  for (const piece of piecesOf(text, fail)) {
    const topic = topics.find((one) => piece.startsWith(`${one}:`));
    const tokens = [...(decodeJoinedAsOf(piece)?.values() ?? [decodeAsOf(piece)])].filter((one) => one !== null);
    if (topic !== undefined) {
      const to = recordAt(piece, topic, fail);
      for (const [name, stream] of streams) if (to !== null && topicOf(namespace, stream) === topic) raise(name, to);
    } else if (tokens.length === 0) fail("min", `"${piece.slice(0, 120)}" is not a position of these streams`, allowed);
    for (const { generation, applied } of tokens) {
      const read = streams.filter(([, stream]) => sameLog(views, stream.name, generation));
      if (read.length === 0) throw generationGone(join.definition.name);
      for (const [name] of read) raise(name, applied);
    }
  }
  return least;
}

/** Returns a filter's value in the form of rows: 12.50 of a decimal becomes 12.5. */
function shownFilter({ columns }: DescribedJoin, name: string, text: string): string | null {
  const value = filterValue(text);
  const scale = columns.get(name)?.scale ?? 0;
  const units = scale === 0 || value === null ? null : unitsOfText(value, scale);
  return units === null ? value : String(presentDecimal(BigInt(units), scale));
}
