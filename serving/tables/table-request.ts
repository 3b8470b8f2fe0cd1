import { type AsOf, decodeAsOf } from "../../core/log/as-of.ts";
import { type Fail, wholeNumber } from "../../core/query/parameters.ts";
import type { Row } from "../../core/query/present.ts";
import { planTable, type TableKey, type TableQuestion } from "../../core/query/tables/table-query.ts";
import type { Numbers } from "../common/numbers.ts";
import { badRequest, tableUnknown } from "../common/refusals.ts";
import { type Consistency, generationGone, readConsistency } from "../request/consistency.ts";
import type { Parameters } from "../request/parameters.ts";
import { type ParameterReading, readingOf, readNumbers } from "../request/request.ts";
import type { Serving } from "../request/serving.ts";
import type { DescribedView } from "../views/served-views.ts";
import { HISTORY_LIMIT } from "./table-schemas.ts";

/** A parsed request to a table. */
export interface TableRequest {
  readonly described: DescribedView;
  readonly question: TableQuestion;
  readonly options: Consistency & { readonly numbers: Numbers };
}

const WHERE = /^where\[(.*)\]$/s;

/** Returns the table called `name`. Throws TABLE_UNKNOWN. */
export function findTable({ views, joins }: Pick<Serving, "views" | "joins">, name: string): DescribedView {
  const found = views.get(name);
  if (found !== undefined && found.definition.view.table !== null) return found;
  const tables = [...views.values()].filter(({ definition }) => definition.view.table !== null);
  throw tableUnknown(name, [...tables.map(({ definition }) => definition.view.name), ...joins.names()]);
}

/** Reads a request to a table; `key` is the key in its path. Throws TABLE_UNKNOWN, GENERATION_GONE and BAD_REQUEST. */
export function readTableRequest(
  serving: Serving,
  name: string,
  parameters: Parameters,
  key: readonly string[] | null,
): TableRequest {
  const { values } = parameters;
  const described = findTable(serving, name);
  const { view } = described.definition;
  const { one, fail, problems } = readingOf(key === null ? "/tables/:name" : "/tables/:name/*", parameters);
  const page = pageOf(one("after"), fail, decodeAsOf);
  if (page !== null && page.at.generation !== described.definition.generation) throw generationGone(view.name);
  const consistency = readConsistency(serving, one, fail, described);
  const options = { ...consistency, at: page?.at ?? consistency.at, numbers: readNumbers(one, fail) };
  const plan = planTable(view, {
    keys: key === null ? keysOf(values.key, Object.keys(view.by).length) : [key],
    prefix: one("prefix") ?? "",
    where: key === null ? whereOf(values) : new Map(),
    after: page?.key ?? null,
    columns: one("columns"),
    order: one("order"),
    limit: one("limit"),
  });
  if (!plan.ok) problems.push(...plan.problems);
  if (!plan.ok || problems.length > 0) throw badRequest(problems);
  return { described, question: plan.question, options };
}

/** A parsed request about one key of a table and its log. */
export interface KeyRequest {
  readonly described: DescribedView;
  readonly question: TableQuestion;
  readonly key: TableKey;
  readonly at: AsOf | null;
  readonly limit: number;
}

/** The routes about the log of one key. */
export type KeyRoute = "/history/:table" | "/replay/:table";

/** Reads `key`, `at` and, if the route accepts it, `limit`. Throws TABLE_UNKNOWN, GENERATION_GONE and BAD_REQUEST. */
export function readKeyRequest(serving: Serving, name: string, route: KeyRoute, parameters: Parameters): KeyRequest {
  const described = findTable(serving, name);
  const { view } = described.definition;
  const reading = readingOf(route, parameters);
  const { one, fail, problems } = reading;
  const { keys, limit } = readKeyAndLimit(reading, parameters, Object.keys(view.by));
  const { at } = readConsistency(serving, one, fail, described);
  const plan = planTable(view, { keys });
  if (!plan.ok) problems.push(...plan.problems);
  if (!plan.ok || problems.length > 0) throw badRequest(problems);
  return { described, question: plan.question, key: plan.question.keys?.[0] ?? [], at, limit };
}

/** Returns the one key that a request about the log names, and the most events that it wants. */
export function readKeyAndLimit(
  { one, fail }: ParameterReading,
  { values }: Parameters,
  parts: readonly string[],
): { readonly keys: string[][] | null; readonly limit: number } {
  if (values.key === undefined) fail("key", "is not given", `the key of one row: ${parts.join("/")}`);
  return {
    keys: keysOf(one("key") ?? "", parts.length),
    limit: wholeNumber("limit", one("limit"), HISTORY_LIMIT, fail),
  };
}

/** Reads keys such as `key=a&key=b`. A key of several parts is written `key=a/b`, and a / within a part as %2F. */
export function keysOf(given: string | readonly string[] | undefined, parts: number): string[][] | null {
  if (given === undefined) return null;
  return [given].flat().map((text) => (parts === 1 ? [text] : text.split("/").map(withoutEscapes)));
}

/** Returns a part of a key with every %2F turned into / again. */
export function withoutEscapes(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Reads `where[column]`: the allowed values of each column, as they were written. */
export function whereOf(values: Parameters["values"]): Map<string, readonly string[]> {
  return new Map(
    Object.entries(values).flatMap(([name, value]) => {
      const column = WHERE.exec(name)?.[1];
      return column === undefined ? [] : [[column, [value].flat()] as const];
    }),
  );
}

/** The beginning of a page: the key before it, and its position. */
interface Page<Position> {
  readonly at: Position;
  readonly key: readonly string[];
}

const BEFORE_KEY = ":";

/** Returns the text that asks for the next page: the last key of this page, and the token of its position. */
export function nextPage(asOf: string, key: readonly string[]): string {
  return `${asOf}${BEFORE_KEY}${Buffer.from(JSON.stringify(key)).toString("base64url")}`;
}

/** Reads the text of `nextPage`, also from earlier releases; `decode` reads the token in it. */
export function pageOf<Position>(
  text: string | undefined,
  fail: Fail,
  decode: (token: string) => Position | null,
): Page<Position> | null {
  if (text === undefined) return null;
  try {
    const [token = "", ownKey] = text.split(BEFORE_KEY);
    const key = JSON.parse(Buffer.from(ownKey ?? token, "base64url").toString()) as string[];
    // In earlier releases the text was one list that begins with the token.
    const earlier = ownKey === undefined ? key.shift() : undefined;
    const at = decode(earlier ?? token);
    if (at !== null) return { at, key: key.map(String) };
  } catch {
    // Refused below.
  }
  fail("after", "is not a page", "what an earlier answer gave as next");
  return null;
}

/** Returns the key of a row in the form of a request. */
export function keyTexts(row: Row, parts: readonly string[]): string[] {
  return parts.map((name) => String(row[name]));
}
